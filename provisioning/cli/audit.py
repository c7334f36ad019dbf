"""The verb that tries the doors of a broker from a device's seat."""

import getpass
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.markup import escape

from agent.core.errors import BadInput, Failed, Unreachable
from agent.core.record import as_map
from provisioning.broker.audit.found import OPEN, UNKNOWN, Door, Found
from provisioning.broker.audit.run import DOORS, audit
from provisioning.broker.audit.seat import PLAIN_PORTS, WEB_PORTS, Identity, Seat, Target, identity
from provisioning.broker.evict import in_its_name
from provisioning.cli.answer import answer, answers, console, wants_json, with_fleet
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.keeping import revoke
from provisioning.fleet.registry import Registry
from provisioning.fleet.safe import whole_file

MARK = {OPEN: "[red]✗ open [/]", UNKNOWN: "[yellow]? ?    [/]", "shut": "[green]✓ shut [/]"}
HOME = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(
    "audit-broker",
    epilog="""\b
Examples:
  privet-fleet audit-broker mqtts://broker.example:8883
  privet-fleet audit-broker broker.example --identity ./probe --other ./probe2 --name garden --json
""",
)
@with_fleet
@answers
@click.argument("url")
@click.option("--identity", "home", type=HOME, help="A device's ca.pem, cert.pem, key.pem.  [default: made for this]")
@click.option("--other", type=HOME, help="A second device's, which notices what gets through.")
@click.option("--reader", type=HOME, help="A collector's; settles what a silent broker did with a message.")
@click.option("--revoked", type=HOME, help="One whose certificate was revoked.")
@click.option("--name", help="The fleet's name in the topics.  [default: the fleet's]")
@click.option(
    "--plain-port",
    "plain",
    multiple=True,
    type=click.IntRange(1, 65535),
    default=PLAIN_PORTS,
    show_default=True,
    help="Ports to try without TLS.",
)
@click.option(
    "--web-port",
    "web",
    multiple=True,
    type=click.IntRange(1, 65535),
    default=WEB_PORTS,
    show_default=True,
    help="Ports to try as a WebSocket without TLS.",
)
@click.option(
    "--patience",
    type=click.IntRange(0, 300),
    default=11,
    show_default=True,
    help="Seconds to wait for what the broker tells about itself now and then.",
)
@click.pass_context
def audit_broker(
    ctx: click.Context, fleet_directory: Path, passphrase_fd: int | None, url: str, home: Path | None,
    other: Path | None, reader: Path | None, revoked: Path | None, name: str | None, plain: tuple[int, ...],
    web: tuple[int, ...], patience: int,
) -> None:  # fmt: skip
    """Try the doors of the broker at URL from a device's seat, each for real: open, shut, or could not tell.

    In a fleet's directory it makes itself three identities for a day, one of them revoked at once. With --identity it
    takes yours: choose one that is not in use, its sessions are ended. Exit code 70: a door is open; 69: none is, but
    one could not be told.
    """
    host, port = place(url)
    rows: list[tuple[Door, Found]] = []
    with identities(fleet_directory, passphrase_fd, name, home, (other, reader, revoked)) as (fleet, one, who):
        target = Target(host=host, port=port, fleet=fleet, plain=plain, web=web)
        with Seat(target, one, *who) as seat:
            seat.patience = float(patience)
            for door, found in audit(seat):
                rows.append((door, found))
                if not wants_json():
                    show_row(console(), door, found)
    verdicts = [found.verdict for _, found in rows]
    result = {
        "ok": OPEN not in verdicts and UNKNOWN not in verdicts,
        "broker": f"{host}:{port}",
        "doors": [{**as_map(door), "verdict": found.verdict, "said": found.said} for door, found in rows],
    }
    answer(result, lambda to: show_end(to, verdicts))
    if OPEN in verdicts:
        ctx.exit(Failed.exit_code)
    if UNKNOWN in verdicts:
        ctx.exit(Unreachable.exit_code)


def place(url: str) -> tuple[str, int]:
    """Read mqtts://host:port; the port is 8883 when none is given."""
    try:
        parts = urlsplit(url if "://" in url else f"mqtts://{url}")
        host, port = parts.hostname, parts.port or 8883
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if not host or parts.scheme not in {"mqtts", "ssl", "tls"} or parts.path.strip("/") or parts.query:
        raise BadInput(f"{url!r} is no broker with TLS; write it like mqtts://broker.example:8883")
    return host, port


@contextmanager
def identities(
    directory: Path, descriptor: int | None, name: str | None, home: Path | None, others: tuple[Path | None, ...]
) -> Iterator[tuple[str, Identity, list[Identity | None]]]:
    """Give the fleet's name and who tries: as given, else made by the fleet for this one time."""
    if home is not None:
        if not name:
            raise BadInput("with --identity the fleet's name is not known; give --name as it stands in the topics")
        yield name, identity(home), [identity(one) if one else None for one in others]
        return
    fleet = open_fleet(directory, descriptor)
    with TemporaryDirectory(prefix="privet-audit-") as folder:
        made = [enrolled(fleet, Path(folder) / who) for who in ("one", "other", "lost")]
        with closing(Registry(fleet)) as registry:
            revoke(registry, [(made[2].home / "cert.pem").read_bytes()], "made for an audit", getpass.getuser())
        given = [identity(path) if path else None for path in others]
        yield name or fleet.name, made[0], [given[0] or made[1], given[1], given[2] or made[2]]


def enrolled(fleet: Fleet, home: Path) -> Identity:
    """Make a device for a day that is none."""
    made = in_its_name(fleet, f"audit-{secrets.token_hex(6)}")
    for file, content in (("ca.pem", fleet.trust_anchor()), ("cert.pem", made.certificate), ("key.pem", made.key)):
        whole_file(home / file, content)
    return identity(home)


def show_row(to: Console, door: Door, found: Found) -> None:
    """Print one door; an open one with what it means and how to mend it."""
    to.print(f"{MARK[found.verdict]} [bold]{escape(door.title)}[/]: {escape(found.said)}", soft_wrap=True)
    if found.verdict == OPEN:
        to.print(f"         [red]risk:[/] {escape(door.risk)}", soft_wrap=True)
        to.print(f"         [green]mend:[/] {escape(door.mend)}", soft_wrap=True)


def show_end(to: Console, verdicts: list[str]) -> None:
    """Print the sum."""
    counts = {word: verdicts.count(word) for word in (OPEN, UNKNOWN)}
    to.print(
        f"\n{len(DOORS)} doors: {counts[OPEN]} open, {len(DOORS) - sum(counts.values())} shut, "
        f"{counts[UNKNOWN]} could not be told."
    )
