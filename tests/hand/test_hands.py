"""The line between the guard and a hand: answers, errors, open files, and what happens when one of them ends."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from agent.core.errors import Missing, PrivetError, Refused, Unreachable
from agent.hand.__main__ import GIVEN, serve
from agent.system.hands import Hands, packed, received
from agent.system.real import RealSystem
from tests.house import ROOT

MINE = f"/proc/{os.getpid()}"


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    """Give hands as systemd would: one is begun for each connection to its socket."""
    with contextlib.ExitStack() as stack:
        for name in ("net", "look", "door", "kernel"):
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(tmp_path / f"{name}.sock"))
            server.listen()
            threading.Thread(target=accepted, args=(name, server), daemon=True).start()
        asking = Hands(str(tmp_path))
        stack.callback(asking.close)
        yield asking


def accepted(name: str, server: socket.socket) -> None:
    """Be a hand for each connection."""
    with contextlib.suppress(OSError):
        while True:
            line, _ = server.accept()
            threading.Thread(target=begun, args=(name, line), daemon=True).start()


def begun(name: str, line: socket.socket) -> None:
    """Be one hand."""
    with line, contextlib.suppress(OSError, PrivetError):
        serve(name, line)


def test_the_door_asks_hands_where_they_are(hands: Hands):
    """What is seen through a hand is what this very process sees of itself; the twin without hands sees the same."""
    through, plain = RealSystem(hands=hands), RealSystem()
    with open(ROOT / "README.md", "rb") as held:
        number = held.fileno()
        for system in (through, plain):
            assert system.target(f"{MINE}/fd/{number}") == str(ROOT / "README.md")
            assert str(number) in system.entries(f"{MINE}/fd")
            assert system.read(f"{MINE}/stat").startswith(str(os.getpid()).encode())
    assert set(hands.lines) == {"look"}


def test_an_error_of_the_hand_is_the_same_error_here(hands: Hands):
    """Its kind and its sentence come over; the line goes on."""
    system = RealSystem(hands=hands)
    with pytest.raises(Missing, match="is not there"):
        system.target("/proc/999999999/exe")
    assert system.target(f"{MINE}/exe")


def test_what_is_not_in_its_words_is_refused(hands: Hands):
    """Nothing is run, and the hand goes on with what it knows."""
    with pytest.raises(Refused, match="does not do that"):
        RealSystem(hands=hands).run(("nft", "flush", "ruleset"))
    with pytest.raises(Refused, match="does not do that"):
        hands.ask("look", "read", "/etc/shadow")
    assert hands.ask("look", "target", f"{MINE}/exe")


def test_a_connection_is_lent(hands: Hands):
    """A conversation is held over a connection that the hand made; a port where nobody listens is an error."""

    def hello() -> Generator[bytes, bytes, bytes]:
        heard = yield b"hello"
        return heard

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        assert RealSystem(hands=hands).talk(port, hello()) == b"HELLO"
    with pytest.raises(Unreachable, match="nothing listens"):
        RealSystem(hands=hands).talk(port, hello())


def echo(server: socket.socket) -> None:
    """Answer one caller in capitals."""
    line, _ = server.accept()
    with line:
        line.sendall(line.recv(100).upper())


@pytest.mark.skipif(os.geteuid() != 0, reason="fanotify needs root")
def test_who_writes_is_seen_through_a_lent_file(hands: Hands, tmp_path: Path):
    """The hand begins, the asker goes on without the power: the program that wrote is named."""
    system = RealSystem(hands=hands)
    folder = tmp_path / "watched"
    folder.mkdir()
    assert system.writers([str(folder)]) == ()
    # Not a child of ours, which would not be somebody else: it writes, says so, and ends when we let go of its input.
    script = f"import sys; open({str(folder / 'x')!r}, 'w').close(); print(flush=True); sys.stdin.read()"
    argv = ["setsid", "--fork", sys.executable, "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writing:
        assert writing.stdin is not None and writing.stdout is not None
        writing.stdout.readline()
        assert "python" in " ".join(system.writers([str(folder)]))
        writing.stdin.close()


def hung_up(server: socket.socket) -> None:
    """Take one connection and hang up."""
    server.accept()[0].close()


def test_a_hand_that_ends_is_one_sentence(tmp_path: Path):
    """Hung up before an answer, it is Unreachable and not asked twice; no socket: nobody is asked at all."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "look.sock"))
        server.listen()
        threading.Thread(target=hung_up, args=(server,), daemon=True).start()
        with pytest.raises(Unreachable, match="the hand look"):
            RealSystem(hands=Hands(str(tmp_path))).target(f"{MINE}/exe")
    assert RealSystem(hands=Hands(str(tmp_path / "none"))).target(f"{MINE}/exe")


@pytest.mark.parametrize(
    "spoilt", [b"\xff\xff\xff\xff", b"\0\0\0\x01\xff", b"\0\0\0\x01\x80", b"\0\0\0\x02\x81", b"\0"]
)
def test_a_spoilt_message_ends_the_hand(spoilt: bytes):
    """Too long, no list, torn: the line is over, and nothing was done."""
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=begun, args=("look", theirs))
    serving.start()
    with ours:
        ours.sendall(spoilt)
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
    serving.join(20)
    assert not serving.is_alive()


def test_who_is_not_the_guard_is_not_heard():
    """A real hand on a line from this process: it belongs to another service, so it is told nothing."""
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-c", TAKEN, str(theirs.fileno()), "look"]
    with ours, theirs:
        ours.sendall(packed(("target", f"{MINE}/exe")))
        done = subprocess.run(argv, cwd=ROOT, pass_fds=[theirs.fileno()], capture_output=True, text=True, check=False)
        theirs.close()
        assert done.returncode == 70
        assert "is not privet-guard.service, so it was not heard" in done.stderr
        with contextlib.suppress(ConnectionError):
            assert received(ours) == ([], [])


TAKEN = f"""
import os, sys
os.dup2(int(sys.argv[1]), {GIVEN})
from agent.hand.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


def test_without_a_name_it_says_who_starts_it():
    """Run by hand, it does nothing."""
    done = subprocess.run([sys.executable, "-m", "agent.hand"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "systemd starts this" in done.stderr
