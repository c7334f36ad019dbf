"""A crowd of devices as far as a collector can tell: sealed records over real TLS, sent again until they are let go."""

import time
from collections.abc import Callable, Sequence

from agent.courier.link import Link
from provisioning.collector.open import Place
from provisioning.fleet.identity import Fleet
from tests.collector.device import Sender
from tests.courier.rig import FLEET, QUICK, Remembering, Site, drive

AGAIN = 3.0  # seconds without a new word from the collector after which a device begins again
AHEAD = 20  # messages on their way at most


class Device:
    """One device with one stream; `turn` it until it is `done`."""

    def __init__(self, name: str, link: Link, heard: Remembering, key: tuple[str, bytes], count: int) -> None:
        self.sender = Sender([key], device=name)
        self.sender.fleet = FLEET
        self.link, self.heard = link, heard
        self.messages = [self.sender.epoch(), *(self.sender.send(n) for n in range(count))]
        self.released = 0  # up to which number the collector let it forget
        self.acks: list[int] = []
        self._next = self._number = self._sessions = 0
        self._since = time.monotonic()

    @property
    def place(self) -> Place:
        """Where its records belong."""
        return Place(device=self.sender.device, purpose=self.sender.purpose, boot=1)

    @property
    def done(self) -> bool:
        """True when the collector has let go of everything."""
        return self.released >= len(self.messages)

    def turn(self) -> None:
        """Take what came; send what is next, and all of it again when nobody answers."""
        for kind, payload in self.heard.arrivals:
            if kind == "ack" and (found := self.sender.released([(self._ack, payload)], "one")):
                self.acks.append(found)
                if found > self.released:
                    self.released, self._since = found, time.monotonic()
        self.heard.arrivals.clear()
        sessions = self.link.sessions
        if time.monotonic() - self._since > AGAIN or sessions != self._sessions:
            self._next, self._since, self._sessions = self.released, time.monotonic(), sessions
        while self._next < len(self.messages) and self.link.publish(
            self._number + 1, f"up/{self.sender.purpose}", self.messages[self._next][1]
        ):
            self._number += 1
            self._next += 1

    @property
    def _ack(self) -> str:
        return f"privet/1/{FLEET}/{self.sender.device}/ack"


def public(fleet: Fleet, recipient: str) -> tuple[str, bytes]:
    """Return a recipient as policies name one."""
    return recipient, fleet.recipient_public(recipient)


def crowd(site: Site, names: Sequence[str], ports: Sequence[int], count: int) -> list[Device]:
    """Make devices that send so many records each to the brokers at these ports, of which each begins with another."""
    key, made = public(site.fleet, "one"), []
    for number, name in enumerate(names):
        heard, shift = Remembering(), number % len(ports)
        first, *others = [*ports[shift:], *ports[:shift]]
        made.append(Device(name, site.link(name, first, heard, QUICK, others=others), heard, key, count))
    return made


def drained(devices: Sequence[Device], meanwhile: Callable[[], None], seconds: float) -> bool:
    """Run them until all of their records are let go; say whether that came to be."""
    ends = time.monotonic() + seconds
    links = [one.link for one in devices]
    while not all(one.done for one in devices) and time.monotonic() < ends:
        turned = iter((False, True))
        drive(links, turned.__next__, 0.2)
        for one in devices:
            one.turn()
        meanwhile()
    return all(one.done for one in devices)
