"""Verbs about the fleet's broker."""

import signal
import threading
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console

from provisioning.broker import emqx, nats, rabbitmq
from provisioning.broker.mosquitto import Broker, Setup, access, configuration
from provisioning.broker.watch import Watch
from provisioning.cli.answer import answer, answers, console, wants_json, with_fleet
from provisioning.cli.cluster import cluster
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.revocation import crl, revoke
from provisioning.profile.issue import fleet_broker

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


@click.group()
def broker() -> None:
    """Run the fleet's broker, or show its configuration."""


broker.add_command(cluster)


@broker.command(epilog="\b\nExamples:\n  privet-fleet broker up\n  privet-fleet broker up --listen 192.0.2.7")
@with_fleet
@answers
@with_address
@click.option("--name", "names", multiple=True, help="Name in its certificate.  [default: where it listens]")
def up(
    fleet_directory: Path, passphrase_fd: int | None, listen: str, port: int | None, collectors: tuple[str, ...],
    names: tuple[str, ...],
) -> None:  # fmt: skip
    """Run mosquitto with mutual TLS until Ctrl-C; every client has its own certificate and its own topics."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    setup = address(fleet, listen, port, collectors)
    host = fleet_broker(fleet)
    shown = list(dict.fromkeys([*names, listen, *([host[0]] if host else [])]))
    folder = fleet.safe.directory / "broker"
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    crls, begins = crl(fleet)
    with Broker(folder, setup, fleet.server(shown), fleet.client_anchors(), crls) as running:
        answer({"pid": running.pid, "address": listen, "port": setup.port, "log": str(folder / "broker.log")}, show_up)
        if not wants_json():
            console().print(f"  {listen} port {setup.port}, as {', '.join(shown)}; log in {folder}/broker.log")
        watch = Watch(fleet, running, shown[0], begins, lambda text: click.echo(text, err=True))
        while not over.wait(1.0):
            watch.turn()


@broker.command(
    "revoke",
    epilog="\b\nExample:\n  privet-fleet broker revoke fleet/devices/r7k2/cert.pem",
)
@with_fleet
@answers
@click.argument("certificates", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def revoke_certificates(fleet_directory: Path, passphrase_fd: int | None, certificates: tuple[Path, ...]) -> None:
    """Let CERTIFICATES (PEM files) count no more; `broker up` refuses them, and ends their sessions, at once."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    fresh = revoke(fleet, [path.read_bytes() for path in certificates])

    def show(to: Console) -> None:
        for one in fresh:
            to.print(f"[green]✓[/] The certificate {one.serial:x} of [bold]{one.name}[/] counts no more.")
        if not fresh:
            to.print("They were revoked before; nothing changed.")

    answer({"revoked": [{"name": one.name, "serial": f"{one.serial:x}"} for one in fresh]}, show)


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
    "--devices", type=click.File(), help="Names of the devices, one a line; nats and rabbitmq know no others."
)
def config(
    fleet_directory: Path, passphrase_fd: int | None, listen: str, port: int | None, collectors: tuple[str, ...],
    engine: str, devices: TextIO | None,
) -> None:  # fmt: skip
    """Print configuration and access list: what `broker up` runs mosquitto with, or the same for another engine."""
    setup = address(open_fleet(fleet_directory, passphrase_fd), listen, port, collectors)
    files = written(setup, engine, [line.strip() for line in devices or () if line.strip()])

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
