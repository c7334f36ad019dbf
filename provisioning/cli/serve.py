"""The verb that runs the enrolment server."""

import asyncio
import resource
import signal
from pathlib import Path

import click

from provisioning.cli.answer import answer, answers, console, wants_json, with_fleet
from provisioning.cli.batch import ENROL_PORT
from provisioning.cli.opened import open_fleet
from provisioning.fleet.desk import RULES, Rules
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry


@click.command(
    epilog="\b\nExamples:\n  privet-fleet serve\n  privet-fleet serve --listen 192.0.2.7 --name enrol.example"
)
@with_fleet
@answers
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Port.  [default: the fleet's, or {ENROL_PORT}]")
@click.option("--name", "names", multiple=True, help="Name in its certificate.  [default: the fleet's and the address]")
@click.option(
    "--days", type=click.IntRange(2, 397), default=RULES.life, show_default=True, help="Life of a device's certificate."
)
def serve(
    fleet_directory: Path, passphrase_fd: int | None, listen: str, port: int | None, names: tuple[str, ...], days: int
) -> None:
    """Give devices their certificates until Ctrl-C: a subset of EST, the fleet's time, the list of the revoked."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    facts = fleet.safe.facts
    known = facts.get("enrol_port", "")
    chosen = port or (int(known) if known.isdecimal() else ENROL_PORT)
    shown = list(dict.fromkeys([*names, listen, *([facts["enrol_host"]] if facts.get("enrol_host") else [])]))
    asyncio.run(until_over(fleet, listen, chosen, shown, Rules(life=days, grace=RULES.grace)))


async def until_over(fleet: Fleet, listen: str, port: int, names: list[str], rules: Rules) -> None:
    """Serve until a signal."""
    from provisioning.fleet import server, serving  # noqa: PLC0415 - aiohttp, which --help does not need

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, serving.FILES), most))
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    told = console(err=True)
    enrolment = server.Enrolment(Registry(fleet), lambda sentence: told.print(sentence, markup=False), rules)
    made = serving.Serving(enrolment, names, listen, port)

    def ready() -> None:
        answer({"address": listen, "port": made.port, "names": names}, lambda to: to.print("[green]✓[/] Serving."))
        if not wants_json():
            console().print(f"  {listen} port {made.port}, as {', '.join(names)}; Ctrl-C ends it.")

    await serving.serve(made, over, ready)
