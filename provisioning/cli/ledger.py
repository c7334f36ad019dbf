"""Verbs about the ledger."""

from pathlib import Path

import click

from provisioning.cli.answer import answer, answers, with_fleet
from provisioning.cli.opened import open_fleet
from provisioning.fleet.registry import Registry


@click.group(epilog="\b\nExample:\n  privet-fleet ledger verify")
def ledger() -> None:
    """Look into the chain of all that happened to the fleet's devices."""


@ledger.command(epilog="\b\nExample:\n  privet-fleet ledger verify")
@with_fleet
@answers
def verify(fleet_directory: Path, passphrase_fd: int | None) -> None:
    """Check every row of the ledger: hash, signature, order, end. Names the first wrong one, with exit code 18."""
    registry = Registry(open_fleet(fleet_directory, passphrase_fd))
    rows = registry.verify()
    registry.remember()
    registry.close()
    said = "1 row" if rows == 1 else f"{rows} rows"
    answer({"rows": rows}, lambda to: to.print(f"[green]✓[/] The ledger is whole: {said}."))
