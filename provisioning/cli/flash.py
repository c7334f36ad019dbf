"""The verb that writes cards: one image, any number of cards, each with a seed of its own."""

import signal
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.markup import escape

from agent.core.errors import Refused
from agent.core.shown import harmless, many
from provisioning.card.base import Base
from provisioning.card.mark import decode
from provisioning.card.seeds import Seeds
from provisioning.card.station import Station
from provisioning.card.targets.file import FileTarget
from provisioning.card.targets.found import Disk, look
from provisioning.card.targets.opening import held as held_on
from provisioning.card.targets.opening import opened
from provisioning.card.targets.rules import Wanted, reasons, size
from provisioning.card.targets.target import BLOCK
from provisioning.card.worker import Worker
from provisioning.cli.answer import answer, answers, console, wants_json, with_fleet
from provisioning.cli.board import Board
from provisioning.cli.cards import Size, candidates, opened_base, refuse_plain, seeds_of, vouched, wanted, with_rules

EPILOG = """\b
Examples:
  sudo privet-fleet flash privet.img sdb sdc --batch 1
  sudo privet-fleet flash privet.img --station --port 1-4 --port 1-5 --batch 1
  privet-fleet flash privet.img --to card.img --size 4G --batch 1
  sudo privet-fleet flash raspios.img.xz sdb --plain
"""
OFTEN = 0.1  # seconds between two looks at the cards


class Plan(NamedTuple):
    """What was asked for, on one page."""

    disks: tuple[str, ...]
    to: Path | None
    to_size: int | None
    station: bool
    ports: tuple[str, ...]
    most: int | None
    read_back: bool
    new: bool


@click.command(epilog=EPILOG)
@with_rules
@with_fleet
@answers
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("disks", nargs=-1)
@click.option("--to", type=click.Path(path_type=Path), help="Write a file instead of a card.")
@click.option(
    "--size", "to_size", type=Size(), help="How large the card is that the file stands for.  [default: the image]"
)
@click.option("--batch", help="One seed for each card: the batch's number, or its folder.")
@click.option("--station", is_flag=True, help="Write every card that is put into the readers at --port, until Ctrl-C.")
@click.option("--port", "ports", multiple=True, help="A reader of the station, as privet-fleet targets names it.")
@click.option("--count", type=click.IntRange(1), help="Let the station end after so many good cards.")
@click.option("--read-back/--no-read-back", default=True, help="Read every card back. A station always does.")
@click.option("--new-cards", "new", is_flag=True, help="They come out of sealed packages: no zeros behind the image.")
@click.option("--plain", is_flag=True, help="Write an image without a manifest: nobody vouches for it.")
@click.option("--room", type=click.Path(path_type=Path, file_okay=False), help="Where a packed image is unpacked.")
@click.option("--dry-run", is_flag=True, help="Check image and disks, and write nothing.")
def flash(
    largest: int | None, waivers: tuple[str, ...], fleet_directory: Path, passphrase_fd: int | None, image: Path,
    disks: tuple[str, ...], to: Path | None, to_size: int | None, batch: str | None, station: bool,
    ports: tuple[str, ...], count: int | None, read_back: bool, new: bool, plain: bool, room: Path | None,
    dry_run: bool,
) -> None:  # fmt: skip
    """Write IMAGE (.img, .img.xz, .img.zst) to each DISK, erase what was there, read all of it back.

    A card that is pulled out or loses its power meanwhile starts nothing; the same command goes on with it. With
    --json each event is one line, and so is the result.
    """
    plan = Plan(disks, to, to_size, station, ports, count, read_back, new)
    sensible(plan)
    manifest, fleet = vouched(image, fleet_directory, passphrase_fd)
    if not plain or batch:
        refuse_plain(manifest, image, "flash")
    with ExitStack() as stack:
        base = stack.enter_context(opened_base(image, manifest, room))
        if plan.to_size is not None and plan.to_size < base.size:
            raise Refused(f"the image needs {size(base.size)}, which is more than --size says; give a larger one")
        want = wanted(largest, waivers, ports, base.size)
        if dry_run:
            rehearse(plan, base, want)
            return
        seeds = seeds_of(batch, fleet_directory, fleet, base.digest.hex(), stack) if batch else None
        if station:
            run_station(plan, base, seeds, want)
        else:
            run_cards(plan, base, seeds, want)


def sensible(plan: Plan) -> None:
    """Refuse what contradicts itself."""
    ways = bool(plan.disks) + (plan.to is not None) + plan.station
    if ways > 1:
        raise Refused("name disks, or --to, or --station: one of the three")
    if plan.station and not plan.ports:
        raise Refused("a station writes in readers that are listed; give --port, privet-fleet targets shows the ports")
    if plan.station and not plan.read_back:
        raise Refused("a station reads every card back; leave out --no-read-back")
    if not plan.station and (plan.ports or plan.most):
        raise Refused("--port and --count are for a station; add --station")
    if plan.to_size is not None and plan.to is None:
        raise Refused("--size is the size of a file; add --to")


