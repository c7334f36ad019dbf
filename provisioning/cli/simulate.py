"""The verb that runs a simulated fleet."""

import sys
import time
from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from agent.core.errors import Failed
from provisioning.cli.answer import answer, answers, console, profile_path, wants_json, with_profiles
from provisioning.cli.demo import chosen
from provisioning.simulate.run import Count, Run

LOOSEN_EVERY = 10  # one device in so many is loosened by hand during a run
SAY_EVERY = 5.0  # seconds between lines where there is no terminal
LABELS = {
    "booted": "went through their first boot",
    "rotated": "refuse their factory password",
    "connected": "are connected to the broker",
    "accepted": "readings accepted by the devices",
    "received": "readings opened by the recipient",
    "acknowledged": "devices know that all theirs were received",
    "warned": "devices warned of a loosening",
}


@click.command(
    epilog="\b\nExamples:\n  privet-fleet simulate\n  privet-fleet simulate --devices 50 --seconds 20 --outages 3"
)
@with_profiles
@answers
@click.option("--devices", type=click.IntRange(1, 5000), default=10, show_default=True, help="How many.")
@click.option("--seconds", type=click.IntRange(1, 86400), default=10, show_default=True, help="How long they measure.")
@click.option("--outages", type=click.IntRange(0), default=0, help="Kill the broker so many times meanwhile.")
@click.option("--profile", "model", default="base", show_default=True, help="Their device profile.")
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where everything lives.")
@click.option("--keep", is_flag=True, help="Leave the directory there at the end.")
def simulate(
    profiles: Path | None, devices: int, seconds: int, outages: int, model: str, directory: Path | None, keep: bool
) -> None:
    """Run simulated Raspberry Pis, each with the real guard and link, against a real broker on this machine.

    The exit code is 0 only when no reading was lost and every loosening was warned about.
    """
    to = console(err=wants_json())
    with chosen(directory, keep) as folder:
        run = Run(folder, profile_path(model, profiles), devices)
        try:
            with Board(to, run) as board:
                played(run, board, seconds, outages)
            count = run.count()
        finally:
            run.close()
    proven(count)
    answer({**count._asdict(), "directory": str(folder) if keep else ""}, lambda to: close(to, count))


def played(run: Run, board: "Board", seconds: int, outages: int) -> None:
    """Start the devices one by one, let them work, trouble them, and wait for what is on its way."""
    run.start()
    for _ in range(run.wanted):
        run.begin()
        run.work(0.0)
        board.show()
    began = time.monotonic()
    cuts = [began + seconds * (number + 1) / (outages + 1) for number in range(outages)]
    loosenings = max(1, run.wanted // LOOSEN_EVERY)
    hands = [began + seconds * (number + 1) / (loosenings + 1) for number in range(loosenings)]
    while time.monotonic() < began + seconds:
        run.work()
        if cuts and time.monotonic() >= cuts[0]:
            cuts.pop(0)
            run.cut_broker()
        if hands and time.monotonic() >= hands[0]:
            hands.pop(0)
            run.loosen_one()
        board.show()
    run.settle()
    board.show()


def proven(count: Count) -> None:
    """Fail when the run did not show what it is for."""
    wrong = [
        text
        for true, text in (
            (count.rotated == count.devices, "a device still opens with its factory password"),
            (count.accepted == count.measured > 0, "a device refused a reading"),
            (count.received == count.accepted, "a reading was lost or came twice"),
            (count.warned == count.loosened, "a loosening was not warned about, or a warning came without one"),
        )
        if not true
    ]
    if wrong:
        raise Failed(f"{wrong[0]} ({count}); run it again with --keep and look into the directory")


def close(to: Console, count: Count) -> None:
    """Say how it ended."""
    to.print(
        f"[green]✓[/] {count.devices} devices, {count.received} readings, none lost, none twice, in {count.seconds} s."
    )
    if count.outages:
        to.print(f"  The broker was killed {count.outages} times meanwhile.")


class Board:
    """The progress: a live table on a terminal, a line now and then elsewhere."""

    def __init__(self, to: Console, run: Run) -> None:
        self._to = to
        self._run = run
        self._live = Live(console=to, refresh_per_second=8, transient=False) if to.is_terminal else None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._live is not None:
            self._live.update(self.table(), refresh=True)
            self._live.stop()

    def show(self) -> None:
        """Show where the fleet stands."""
        now = time.monotonic()
        if self._live is not None:
            if now - self._said > 0.1:
                self._said = now
                self._live.update(self.table())
        elif now - self._said > SAY_EVERY:
            self._said = now
            count = self._run.count()
            facts = ", ".join(f"{name} {getattr(count, name)}" for name in LABELS)
            print(f"{count.seconds:g} s: {facts}", file=sys.stderr, flush=True)

    def table(self) -> Table:
        """Draw the numbers."""
        count = self._run.count()
        table = Table(title=f"{count.devices} simulated devices, {count.seconds:.0f} s", box=None, show_header=False)
        for name, label in LABELS.items():
            number = getattr(count, name)
            of = {"received": count.accepted, "warned": count.loosened, "accepted": count.measured}.get(
                name, count.devices
            )
            table.add_row(f"[{'green' if number == of else 'yellow'}]{number}[/]", f"of {of}", label)
        return table
