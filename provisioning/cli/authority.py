"""Verbs about the fleet's authorities."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from agent.core.shown import many
from provisioning.cli.answer import answer, answers, with_fleet
from provisioning.cli.opened import passphrase
from provisioning.fleet.authority import allowed
from provisioning.fleet.identity import ROOT, Fleet
from provisioning.fleet.safe import Safe


@click.group(epilog="\b\nExample:\n  privet-fleet authority renew --dry-run")
def authority() -> None:
    """Look at the fleet's authorities, or let its root sign them anew."""


@authority.command("renew", epilog="\b\nExample:\n  privet-fleet authority renew --root /media/stick/garden-root")
@with_fleet
@answers
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the root's key is.  [default: root, in the fleet's directory]",
)
@click.option("--server-name", "names", multiple=True, help="Host or network that servers may bear from now on.")
@click.option("--dry-run", is_flag=True, help="Show until when each authority lasts, and change nothing.")
def renew(
    fleet_directory: Path, passphrase_fd: int | None, root: Path | None, names: tuple[str, ...], dry_run: bool
) -> None:
    """Let the root sign the three authorities for three further years; what they have signed stays valid."""
    secret = passphrase(fleet_directory, passphrase_fd)
    fleet = Fleet.open(fleet_directory, secret)
    if not dry_run:
        fleet.renew(Safe.open(root or fleet_directory / ROOT, secret), names)
    ends = {label: fleet.issuer(label)[0].not_valid_after_utc for label in ("device-ca", "service-ca", "server-ca")}
    may = allowed(fleet.issuer("server-ca")[0])

    def show(console: Console) -> None:
        for label, end in ends.items():
            left = (end - datetime.now(UTC)).days
            console.print(f"[green]✓[/] {label} lasts until {end:%Y-%m-%d}, {many(left, 'day')} from now.")
        console.print(f"  Servers may be named within: {', '.join(may)}.")

    shown = {label: end.isoformat() for label, end in ends.items()}
    answer({"ends": shown, "names": may, "changed": not dry_run}, show)
