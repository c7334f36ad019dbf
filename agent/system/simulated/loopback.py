"""The loopback of the simulated device: its daemons answer on their ports, byte for byte.

The program of a daemon that can be spoken to has `ports(process)`, and `answer(device, process)`: a generator that
yields what the daemon says (b"": it only listens) and is given what it hears; when it ends, the daemon has hung up.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from agent.core.errors import Unreachable
from agent.system.talk import Conversation, held, late

if TYPE_CHECKING:
    from agent.system.simulated.calls import SimulatedCalls
    from agent.system.simulated.system import Process

T = TypeVar("T")


class Loopback:
    """The part of a simulated device that speaks over its loopback."""

    if TYPE_CHECKING:
        processes: list[Process]
        kernel_calls: SimulatedCalls

        def _program(self, name: str) -> Any: ...

    def talk(self, port: int, conversation: Conversation[T], seconds: int = 10) -> T:
        """Speak with the simulated daemon that listens on a port; one that says nothing is one that is too late."""
        self.kernel_calls.step()
        for process in self.processes:
            program = self._program(process.name())
            if port in getattr(program, "ports", nowhere)(process):
                line = Line(self.kernel_calls, program.answer(self, process), late(port, seconds))
                return held(port, conversation, line.exchange)
        raise Unreachable("nothing listens on port %d of this device; start what should" % port)


class Line:
    """One connection to a simulated daemon."""

    def __init__(self, calls: "SimulatedCalls", daemon: Generator[bytes, bytes, None], late: str) -> None:
        self.calls = calls
        self.daemon = daemon
        self.late = late
        self.waiting = b""
        self.open = True
        self.turn(None)

    def turn(self, heard: bytes | None) -> None:
        """Let the daemon hear something, and keep what it says."""
        try:
            self.waiting += next(self.daemon) if heard is None else self.daemon.send(heard)
        except StopIteration:
            self.open = False

    def exchange(self, said: bytes) -> bytes:
        """Say something, which is one call; return what waits to be heard, b"" when the daemon hung up."""
        self.calls.step()
        if said and self.open:
            self.turn(said)
        heard, self.waiting = self.waiting, b""
        if not heard and self.open:
            raise Unreachable(self.late)
        return heard


def nowhere(process: "Process") -> tuple[int, ...]:
    """Return the ports of a program that cannot be spoken to."""
    return ()
