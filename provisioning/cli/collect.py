"""The verb that receives telemetry."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from agent.core.errors import BadInput
from provisioning.cli.answer import answers, console, wants_json, with_fleet, with_profiles
from provisioning.cli.init import host_and_port
from provisioning.cli.opened import hand_out, open_fleet, store_at, with_reader, with_store
from provisioning.cli.readings import kept_days
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector, Reading
from provisioning.collector.retention import Retention
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE, Fleet
from provisioning.fleet.safe import whole_file
from provisioning.opener import joining
from provisioning.profile.issue import fleet_broker
from provisioning.profile.notices import Notices


@click.command(
    epilog="\b\nExamples:\n  privet-fleet collect\n  privet-fleet collect --host 127.0.0.1 --count 10 --json\n"
    "  privet-fleet collect --all --seconds 0\n"
    "  privet-fleet collect --store postgresql:///readings --worker 1 --profile base"
)
@with_fleet
@with_profiles
@answers
@click.option("--recipient", default="collector", show_default=True, help="Whose key opens the readings.")
@click.option("--host", help="The broker.  [default: the fleet's]")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port.  [default: the fleet's]")
@click.option("--other", "others", multiple=True, help="Another broker of the same cluster, as host:port; repeat it.")
@with_store
@with_reader
@click.option("--profile", "promised", multiple=True, help="Forget what is over the time that this profile promises.")
@click.option("--worker", type=click.IntRange(1, 999), help="Be one of several that share the work and the store.")
@click.option("--follow/--quiet", default=None, help="Show what comes.  [default: --quiet for a worker]")
@click.option("--all", "old", is_flag=True, help="Show what was received before, too.")
@click.option("--count", type=click.IntRange(1), help="End after so many readings.")
@click.option("--seconds", type=click.IntRange(0), help="End after so long.  [default: until Ctrl-C]")
def collect(
    fleet_directory: Path, passphrase_fd: int | None, profiles: Path | None, recipient: str, host: str | None,
    port: int | None, others: tuple[str, ...], store: str | None, reader: str, worker: int | None,
    follow: bool | None, old: bool, count: int | None, seconds: int | None, promised: tuple[str, ...],
) -> None:  # fmt: skip
    """Receive telemetry, keep it durably, tell the devices so, and show the readings; with --json one object a line."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    known = fleet_broker(fleet)
    if not host and not known:
        raise BadInput("the fleet names no broker; give --host and --port")
    name = f"{recipient}-{worker}" if worker else recipient
    kept = Store(store_at(fleet, recipient, store))
    errors = console(err=True)
    keys = fleet.recipient_key(recipient), kept, lambda text: say(errors, text), fleet.trust_anchor()
    collector = Collector(fleet.name, recipient, *keys, notices=Notices(fleet))
    context = trusted(*identity(fleet, name, fleet.safe.directory / f"collector-{name}"))
    where = host or (known or ("", 0))[0], port or (known or ("", 8883))[1]
    more = [host_and_port(other) for other in others]
    line = Line(collector, *where, context, SERVICE + name, recipient if worker else "", more)
    over = time.monotonic() + seconds if seconds is not None else float("inf")
    retention = Retention(kept, shortest(profiles, promised), lambda text: say(errors, text))

    def ended() -> bool:
        retention.turn()
        return time.monotonic() >= over

    quiet = bool(worker) if follow is None else not follow
    try:
        if quiet:
            shown = received(line, ended, lambda text: say(errors, text))
        else:
            after = 0 if old else kept.last()
            hand_out(collector, reader, "follow", None, after)
            shown = shown_as_it_comes(line, after, count, ended)
    finally:
        line.close()
        kept.close()
    if not line.sessions and not shown:
        say(errors, f"the broker was never reached: {line.cause}")
        click.get_current_context().exit(69)


def received(line: Line, ended: Callable[[], bool], tell: Callable[[str], None]) -> int:
    """Receive until it is over; say when the broker is reached or lost, and nothing of what comes."""
    before = False
    with suppress(KeyboardInterrupt):
        while not ended():
            line.turn(1.0)
            if line.connected != before:
                before = line.connected
                tell("receiving" if before else f"the broker is not reached: {line.cause}")
    return 0


def shown_as_it_comes(line: Line, after: int, count: int | None, ended: Callable[[], bool]) -> int:
    """Receive and show until it is over, or so many were shown; return how many."""
    shown = 0
    with suppress(KeyboardInterrupt):
        for reading in line.follow(after, ended):
            show(reading)
            shown += 1
            if count and shown >= count:
                break
    return shown


def shortest(profiles: Path | None, promised: tuple[str, ...]) -> dict[str, int]:
    """Return how many days each purpose is kept; where profiles promise differently, the shortest."""
    spans: dict[str, int] = {}
    for name in promised:
        for purpose, days in kept_days(profiles, name, None, None).items():
            spans[purpose] = min(days, spans.get(purpose, days))
    return spans


def identity(fleet: Fleet, recipient: str, folder: Path) -> tuple[Path, Path, Path]:
    """Give the collector a certificate of its own; return the paths of trust anchor, certificate and key.

    On a hub that was admitted it is the one the fleet gave.
    """
    given = joining.identity(fleet)
    if given is None:
        credential = fleet.service(recipient)
        given = credential.certificate, credential.key
    files = {"ca.pem": fleet.trust_anchor(), "cert.pem": given[0], "key.pem": given[1]}
    for name, content in files.items():
        whole_file(folder / name, content)
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"


def say(to: Console, text: str) -> None:
    """Tell the operator something on the error output."""
    to.print(f"privet-fleet: {text}", markup=False)


def show(reading: Reading) -> None:
    """Print one reading."""
    place = reading.place
    if wants_json():
        facts = {
            "device": place.device,
            "purpose": place.purpose,
            "boot": place.boot,
            "seq": reading.seq,
            "name": reading.name,
            "value": str(reading.value),
            "unit": reading.unit,
            "at": reading.at,
            "received": reading.received,
        }
        click.echo(json.dumps(facts))
        return
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(reading.at))
    click.echo(f"{when}  {place.device:<20} {reading.name:<16} {reading.value:>10} {reading.unit}")
