"""Verbs that say in a form of others what a profile declares, and read such a form back."""

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.console import Console

from agent.core.errors import BadInput, Missing
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, profile_path, put, with_profiles
from provisioning.export import MAX_BYTES, Flows, Subject, form, forms
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import declared
from provisioning.profile.inherit import load


def web_address(_ctx: click.Context, _option: click.Parameter, given: str) -> str:
    """Accept an address that starts with https:// and names a host."""
    try:
        known = urlsplit(given)
        sound = known.scheme == "https" and bool(known.hostname) and given.isprintable() and " " not in given
    except ValueError:
        sound = False
    if not sound:
        raise click.BadParameter("write an address such as https://maker.example/camera.json")
    return given


@click.command(
    "export",
    short_help="Say its flows in a form of others (MUD).",
    epilog="\b\nExample:\n  privet-fleet profile export camera --url https://maker.example/camera.json -o camera.json",
)
@with_profiles
@answers
@click.argument("name")
@click.option("--as", "name_of_form", type=click.Choice(forms()), default="mud", show_default=True, help="The form.")
@click.option("--url", required=True, callback=web_address, help="Where the file will be published.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.")
def export_profile(name: str, profiles: Path | None, name_of_form: str, url: str, output: Path | None) -> None:
    """Say what the firewall of a profile lets through, so that a network can hold its devices to it."""
    whole = load(profile_path(name, profiles), shipped()).profile
    flows = Flows(declared(whole, "inbound"), declared(whole, "outbound"))
    text = form(name_of_form).written(Subject(whole, flows, datetime.now(UTC).replace(microsecond=0), url))
    if output:
        put(output, text.encode())
    result = {"form": name_of_form, "file": str(output or ""), "text": text, "flows": flows._asdict()}
    numbers = f"{many(len(flows.inbound), 'flow')} in, {many(len(flows.outbound), 'flow')} out"
    said = f"✓ {numbers}: {output}\n" if output else text
    answer(result, lambda _console: click.echo(said, nl=False))


@click.command(
    "import",
    short_help="Read flows from a form of others (MUD).",
    epilog="\b\nExample:\n  privet-fleet profile import camera.json",
)
@answers
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--as", "name_of_form", type=click.Choice(forms()), default="mud", show_default=True, help="The form.")
def import_flows(path: Path, name_of_form: str) -> None:
    """Read the flows of a file, as the [flows] of a profile; a purpose for each is for you to write."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Missing(f"{path} cannot be read ({error.strerror}); check the name") from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"{path} has more than {MAX_BYTES >> 20} MiB; that is no list of flows")
    flows = form(name_of_form).read(content.decode("utf-8", "replace"))

    def show(console: Console) -> None:
        console.print(as_toml(flows, path.name), markup=False, soft_wrap=True, end="")

    answer({"form": name_of_form, "flows": flows._asdict()}, show)


def as_toml(flows: Flows, source: str) -> str:
    """Write flows as a profile has them; one whose peer is a name is a remark, for the firewall knows addresses."""
    said = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in source)
    lines = ["[flows]"]
    for side, words in flows._asdict().items():
        lines.append(f"{side} = [")
        for word in words:
            line = f'{{ flow = "{word}", purpose = "Read from {said}; say here what it is for." }},'
            lines.append(f"  {line}" if by_address(word) else f"  # a name, where the firewall wants addresses: {line}")
        lines.append("]")
    return "\n".join(lines) + "\n"


def by_address(word: str) -> bool:
    """Say whether the peer of a flow is what a profile may name."""
    peer = word.partition("@")[2]
    return peer in {"any", "lan", "loopback"} or "/" in peer