def rehearse(plan: Plan, base: Base, want: Wanted) -> None:
    """Say what would be done, and to which disks."""
    facts: list[dict[str, Any]] = []
    disks: list[Disk] = []
    if plan.station:
        disks = [disk for disk in look() if disk.size]
    elif plan.to is None:
        disks = candidates(want, plan.disks)
    for disk in disks:
        against = [one.told for one in reasons(disk, held_on(disk), want, named=not plan.station)]
        if not plan.station or not against:
            facts.append({"disk": disk.name, "accepted": not against, "reasons": against})
    result = {"image": base.name, "size": base.size, "to_write": base.filled, "disks": facts, "dry_run": True}

    def show(to: Any) -> None:
        to.print(f"{base.name}: {size(base.size)}, of which {size(base.filled)} are written; nothing was done.")
        for fact in facts:
            to.print(f"  {fact['disk']}: {'; '.join(fact['reasons']) or 'may be written'}", markup=False)

    answer(result, show)


def run_cards(plan: Plan, base: Base, seeds: Seeds | None, want: Wanted) -> None:
    """Write some cards at once and wait for all of them; the first failure decides the exit code."""
    stop, how = stopped(), {"read_back": plan.read_back, "new": plan.new}
    if plan.to is not None:
        opens = partial(made, plan.to, plan.to_size or base.size)
        workers = [Worker(str(plan.to), "", opens, base, seeds, stop, **how)]
    else:
        named = [(disk, partial(opened, disk, want, named=True)) for disk in candidates(want, plan.disks)]
        workers = [Worker(disk.name, disk.port, opens, base, seeds, stop, **how) for disk, opens in named]
    said = set[str]()
    with Board(console(err=wants_json()), lambda: workers, lambda: "", lines=wants_json()) as board:
        for worker in workers:
            worker.start()
        while len(said) < len(workers):
            for worker in workers:
                if not worker.running() and worker.name not in said:
                    said.add(worker.name)
                    if len(workers) > 1 or wants_json():
                        board.tell({"event": worker.state, **worker.facts()})
            board.show()
            next((worker for worker in workers if worker.running()), workers[0]).join(OFTEN)
    for worker in workers:
        worker.let_go()
    close(workers, base)


def made(path: Path, total: int) -> FileTarget:
    """Make the file, or open the one that an earlier run left unfinished."""
    try:
        with path.open("rb") as file:
            unfinished = decode(file.read(BLOCK)) is not None
    except OSError:
        unfinished = False
    return FileTarget(path, total, create=not unfinished)


def close(workers: list[Worker], base: Base) -> None:
    """Say how it ended; raise what the first failed card failed with."""
    bad = [worker for worker in workers if worker.error is not None]
    if bad and bad[0].error is not None:
        if len(workers) > 1:
            raise type(bad[0].error)(f"of {len(workers)} cards {len(bad)} could not be done; the first: {bad[0].error}")
        raise bad[0].error
    result = {"image": base.name, "cards": [worker.facts() for worker in workers]}

    def show(to: Any) -> None:
        for worker in workers:
            stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in worker.facts()["stages"].items())
            who = f" as [bold]{worker.device}[/]" if worker.device else ""
            to.print(f"[green]✓[/] {escape(harmless(worker.name))}{who}: {stages}")

    answer(result, show)


def run_station(plan: Plan, base: Base, seeds: Seeds | None, want: Wanted) -> None:
    """Run a station until it is told to end."""
    board: list[Board] = []

    def tell(event: dict[str, Any]) -> None:
        board[0].tell(event)

    station = Station(base, seeds, want, look, tell, new=plan.new)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: station.stop.set())

    def workers() -> list[Worker]:
        return [place.worker for _, place in sorted(station.places.items()) if place.worker is not None]

    def foot() -> str:
        left = f", {many(seeds.left(), 'seed')} left" if seeds else ""
        return f"{station.done} good, {station.failed} not{left}. Put cards in; Ctrl-C ends."

    with Board(console(err=wants_json()), workers, foot, lines=wants_json()) as shown:
        board.append(shown)
        station.run(shown.show, plan.most)
    aside = seeds.aside() if seeds else []
    result = {"image": base.name, "good": station.done, "failed": station.failed, "aside": aside}
    answer(result, lambda to: to.print(f"{many(station.done, 'card')} good, {station.failed} failed." + void(aside)))


def void(aside: list[str]) -> str:
    """Say which seeds may be on cards that were never read back."""
    return f" Have the tokens of {', '.join(aside)} voided: their cards were not read back." if aside else ""


def stopped() -> threading.Event:
    """Return what Ctrl-C sets."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
