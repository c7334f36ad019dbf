"""Verbs about the fleet's devices, from quarantine to the end of their lives."""

import getpass
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from agent.core.errors import Missing
from provisioning.cli.answer import answer, answers, few_words, profile_path, with_fleet, with_profiles
from provisioning.cli.batch import places_from, with_enrolment
from provisioning.cli.opened import open_fleet
from provisioning.fleet import states
from provisioning.fleet.boards import read_key
from provisioning.fleet.keeping import forget, publish
from provisioning.fleet.registry import Planned, Registry
from provisioning.fleet.safe import whole_file
from provisioning.fleet.slots import slots

MARKS = {states.QUARANTINED: "[red]!![/]", states.TRANSFERRING: "[yellow]..[/]", states.RETIRED: "[dim]--[/]"}


@click.group(
    epilog="\b\nExamples:\n  privet-fleet devices list\n"
    '  privet-fleet devices quarantine d-0123 --why "seen at a market"'
)
def devices() -> None:
    """See the fleet's devices; shut one out, give one away, end its life."""


@contextmanager
def opened(directory: Path, descriptor: int | None) -> Iterator[Registry]:
    """Open the registry; afterwards forget what is over, publish what is revoked, remember the ledger's end."""
    registry = Registry(open_fleet(directory, descriptor))
    try:
        forget(registry)
        yield registry
        publish(registry)
        registry.remember()
    finally:
        registry.close()


