"""The verb that lets a broker's list of devices follow the registry."""

from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console

from agent.core.shown import many
from provisioning.broker.admission import Listing, admitted, former, listings, waits
from provisioning.cli.answer import answer, answers, with_fleet
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry

NEXT = {
    "nats.conf": "Let each node of it read that: systemctl reload nats-server (SIGHUP); sessions of the gone end then.",
    "definitions.json": "At one node of it: rabbitmqctl import_definitions FILE, and these; sessions end.",
}


@click.command(
    epilog="\b\nExamples:\n  privet-fleet broker admit cluster --dry-run\n"
    "  privet-fleet broker admit cluster\n  privet-fleet broker admit /etc/nats --also by-hand.txt"
)
@with_fleet
@answers
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--also", type=click.File(), help="Names that the registry does not know, one a line.")
@click.option("--dry-run", is_flag=True, help="Say who would come in and who would be left out, and change nothing.")
def admit(
    fleet_directory: Path, passphrase_fd: int | None, folders: tuple[Path, ...], also: Iterable[str] | None,
    dry_run: bool,
) -> None:  # fmt: skip
    """Write whom NATS or RabbitMQ lets in, as the registry says now, into the files of FOLDERS.

    A folder is one of `broker cluster`, of one of its nodes, or a broker's own. Devices with a certificate in force
    are let in, nobody else; the rest of the files stays as it is, and a second time changes nothing.
    """
    fleet = open_fleet(fleet_directory, passphrase_fd)
    registry = Registry(fleet)
    try:
        names = admitted(registry) | {line.strip() for line in also or () if line.strip()}
        out = [waits(name, until) for name, until in sorted(former(registry).items())]
    finally:
        registry.close()
    found = listings(fleet, folders, names)
    for one in () if dry_run else found:
        one.write()
    rows = [row(one) for one in found]
    result = {"files": rows, "admitted": len(names), "kept_out": out, "written": not dry_run}
    answer(result, lambda to: show(to, found, out, dry_run))


def row(one: Listing) -> dict[str, object]:
    """Write one file for whoever reads JSON."""
    return {"file": str(one.path), "in": one.added, "out": one.gone, "changed": one.before != one.after}


def show(to: Console, found: tuple[Listing, ...], out: list[str], dry_run: bool) -> None:
    """Print who comes in and who is left out, and what is to be done then."""
    steps: dict[str, list[str]] = {}
    for sentence in out:
        to.print(sentence, markup=False)
    for one in found:
        to.print(
            f"{one.path}: {many(len(one.after), 'device')}" + ("" if one.added or one.gone else ", as before"),
            markup=False,
        )
        for names, mark in ((one.added, "+"), (one.gone, "-")):
            for name in names:
                to.print(f"  {mark} {name}", markup=False)
        if one.before != one.after and not dry_run:
            gone = [f"rabbitmqctl delete_user {name}" for name in one.gone] if one.path.name != "nats.conf" else []
            steps.setdefault(NEXT[one.path.name], gone)
    for sentence, lines in steps.items():
        to.print(sentence, markup=False)
        for line in lines:
            to.print(f"  {line}", markup=False)


def from_registry(fleet: Fleet, given: Iterable[str] | None) -> list[str]:
    """Return the names of a list, or those that the registry lets in; of a fleet without a registry none."""
    if given is not None:
        return [line.strip() for line in given if line.strip()]
    if not fleet.safe.facts.get("registry") and not (fleet.safe.directory / "registry.db").exists():
        return []
    registry = Registry(fleet)
    try:
        return sorted(admitted(registry))
    finally:
        registry.close()
