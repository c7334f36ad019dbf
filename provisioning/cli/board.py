"""What a person sees while cards are written: a live table, a line now and then where there is no terminal; a bell."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Self

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from provisioning.card.targets.shown import shown
from provisioning.card.worker import Worker

SAY_EVERY = 5.0  # seconds between two lines
MIB = 1 << 20
COLOURS = {"work": "yellow", "done": "green", "failed": "red", "wait": "dim"}
BELLS = {"done": 1, "failed": 3}


class Board:
    """The cards in work. `workers` returns those that are shown now; lines of JSON where they are asked for."""

    def __init__(
        self, to: Console, workers: Callable[[], list[Worker]], foot: Callable[[], str], *, lines: bool
    ) -> None:
        self._to, self._workers, self._foot, self._lines = to, workers, foot, lines
        self._live = Live(console=to, refresh_per_second=4) if to.is_terminal and not lines else None
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
        """Show where they are."""
        if self._live is not None:
            self._live.update(self.table())
            return
        now = time.monotonic()
        if now - self._said < SAY_EVERY:
            return
        self._said = now
        for worker in self._workers():
            if worker.state == "work":
                self.tell({"event": "progress", "target": worker.name, "port": worker.port, **moved(worker)})

    def tell(self, event: dict[str, Any]) -> None:
        """Say that something happened: a line of JSON, a line of text, or what the table shows anyway."""
        if self._lines:
            click.echo(json.dumps(event, ensure_ascii=False))
        elif self._live is None:
            print(line(event), file=sys.stderr, flush=True)
        elif event["event"] == "failed":
            self._live.console.print(f"[red]✗[/] {escape(str(event['error']))}")
        if self._to.is_terminal and not self._lines:
            for _ in range(BELLS.get(event["event"], 0)):
                self._to.bell()

    def table(self) -> Table:
        """Draw the cards."""
        table = Table(box=None, caption=self._foot(), caption_justify="left", pad_edge=False)
        for name in ("Port", "Card", "Device", "", "", "MiB/s", "Left"):
            table.add_column(name, justify="right" if name in {"MiB/s", "Left"} else "left")
        for worker in self._workers():
            facts = moved(worker)
            colour = COLOURS[worker.state]
            stage = facts["stage"] if worker.state == "work" else worker.state
            rate = f"{facts['rate'] / MIB:.1f}" if facts["rate"] else ""
            left = "" if facts["left"] is None else clock(facts["left"])
            cells = (shown(worker.port), shown(worker.name), shown(worker.device))
            table.add_row(*map(escape, cells), f"[{colour}]{stage}[/]", bar(facts["share"]), rate, left)
        return table


def moved(worker: Worker) -> dict[str, Any]:
    """Return how far a card is: stage, share, bytes in a second, seconds that the stage will take yet."""
    progress = worker.progress
    share = round(progress.done / progress.total, 3) if progress.total else None
    left = progress.left()
    return {
        "stage": progress.stage, "share": share, "rate": round(progress.rate()),
        "left": None if left is None else round(left, 1),
    }  # fmt: skip


def bar(share: float | None, width: int = 20) -> str:
    """Draw a share."""
    if share is None:
        return ""
    full = round(share * width)
    return f"[green]{'━' * full}[/][dim]{'━' * (width - full)}[/] {share:4.0%}"


def clock(seconds: float) -> str:
    """Write a duration as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def line(event: dict[str, Any]) -> str:
    """Write an event for a log."""
    name, target = event["event"], shown(str(event.get("target", "")))
    if name == "progress":
        share = "" if event["share"] is None else f" {event['share']:.0%}"
        return f"{target}: {event['stage']}{share}, {event['rate'] / MIB:.1f} MiB/s"
    if name == "failed":
        return f"{target}: failed: {event['error']}"
    device = f", {shown(event['device'])}" if event.get("device") else ""
    took = f", {event['seconds']:.1f} s" if "seconds" in event else ""
    return f"{target}: {name}{device}{took}"
