"""Verbs that make a fleet and its recipients."""

import secrets
from pathlib import Path

import click
from rich.console import Console

from agent.core.errors import BadInput, Refused
from agent.core.seed import MOST_HOST
from provisioning.cli.answer import answer, answers, put, with_fleet
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import ROOT, Fleet, checked
from provisioning.fleet.safe import Passphrase, passphrase_asked, passphrase_from
from provisioning.opener.joining import admit
from provisioning.profile.issue import add_recipient

MOST_LABEL = 63  # letters between two points of a name


@click.command(
    epilog="""\b
Examples:
  privet-fleet init
  privet-fleet init --fleet ./garden --broker broker.garden.example
  privet-fleet init --root /media/stick/garden-root
  privet-fleet init --no-passphrase --json
"""
)
@with_fleet
@answers
@click.option("--name", help="Name of the fleet; it becomes part of topics.  [default: a random one]")
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    default=("collector",),
    show_default=True,
    help="Who can read telemetry.",
)
@click.option("--broker", default="", help="Host and port of the broker, such as broker.example:8883.")
@click.option(
    "--server-name",
    "names",
    multiple=True,
    help="Host or network that servers may bear besides private ones and the broker's; repeat it for each.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the root's key is put, such as a stick to carry away.  [default: root, in the fleet's directory]",
)
@click.option("--registry", default="", help="PostgreSQL, such as postgresql:///fleet.  [default: a file]")
@click.option("--no-passphrase", is_flag=True, help="Leave the keys readable to whoever can read the directory.")
def init(
    fleet_directory: Path, passphrase_fd: int | None, name: str | None, recipients: tuple[str, ...], broker: str,
    names: tuple[str, ...], root: Path | None, registry: str, no_passphrase: bool,
) -> None:  # fmt: skip
    """Make a fleet: the key that signs policies, the authorities for devices and brokers, the recipients' keys."""
    host, port = host_and_port(broker) if broker else ("", 0)
    if registry:
        from provisioning.fleet.tables import checked_place  # noqa: PLC0415 - SQLAlchemy, which --help does not need

        checked_place(registry)
    for one in recipients:
        checked(one, "recipient")
    fleet = Fleet.create(
        fleet_directory,
        name or f"fleet-{secrets.token_hex(4)}",
        chosen(passphrase_fd, no_passphrase),
        (*names, *([host] if host else [])),
        root,
    )
    for one in recipients:
        add_recipient(fleet, one)
    if host:
        fleet.safe.seal(broker_host=host, broker_port=str(port))
    if registry:
        fleet.safe.seal(registry=registry)
    result = {"fleet": fleet.name, "directory": str(fleet_directory), "recipients": list(recipients)}

    def show(console: Console) -> None:
        console.print(f"[green]✓[/] The fleet [bold]{fleet.name}[/] is in {fleet_directory}.")
        console.print(f"  Telemetry can be sealed to: {', '.join(recipients)}.")
        if root is None:
            console.print(
                f"  Next: carry {fleet_directory / ROOT} to a place that is not online; no daily work needs it."
            )
        console.print("        privet-fleet profile compile base")

    answer(result, show)


def chosen(descriptor: int | None, none: bool) -> Passphrase | None:
    """Return the new fleet's passphrase: asked for twice, read from a descriptor, or none on purpose."""
    if none:
        return None
    if descriptor is not None:
        return passphrase_from(descriptor)
    try:
        first = passphrase_asked("New fleet passphrase: ")
        again = passphrase_asked("The same once more: ")
    except Refused as error:
        raise Refused(f"{error}, or say --no-passphrase") from None
    salt = secrets.token_bytes(16)
    if not secrets.compare_digest(first.stretched(salt), again.stretched(salt)):
        raise Refused("the two passphrases differ; try again")
    return first


def host_and_port(place: str, usual: int = 8883) -> tuple[str, int]:
    """Split host:port; the port is the usual one when none is given. BadInput for what no device could reach."""
    host, _, port = place.rpartition(":") if place.count(":") == 1 else (place, "", str(usual))
    sound = port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16
    sound = sound and all(0 < len(label) <= MOST_LABEL for label in host.removesuffix(".").split("."))
    if not sound or not 0 < len(host) <= MOST_HOST or not all("!" <= letter <= "~" for letter in host) or "/" in host:
        raise BadInput(f"{place!r} is no host and port; write it like broker.example:{usual}")
    return host, int(port)


@click.group(epilog="\b\nExample:\n  privet-fleet recipient add clinic")
def recipient() -> None:
    """Add somebody who can read telemetry sealed to them."""


@recipient.command("add", epilog="\b\nExample:\n  privet-fleet recipient add clinic")
@with_fleet
@answers
@click.argument("name")
def recipient_add(fleet_directory: Path, passphrase_fd: int | None, name: str) -> None:
    """Make the key pair of a recipient; profiles name it by this NAME."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    add_recipient(fleet, name)
    path = fleet.safe.directory / f"recipient-{name}.key"

    def show(console: Console) -> None:
        console.print(
            f"[green]✓[/] The recipient [bold]{name}[/] has a key. Only the holder of {path} can read what is"
        )
        console.print("  sealed to it: move that file to where the collector runs.")

    answer({"recipient": name, "key": str(path)}, show)


@recipient.command("admit", epilog="\b\nExample:\n  privet-fleet recipient admit request-home.json -o answer.json")
@with_fleet
@answers
@click.argument("request", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The answer.")
def recipient_admit(fleet_directory: Path, passphrase_fd: int | None, request: Path, output: Path) -> None:
    """Admit a recipient that made its keys itself (privet-fleet open ask): the fleet cannot open what it is sent."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    name, content = admit(fleet, request)
    put(output, content)

    def show(console: Console) -> None:
        console.print(f"[green]✓[/] The recipient [bold]{name}[/] is known; its private key never was here.")
        console.print(f"  Carry {output} back to it. Let the broker know it, too: broker up --collector {name}")

    answer({"recipient": name, "answer": str(output)}, show)
