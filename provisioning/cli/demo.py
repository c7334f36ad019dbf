"""The demo verb: plays the scenes and shows them to a person."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.core.errors import BadInput, Refused
from provisioning.cli.answer import answer, answers, console, profile_path, wants_json, with_profiles
from provisioning.simulate.demo import LEAVES, ROUNDED, Demo, Facts, Scene

LONGEST = 60  # letters of a directory: the sockets of the device lie below it, and a socket's path has at most 107
PAUSE = 1.5  # seconds between scenes, for a person to read


@click.command(epilog="\b\nExamples:\n  privet-fleet demo\n  privet-fleet demo --directory ./demo --keep")
@with_profiles
@answers
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything lives.  [default: a temporary directory]",
)
@click.option("--keep", is_flag=True, help="Leave the directory there at the end.")
@click.option("--fast", is_flag=True, help="No pauses between the scenes.")
def demo(profiles: Path | None, directory: Path | None, keep: bool, fast: bool) -> None:
    """Make a fleet, start a simulated Raspberry Pi with its factory password, and watch Privet keep it private.

    Everything is real but the device: keys, policy, broker, guard, link and collector. Nothing outside the directory is
    changed. Each scene checks that what it shows truly happened; the exit code is 0 only then.
    """
    began = time.monotonic()
    shown: list[dict[str, Any]] = []
    to = console()
    with chosen(directory, keep) as folder:
        if not wants_json():
            to.print(f"[bold]Privet[/]: the hedge around a connected device. Everything happens in {folder}")
        play = Demo(folder, profile_path("base", profiles), Countdown(to))
        try:
            for number, scene in enumerate(play.scenes(), 1):
                shown.append({"scene": scene.name, "took": round(scene.took, 3), **scene.facts})
                if not wants_json():
                    show(to, number, scene)
                    play.rest(0 if fast or not sys.stdout.isatty() else PAUSE)
        finally:
            play.close()
    took = round(time.monotonic() - began, 1)

    def close(to: Console) -> None:
        to.print(f"\n[bold green]Everything above truly happened[/], in {took} s. Broker and device are stopped.")
        to.print(f"The directory {folder} is kept." if keep else f"The directory {folder} is gone again.")

    answer({"seconds": took, "directory": str(folder) if keep else "", "scenes": shown}, close)


@contextmanager
def chosen(directory: Path | None, keep: bool) -> Iterator[Path]:
    """Make the directory of the demo, and remove it at the end unless it is to be kept."""
    if directory is not None:
        directory = directory.absolute()
        if directory.exists() and any(directory.iterdir()):
            raise Refused(f"{directory} is not empty; choose another one or remove it")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = directory or Path(tempfile.mkdtemp(prefix="privet-demo-"))
    try:
        if len(str(folder)) > LONGEST:
            raise BadInput(f"{folder} is too long a path for the sockets of the device; choose a shorter one")
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


class Countdown:
    """Shows the seconds that are left, in place, where there is a terminal."""

    def __init__(self, to: Console) -> None:
        self._to = to

    def __call__(self, left: int) -> None:
        """Show a number."""
        if self._to.is_terminal and not wants_json():
            self._to.print(f"  [yellow]open for another {left:>2} s[/] (simulated clock, sped up)   ", end="\r")


def show(to: Console, number: int, scene: Scene) -> None:
    """Show one scene."""
    to.print()
    to.rule(f"[bold cyan]{number}  {scene.title}", align="left", style="cyan")
    SHOWN[scene.name](to, scene.facts)


def line(to: Console, good: bool, text: str) -> None:
    """Print one fact: green for what is private, red for what is open."""
    to.print(f"  [{'green' if good else 'red'}]●[/] {text}")


def commands(to: Console, facts: Facts) -> None:
    """Print what the owner typed on the device, and its answers."""
    for one in facts["commands"]:
        to.print(f"  [bold]pi@device $[/] {escape(one['command'])}")
        output = one["output"].replace("[y/N]: ", "[y/N]:\n").strip("\n")
        to.print(Padding(Text(output, style="dim" if one["exit"] == 0 else "red"), (0, 0, 0, 4), expand=False))


def show_fleet(to: Console, facts: Facts) -> None:
    """Show keys, policy and broker."""
    policy = facts["policy"]
    line(to, True, f"The fleet [bold]{facts['fleet']}[/] has its keys and authorities.")
    line(
        to, True, f"Policy {policy['sequence']}, compiled from {facts['profile']}, is signed: {policy['bytes']} bytes."
    )
    line(to, True, f"The broker runs on {facts['broker']}, with certificates on both sides.")
    line(to, True, f'A stranger without a certificate hears: "{escape(facts["stranger"])}".')


def show_factory(to: Console, facts: Facts) -> None:
    """Show how open a device comes."""
    line(
        to,
        False,
        f"{facts['user']} / {facts['password']} opens it, also over SSH: the whole world knows that password.",
    )
    line(to, False, f"{facts['open_settings']} settings are more open than they need to be.")


def show_boot(to: Console, facts: Facts) -> None:
    """Show the settings before and after."""
    table = Table("Setting", "As it came", "Now", box=None, pad_edge=False, header_style="bold")
    tightened = [row for row in facts["settings"] if row["was_open"]]
    for row in tightened:
        before = Text(plain(row["before"], "open"), style="red")
        table.add_row(Text(row["title"]), before, Text(plain(row["after"], "private"), style="green"))
    to.print(Padding(table, (0, 0, 0, 2)))
    line(to, True, f"{len(tightened)} settings were tightened before anybody could reach the device.")
    line(to, True, f"{len(facts['settings']) - len(tightened)} more were private already and are kept so.")


def plain(value: str, verdict: str) -> str:
    """Write a setting's value for somebody who knows neither kernels nor permission bits."""
    if value.isdigit() and len(value) == 1:
        return f"{verdict} ({value})"
    if value.count(":") == 2 and value[-4:].isdigit():
        everybody, group = int(value[-1]), int(value[-2])
        return "everybody" if everybody else "its group" if group else "nobody else"
    count = value.count(",") + 1
    if count <= 4:
        return value
    return f"{count} declared connections" if "@" in value else f"{count} kinds"


