"""Verbs about device profiles."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from agent.core.errors import BadInput, Missing
from agent.core.policy import Policy
from provisioning.cli.answer import answer, answers, profile_directory, profile_path, put, with_fleet, with_profiles
from provisioning.cli.evidence import evidence_of
from provisioning.cli.exported import export_profile, import_flows
from provisioning.cli.opened import open_fleet
from provisioning.profile.catalogue import Catalogue, shipped
from provisioning.profile.compile import as_policy, blank_issue, policy_map
from provisioning.profile.diff import compare
from provisioning.profile.editor import json_schema
from provisioning.profile.explain import explained
from provisioning.profile.inherit import examine, load
from provisioning.profile.issue import issue_policy
from provisioning.profile.sign import payload_of

COLOUR = {"looser": "[red]looser  [/]", "stricter": "[green]stricter[/]", "other": "other   "}


@click.group(epilog="\b\nExamples:\n  privet-fleet profile check base\n  privet-fleet profile explain base")
def profile() -> None:
    """Check, explain, compare, compile and export device profiles."""


profile.add_command(export_profile)
profile.add_command(import_flows)
profile.add_command(evidence_of)


@profile.command(
    short_help="Find every fault, with line and fix.",
    epilog="\b\nExamples:\n  privet-fleet profile check\n  privet-fleet profile check base ./mine.toml --json",
)
@with_profiles
@answers
@click.argument("names", nargs=-1)
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], profiles: Path | None) -> None:
    """Say everything that is wrong with profiles (NAMES or files; without, all of them). Exit code 65 when there is."""
    paths = [profile_path(name, profiles) for name in names] or sorted(profile_directory(profiles).glob("*.toml"))
    if not paths:
        raise Missing(f"there is no profile (*.toml) in {profile_directory(profiles)}; give the directory of yours")
    found = {path: examine(path, shipped())[1] for path in paths}
    rows = [{"profile": str(path), "faults": [fault._asdict() for fault in faults]} for path, faults in found.items()]

    def show(console: Console) -> None:
        for path, faults in found.items():
            console.print(f"[red]✗[/] {path}" if faults else f"[green]✓[/] {path}")
            for fault in faults:
                console.print(f"  {fault}", markup=False, soft_wrap=True)

    answer({"ok": not any(found.values()), "profiles": rows}, show)
    if any(found.values()):
        ctx.exit(BadInput.exit_code)


@profile.command(
    short_help="Say in plain words what a profile means.",
    epilog="\b\nExample:\n  privet-fleet profile explain environment_sensor",
)
@with_profiles
@answers
@click.argument("name")
def explain(name: str, profiles: Path | None) -> None:
    """Say in plain words what a profile decides: settings, connections, what is collected and for whom."""
    loaded = load(profile_path(name, profiles), shipped())
    policy = as_policy(policy_map(loaded.profile, shipped(), blank_issue(loaded.profile)), shipped())
    facts = explained(loaded, policy, shipped())
    answer(facts, lambda console: show_explained(console, facts))


def show_explained(console: Console, facts: dict[str, Any]) -> None:
    """Print what a profile decides: first what is looser than it could be, and why."""

    def tell(line: str, indent: int = 2) -> None:
        console.print(Padding(line, (0, 0, 0, indent), expand=False))

    console.print(f"[bold]{escape(facts['title'])}[/] ({facts['model']}), supported until {facts['support_until']}")
    console.print(f"from {' ← '.join(facts['files'])}")
    looser = [row for row in facts["settings"] if not row["strictest"]]
    strict = [row for row in facts["settings"] if row["strictest"]]
    console.print("\n[bold]Less private than it could be, and why[/]" + ("" if looser else ": nothing"))
    for row in looser:
        tell(f"[yellow]{escape(row['title'])}: {escape(row['said'])}[/]")
        tell(f"why: {escape(row['reason'])} ({row['chosen_by'] or facts['model']})", 4)
        for risk in row["risks"]:
            tell(f"[red]risk:[/] {escape(risk)}", 4)
    console.print("\n[bold]As private as can be[/]" + ("" if strict else ": there are no settings on its platform"))
    for row in strict:
        tell(f"{escape(row['title'])}: {escape(row['said'])}")
    show_connections(console, facts, tell)
    console.print("\n[bold]What can be collected, once its owner agrees[/]" + ("" if facts["notices"] else ": nothing"))
    for one in facts["notices"]:
        for line in one["text"].splitlines():
            tell(escape(line))
        tell(f"[dim]notice {one['digest'][:16]}[/]")
    console.print(f"\n[bold]Warnings[/] reach the owner {', '.join(facts['warned'])}.")
    console.print(f"[bold]Factory secrets[/] replaced at first boot: {', '.join(facts['secrets']) or 'none'}.")


def show_connections(console: Console, facts: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Print which connections it has, in and out."""
    for side, words in (("inbound", "Who may reach it"), ("outbound", "Whom it may reach")):
        rows = [row for row in facts["flows"] if row["side"] == side]
        console.print(f"\n[bold]{words}[/]" + ("" if rows else ": nobody"))
        for row in rows:
            tell(f"{escape(row['peer'])}: {escape(row['purpose'])} [dim]{escape(row['flow'])}[/]")
    if facts["platform"] != "linux":
        tell("It has no firewall of its own: let your router hold it to this (privet-fleet profile export).")


