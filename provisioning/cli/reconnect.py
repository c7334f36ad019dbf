"""The verb that shows how very many devices come back after their broker was killed."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agent.core.errors import Failed
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, console, wants_json
from provisioning.cli.demo import chosen
from provisioning.simulate.links import Back, Links
from provisioning.simulate.stage import HOST, Stage

FIRST = 600.0  # seconds in which they must have come for the first time
PEAK = 2.0  # how often the mean of a second its fullest may be
LEAST = 500  # links below which chance alone makes a second that full


@click.command(
    epilog="\b\nExamples:\n  privet-fleet reconnect\n  privet-fleet reconnect --links 3000 --outages 3 --away 10 --json"
)
@answers
@click.option("--links", type=click.IntRange(1, 20000), default=1000, show_default=True, help="How many devices.")
@click.option("--outages", type=click.IntRange(1, 100), default=1, show_default=True, help="How often it is killed.")
@click.option("--away", type=click.IntRange(0, 3600), default=0, show_default=True, help="Seconds it stays away.")
@click.option("--within", type=click.IntRange(1, 3600), default=60, show_default=True, help="Seconds to be back in.")
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where everything lives.")
@click.option("--keep", is_flag=True, help="Leave the directory there at the end.")
def reconnect(links: int, outages: int, away: int, within: int, directory: Path | None, keep: bool) -> None:
    """Connect very many devices to a real broker on this machine, kill it, and see them come back.

    Each has a certificate of its own and the very link of the agent, at the pace of real devices. The exit code is 0
    only when all are back in time, and, with 500 or more, no second brought more than twice as many as the mean.
    """
    with chosen(directory, keep) as folder:
        stage = Stage.build(folder, "reconnect")
        stage.broker.start()
        crowd = Links(stage.fleet, folder / "links", (HOST, stage.port), links)
        try:
            with bar(links) as told:
                rows = [crowd.gather(FIRST, told)]
                rows += [crowd.outage(stage.broker, away, float(within), told) for _ in range(outages)]
        finally:
            crowd.close()
            stage.close()
    answer({"links": links, "rounds": [row._asdict() for row in rows]}, lambda to: show(to, rows))
    crowded = [row for row in rows[1:] if row.crowding > PEAK and row.links >= LEAST]
    if crowded:
        row = crowded[0]
        raise Failed(f"{row.peak} came back in one second, {row.mean} in the mean; the pace of links must spread them")


@contextmanager
def bar(links: int) -> Iterator[Callable[[int], None]]:
    """Show how many are connected: a bar on a terminal, nothing elsewhere."""
    if wants_json() or not sys.stderr.isatty():
        yield lambda _up: None
        return
    columns = (TextColumn("connected"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(err=True)) as progress:
        task = progress.add_task("", total=links)
        yield lambda up: progress.update(task, completed=up)


def show(to: Console, rows: list[Back]) -> None:
    """Print how they came, and how they came back."""
    for number, row in enumerate(rows):
        what = f"came back after outage {number}" if number else "connected"
        to.print(
            f"[green]✓[/] {many(row.links, 'device')} {what}: the last after {row.seconds} s, at most {row.peak} "
            f"in a second, {row.mean} in the mean, {row.failed} tries in vain."
        )
