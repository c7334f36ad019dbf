"""Verbs about images: build one for a fleet, look at one, find what is wrong with one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from agent.core.errors import Refused
from agent.core.shown import harmless, many
from provisioning.card import build as building
from provisioning.card.contents import Issue
from provisioning.card.disk import look
from provisioning.card.judged import inspected, verified
from provisioning.card.scan import GRAVE, Finding, scan
from provisioning.card.snippet import FORMS, PACKAGE, snippets
from provisioning.cli.answer import answer, answers, console, profile_path, wants_json, with_fleet, with_profiles
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file
from provisioning.profile.issue import current_policy

MIB = 1 << 20
FOUND = 1  # exit code of a scan that found something grave
WORDS = {
    "unpack": "unpacking the image of the maker", "look": "looking at it", "write": "putting Privet into it",
    "check": "checking both file systems", "map": "mapping and hashing it", "scan": "looking through it",
}  # fmt: skip
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(
    epilog="\b\nExamples:\n  privet-fleet image build raspios-lite.img.xz --package privet_arm64.deb -o privet.img\n"
    "  privet-fleet image scan privet.img"
)
def image() -> None:
    """Build the image that a fleet's cards are flashed with, and look at images."""


@image.command(
    "build",
    short_help="Put Privet, a policy and an empty slot into an image.",
    epilog="""\b
Examples:
  make deb ARCH=arm64
  privet-fleet image build raspios-lite.img.xz --package dist/privet_*_arm64.deb -o porch.img
  privet-fleet image build raspios-lite.img.zst --package privet.deb --profile camera --dry-run
""",
)
@with_profiles
@with_fleet
@answers
@click.argument("base", type=FILE)
@click.option("--package", "package", type=FILE, required=True, help="The package of Privet for its processor.")
@click.option("--profile", "model", default="base", show_default=True, help="Whose policy it holds.")
@click.option("-o", "--output", type=FILE, default=Path("privet.img"), show_default=True, help="The new image.")
@click.option("--config-line", "lines", multiple=True, help="A line for config.txt, such as dtparam=i2c_arm=on.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def build_image(
    base: Path, profiles: Path | None, fleet_directory: Path, passphrase_fd: int | None, package: Path, model: str,
    output: Path, lines: tuple[str, ...], dry_run: bool,
) -> None:  # fmt: skip
    """Make the image of a fleet from the maker's BASE (.img, .img.xz or .img.zst); no root and no mount is needed.

    Beside the image are written: its signed manifest, a block map for bmaptool, and a bill of materials. Nothing in it
    belongs to one device: each card gets its own seed when it is flashed.
    """
    fleet = open_fleet(fleet_directory, passphrase_fd)
    whose = issue_for(fleet, profile_path(model, profiles))
    request = building.Request(
        base=base, package=package, output=output, issue=whose, lines=lines, moment=int(time.time())
    )
    with progress() as tell:
        if dry_run:
            plan, made = building.planned(request, tell), None
        else:
            plan, made = building.build(request, fleet.signing_key(), tell)
    result = {
        "image": str(output), "dry_run": dry_run, "layout": plan.layout.name, "files": len(plan.entries),
        "bytes": plan.bytes, "package": plan.deb.control["Version"], "class": whose.model, "sequence": whose.sequence,
    }  # fmt: skip
    if made:
        result |= {"slot": made.slot, "mapped": made.mapped, "size": made.size, "outside": made.outside.hex()}

    def show(out: Console) -> None:
        would = "[yellow]would be[/] written" if dry_run else "written"
        out.print(f"[green]✓[/] {plan.layout.title}, Privet {escape(plan.deb.control['Version'])}")
        out.print(f"  {many(len(plan.entries), 'file')}, {plan.bytes / MIB:.1f} MiB, {would} into {output}")
        if made:
            out.print(
                f"  {made.mapped / MIB:,.0f} of {made.size / MIB:,.0f} MiB hold something; slot at byte {made.slot}"
            )
            out.print(f"  Next: privet-fleet image scan {output}")

    answer(result, show)


def issue_for(fleet: Fleet, path: Path) -> Issue:
    """Return whose devices an image is for, with the newest policy of a profile."""
    issued = current_policy(fleet, path)
    return Issue(
        fleet=fleet.name, model=issued.model, sequence=issued.sequence, policy=issued.signed,
        keys=(fleet.policy_key(),), anchor=fleet.trust_anchor(),
    )  # fmt: skip


