"""Whom a broker that knows names lets in: NATS and RabbitMQ, which read no revocation list. Fed from the registry.

Let in is a device of which a certificate is in force, by the registry and by the list of what was revoked by hand. So
enrolment, quarantine, release, transfer and retirement all change it, and nobody has to carry names. Who is left out
loses the live session at once: both engines end it themselves.

What such a broker cannot do: tell a former certificate from the one in force, of a device that has both. After a
renewal both are of one owner. After a change of hands they are not: the device stays out until the former owner's
certificate has ended, and its operator is told; to use it at once, retire it and flash it under a new name.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select

from agent.core.errors import BadInput, Failed, Missing, PrivetError
from agent.core.record import Record
from provisioning.broker import nats, rabbitmq
from provisioning.fleet import rows, states
from provisioning.fleet.identity import Fleet, checked
from provisioning.fleet.registry import Registry
from provisioning.fleet.revocation import revoked
from provisioning.fleet.safe import owned_file
from provisioning.fleet.tables import certificates, devices, ledger, reading

FILES = {"nats.conf": nats, "definitions.json": rabbitmq}
OUT = (states.QUARANTINED, states.RETIRED, states.RESET)


def admitted(registry: Registry) -> frozenset[str]:
    """Return the devices that are let in now."""
    by_hand = {f"{one.serial:x}" for one in revoked(registry.fleet)}
    wanted = (
        select(certificates.c.device, certificates.c.serial)
        .join(devices, devices.c.id == certificates.c.device)
        .where(
            certificates.c.state.in_(rows.IN_FORCE),
            certificates.c.ends > registry.now(),
            devices.c.state.not_in(OUT),
        )
    )
    with reading(registry.engine) as connection:
        found = connection.execute(wanted).all()
    return frozenset(row.device for row in found if row.serial not in by_hand) - former(registry).keys()


def former(registry: Registry) -> dict[str, int]:
    """Return devices that changed hands while a certificate of the owner before goes on, and until when it does."""
    erased = (
        select(ledger.c.device, func.max(ledger.c.at).label("at"))
        .where(ledger.c.event == states.ERASED, ledger.c.device.is_not(None))
        .group_by(ledger.c.device)
        .subquery()
    )
    wanted = (
        select(certificates.c.device, func.max(certificates.c.ends).label("ends"))
        .join(erased, erased.c.device == certificates.c.device)
        .where(
            certificates.c.state == rows.REVOKED,
            certificates.c.ends > registry.now(),
            certificates.c.begins <= erased.c.at,
        )
        .group_by(certificates.c.device)
    )
    with reading(registry.engine) as connection:
        return {row.device: int(row.ends) for row in connection.execute(wanted)}


class Listing(Record):
    """One file that says who is let in: where it is, of which engine, whom it named and whom it is to name."""

    __slots__ = ("after", "before", "path", "text")
    path: Path
    before: frozenset[str]
    after: frozenset[str]
    text: str

    @property
    def added(self) -> list[str]:
        """Who comes in."""
        return sorted(self.after - self.before)

    @property
    def gone(self) -> list[str]:
        """Who is left out from now on."""
        return sorted(self.before - self.after)

    def write(self) -> None:
        """Replace the file at once, as whose it was; what is as it should be is not touched."""
        if self.before != self.after:
            owned_file(self.path, self.text.encode())


def listings(fleet: Fleet, folders: Iterable[Path], names: Iterable[str]) -> tuple[Listing, ...]:
    """Read the files of one node or of a cluster's folders, and say what they are to become; nothing is written."""
    wanted = frozenset(checked(name, "device") for name in names)
    found: list[Listing] = []
    for folder in folders:
        here = [path for name in FILES for path in (folder / name, *sorted(folder.glob(f"*/{name}"))) if path.is_file()]
        if not here:
            raise Missing(f"{folder} holds neither nats.conf nor definitions.json; name a folder of broker cluster")
        found += [listing(fleet, path, wanted) for path in here]
    return tuple(found)


def listing(fleet: Fleet, path: Path, wanted: frozenset[str]) -> Listing:
    """Read one file; BadInput when it is damaged, or of another fleet."""
    engine = FILES[path.name]
    try:
        text = path.read_text(encoding="utf-8")
        before = frozenset(engine.listed(text, fleet.name))
        after = engine.relisted(text, fleet.name, sorted(wanted))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(f"{path} is not as privet-fleet wrote it; write it anew with privet-fleet broker") from None
    return Listing(path=path, before=before, after=wanted, text=after)


def waits(name: str, until: int) -> str:
    """Say why a device that changed hands is not let in yet."""
    day = f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d}"
    return (
        f"{name} changed hands; a broker that lets in by name keeps it out until {day}, when the certificate of its "
        "former owner ends; to use it before, retire it and flash it under a new name."
    )


class Lists(Protocol):
    """A running broker that lets in by name."""

    directory: Path

    @property
    def alive(self) -> bool:
        """True while it runs."""

    def admit(self, devices: Iterable[str]) -> None:
        """Let these in and nobody else."""


class Admission:
    """Keeps a running broker's list as the registry says; call `turn` about once a second.

    `more` are devices that the registry does not know, added by hand.
    """

    def __init__(
        self, registry: Registry, broker: Lists, inside: Iterable[str], more: Iterable[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.registry, self.broker, self.more, self._say = registry, broker, frozenset(more), say
        self.inside = frozenset(inside)
        self._wrong = ""
        self._former: dict[str, int] = {}

    def turn(self) -> None:
        """Look, and let the broker know what changed; what fails is said once and tried again.

        Failed when the broker has died: then nobody is let in, which is safe and has to be seen.
        """
        if not self.broker.alive:
            raise Failed(f"the broker has died; look into {self.broker.directory}/broker.log and start it again")
        try:
            self._follow()
            self._wrong = ""
        except PrivetError as error:
            if str(error) != self._wrong:
                self._wrong = str(error)
                self._say(f"Who is let in could not be brought up to the registry: {error}")

    def _follow(self) -> None:
        wanted, out = admitted(self.registry) | self.more, former(self.registry)
        for name in sorted(out.keys() - self._former.keys()):
            self._say(waits(name, out[name]))
        self._former = out
        if wanted == self.inside:
            return
        self.broker.admit(sorted(wanted))
        for names, word in ((wanted - self.inside, "is let in"), (self.inside - wanted, "is let in no more")):
            for name in sorted(names):
                self._say(f"{name} {word}.")
        self.inside = wanted
