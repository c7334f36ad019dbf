"""Verbs about batches: the devices that are going to be flashed."""

import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import click
from rich.console import Console

from agent.core.errors import BadInput, Missing, Unreadable
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, profile_path, with_fleet, with_profiles
from provisioning.cli.init import host_and_port
from provisioning.cli.opened import open_fleet
from provisioning.fleet.boards import Board, read_boards
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import MOST_BATCH, Planned, Registry, drawn
from provisioning.fleet.safe import names_synced
from provisioning.fleet.slots import Places, places_of, slots
from provisioning.profile.issue import current_policy

ENROL_PORT = 8444


@click.group(epilog="\b\nExample:\n  privet-fleet batch create --count 100 --enrol enrol.garden.example")
def batch() -> None:
    """Plan devices: an id, a token and a seed for each card."""


def with_enrolment(command: click.decorators.FC) -> click.decorators.FC:
    """Give a verb the options of what a seed says."""
    for option in (
        click.option("--enrol", default="", help="Where devices enrol, such as enrol.example:8444; it is kept."),
        click.option("--profile", "model", default="base", show_default=True, help="Their device profile."),
    ):
        command = option(command)
    return command


@batch.command(
    "create",
    epilog="\b\nExamples:\n  privet-fleet batch create --count 100 --enrol enrol.garden.example\n"
    "  privet-fleet batch create --serials boards.csv",
)
@with_profiles
@with_fleet
@answers
@click.option("--count", type=click.IntRange(1, MOST_BATCH), help="How many devices.  [default: one for each board]")
@click.option(
    "--serials",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file: each card for one board, sealed to its key if given.",
)
@with_enrolment
@click.option("--dry-run", is_flag=True, help="Check everything, and make nothing.")
def create(
    profiles: Path | None, fleet_directory: Path, passphrase_fd: int | None, count: int | None, serials: Path | None,
    model: str, enrol: str, dry_run: bool,
) -> None:  # fmt: skip
    """Make a batch: random ids, single-use tokens, and a signed seed for each card.

    The seeds lie in the fleet's directory until their cards are flashed; the registry keeps only the tokens' SHA-256.
    """
    boards = read_boards(serials) if serials is not None else []
    number = count or len(boards)
    if not number or (boards and number != len(boards)):
        named = f"{serials} names {many(len(boards), 'board')}, and --count says {count}"
        words = named if boards else "nobody said how many"
        raise BadInput(f"{words}; give --count or --serials, or both alike")
    fleet = open_fleet(fleet_directory, passphrase_fd)
    if dry_run:
        enrolment(fleet, enrol)
        answer({"count": number, "changed": False}, lambda to: to.print(f"{many(number, 'device')} could be made."))
        return
    places = places_from(fleet, profile_path(model, profiles), enrol)
    cards = drawn(number)
    with laid(fleet, places, cards, boards) as beside, closing(Registry(fleet)) as registry:
        with unbroken():
            made = registry.planned(cards, [one.serial for one in boards])
            folder = beside.with_name(str(made))
            beside.rename(folder)
            names_synced(folder.parent)
        registry.remember()
    sealed = sum(1 for one in boards if one.key)
    names = [one.device for one in cards]
    result = {"batch": made, "count": number, "sealed": sealed, "directory": str(folder), "devices": names}

    def show(to: Console) -> None:
        to.print(f"[green]✓[/] Batch {made}: {many(number, 'device')}. Each seed lies in {folder}")
        to.print("  until its card was flashed and read back.")
        if sealed:
            to.print(f"  {sealed} of them are sealed: each opens on its own board alone.")

    answer(result, show)


def places_from(fleet: Fleet, profile: Path, enrol: str) -> Places:
    """Return what seeds say beside the device: where it enrols, its broker, its policy. `enrol` is kept when given."""
    host, port = enrolment(fleet, enrol)
    if enrol:
        fleet.safe.seal(enrol_host=host, enrol_port=str(port))
    issued = current_policy(fleet, profile)
    return places_of(fleet, issued.signed, issued.sequence, int(time.time()), (host, port))


def enrolment(fleet: Fleet, enrol: str) -> tuple[str, int]:
    """Return where devices enrol: as given, or as kept; Missing when nobody ever said."""
    if enrol:
        return host_and_port(enrol, ENROL_PORT)
    host, port = fleet.safe.facts.get("enrol_host", ""), fleet.safe.facts.get("enrol_port", "")
    if not host or not port.isdecimal():
        raise Missing("nobody said where devices enrol; give --enrol HOST:PORT once")
    return host, int(port)


@contextmanager
def unbroken() -> Iterator[None]:
    """Let Ctrl-C wait for what is half done without its other half."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def laid(fleet: Fleet, places: Places, cards: Sequence[Planned], boards: Sequence[Board]) -> Iterator[Path]:
    """Lay one `<device>.slot` for each card into a folder, to be renamed once the registry knows them.

    Before that nothing of the batch counts: whatever ends this, a full disk or Ctrl-C, leaves no device and no folder.
    """
    folder = fleet.safe.directory / "batches"
    beside = folder / f".{secrets.token_hex(4)}"
    try:
        beside.mkdir(mode=0o700, parents=True)
        made = slots(fleet, places, cards, [one.serial for one in boards], [one.key for one in boards])
        for one, content in zip(cards, made, strict=True):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(beside / f"{one.device}.slot", flags, 0o600), "wb") as file:
                file.write(content)
        os.sync()  # once for all of them, before they count
        yield beside
    except OSError as error:
        raise Unreadable(f"{folder} cannot be written ({error.strerror}); make room, then do it again") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