@profile.command(
    short_help="Say what a change loosens.",
    epilog="\b\nExamples:\n  privet-fleet profile diff base camera\n  privet-fleet profile diff old.cbor base",
)
@with_profiles
@answers
@click.argument("old")
@click.argument("new")
def diff(old: str, new: str, profiles: Path | None) -> None:
    """Say what NEW loosens and tightens against OLD; each is a profile, or a signed policy (.cbor)."""
    sides = {name: signed_policy(Path(name), shipped()) for name in (old, new) if name.endswith(".cbor")}
    known = next(iter(sides.values()), None)
    for name in (old, new):
        if name not in sides:
            sides[name] = profile_policy(profile_path(name, profiles), known, shipped())
    found = compare(sides[old], sides[new], shipped())

    def show(console: Console) -> None:
        for one in found:
            console.print(f"{COLOUR[one.direction]}  {escape(one.text)}")
            if one.risk:
                console.print(f"          [red]risk:[/] {escape(one.risk)}")
        loosened = sum(one.direction == "looser" for one in found)
        console.print(f"{loosened} looser, {len(found) - loosened} other differences." if found else "No differences.")

    answer({"differences": [one._asdict() for one in found]}, show)


def signed_policy(path: Path, catalogue: Catalogue) -> Policy:
    """Read a signed policy to compare it."""
    try:
        return as_policy(payload_of(path.read_bytes()), catalogue)
    except OSError as error:
        raise Missing(f"{path} cannot be read ({error.strerror}); check the name") from None


def profile_policy(path: Path, known: Policy | None, catalogue: Catalogue) -> Policy:
    """Compile a profile to compare it; keys and broker are taken from the policy on the other side."""
    whole = load(path, catalogue).profile
    return as_policy(policy_map(whole, catalogue, blank_issue(whole, known)), catalogue)


@profile.command(
    short_help="Print the JSON Schema for editors.",
    epilog="\b\nExample:\n  privet-fleet profile schema > profile.schema.json",
)
def schema() -> None:
    """Print the JSON Schema of profiles, for editors."""
    click.echo(json.dumps(json_schema(shipped()), indent=1, ensure_ascii=False))


@profile.command(
    "compile",
    short_help="Make a signed policy.",
    epilog="\b\nExamples:\n  privet-fleet profile compile base\n  privet-fleet profile compile base -o base.cbor",
)
@with_profiles
@with_fleet
@answers
@click.argument("name")
@click.option("--device", default="", help="Make it for this device only.")
@click.option(
    "--days", type=click.IntRange(1, 3650), help="How long it may be accepted.  [default: as long as support]"
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write it to this file.")
def compile_profile(
    name: str, profiles: Path | None, fleet_directory: Path, passphrase_fd: int | None, device: str, days: int | None,
    output: Path | None,
) -> None:  # fmt: skip
    """Turn a profile into a policy signed by the fleet; devices accept it and nothing older."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    made = issue_policy(fleet, profile_path(name, profiles), device, days)
    if output:
        put(output, made.signed)
    result = {
        "policy": str(output or made.path),
        "class": made.model,
        "sequence": made.sequence,
        "expires": made.expires,
        "bytes": len(made.signed),
        "looser": [one._asdict() for one in made.changes if one.direction == "looser"],
    }

    def show(console: Console) -> None:
        console.print(
            f"[green]✓[/] Policy {made.sequence} for {made.model}: {output or made.path} ({len(made.signed)} bytes)"
        )
        for one in made.changes:
            console.print(f"  {COLOUR[one.direction]}  {one.text}")

    answer(result, show)
