"""`privet erase --all`: begin the device anew for its next owner."""

from pathlib import Path

import click

from agent.cli.call import call
from agent.core.errors import BadInput


@click.command(epilog="\b\nExamples:\n  sudo privet erase --all\n  sudo privet erase --all --receipt erased.cose --yes")
@click.option("--all", "everything", is_flag=True, help="Erase everything of its owner; there is no lesser way here.")
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to put what the device signed, for its fleet.",
)
@click.option("--yes", "agreed", is_flag=True, help="Do it without being asked; what goes is printed all the same.")
def erase(*, everything: bool, receipt: Path | None, agreed: bool) -> None:
    """Give the device away: everything of its owner is erased, and it begins anew, private.

    It is finished at the next start of the device, and cannot be undone.
    """
    if not everything:
        raise BadInput("say what: privet erase --all; for one purpose alone: privet consent withdraw PURPOSE")
    told = call("control", {"op": "erase"})
    click.secho("This cannot be undone. It erases:", bold=True)
    for line in told["goes"]:
        click.echo(f"  {line}")
    click.echo(told["stays"])
    if not agreed and not click.confirm("Do you want this?", default=False):
        click.echo("Nothing was changed.")
        return
    done = call("control", {"op": "erase", "seen": told["seen"]})
    signed = bytes.fromhex(done["receipt"])
    if receipt is not None and signed:
        receipt.write_bytes(signed)
    click.echo("The device's key in its fleet is destroyed." if signed else "This device had no key in a fleet.")
    if signed and receipt is None:
        click.echo(f"What it signed before, for its fleet: {done['receipt']}")
    click.echo("The rest goes at the next start, before the network: sudo reboot")
