"""Verbs of the opener: hand readings on in plain text on your own machine, and take them back."""

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from agent.core.errors import BadInput, Missing, Refused, Unreachable, Unreadable
from agent.core.secret import Secret
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, console, wants_json, with_fleet
from provisioning.cli.collect import identity, say
from provisioning.cli.init import chosen, host_and_port
from provisioning.cli.opened import open_fleet, passphrase
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE, Fleet
from provisioning.fleet.safe import FACTS
from provisioning.opener import joining
from provisioning.opener.outlets import outlets
from provisioning.opener.own import Login, OwnBroker
from provisioning.opener.place import own_place
from provisioning.opener.run import Memory, Opener, Outlets
from provisioning.profile.issue import fleet_broker
from provisioning.profile.notices import Notices

MOST_PASSWORD = 1024  # bytes
WARNING = """\
This opens the readings sealed to {recipient} and hands them on in plain text.
From then on nothing of Privet protects them: whoever can read {where} reads them, and so does every program there.
The devices' owner must have agreed to this recipient; withdrawing stops new readings, `privet-fleet open forget` clears
what stays behind here."""


class Where(NamedTuple):
    """Where plain text goes: the options both verbs share."""

    own: str | None
    own_ca: Path | None
    own_user: str | None
    own_password_file: Path | None
    pages: Path | None


def with_where(command: click.decorators.FC) -> click.decorators.FC:
    """Give a verb the options that say whose readings they are and where plain text goes."""
    readable, folder = click.Path(path_type=Path, dir_okay=False), click.Path(path_type=Path, file_okay=False)
    for option in (
        click.option("--pages", type=folder, help="Directory for pages, such as node_exporter's."),
        click.option("--own-password-file", type=readable, help="Its password; a file only you can read."),
        click.option("--own-user", help="Name to sign in with there."),
        click.option("--own-ca", type=readable, help="Its authority; needed when it is another machine."),
        click.option("--own", help="Your own broker, such as 127.0.0.1:1883; never the fleet's."),
        click.option("--recipient", default="home", show_default=True, help="Whose key opens the readings."),
    ):
        command = option(command)
    return command


@click.group(
    "open",
    short_help="Hand readings on in plain text, on your own machine.",
    epilog="\b\nExamples:\n  privet-fleet open ask --fleet ./hub\n"
    "  privet-fleet open run --own 127.0.0.1:1883 --as home_assistant",
)
def open_group() -> None:
    """Hand readings on in plain text to other programs on your own machine, and take them back."""


