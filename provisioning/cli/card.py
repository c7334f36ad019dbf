"""Verbs about one card that was flashed: read what it tells, give it another seed, wipe it."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from agent.core.errors import Missing, Refused
from agent.core.slot import halves
from provisioning.card.inject import injected
from provisioning.card.progress import Progress
from provisioning.card.targets.opening import named_disk, reading
from provisioning.card.targets.rules import size
from provisioning.card.targets.shown import shown
from provisioning.card.told import Told, half, place, state, told
from provisioning.card.wipe import wiped
from provisioning.cli.answer import answer, answers, console, wants_json, with_fleet
from provisioning.cli.board import bar
from provisioning.cli.cards import card as opened_card
from provisioning.cli.cards import seeds_of, wanted, with_rules
from provisioning.cli.opened import open_fleet
from provisioning.fleet.safe import FACTS

LABELS = {
    "device": "device", "enrol": "enrols at", "floor": "made", "time": "used", "key": "key", "serial": "bound to",
    "board": "sealed to the board", "sequence": "policy", "signed_by": "signed by key", "why": "why",
}  # fmt: skip


@click.command(epilog="\b\nExamples:\n  sudo privet-fleet card sdb\n  privet-fleet card copy-of-a-card.img --json")
@answers
@click.argument("disk")
def card(disk: str) -> None:
    """Read what the card in DISK (or a file with its content) tells of itself; nothing is changed.

    A token is never shown. A receipt says which device used the card, with which key, and when it said so.
    """
    found = read_only(disk)
    sides = [half(one) for one in halves(found.slot)] if found.slot else []
    result = {
        "holds": found.content.told, "kind": found.content.kind, "slot": found.offset if found.slot else None,
        "state": state(found.slot) if found.slot else "no slot", "halves": sides,
    }  # fmt: skip

    def show(to: Console) -> None:
        to.print(f"{escape(shown(disk))} holds {escape(found.content.told)}; its slot: [bold]{result['state']}[/]")
        for name, side in zip("AB", sides, strict=False):
            to.print(f"  {name}: {side['holds']}")
            for key, value in side.items():
                if key in LABELS and value != "":
                    moment = (
                        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(value)) if key in {"floor", "time"} else value
                    )
                    to.print(f"     {LABELS[key]}: {escape(shown(str(moment)))}")

    answer(result, show)


def read_only(name: str) -> Told:
    """Look at a card, or a file, without opening it for writing."""
    path = Path(name)
    node = path if path.is_file() else named_disk(name).node
    try:
        file = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{node} cannot be read ({error.strerror}); run the command with sudo") from None
    try:
        return told(lambda offset, length: os.pread(file, length, offset), os.lseek(file, 0, os.SEEK_END))
    except OSError as error:
        raise Refused(f"{node} cannot be read ({error.strerror}); use another reader") from None
    finally:
        os.close(file)


@click.command(epilog="\b\nExample:\n  sudo privet-fleet inject sdb --batch 1")
@with_rules
@with_fleet
@answers
@click.argument("disk")
@click.option("--batch", required=True, help="Where the seeds are: the batch's number, or its folder.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def inject(
    largest: int | None, waivers: tuple[str, ...], fleet_directory: Path, passphrase_fd: int | None, disk: str,
    batch: str, dry_run: bool,
) -> None:  # fmt: skip
    """Give the card in DISK another seed; all else on it stays as it is.

    What was in the slot is overwritten. The token of the former seed still opens its enrolment: have it voided.
    """
    with ExitStack() as held:
        target = opened_card(disk, wanted(largest, waivers), held)
        offset = place(reading(target), target.size)
        if not offset:
            raise Missing(f"{shown(disk)} has no slot; flash it with privet-fleet flash")
        fleet = open_fleet(fleet_directory, passphrase_fd) if (fleet_directory / FACTS).exists() else None
        seeds = seeds_of(batch, fleet_directory, fleet, "", held)
        if dry_run:
            before = state(reading(target)(offset, 8192))
            result = {"device": None, "before": before, "left": seeds.left(), "slot": offset}
            answer(
                result,
                lambda to: to.print(f"The slot holds: {before}; {seeds.left()} seeds are left. Nothing was done."),
            )
            return
        device, before = injected(target, offset, seeds)

    def show(to: Console) -> None:
        to.print(f"[green]✓[/] {escape(shown(disk))} is [bold]{device}[/] now (its slot held: {before}).")

    answer({"device": device, "before": before, "slot": offset}, show)


@click.command(
    epilog="\b\nExamples:\n  sudo privet-fleet wipe sdb\n  sudo privet-fleet wipe sdb --waive sdb=31914983424"
)
@with_rules
@answers
@click.argument("disk")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def wipe(largest: int | None, waivers: tuple[str, ...], disk: str, dry_run: bool) -> None:
    """Erase the card in DISK: forgotten, overwritten with zeros, and every byte read back.

    Spare cells that a card keeps to itself can be reached by nobody; what matters is that nothing on it opens anything.
    """
    with ExitStack() as held:
        target = opened_card(disk, wanted(largest, waivers), held)
        result = {"target": target.name, "size": target.size, "wiped": not dry_run}
        if not dry_run:
            run_wipe(lambda progress, stop: wiped(target, progress, stop))

    def show(to: Console) -> None:
        mark, act = ("", "would be") if dry_run else ("[green]✓[/] ", "is")
        to.print(f"{mark}{escape(shown(target.name))} ({size(target.size)}) {act} wiped and read back.")

    answer(result, show)


def run_wipe(work: Callable[[Progress, threading.Event], None]) -> None:
    """Wipe in a thread, and show how far it is; Ctrl-C stops it between two chunks."""
    progress, stop = Progress(), threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work(progress, stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=run, name="wipe")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    to = console(err=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.25)
        if to.is_terminal and not wants_json() and progress.total:
            to.print(
                f"{progress.stage:<10} {bar(progress.done / progress.total)} {progress.rate() / 2**20:.1f} MiB/s",
                end="\r",
            )
    if failed:
        raise failed[0]
