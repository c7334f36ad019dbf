"""Open a fleet for a verb, asking for its passphrase when it has one."""

import json
from pathlib import Path

import click

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


def store_at(fleet: Fleet, recipient: str, store: str | None) -> Path | str:
    """Return where a recipient's store is: the URL of a database, or a path."""
    if store and "://" in store:
        return store
    return Path(store) if store else fleet.safe.directory / f"collector-{recipient}" / "store.db"
