"""Conversations over the loopback: the same on this machine's sockets and on a simulated device."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from agent.core.errors import BadInput, Unreachable
from agent.system.door import System
from agent.system.real import RealSystem
from agent.system.simulated import SimulatedSystem
from agent.system.talk import LIMIT, held, post

Served = Callable[[bytes], bytes | None]  # what was heard so far -> what to say; None: hang up
Opened = Callable[[Served], contextlib.AbstractContextManager[tuple[System, int]]]


@contextlib.contextmanager
def real(served: Served, address: str = "127.0.0.1") -> Iterator[tuple[System, int]]:
    """Serve one connection on this machine's loopback."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((address, 0))
        listening.listen()
        listening.settimeout(10)

        def serve() -> None:
            """Take the one connection."""
            with contextlib.suppress(OSError), listening.accept()[0] as line:
                line.settimeout(10)
                heard = b""
                said = served(heard)
                while said is not None:
                    line.sendall(said)
                    part = line.recv(100)
                    heard += part
                    said = served(heard) if part else None

        serving = threading.Thread(target=serve)
        serving.start()
        yield RealSystem(), listening.getsockname()[1]
        serving.join()


@contextlib.contextmanager
def simulated(served: Served) -> Iterator[tuple[System, int]]:
    """Serve on a simulated device."""

    class Daemon:
        """A daemon that does what the test says."""

        def boot(self, device):
            """Start."""
            device.start(("/usr/sbin/daemon",), None)

        def ports(self, process):
            """Listen on one port."""
            return (1234,)

        def answer(self, device, process):
            """Say what the test says."""
            heard = b""
            said = served(heard)
            while said is not None:
                heard += yield said
                said = served(heard)

    system = SimulatedSystem(shipped=False)
    system.programs["daemon"] = Daemon()
    system.reboot()
    yield system, 1234


@pytest.fixture(params=[real, simulated], ids=["real", "simulated"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Give each way to serve in turn."""
    made: Opened = request.param
    return made


def greeting(heard: bytes) -> bytes | None:
    """Greet, answer a name, hang up."""
    return b"hello\n" if not heard else b"you are " + heard if heard == b"me\n" else None


def test_a_conversation(opened: Opened) -> None:
    """Listen, speak, listen; what the conversation returns comes back, and the end of the line is no more bytes."""

    def talk():
        heard = yield b""
        assert heard == b"hello\n"
        heard = yield b"me\n"
        assert heard == b"you are me\n"
        assert (yield b"bye\n") == b""
        return "done"

    with opened(greeting) as (system, port):
        assert system.talk(port, talk()) == "done"


def test_silence(opened: Opened) -> None:
    """Who says nothing is given up in time."""

    def talk():
        yield b"me\n"
        yield b""

    with (
        opened(lambda heard: b"") as (system, port),
        pytest.raises(Unreachable, match="did not answer within 1 seconds"),
    ):
        system.talk(port, talk(), 1)


def test_a_flood(opened: Opened) -> None:
    """Who says too much is hung up on."""

    def talk():
        while True:
            yield b"more"

    with (
        opened(lambda heard: b"x" * (LIMIT // 2)) as (system, port),
        pytest.raises(Unreachable, match="said more than"),
    ):
        system.talk(port, talk())


@pytest.mark.parametrize("system", [RealSystem(), SimulatedSystem()], ids=["real", "simulated"])
def test_nobody_there(system: System) -> None:
    """Where nobody listens the sentence says so, and a conversation that was not held is not begun."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        begun = []

        def talk():
            begun.append(True)
            yield b""

        with pytest.raises(Unreachable, match="nothing listens on port"):
            system.talk(taken.getsockname()[1], talk())
        assert not begun


def test_both_families_and_no_other_port() -> None:
    """A daemon that listens on IPv6 alone is found; a number that is no port is refused."""

    def talk():
        return (yield b"")

    with real(greeting, "::1") as (system, port):
        assert system.talk(port, talk()) == b"hello\n"
    for wrong in (0, -1, 65536):
        with pytest.raises(BadInput, match="is no port"):
            RealSystem().talk(wrong, talk())


def test_a_status_is_read_from_any_portions() -> None:
    """The status of an answer is read however it is cut; what is no HTTP has none."""
    for parts, status in (
        ([b"HTTP/1.1 2", b"00 OK\r\n\r\nbody"], 200),
        ([b"HTTP/1.0 403\n"], 403),
        ([b"\x15\x03\x01", b""], None),
        ([b""], None),
        ([b"HTTP/1.1 x\n"], None),
    ):
        waiting: list[bytes] = [*parts, b""]
        told: list[bytes] = []

        def exchange(words: bytes, waiting: list[bytes] = waiting, told: list[bytes] = told) -> bytes:
            """Keep what is said, and hand out the next portion."""
            told.append(words)
            return waiting.pop(0)

        assert held(80, post("/a", "text/plain", b"body"), exchange) == status
        assert told[0].endswith(b"Content-Length: 4\r\n\r\nbody")
