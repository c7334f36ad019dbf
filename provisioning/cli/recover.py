"""The verb that opens what a device sealed to the fleet's recovery recipient."""

from pathlib import Path
from typing import BinaryIO

import click

from agent.core.cbor import decode
from agent.core.errors import BadInput
from provisioning.cli.answer import answer, answers, with_fleet
from provisioning.cli.opened import open_fleet
from provisioning.collector.open import open_key, open_record, read_message
from provisioning.fleet.identity import Fleet

FORM = "privet recovery 1"
MOST = 256 * 1024


@click.command(
    epilog="\b\nExamples:\n  privet-fleet recover porch.sealed\n"
    "  ssh porch sudo privet credentials sealed | privet-fleet recover -"
)
@with_fleet
@answers
@click.argument("file", type=click.File("rb"))
@click.option("--recipient", default="recovery", show_default=True, help="Whose key opens it.")
def recover(fleet_directory: Path, passphrase_fd: int | None, file: BinaryIO, recipient: str) -> None:
    """Show the new passwords in FILE, which a device sealed at its first start."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    device, secrets = opened(fleet, file.read(MOST), recipient)
    answer({"device": device, "secrets": secrets}, lambda out: out.print(text(device, secrets), markup=False))


def text(device: str, secrets: dict[str, str]) -> str:
    """Write them for a person."""
    lines = [f"{device}:"] + [f"  {label}: {secret}" for label, secret in sorted(secrets.items())]
    return "\n".join(lines)


def opened(fleet: Fleet, content: bytes, recipient: str) -> tuple[str, dict[str, str]]:
    """Return the device and its new secrets; BadInput when it is no such file, Tampered when it was changed."""
    problem = BadInput("this is no sealed file of a device; take it with: sudo privet credentials sealed")
    try:
        plain = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        plain = content
    try:
        form, name, device, records = decode(plain, MOST)
        shaped = form == FORM and type(device) is str and [type(one) for one in records] == [bytes, bytes]
    except (BadInput, ValueError, TypeError):
        raise problem from None
    if not shaped:
        raise problem
    if name != fleet.name:
        raise BadInput(f"{device} belongs to the fleet {name}, not to {fleet.name}; open it there")
    key, record = (read_message(fleet.name, f"privet/1/{fleet.name}/{device}/up/recovery", one) for one in records)
    if key.wrapped is None or recipient not in key.wrapped or record.wrapped is not None:
        raise BadInput(f"it was not sealed to {recipient}; give --recipient, one of: {', '.join(key.wrapped or ())}")
    keys = open_key(key.place, key.epoch, recipient, key.wrapped[recipient], fleet.recipient_key(recipient))
    secrets = decode(open_record(fleet.name, record, keys), MOST)
    return device, {str(label): str(secret) for label, secret in secrets.items()}