@image.command("inspect", epilog="\b\nExample:\n  privet-fleet image inspect porch.img")
@answers
@click.argument("path", metavar="IMAGE", type=FILE)
def inspect_image(path: Path) -> None:
    """Say what an IMAGE is: its layout, what is in it, what a first start would take up."""
    found = inspected(path)

    def show(out: Console) -> None:
        for name, value in found.items():
            told = ", ".join(f"{word} {one}" for word, one in value.items()) if isinstance(value, dict) else value
            said = " ".join(told) if isinstance(told, list) else str(told)
            out.print(f"[dim]{name:>11}[/] {escape(harmless(said))}")

    answer(found, show)


@image.command("scan", epilog="\b\nExample:\n  privet-fleet image scan raspios-lite.img")
@answers
@click.argument("path", metavar="IMAGE", type=FILE)
@click.pass_context
def scan_image(ctx: click.Context, path: Path) -> None:
    """Find secrets in an IMAGE, also where deleted files were: passwords, host keys, ids, Wi-Fi keys, what was left.

    Ends with 1 when something grave was found. No secret is shown.
    """
    with progress() as tell:
        found = scan(look(path), lambda done, of: tell("scan", done, of))
    grave = [one for one in found if one.weight == GRAVE]
    answer({"findings": [one._asdict() for one in found], "grave": len(grave)}, lambda out: show_findings(out, found))
    if grave:
        ctx.exit(FOUND)


def show_findings(out: Console, found: tuple[Finding, ...]) -> None:
    """Print what was found."""
    for one in found:
        colour = "red" if one.weight == GRAVE else "yellow"
        out.print(f"[{colour}]{one.kind:>12}[/]  {escape(one.where)} {escape(one.text)}")
    out.print(f"{len(found)} found." if found else "[green]✓[/] Nothing that devices would share, and no secret.")


@image.command("verify", epilog="\b\nExample:\n  privet-fleet image verify porch.img --fleet ./fleet")
@with_fleet
@answers
@click.argument("path", metavar="IMAGE", type=FILE)
def verify_image(path: Path, fleet_directory: Path, passphrase_fd: int | None) -> None:
    """Compare an IMAGE with its manifest, its block map and its bill of materials, and say what its slot holds."""
    manifest, state = verified(path, (open_fleet(fleet_directory, passphrase_fd).policy_key(),))
    result = {
        "image": str(path), "layout": manifest.layout, "fleet": manifest.fleet, "class": manifest.model,
        "sequence": manifest.sequence, "package": manifest.package, "slot": state.state, "device": state.device,
        "wrong": state.wrong,
    }  # fmt: skip

    def show(out: Console) -> None:
        out.print(f"[green]✓[/] {path} is as it was built: {manifest.layout}, {manifest.model} {manifest.sequence}.")
        out.print(f"  Its slot: {state.state} {escape(state.device or state.wrong)}".rstrip())

    answer(result, show)


@image.command(
    "snippet",
    short_help="Write what another imaging tool needs.",
    epilog="""\b
Examples:
  privet-fleet image snippet cloud-init -o boot --host porch
  privet-fleet image snippet custom.toml -o boot --host porch
""",
)
@with_profiles
@with_fleet
@answers
@click.argument("form", type=click.Choice(FORMS))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
@click.option("--profile", "model", default="base", show_default=True, help="Whose policy the device gets.")
@click.option("--host", default="raspberrypi", show_default=True, help="The device's name in its network.")
def snippet(
    form: str, output: Path, profiles: Path | None, fleet_directory: Path, passphrase_fd: int | None, model: str,
    host: str,
) -> None:  # fmt: skip
    """Write files for the boot partition of a stock image that another tool wrote. None of them holds a secret."""
    if output.exists():
        raise Refused(f"{output} is there already; choose another folder")
    fleet = open_fleet(fleet_directory, passphrase_fd)
    files = snippets(form, issue_for(fleet, profile_path(model, profiles)), host, int(time.time()))
    for name, content in files.items():
        whole_file(output / name, content, 0o644)

    def show(out: Console) -> None:
        out.print(
            f"[green]✓[/] Copy what is in {output} onto the boot partition, and the package beside it as {PACKAGE}."
        )
        if form == "custom.toml":
            out.print(
                "  Its first start sets the name alone. Then, on the device: sudo sh /boot/firmware/privet-install.sh"
            )
        out.print("  It enrols by a request of its own; how to make that: privet-fleet device add --help")

    answer({"form": form, "directory": str(output), "files": sorted(files)}, show)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far the work is, on the error output and only to a person."""
    out = console(err=True)
    if wants_json() or not out.is_terminal:
        yield lambda stage, done, of: None
        return
    columns: list[Any] = [TextColumn("{task.description:<34}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=out, transient=True) as shown:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(WORDS[stage], total=of)
            shown.update(tasks[stage], completed=done, total=of)

        yield tell
