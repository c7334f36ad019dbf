"""The JSON-lines sockets under garbage, floods and crowds: one clear error, nothing changed, others served."""

import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.errors import Refused
from agent.guard import line


class Served:
    """A line server in a thread, with an answer that counts and echoes."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "x.sock")
        self.selector = selectors.DefaultSelector()
        self.asked: list[dict[str, object]] = []
        self.server = line.LineServer(self.selector, self.path, 0o600, self.answer)
        self.over = False
        self.thread = threading.Thread(target=self.turn)
        self.thread.start()

    def answer(self, client: line.Client, request: dict[str, object]) -> dict[str, object]:
        """Echo, or refuse."""
        self.asked.append(request)
        if request.get("op") == "no":
            raise Refused("not today; try tomorrow")
        return {"ok": True, "uid": client.peer.uid, "got": request}

    def turn(self) -> None:
        """Serve until told to stop."""
        while not self.over:
            for key, mask in self.selector.select(0.02):
                key.data(mask)
        self.server.close()

    def close(self) -> None:
        """Stop."""
        self.over = True
        self.thread.join()

    def client(self) -> socket.socket:
        """Connect."""
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(5)
        try:
            made.connect(self.path)
        except OSError:
            made.close()
            raise
        return made

    def ask(self, raw: bytes) -> dict[str, object]:
        """Send a line, return the answer."""
        with self.client() as client:
            client.sendall(raw + b"\n")
            return dict(json.loads(client.makefile().readline()))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running server for the module."""
    made = Served(tmp_path_factory.mktemp("line"))
    yield made
    made.close()


def test_an_answer_knows_who_asks(served: Served) -> None:
    """The kernel says who is at the other end."""
    assert served.ask(b'{"op": "x"}') == {"ok": True, "uid": os.getuid(), "got": {"op": "x"}}


def test_a_refusal_has_sentence_and_code(served: Served) -> None:
    """Errors of the core travel whole."""
    assert served.ask(b'{"op": "no"}') == {"ok": False, "error": "not today; try tomorrow", "code": Refused.exit_code}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300), st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
    )
)
def test_garbage_is_answered_with_one_sentence(served: Served, raw: bytes) -> None:
    """Whatever comes, the answer is an object, and what was no object was never taken as a request."""
    before = len(served.asked)
    raw = raw.replace(b"\n", b" ")
    answer = served.ask(raw)
    if answer["ok"]:
        assert isinstance(json.loads(raw), dict)
    else:
        assert "request is one JSON object" in str(answer["error"])
        assert len(served.asked) == before


def test_deep_nesting_is_garbage_too(served: Served) -> None:
    """A parser's recursion limit is no crash."""
    assert served.ask(b"[" * 30000)["ok"] is False


def test_an_endless_line_is_cut_off(served: Served) -> None:
    """A line longer than the bound ends the connection with a reason; memory does not grow with it."""
    with served.client() as client, pytest.raises(OSError):
        client.sendall(b"x" * (128 << 20))
    assert served.ask(b"{}")["ok"] is True


def test_slow_and_idle_clients_do_not_keep_others_out(served: Served) -> None:
    """More idle clients than there are places: a new one is still served within a second or so."""
    idle = []
    for _ in range(line.CLIENTS + 10):
        try:
            idle.append(served.client())
        except OSError:
            break
    begun = time.monotonic()
    while time.monotonic() - begun < 3:
        try:
            if served.ask(b"{}")["ok"]:
                break
        except (OSError, ValueError):
            time.sleep(0.05)
    took = time.monotonic() - begun
    for client in idle:
        client.close()
    assert took < 2.5


def test_pipelined_lines_are_answered_in_order(served: Served) -> None:
    """Several requests in one packet, one split over two."""
    with served.client() as client:
        client.sendall(b'{"n": 1}\n{"n": 2}\n{"n"')
        time.sleep(0.05)
        client.sendall(b": 3}\n")
        lines = client.makefile()
        assert [json.loads(lines.readline())["got"]["n"] for _ in range(3)] == [1, 2, 3]


def test_the_socket_has_the_rights_it_was_given(served: Served) -> None:
    """From the moment it exists."""
    assert Path(served.path).stat().st_mode & 0o777 == 0o600
