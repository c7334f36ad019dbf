"""The verb that lists the disks of this machine: which may be written, and why the others may not."""

from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from provisioning.card.targets.found import look
from provisioning.card.targets.opening import held
from provisioning.card.targets.rules import reasons, size
from provisioning.card.targets.shown import shown
from provisioning.cli.answer import answer, answers
from provisioning.cli.cards import wanted, with_rules


@click.command(
    epilog="\b\nExamples:\n  sudo privet-fleet targets\n  sudo privet-fleet targets --all\n"
    "  sudo privet-fleet targets --waive sdb=31914983424"
)
@with_rules
@answers
@click.option(
    "--all", "every", is_flag=True, help="Also those that nobody would take for a card: loop devices, memory."
)
def targets(largest: int | None, waivers: tuple[str, ...], every: bool) -> None:
    """List the disks of this machine: which may be written, and why the others may not. Nothing is changed.

    The port is what a station is told (flash --station --port): it stays the same whichever card is in it.
    """
    want = wanted(largest, waivers)
    rows: list[dict[str, Any]] = []
    for disk in look():
        if not every and (disk.kind == "virtual" or (disk.kind == "loop" and not disk.size)):
            continue
        content = held(disk)
        against = reasons(disk, content, want, named=True)
        rows.append({
            "disk": disk.name, "size": disk.size, "kind": disk.kind, "port": shown(disk.port),
            "model": shown(disk.model), "holds": shown(content.told), "accepted": not against,
            "reasons": [one.told for one in against],
            "waiver": f"{disk.name}={disk.size}" if against and all(one.waivable for one in against) else None,
        })  # fmt: skip

    def show(to: Console) -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("Disk", "Size", "Port", "Model", "Holds", "May be written"):
            table.add_column(name, overflow="fold")
        for row in rows:
            verdict = "[green]yes[/]" if row["accepted"] else f"[red]no[/]: {escape('; '.join(row['reasons']))}"
            if row["waiver"]:
                verdict += f" [dim](--waive {row['waiver']})[/]"
            told = (row["disk"], size(row["size"]), row["port"], row["model"], row["holds"])
            table.add_row(*(escape(str(one)) for one in told), verdict)
        to.print(table if rows else "There is no disk here.")

    answer({"disks": rows}, show)