def acting(command: click.decorators.FC) -> click.decorators.FC:
    """Give a verb the options of an act that is noted: of which device, by whom, or only tried."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Say whether it is possible, and change nothing."),
        click.option("--by", callback=few_words, help="Your name in the ledger.  [default: who you are logged in as]"),
    ):
        command = option(command)
    command = click.argument("device")(command)
    return with_fleet(answers(command))


def acted(registry: Registry, device: str, event: str, dry_run: bool, act: Callable[[], Any], sentence: str) -> Any:
    """Do an act, or see whether it could be done; then say so."""
    state, following = registry.following(device, event)
    made = None if dry_run else act()
    result = {"device": device, "state": state if dry_run else following, "changed": not dry_run}
    text = f"{device} would become {following}." if dry_run else sentence
    answer(result, lambda to: to.print(text if dry_run else f"[green]✓[/] {text}"))
    return made


@devices.command(
    "list", epilog="\b\nExamples:\n  privet-fleet devices list\n  privet-fleet devices list --state quarantined"
)
@with_fleet
@answers
@click.option("--state", type=click.Choice(states.STATES), help="Only these.")
@click.option("--batch", type=int, default=0, help="Only those of one batch.")
def list_devices(fleet_directory: Path, passphrase_fd: int | None, state: str | None, batch: int) -> None:
    """List the devices; those that need you come first."""
    with opened(fleet_directory, passphrase_fd) as registry:
        rows, counted = registry.listing(state or "", batch), registry.counted()
    found = [{"device": r.id, "state": r.state, "batch": r.batch, "since": day(r.changed), "why": r.why} for r in rows]

    def show(to: Console) -> None:
        table = Table(box=None)
        for name in ("", "device", "state", "since", "batch", "why"):
            table.add_column(name)
        for one in found:
            mark = MARKS.get(str(one["state"]), "")
            table.add_row(mark, *(str(one[name]) for name in ("device", "state", "since", "batch", "why")))
        to.print(table)
        to.print(", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "There are no devices yet.")

    answer({"devices": found, "counted": counted}, show)


@devices.command("show", epilog="\b\nExample:\n  privet-fleet devices show d-0123456789abcdef")
@with_fleet
@answers
@click.argument("device")
def show_device(fleet_directory: Path, passphrase_fd: int | None, device: str) -> None:
    """Show a device: its state, its certificates, and all that the ledger tells of it."""
    with opened(fleet_directory, passphrase_fd) as registry:
        row, held, told = registry.shown(device)
    certificates = [{"serial": r.serial, "state": r.state, "begins": day(r.begins), "ends": day(r.ends)} for r in held]
    facts = [json.loads(r.facts) for r in told]
    ledger = [
        {"row": r.row, "at": day(r.at), "event": r.event, "why": f.get("why", ""), "by": f.get("by", "")}
        for r, f in zip(told, facts, strict=True)
    ]
    result = {"device": device, "state": row.state, "why": row.why, "batch": row.batch, "bound": row.serial is not None,
              "receipt": (row.receipt or b"").hex(), "certificates": certificates, "ledger": ledger}  # fmt: skip

    def show(to: Console) -> None:
        to.print(f"[bold]{device}[/] {states.WHY[row.state]}{': ' + row.why if row.why else ''}")
        for one in certificates:
            to.print(f"  certificate {one['serial']}: {one['state']}, {one['begins']} to {one['ends']}")
        for one in ledger:
            to.print(f"  {one['at']}  {one['event']}  {one['why']} {one['by']}", markup=False)

    answer(result, show)


@devices.command("quarantine", epilog='\b\nExample:\n  privet-fleet devices quarantine d-0123 --why "seen at a market"')
@acting
@click.option("--why", required=True, callback=few_words, help="What you know, for whoever looks at it later.")
def quarantine(
    fleet_directory: Path, passphrase_fd: int | None, device: str, by: str | None, dry_run: bool, why: str
) -> None:
    """Shut DEVICE out until somebody releases it: no broker and no server takes its certificate."""
    with opened(fleet_directory, passphrase_fd) as registry:
        done = f"{device} is shut out; release it with privet-fleet devices release."
        acted(registry, device, states.QUARANTINE, dry_run, lambda: registry.quarantine(device, why, who(by)), done)


@devices.command("release", epilog='\b\nExample:\n  privet-fleet devices release d-0123 --why "the copy is on my desk"')
@acting
@click.option("--why", required=True, callback=few_words, help="Why it can be trusted again.")
def release(
    fleet_directory: Path, passphrase_fd: int | None, device: str, by: str | None, dry_run: bool, why: str
) -> None:
    """Let DEVICE be what it was before its quarantine; with its certificate it is let in again."""
    with opened(fleet_directory, passphrase_fd) as registry:
        _, state = registry.following(device, states.RELEASE)
        done = f"{device} is out of quarantine: it {states.WHY[state]}."
        acted(registry, device, states.RELEASE, dry_run, lambda: registry.release(device, why, who(by)), done)


@devices.command("transfer", epilog="\b\nExamples:\n  privet-fleet devices transfer d-0123\n"
                 "  privet-fleet devices transfer d-0123 --receipt erased.cose\n"
                 "  privet-fleet devices transfer d-0123 --without-receipt --by ada")  # fmt: skip
@acting
@with_profiles
@with_enrolment
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), help="What the device signed when erased.")
@click.option("--without-receipt", is_flag=True, help="You answer, by --by NAME, for a device that gave none.")
def transfer(
    fleet_directory: Path, passphrase_fd: int | None, device: str, by: str | None, dry_run: bool, profiles: Path | None,
    model: str, enrol: str, receipt: Path | None, without_receipt: bool,
) -> None:  # fmt: skip
    """Give DEVICE away: begun without a receipt, ended with it.

    At its end the old certificate is revoked. Where the device reaches `privet-fleet serve` it hands its receipt in by
    itself and gets a voucher for its next owner; with --receipt a seed is made that opens the new owner's claim.
    """
    proof = read_receipt(receipt)
    with opened(fleet_directory, passphrase_fd) as registry:
        state = registry.shown(device)[0].state
        if state != states.TRANSFERRING:
            done = (
                f"{device} waits for its owner to erase it: privet erase --all on the device; no link: --receipt here."
            )
            if state == states.RESET:
                done = f"{device} was erased by its owner; it gets a voucher for the next one when it asks again."
            acted(registry, device, states.TRANSFER, dry_run, lambda: registry.transfer(device, who(by)), done)
            return
        places = places_from(registry.fleet, profile_path(model, profiles), enrol)
        answerer = (by or "") if without_receipt else ""
        path = registry.fleet.safe.directory / "devices" / device / f"{device}.slot"
        done = f"{device} has no owner now; the seed for its next one is in {path}."

        def ended() -> None:
            made = registry.erased(device, proof, answerer)
            whole_file(path, next(slots(registry.fleet, places, [made])))

        acted(registry, device, states.ERASED, dry_run, ended, done)


@devices.command("reseed", epilog="\b\nExamples:\n  privet-fleet devices reseed d-0123\n"
                 "  privet-fleet devices reseed d-0123 --board-key key.txt")  # fmt: skip
@acting
@with_profiles
@with_enrolment
@click.option("--board-key", type=click.Path(path_type=Path, dir_okay=False), help="Seal it: what the board printed.")
def reseed(
    fleet_directory: Path, passphrase_fd: int | None, device: str, by: str | None, dry_run: bool, profiles: Path | None,
    model: str, enrol: str, board_key: Path | None,
) -> None:  # fmt: skip
    """Make a new seed for DEVICE, whose card is lost or was written anew; every unused token before it is void."""
    key = read_key(board_key) if board_key else b""
    with opened(fleet_directory, passphrase_fd) as registry:
        places = places_from(registry.fleet, profile_path(model, profiles), enrol)
        path = registry.fleet.safe.directory / "devices" / device / f"{device}.slot"

        def made() -> None:
            card: Planned = registry.token(device, by=who(by))
            whole_file(path, next(slots(registry.fleet, places, [card], keys=[key])))

        acted(registry, device, states.FLASH, dry_run, made, f"The seed of {device} is in {path}.")


@devices.command("retire", epilog="\b\nExamples:\n  privet-fleet devices retire d-0123 --receipt erased.cose\n"
                 "  privet-fleet devices retire d-0123 --by ada")  # fmt: skip
@acting
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), help="What the device signed when erased.")
def retire(
    fleet_directory: Path, passphrase_fd: int | None, device: str, by: str | None, dry_run: bool, receipt: Path | None
) -> None:
    """End the life of DEVICE: revoked, its token void, its receipt kept. Without a receipt give your name with --by."""
    proof = read_receipt(receipt)
    with opened(fleet_directory, passphrase_fd) as registry:
        done = f"{device} is retired for good."
        acted(registry, device, states.RETIRE, dry_run, lambda: registry.retire(device, proof, by or ""), done)


def read_receipt(path: Path | None) -> bytes:
    """Read a receipt; it is judged where it is used."""
    if path is None:
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(65536) or b"\0"
    except OSError as error:
        raise Missing(f"{path} cannot be read ({error.strerror}); give the file that the device made") from None


def who(by: str | None) -> str:
    """Return who acts."""
    return by or getpass.getuser()


def day(at: int) -> str:
    """Return a time as people read it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
