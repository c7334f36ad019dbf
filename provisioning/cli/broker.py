"""Verbs about the fleet's broker."""

import getpass
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console

from agent.core.errors import Unreadable
from provisioning.broker import emqx, nats, rabbitmq
from provisioning.broker.admission import Admission, admitted
from provisioning.broker.child import Child
from provisioning.broker.mosquitto import Broker, Setup, access, configuration
from provisioning.broker.watch import Watch
from provisioning.cli.admit import admit, from_registry
from provisioning.cli.answer import answer, answers, console, few_words, wants_json, with_fleet
from provisioning.cli.cluster import cluster
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.keeping import revoke
from provisioning.fleet.registry import Registry
from provisioning.fleet.revocation import crl
from provisioning.profile.issue import fleet_broker

MOST_PEM = 1 << 16  # bytes
ENGINES = ("mosquitto", "nats", "rabbitmq", "emqx")


def with_address(command: click.decorators.FC) -> click.decorators.FC:
    """Give a verb the options that say where the broker listens and who may collect."""
    for option in (
        click.option("--collector", "collectors", multiple=True, default=("collector",), show_default=True,
                     help="Collectors that may read."),
        click.option("--port", type=click.IntRange(1, 65535), help="Port.  [default: the fleet's, or 8883]"),
        click.option("--listen", default="127.0.0.1", show_default=True, help="Address to listen on."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(
    epilog="\b\nExamples:\n  privet-fleet broker up\n  privet-fleet broker config --engine nats --devices names.txt"
)
def broker() -> None:
    """Run the fleet's broker, or show its configuration."""


broker.add_command(cluster)
broker.add_command(admit)


@broker.command(epilog="\b\nExamples:\n  privet-fleet broker up\n  privet-fleet broker up --listen 192.0.2.7\n"
                "  privet-fleet broker up --engine nats")  # fmt: skip
@with_fleet
@answers
@with_address
@click.option("--name", "names", multiple=True, help="Name in its certificate.  [default: where it listens]")
@click.option("--engine", type=click.Choice(ENGINES[:3]), default=ENGINES[0], show_default=True, help="Which broker.")
def up(
    fleet_directory: Path, passphrase_fd: int | None, listen: str, port: int | None, collectors: tuple[str, ...],
    names: tuple[str, ...], engine: str,
) -> None:  # fmt: skip
    """Run a broker with mutual TLS until Ctrl-C; every client has its own certificate and its own topics.

    NATS and RabbitMQ let in by name: whoever has a certificate in force by the registry, from moment to moment.
    """
    fleet = open_fleet(fleet_directory, passphrase_fd)
    setup = address(fleet, listen, port, collectors)
    host = fleet_broker(fleet)
    shown = list(dict.fromkeys([*names, listen, *([host[0]] if host else [])]))
    folder = fleet.safe.directory / "broker"
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    running, turn = prepared(fleet, setup, engine, folder, shown)
    with running:
        answer(
            {"pid": running.pid, "address": listen, "port": setup.port, "log": str(running.directory / "broker.log")},
            show_up,
        )
        if not wants_json():
            console().print(
                f"  {listen} port {setup.port}, as {', '.join(shown)}; log in {running.directory}/broker.log"
            )
        while not over.wait(1.0):
            turn()


def prepared(
    fleet: Fleet, setup: Setup, engine: str, folder: Path, shown: list[str]
) -> tuple[Child, Callable[[], None]]:
    """Return a broker that can be started, and what is to be done about once a second while it runs."""

    def say(text: str) -> None:
        click.echo(text, err=True)

    credential, anchors = fleet.server(shown), fleet.client_anchors()
    if engine == ENGINES[0]:
        crls, begins = crl(fleet)
        ours = Broker(folder, setup, credential, anchors, crls)
        return ours, Watch(fleet, ours, shown[0], begins, say).turn
    registry = Registry(fleet)
    inside = admitted(registry)
    other = (nats if engine == "nats" else rabbitmq).Broker(
        folder.with_name(f"broker-{engine}"), setup, credential, anchors, sorted(inside)
    )
    return other, Admission(registry, other, inside, say=say).turn


@broker.command(
    "revoke",
    epilog="\b\nExamples:\n  privet-fleet broker revoke fleet/devices/r7k2/cert.pem\n"
    '  privet-fleet broker revoke cert.pem --why "its key was in a backup"',
)
@with_fleet
@answers
@click.option("--why", default="", callback=few_words, help="What you know, for the ledger.")
@click.option("--by", callback=few_words, help="Your name in the ledger.  [default: who you are logged in as]")
@click.argument("certificates", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def revoke_certificates(
    fleet_directory: Path, passphrase_fd: int | None, why: str, by: str | None, certificates: tuple[Path, ...]
) -> None:
    """Let CERTIFICATES (PEM files) count no more; `broker up` refuses them, and ends their sessions, at once.

    No renewal follows one either; its device waits for a new seed.
    """
    fleet = open_fleet(fleet_directory, passphrase_fd)
    with closing(Registry(fleet)) as registry:
        fresh = revoke(registry, [head_of(path) for path in certificates], why, by or getpass.getuser())
        registry.remember()

    def show(to: Console) -> None:
        for one in fresh:
            to.print(f"[green]✓[/] The certificate {one.serial:x} of [bold]{one.name}[/] counts no more.")
        if not fresh:
            to.print("They were revoked before; nothing changed.")

    answer({"revoked": [{"name": one.name, "serial": f"{one.serial:x}"} for one in fresh]}, show)


def head_of(path: Path) -> bytes:
    """Read as much of a file as a certificate with its chain may have."""
    try:
        with path.open("rb") as stream:
            return stream.read(MOST_PEM)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); check its rights") from None


def show_up(to: Console) -> None:
    """Say that the broker runs."""
    to.print("[green]✓[/] The broker runs; Ctrl-C ends it.")


@broker.command(
    epilog="\b\nExamples:\n  privet-fleet broker config --listen 192.0.2.7\n"
    "  privet-fleet broker config --engine nats --devices names.txt"
)
@with_fleet
@answers
@with_address
@click.option("--engine", type=click.Choice(ENGINES), default=ENGINES[0], show_default=True, help="For which broker.")
@click.option(
    "--devices", type=click.File(),
    help="Names, one a line, for nats and rabbitmq, which know no others.  [default: as the registry says]",
)  # fmt: skip
def config(
    fleet_directory: Path, passphrase_fd: int | None, listen: str, port: int | None, collectors: tuple[str, ...],
    engine: str, devices: TextIO | None,
) -> None:  # fmt: skip
    """Print configuration and access list: what `broker up` runs mosquitto with, or the same for another engine."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    setup = address(fleet, listen, port, collectors)
    files = written(setup, engine, from_registry(fleet, devices) if engine in ("nats", "rabbitmq") else [])

    def show(to: Console) -> None:
        for name, text in files.items():
            to.print(f"[bold]# {name}[/]")
            to.print(text, markup=False)

    answer({"engine": engine, "tried": engine != "emqx", "files": files}, show)


def written(setup: Setup, engine: str, devices: list[str]) -> dict[str, str]:
    """Return the files of an engine."""
    if engine == "nats":
        return {"nats.conf": nats.configuration(setup, devices)}
    if engine == "rabbitmq":
        return {
            "rabbitmq.conf": rabbitmq.configuration(setup),
            "definitions.json": rabbitmq.definitions(setup, devices),
        }
    if engine == "emqx":
        return {"emqx.conf": emqx.configuration(setup), "acl.conf": emqx.access(setup)}
    return {"mosquitto.conf": configuration(setup), "access.conf": access(setup)}


def address(fleet: Fleet, listen: str, port: int | None, collectors: tuple[str, ...]) -> Setup:
    """Return what the broker is told."""
    known = fleet_broker(fleet)
    chosen = port or (known[1] if known else 8883)
    return Setup(fleet=fleet.name, address=listen, port=chosen, collectors=collectors, durable=True)
