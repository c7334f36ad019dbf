"""A device of the storm: the telemetry half of the guard on a real disk, and the twins that are known to be bad."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.core.clock import Clock
from agent.core.cose import Stream
from agent.core.secret import Secret
from agent.guard.outbox import Outbox
from agent.guard.port import Courier
from agent.guard.times import Times
from agent.system.real import RealSystem
from agent.system.vault import DirectVault, Vault
from tests.bench.sender import Sender

PURPOSES = ("climate", "warnings")


class Jumping(RealSystem):
    """This machine's files below a folder, and a wall clock that may be years away."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.off = 0

    def clock(self) -> Clock:
        """Look at the clocks."""
        return Clock(wall=max(0, int(time.time()) + self.off), boot=self.boot, uptime=int(time.monotonic()))


class Guard(Sender):
    """What keeps and sends; the time by which certificates are judged is known, as after an enrolment."""

    def __init__(self, folder: Path, apart: bool) -> None:
        self.door = Jumping(str(folder))
        super().__init__(folder, self.door, apart, PURPOSES)
        self.times = Times(self.door, self.books.store, self.vault, self.anchor)
        self.times.told = (int(time.time()), self.door.clock().uptime)

    def jump(self, seconds: int) -> None:
        """Let the wall clock be off by so much; the courier is told the time that is believed."""
        self.door.off = seconds
        if self.port.courier is not None:
            self.port.courier.tell(["time", self.times.now()])

    def greet(self, courier: Courier) -> None:
        """Tell a courier the time and where the broker is."""
        courier.tell(["time", self.times.now()])
        super().greet(courier)

    @property
    def waiting(self) -> int:
        """Records that are not released."""
        return sum(lane.queue.count for lane in self.outbox.lanes.values())

    @property
    def dropped(self) -> int:
        """Records of which a gap was told."""
        return sum(lane.dropped for lane in self.outbox.lanes.values())


class Trusting(Outbox):
    """Known to be bad: takes the broker's PUBACK for delivery."""

    def __init__(self, *facts: object) -> None:
        super().__init__(*facts)  # type: ignore[arg-type]
        self.places: dict[int, tuple[str, tuple[int, int]]] = {}

    def pump(self) -> None:
        """Give the courier what it has room for, and remember what."""
        for name, lane in self.lanes.items():
            if self.publish is None:
                return
            for place, payload in lane.to_send(20 - len(self.unsent), self.system.clock().uptime):
                self.places[self.number + 1] = (name, place)
                if not self.tell(name, payload):
                    return

    def sent(self, number: int) -> None:
        """Let go of what the broker has."""
        super().sent(number)
        name, place = self.places.pop(number, ("", (0, 0)))
        if name:
            self.lanes[name].queue.release(*place)
            self.lanes[name].flying = 0


class Open(DirectVault):
    """Known to be bad: seals no record."""

    def seal_records(self, key: Secret, stream: Stream, records: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        """Return them as they are."""
        return tuple(plain for _, plain in records)


class TrustingGuard(Guard):
    """Lets go too early."""

    outbox_kind: type[Outbox] = Trusting


class OpenGuard(Guard):
    """Keeps and sends what anybody can read."""

    def sealer(self) -> Vault:
        """Return a vault that seals no record."""
        return Open(Secret(bytes(32)))


KINDS: Mapping[str, type[Guard]] = {"": Guard, "puback": TrustingGuard, "plain": OpenGuard}
