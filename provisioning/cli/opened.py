"""Open a fleet for a verb, asking for its passphrase when it has one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from provisioning.collector.receive import Collector
    from provisioning.collector.store import Store

from agent.core.errors import Missing
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import FACTS, Passphrase, passphrase_asked, passphrase_from


def open_fleet(directory: Path, descriptor: int | None) -> Fleet:
    """Open a fleet, asking for its passphrase when it has one; Missing when there is none."""
    return Fleet.open(directory, passphrase(directory, descriptor))


def passphrase(directory: Path, descriptor: int | None) -> Passphrase | None:
    """Return the passphrase of a fleet, None when it has none."""
    try:
        facts = json.loads((directory / FACTS).read_bytes())
    except FileNotFoundError:
        raise Missing(f"{directory} holds no fleet; make one with: privet-fleet init --fleet {directory}") from None
    except (OSError, ValueError):
        return None  # Fleet.open says what is wrong with it
    if not (isinstance(facts, dict) and facts.get("salt")):
        return None
    return passphrase_asked() if descriptor is None else passphrase_from(descriptor)


with_store = click.option(
    "--store", envvar="PRIVET_STORE", metavar="FILE|URL", show_envvar=True,
    help="A file, or PostgreSQL such as postgresql:///readings.  [default: the recipient's file]",
)  # fmt: skip
with_recipient = click.option("--recipient", default="collector", show_default=True, help="Whose readings.")


with_reader = click.option(
    "--reader", default="", help="Who reads.  [default: this account; with PostgreSQL always the database's role]"
)


def opened_store(fleet: Fleet, recipient: str, store: str | None) -> "Store":
    """Open a recipient's store, which must be there."""
    from provisioning.collector.store import Store  # noqa: PLC0415 - SQLAlchemy, which --help does not need

    place = store_at(fleet, recipient, store)
    if isinstance(place, Path) and not place.exists():
        raise Missing(f"{place} is not there; receive something first: privet-fleet collect")
    return Store(place)


def hand_out(collector: "Collector", reader: str, act: str, purpose: str | None, after: int) -> None:
    """Let a collector hand out what a reader may read, as long as they may, and note that they do; Refused else."""
    from provisioning.collector import readers  # noqa: PLC0415 - the same

    store = collector.store
    name = readers.caller(store, reader)
    readers.note(store, name, act, readers.allowed(store, name, purpose), after)
    collector.allowed = lambda: readers.allowed(store, name, purpose)


def store_at(fleet: Fleet, recipient: str, store: str | None) -> Path | str:
    """Return where a recipient's store is: the URL of a database, or a path."""
    if store and "://" in store:
        return store
    return Path(store) if store else fleet.safe.directory / f"collector-{recipient}" / "store.db"