def show_credentials(to: Console, facts: Facts) -> None:
    """Show the new password and that the old one is dead."""
    line(to, True, "raspberry was tried again and is [bold]refused[/]. The SSH host keys of the image are gone too.")
    commands(to, facts)
    line(to, True, "The new password works, and it was shown once.")


def show_telemetry(to: Console, facts: Facts) -> None:
    """Show a reading as the broker and as the recipient see it."""
    commands(to, facts)
    raw = bytes.fromhex(facts["broker_sees"])
    seen = facts["recipient_sees"]
    when = time.strftime("%H:%M", time.gmtime(seen["at"]))
    recipient = Text.assemble(
        (f"{seen['name']} {seen['value']} {seen['unit']}", "bold green"), f"   at {when} UTC\n",
        (f"measured {facts['measured']}, agreed precision {LEAVES}; its time is rounded down to {ROUNDED} s", "dim"),
    )  # fmt: skip
    broker = Group(Text(facts["topic"], style="dim"), *dump(raw))
    to.print(
        Padding(
            Panel(broker, title="What the broker sees", title_align="left", border_style="red"), (0, 2), expand=False
        )
    )
    to.print(
        Padding(Panel(recipient, title="What the recipient sees", title_align="left", border_style="green"), (0, 2))
    )
    line(to, True, f"Sealed on the device, opened {facts['seconds']} s later by the one who holds the key.")


def dump(raw: bytes) -> Iterator[Text]:
    """Write bytes as a hex dump."""
    for start in range(0, len(raw), 16):
        part = raw[start : start + 16]
        readable = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in part)
        yield Text.assemble((f"{part.hex(' '):<49}", "red"), (readable, "dim"))


def show_drift(to: Console, facts: Facts) -> None:
    """Show a hand edit, the warning and the restoration."""
    to.print(f"  [bold]root@device #[/] editor {facts['path']}")
    to.print(Padding(Text(facts["line"], style="red"), (0, 0, 0, 4), expand=False))
    to.print("  [bold]root@device #[/] systemctl reload ssh")
    line(to, False, "For a moment SSH takes passwords again: a sign-in with one worked.")
    warning = Text("\n".join(facts["warning"].splitlines()[1:]))
    title = f"Warned after {facts['seconds']} s"
    to.print(Padding(Panel(warning, title=title, title_align="left", border_style="yellow"), (0, 2), expand=False))
    line(to, True, "SSH is shut to passwords again: the same sign-in was refused.")


def show_loosen(to: Console, facts: Facts) -> None:
    """Show the risk, a no and a yes."""
    commands(to, facts)
    line(to, False, "Open for one minute, because the owner said so after reading the risk. It is on record.")


def show_revert(to: Console, facts: Facts) -> None:
    """Show the end of the leave."""
    line(
        to,
        True,
        f"After {facts['countdown'][0]} s (on a clock sped up {facts['speed']} times), without anybody's help:",
    )
    to.print(f"    {escape(facts['ended'])}")


def show_journal(to: Console, facts: Facts) -> None:
    """Show the journal and the final status."""
    commands(to, facts)
    line(to, True, escape(facts["status"]))


SHOWN = {
    "fleet": show_fleet,
    "factory": show_factory,
    "boot": show_boot,
    "credentials": show_credentials,
    "telemetry": show_telemetry,
    "drift": show_drift,
    "loosen": show_loosen,
    "revert": show_revert,
    "journal": show_journal,
}
