"""The verb that receives telemetry."""

import json
import time
from pathlib import Path

import click
from rich.console import Console

from agent.core.errors import BadInput
from provisioning.cli.answer import answers, console, wants_json, with_fleet
from provisioning.cli.opened import open_fleet
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector, Reading
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE, Fleet
from provisioning.fleet.safe import whole_file
from provisioning.opener import joining
from provisioning.profile.issue import fleet_broker


@click.command(
    epilog="\b\nExamples:\n  privet-fleet collect\n  privet-fleet collect --host 127.0.0.1 --count 10 --json\n"
    "  privet-fleet collect --all --seconds 0"
)
@with_fleet
@answers
@click.option("--recipient", default="collector", show_default=True, help="Whose key opens the readings.")
@click.option("--host", help="The broker.  [default: the fleet's]")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port.  [default: the fleet's]")
@click.option("--store", type=click.Path(path_type=Path, dir_okay=False), help="Where to keep what comes, sealed.")
@click.option("--all", "old", is_flag=True, help="Show what was received before, too.")
@click.option("--count", type=click.IntRange(1), help="End after so many readings.")
@click.option("--seconds", type=click.IntRange(0), help="End after so long.  [default: until Ctrl-C]")
def collect(
    fleet_directory: Path, passphrase_fd: int | None, recipient: str, host: str | None, port: int | None,
    store: Path | None, old: bool, count: int | None, seconds: int | None,
) -> None:  # fmt: skip
    """Receive telemetry, keep it durably, tell the devices so, and show the readings; with --json one object a line."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    known = fleet_broker(fleet)
    if not host and not known:
        raise BadInput("the fleet names no broker; give --host and --port")
    folder = fleet.safe.directory / f"collector-{recipient}"
    kept = Store(store or folder / "store.db")
    errors = console(err=True)
    collector = Collector(fleet.name, recipient, fleet.recipient_key(recipient), kept, lambda text: say(errors, text))
    context = trusted(*identity(fleet, recipient, folder))
    line = Line(
        collector, host or (known or ("", 0))[0], port or (known or ("", 8883))[1], context, SERVICE + recipient
    )
    ends = time.monotonic() + seconds if seconds is not None else float("inf")
    after = 0 if old else newest(collector)
    shown = 0
    try:
        for reading in line.follow(after, lambda: time.monotonic() >= ends):
            show(reading)
            shown += 1
            if count and shown >= count:
                break
    except KeyboardInterrupt:
        pass
    finally:
        line.close()
        kept.close()
    if not line.sessions and not shown:
        say(errors, f"the broker was never reached: {line.cause}")
        click.get_current_context().exit(69)


def newest(collector: Collector) -> int:
    """Return the number of the last reading that is here already."""
    return max((reading.arrival for reading in collector.readings()), default=0)


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