@open_group.command(
    epilog="\b\nExamples:\n  privet-fleet open run --own 127.0.0.1:1883 --as home_assistant\n"
    "  privet-fleet open run --own hub.lan:8883 --own-ca hub-ca.pem --as node_red --as telegraf\n"
    "  privet-fleet open run --as prometheus --pages /var/lib/prometheus/node-exporter"
)
@with_fleet
@answers
@with_where
@click.option("--as", "names", type=click.Choice(outlets()), multiple=True, required=True, help="For whom; repeat it.")
@click.option("--host", help="The fleet's broker.  [default: the fleet's]")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port.  [default: the fleet's]")
@click.option("--yes", is_flag=True, help="I have read what opening means.")
@click.option("--count", type=click.IntRange(1), help="End after so many readings.")
@click.option("--seconds", type=click.IntRange(0), help="End after so long.  [default: until Ctrl-C]")
def run(
    fleet_directory: Path, passphrase_fd: int | None, recipient: str, names: tuple[str, ...], host: str | None,
    port: int | None, yes: bool, count: int | None, seconds: int | None, **where: object,
) -> None:  # fmt: skip
    """Receive what is sealed to a recipient, keep it until it is handed on, and publish it in plain text at home."""
    joining.admitted(fleet_directory)
    fleet = open_fleet(fleet_directory, passphrase_fd)
    known = fleet_broker(fleet)
    if not host and not known:
        raise BadInput("the fleet names no broker; give --host and --port")
    place = (host or (known or ("", 0))[0], port or (known or ("", 8883))[1])
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    ends = time.monotonic() + seconds if seconds is not None else float("inf")
    with working(fleet, recipient, names, place, Where(**where)) as opener:  # type: ignore[arg-type]
        agreed(opener.memory, recipient, opener.to, yes)
        files = identity(fleet, recipient, fleet.safe.directory / f"collector-{recipient}")
        line = Line(opener.collector, *place, trusted(*files), SERVICE + recipient)
        try:
            while not over.is_set() and time.monotonic() < ends and not (count and opener.handed >= count):
                line.turn(0 if opener.turn() else 1.0)
            opener.let_go()
        finally:
            line.close()
    if not line.sessions and not opener.handed:
        raise Unreachable(f"the fleet's broker was never reached: {line.cause}; try again when it is")
    result = {"readings": opener.handed, "odd": opener.odd}
    answer(result, lambda out: out.print(f"✓ {many(opener.handed, 'reading')} handed on in plain text."))


@open_group.command(
    epilog="\b\nExamples:\n  privet-fleet open forget --own 127.0.0.1:1883\n"
    "  privet-fleet open forget --own 127.0.0.1:1883 --device porch"
)
@with_fleet
@answers
@with_where
@click.option("--device", default="", help="This device alone.  [default: all]")
@click.option("--purpose", default="", help="This purpose alone.  [default: all]")
def forget(
    fleet_directory: Path, passphrase_fd: int | None, recipient: str, device: str, purpose: str, **where: object
) -> None:  # fmt: skip
    """Take back what stays in plain text: announcements at your own broker, figures on pages, readings in the store.

    What another program has copied meanwhile is that program's: forget it there as well.
    """
    joining.admitted(fleet_directory)
    fleet = open_fleet(fleet_directory, passphrase_fd)
    place = fleet_broker(fleet) or ("", 0)
    with working(fleet, recipient, (), place, Where(**where)) as opener:  # type: ignore[arg-type]
        gone = opener.forget(device, purpose)
        with opener.collector.store.transaction():
            readings = opener.collector.store.forget(1 << 62, device, purpose)
    answer(
        {"device": device, "purpose": purpose, "cleared": gone, "records": readings},
        lambda out: out.print(
            f"✓ {many(gone, 'thing')} taken back, {many(readings, 'record')} forgotten. "
            "Look in your other programs, too."
        ),
    )


@open_group.command(
    epilog="\b\nExample:\n  privet-fleet open ask --fleet ./hub\n"
    "  privet-fleet recipient admit request-home.json -o answer.json   # at the fleet"
)
@with_fleet
@answers
@click.option("--recipient", default="home", show_default=True, help="The name that profiles know.")
@click.option("--no-passphrase", is_flag=True, help="Leave the keys readable to whoever can read the directory.")
def ask(fleet_directory: Path, passphrase_fd: int | None, recipient: str, no_passphrase: bool) -> None:
    """Make a recipient's keys here, on your own machine; they stay. What you carry to the fleet is public."""
    there = (fleet_directory / FACTS).exists()
    lock = passphrase(fleet_directory, passphrase_fd) if there else chosen(passphrase_fd, no_passphrase)
    path = joining.ask(fleet_directory, recipient, lock)
    answer(
        {"recipient": recipient, "request": str(path)},
        lambda out: out.print(f"✓ Carry {path} to the fleet: privet-fleet recipient admit", markup=False),
    )


@open_group.command(epilog="\b\nExample:\n  privet-fleet open take answer.json --fleet ./hub")
@with_fleet
@answers
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def take(fleet_directory: Path, passphrase_fd: int | None, file: Path) -> None:
    """Take the fleet's answer: the certificate, the fleet's root, and where its broker is."""
    fleet = joining.take(fleet_directory, file, passphrase(fleet_directory, passphrase_fd))
    answer(
        {"fleet": fleet.name, "directory": str(fleet_directory)},
        lambda out: out.print(f"✓ Admitted by {fleet.name}. Next: privet-fleet open run --fleet {fleet_directory}"),
    )


@contextmanager
def working(
    fleet: Fleet, recipient: str, names: tuple[str, ...], place: tuple[str, int], where: Where
) -> Iterator[Opener]:
    """Open what an opener works with, and close all of it at the end."""
    folder, errors = fleet.safe.directory / f"collector-{recipient}", console(err=True)

    def tell(text: str) -> None:
        say(errors, text)

    with ExitStack() as ends:
        to = destination(fleet, recipient, names, place, where)
        if to.own is not None:
            ends.callback(to.own.close)
        memory = Memory(folder)
        ends.callback(memory.close)
        store = Store(folder / "store.db")
        ends.callback(store.close)
        made: list[Opener] = []
        collector = Collector(
            fleet.name, recipient, fleet.recipient_key(recipient), store, tell, fleet.trust_anchor(),
            lambda place: (made[0].forget(place.device, place.purpose), None)[1], Notices(fleet),
        )  # fmt: skip
        made.append(Opener(collector, to, memory, tell))
        yield made[0]


def destination(fleet: Fleet, recipient: str, names: tuple[str, ...], place: tuple[str, int], where: Where) -> Outlets:
    """Return the outlets with the owner's own broker and directory, each looked at first."""
    own = None
    if where.own:
        host, port = host_and_port(where.own)
        own = OwnBroker(
            own_place(host, port, where.own_ca, place, fleet.trust_anchor()),
            login(where.own_user, where.own_password_file),
            f"privet-opener-{recipient}",
        )
    return Outlets(fleet.name, names, own, where.pages)


def login(name: str | None, file: Path | None) -> Login | None:
    """Read the password from a file that nobody else can read."""
    if (name is None) != (file is None):
        raise BadInput("--own-user and --own-password-file belong together; give both, or neither")
    if name is None or file is None:
        return None
    try:
        with file.open("rb") as content:
            mode = os.fstat(content.fileno()).st_mode
            password = content.read(MOST_PASSWORD).rstrip(b"\r\n")
    except FileNotFoundError:
        raise Missing(f"{file} is not there; write the password of your own broker into it") from None
    except OSError as error:
        raise Unreadable(f"{file} cannot be read ({error.strerror}); check its rights") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"other users can read {file}; close it with: chmod 600 {file}")
    return Login(name=name, password=Secret(password))


def agreed(memory: Memory, recipient: str, to: Outlets, yes: bool) -> None:
    """Say what opening means, every time; the first time somebody has to say yes to it."""
    where = " and ".join([*([to.own.place.host] if to.own else []), *([str(to.pages)] if to.pages else [])])
    if not wants_json():
        click.echo(WARNING.format(recipient=recipient, where=where), err=True)
    if memory.agreed or yes:
        first = not memory.agreed
        memory.agreed = 1
        if first:
            memory.keep()
        return
    if not sys.stdin.isatty() or not click.confirm("Open them?", err=True):
        raise Refused("nothing was opened; read what it means, then say --yes once")
    memory.agreed = 1
    memory.keep()
