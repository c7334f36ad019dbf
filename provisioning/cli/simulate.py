"""The verb that runs a simulated fleet."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from agent.core.errors import Failed
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, console, profile_path, wants_json, with_profiles
from provisioning.cli.demo import chosen
from provisioning.fleet.safe import whole_file
from provisioning.simulate.run import Count, Run

HAND_EVERY = 10  # one device in so many is loosened by hand during a run, and another by its owner
SAY_EVERY = 5.0  # seconds between lines where there is no terminal
LABELS = {
    "booted": "went through their first boot",
    "rotated": "refuse their factory password",
    "enrolled": "have a certificate from the enrolment server",
    "connected": "are connected to the broker",
    "taken": "have the newest policy",
    "accepted": "readings accepted by the devices",
    "received": "readings opened by the recipient",
    "acknowledged": "devices know that all theirs were received",
    "warned": "devices warned of a loosening by hand",
    "allowed": "devices do what their owner allowed",
}
OF = {"accepted": "measured", "received": "accepted", "warned": "drifted", "allowed": "loosened"}


@click.command(
    epilog="""\b
Examples:
  privet-fleet simulate
  privet-fleet simulate --devices 50 --seconds 20 --outages 3
  privet-fleet simulate --devices 1000 --seconds 120 --outages 1 --report run.json
"""
)
@with_profiles
@answers
@click.option("--devices", type=click.IntRange(1, 5000), default=10, show_default=True, help="How many.")
@click.option("--seconds", type=click.IntRange(1, 86400), default=10, show_default=True, help="How long they measure.")
@click.option("--outages", type=click.IntRange(0), default=0, help="Kill the broker so many times meanwhile.")
@click.option("--profile", "model", default="base", show_default=True, help="Their device profile.")
@click.option("--registry", default="", help="URL of a database for the registry.  [default: a file]")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="File for how it stood, second by second."
)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where everything lives.")
@click.option("--keep", is_flag=True, help="Leave the directory there at the end.")
def simulate(
    profiles: Path | None, devices: int, seconds: int, outages: int, model: str, registry: str, report: Path | None,
    directory: Path | None, keep: bool,
) -> None:  # fmt: skip
    """Run simulated Raspberry Pis, each with the real guard and link, against a real broker and enrolment server.

    Cards are flashed, devices enrol and measure, get a policy by stages, some are loosened by hand and some by their
    owner. The exit code is 0 only when no reading was lost, every hand was warned about and all have the policy.
    """
    to = console(err=wants_json())
    with chosen(directory, keep) as folder:
        run = Run(folder, profile_path(model, profiles), devices, registry)
        board = Board(to, run)
        try:
            with board:
                played(run, board, seconds, outages)
            count = run.count()
        finally:
            run.close()
            if report is not None:
                whole_file(report, json.dumps(board.seen, indent=1).encode() + b"\n", 0o644)
    proven(count)
    answer({**count._asdict(), "directory": str(folder) if keep else ""}, lambda to: close(to, count))


def played(run: Run, board: "Board", seconds: int, outages: int) -> None:
    """Start the devices, let them work, trouble them, and wait for what is on its way."""
    run.start()
    run.come_up(board.show)
    run.measure()
    run.push(board.show)
    began = time.monotonic()
    hands = max(1, run.wanted // HAND_EVERY)
    happens = [*evenly(outages, run.cut_broker), *evenly(hands, run.drift_one), *evenly(hands, run.loosen_one)]
    happens.sort(key=lambda one: one[0])
    while time.monotonic() < began + seconds:
        run.work()
        while happens and time.monotonic() >= began + seconds * happens[0][0]:
            happens.pop(0)[1]()
        board.show()
    run.settle(board.show)
    board.show()


def evenly(times: int, act: Callable[[], None]) -> list[tuple[float, Callable[[], None]]]:
    """Spread an act over a run: each with the share of the time at which it happens."""
    return [((number + 1) / (times + 1), act) for number in range(times)]


def proven(count: Count) -> None:
    """Fail when the run did not show what it is for."""
    wrong = [
        text
        for true, text in (
            (count.rotated == count.devices, "a device still opens with its factory password"),
            (count.enrolled == count.devices, "a device got no certificate"),
            (count.accepted == count.measured > 0, "a device refused a reading"),
            (count.received == count.accepted, "a reading was lost or came twice"),
            (count.warned == count.drifted, "a loosening was not warned about, or a warning came without one"),
            (count.allowed == count.loosened, "a device does not do what its owner allowed"),
            (count.taken == count.devices, "a device did not take the policy"),
        )
        if not true
    ]
    if wrong:
        raise Failed(f"{wrong[0]} ({count}); run it again with --keep and look into the directory")


def close(to: Console, count: Count) -> None:
    """Say how it ended."""
    numbers = f"{many(count.devices, 'device')}, {many(count.received, 'reading')}"
    to.print(f"[green]✓[/] {numbers}, none lost, none twice, in {count.seconds} s.")
    to.print(
        f"  All were enrolled and connected after {count.started} s, {count.devices / count.started:.1f} a second."
    )
    if count.outages:
        often = "once" if count.outages == 1 else f"{count.outages} times"
        to.print(f"  The broker was killed {often} meanwhile; all were back {count.back} s after it at most.")


class Board:
    """The progress: a live table on a terminal, a line now and then elsewhere."""

    def __init__(self, to: Console, run: Run) -> None:
        self._to = to
        self._run = run
        self._live = Live(console=to, refresh_per_second=8, transient=False) if to.is_terminal else None
        self._said = self._kept = time.monotonic()
        self.seen: list[dict[str, float]] = []  # how it stood, about once a second

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
        if now - self._kept > 1.0:
            self._kept = now
            self.seen.append(self._run.count()._asdict())
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
            of = getattr(count, OF.get(name, "devices"))
            table.add_row(f"[{'green' if number == of else 'yellow'}]{number}[/]", f"of {of}", label)
        return table
