"""The JSON-lines sockets under garbage, floods and crowds: one clear error, nothing changed, others served."""

import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.errors import Refused, Unreachable
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
        if request.get("op") == "slow":
            time.sleep(0.001)
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
    begun, answered = time.monotonic(), False
    while not answered and time.monotonic() - begun < line.PATIENCE - 2:
        try:
            answered = served.ask(b"{}")["ok"] is True
        except (OSError, ValueError):
            time.sleep(0.05)
    for client in idle:
        client.close()
    assert answered


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


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    """A sentence says what is in the way; a file, a pipe or a link there is replaced, what the link names stays."""
    victim, place = tmp_path / "victim", tmp_path / "place.sock"
    victim.write_text("mine")
    for plant in (place.touch, lambda: os.mkfifo(place), lambda: place.symlink_to(victim)):
        plant()
        line.listen(str(place), 0o600).close()
        assert place.is_socket() and not place.is_symlink() and victim.read_text() == "mine"
        place.unlink()
    place.mkdir()
    with pytest.raises(Unreachable, match=r"cannot listen on .*place.sock: .* remove it"):
        line.listen(str(place), 0o600)


def until(done: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_one_account_cannot_take_the_places_of_others(served: Served) -> None:
    """A share is full: no more of that account, but others come in; all are full: root comes in."""
    until(lambda: not served.server.clients)
    held = []
    for uid in range(4001, 4001 + line.CLIENTS // line.SHARE):
        assert served.server.room(uid)
        for _ in range(line.SHARE):
            held.append(served.client())
            until(lambda: len(served.server.clients) == len(held))
        new = [one for one in served.server.clients if not 4000 < one.peer.uid < 5000]
        for one in new:
            one.peer.uid = uid
        for one in served.server.clients:  # none of them idles
            one.since = time.monotonic() + 60
        assert not served.server.room(uid)
    assert not served.server.room(3999)
    assert served.server.room(0)
    for client in held:
        client.close()
    until(lambda: not served.server.clients)


def test_who_has_no_place_is_told(served: Served) -> None:
    """One sentence, then the line is cut."""
    held = []
    for _ in range(line.CLIENTS):
        held.append(served.client())
        until(lambda: len(served.server.clients) == len(held))
    for one in served.server.clients:
        one.since = time.monotonic() + 60
    with served.client() as guest:
        assert guest.makefile().read() == json.dumps(line.refusal(Unreachable(line.FULL))) + "\n"
    for client in held:
        client.close()
    until(lambda: not served.server.clients)


def test_a_chatterer_does_not_hold_up_others(served: Served) -> None:
    """Thousands of requests in one packet take their turns: somebody who asks one thing meanwhile does not wait."""
    with served.client() as chatterer:
        ear = threading.Thread(target=chatterer.makefile().read)
        ear.start()
        chatterer.sendall(b'{"op": "slow"}\n' * 4000)
        until(lambda: {"op": "slow"} in served.asked)
        assert served.ask(b'{"op": "quick"}')["ok"] is True
        assert sum(request == {"op": "slow"} for request in served.asked) < 2000
        chatterer.shutdown(socket.SHUT_RDWR)
        ear.join()


def test_a_line_must_end_in_time(served: Served) -> None:
    """A byte now and then does not renew the time that one line has."""
    until(lambda: not served.server.clients)
    with served.client() as drip:
        for _ in range(10):
            drip.sendall(b" ")
            time.sleep(0.03)
        (client,) = served.server.clients
        assert time.monotonic() - client.since > 0.2
        drip.sendall(b"{}\n")
        assert json.loads(drip.makefile().readline())["ok"] is True
        until(lambda: time.monotonic() - client.since < 0.2)


def test_answers_nobody_reads_do_not_pile_up(served: Served) -> None:
    """A client that asks and asks and never reads is not answered any further, and costs a few packets at most."""
    until(lambda: not served.server.clients)
    with served.client() as deaf:
        deaf.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                deaf.send(b'{"n": "%s"}\n' % (b"x" * 4000) * 10)
        assert served.ask(b"{}")["ok"] is True
        until(lambda: sum(bool(one.owed) for one in served.server.clients) == 1)
        (client,) = [one for one in served.server.clients if one.owed]
        assert len(client.owed) + len(client.taken) < 4 * line.LINE


def test_waiting_for_us_is_no_idleness(tmp_path: Path) -> None:
    """Whoever waits while the guard is busy keeps the place; whoever says nothing while it listens does not."""
    with selectors.DefaultSelector() as selector:
        server = line.LineServer(selector, str(tmp_path / "y.sock"), 0o600, lambda client, request: {"ok": True})
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(server.path)
            server.accept(1)
            heard = time.monotonic()
            (client,) = server.clients
            client.since = heard - line.PATIENCE / 2
            server.tidy(heard)  # long after, by the clock, but nobody was listened to in between
            assert server.clients == {client}
            server.tidy(heard + line.PATIENCE)
            assert not server.clients
        server.close()
