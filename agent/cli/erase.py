"""`privet erase --all`: begin the device anew for its next owner."""

import os
from pathlib import Path

import click

from agent.cli.asking import agrees
from agent.cli.call import call
from agent.core.errors import BadInput, Unreadable


@click.command(
    short_help="Give the device away: all of yours goes.",
    epilog="\b\nExamples:\n  sudo privet erase --all\n  sudo privet erase --all --receipt erased.cose --yes",
)
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
    if told["asked"]:
        click.secho(told["asked"], fg="yellow")
    if not agreed and not agrees("Do you want this?"):
        return
    number, kept = -1 if receipt is None else opened(receipt), False  # before anything goes: it is signed once
    try:
        done = call("control", {"op": "erase", "seen": told["seen"]})
        signed = bytes.fromhex(done["receipt"])
        kept = number >= 0 and bool(signed) and written(number, signed)
    finally:
        if receipt is not None:
            os.close(number)
            if not kept:
                receipt.unlink(missing_ok=True)
    click.echo("The device's key in its fleet is destroyed." if signed else "This device had no key in a fleet.")
    if signed:
        click.echo(
            "Its fleet gets what it signed from the device itself, once there is a link, also after the next start."
        )
    if signed and not kept:
        click.echo(f"What it signed before, for its fleet: {done['receipt']}")
    click.echo("The rest goes at the next start, before the network: sudo reboot")


def opened(path: Path) -> int:
    """Begin a new file; one that is there, or a link that somebody laid, is left alone."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise BadInput(f"{path} is there already; choose another name for the receipt") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be written ({error.strerror}); nothing was erased") from None


def written(number: int, content: bytes) -> bool:
    """Write the receipt durably; False when the disk takes nothing: then it is printed."""
    try:
        os.write(number, content)
        os.fsync(number)
    except OSError:
        return False
    return True
