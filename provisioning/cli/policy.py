"""Verbs that hand out policies and say who has which."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.markup import escape

from agent.core.errors import BadInput, Failed, Missing, Refused, Unreachable
from agent.core.record import as_map
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, console, profile_path, wants_json, with_fleet, with_profiles
from provisioning.cli.init import host_and_port
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet, checked
from provisioning.fleet.push import Steward, push, take
from provisioning.fleet.rollout import DONE, HALTED, ROLLOUTS, STAGES, Plan, Rollout, record
from provisioning.fleet.safe import alone, new_file
from provisioning.profile.catalogue import shipped
from provisioning.profile.diff import LOOSER, Difference
from provisioning.profile.inherit import load
from provisioning.profile.issue import Issued, fleet_broker, next_policy, policy_folder

# One steward at a time: a second one would end the session of the first.
BUSY = "another privet-fleet hands out a policy of this fleet now; wait until it has ended, then run the same again"
HEARS = 2.0  # seconds in which a broker hands over what devices have said meanwhile
WORDS = {
    "open": "not their turn yet", "sent": "were sent it and have not answered", "has": "have it",
    "refused": "refused it", "left": "had it and went back", "waiting": "of these wait for their owner's yes",
}  # fmt: skip


@click.group(epilog="\b\nExamples:\n  privet-fleet policy push base\n  privet-fleet policy status")
def policy() -> None:
    """Hand out policies by stages, and see who has which."""


@policy.command(
    "push",
    epilog="""\b
Examples:
  privet-fleet policy push base --devices names.txt
  privet-fleet policy push base --devices names.txt --dry-run
  privet-fleet policy push base                       # goes on where it stopped
""",
)
@with_profiles
@with_fleet
@answers
@click.argument("name")
@click.option("--device", "named", multiple=True, help="A device that is to get it (again for more).")
@click.option("--devices", "listed", type=click.File(), help="File with their names, one a line; - is standard input.")
@click.option("--registered", is_flag=True, help="All devices of the registry that have a certificate.")
@click.option("--stages", default=",".join(map(str, STAGES)), show_default=True, help="Percent of them, in steps.")
@click.option(
    "--enough",
    type=click.IntRange(1, 100),
    default=90,
    show_default=True,
    help="Percent of a stage that must have it before the next begins.",
)
@click.option(
    "--failures",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How many may refuse it before everything halts.",
)
@click.option(
    "--wait",
    "seconds",
    type=click.IntRange(0, 86400),
    default=60,
    show_default=True,
    help="Seconds without any answer after which it stops; the same command goes on later.",
)
@click.option("--looser", type=click.IntRange(0), help="How many loosenings you have read, instead of being asked.")
@click.option("--broker", "at", help="Host and port of the broker.  [default: the fleet's]")
@click.option("--dry-run", is_flag=True, help="Show what it would change, and send nothing.")
@click.pass_context
def push_policy(
    ctx: click.Context, profiles: Path | None, fleet_directory: Path, passphrase_fd: int | None, name: str,
    named: tuple[str, ...], listed: TextIO | None, registered: bool, stages: str, enough: int, failures: int,
    seconds: int, looser: int | None, at: str | None, dry_run: bool,
) -> None:  # fmt: skip
    """Sign the next policy of the profile NAME and hand it out, a few devices first.

    Devices take what is stricter at once. What is looser waits on each device until its owner says yes there; every
    such loosening is shown here first. Exit code 70: halted, 69: some have not answered yet.
    """
    fleet = open_fleet(fleet_directory, passphrase_fd)
    path = profile_path(name, profiles)
    plan = Plan(stages=percentages(stages), failures=failures, enough=enough)
    devices = [checked(one, "device") for one in (*named, *lines_of(listed), *enrolled(fleet, registered))]
    lock = nullcontext() if dry_run else alone(fleet.safe.directory, BUSY)
    with lock:
        rollout, made = handed_out(fleet, path, plan, devices, looser, seconds, at, dry_run)
    answer(result_of(rollout, made), lambda to: show_standing(to, rollout))
    if not dry_run and rollout.verdict() != DONE:
        ctx.exit(Failed.exit_code if rollout.verdict() == HALTED else Unreachable.exit_code)


def handed_out(
    fleet: Fleet, path: Path, plan: Plan, devices: list[str], looser: int | None, seconds: int, at: str | None,
    dry_run: bool,
) -> tuple[Rollout, Issued | None]:  # fmt: skip
    """Begin or go on with a rollout and let it work; the second is what was made for it."""
    rollout, made = taken_up(fleet, path, plan, devices)
    if made is not None and not agreed(made.changes, looser, dry_run):
        raise Refused(
            "nothing was sent: the loosenings were not agreed to; read them and say --looser with their number"
        )
    if dry_run:
        return rollout, made
    if made is not None and not new_file(made.path, made.signed):
        raise Refused(f"policy {made.sequence} was issued by somebody else meanwhile; run the same command again")
    rollout.save()
    signed = signed_bytes(fleet, rollout, made)
    with Steward(fleet, *place(fleet, at)) as steward:
        take(rollout, steward)
        push(rollout, steward, signed, seconds, lambda _rollout: None)
    return rollout, made


@policy.command(
    epilog="\b\nExamples:\n  privet-fleet policy status\n  privet-fleet policy status base --offline --json"
)
@with_fleet
@answers
@click.argument("model", required=False)
@click.option("--broker", "at", help="Host and port of the broker.  [default: the fleet's]")
@click.option("--offline", is_flag=True, help="Only what is known already; do not ask the broker.")
@click.pass_context
def status(
    ctx: click.Context, fleet_directory: Path, passphrase_fd: int | None, model: str | None, at: str | None,
    offline: bool,
) -> None:  # fmt: skip
    """Say which devices have which policy, who waits for the owner's yes and who refused it; of one class or all."""
    fleet = open_fleet(fleet_directory, passphrase_fd)
    paths = [record(fleet, model)] if model else sorted((fleet.safe.directory / ROLLOUTS).glob("*.json"))
    found = [Rollout.load(path) for path in paths]
    cause = ""
    if not offline:
        try:
            with alone(fleet.safe.directory, BUSY), Steward(fleet, *place(fleet, at)) as steward:
                found = [Rollout.load(path) for path in paths]
                steward.turn(lambda: False, HEARS)
                heard = steward.heard
                for rollout in found:
                    steward.heard = list(heard)
                    take(rollout, steward)
        except (Unreachable, Missing, Refused) as error:
            cause = str(error)
    rows = [result_of(rollout, None) for rollout in found]

    def show(to: Console) -> None:
        for rollout in found:
            show_standing(to, rollout)
        if not found:
            to.print("No policy was pushed yet.")
        if cause:
            to.print(f"[yellow]This is what was known before:[/] {escape(cause)}")

    answer({"ok": not cause, "cause": cause, "rollouts": rows}, show)
    if cause:
        ctx.exit(Unreachable.exit_code)


def taken_up(fleet: Fleet, path: Path, plan: Plan, devices: list[str]) -> tuple[Rollout, Issued | None]:
    """Go on with a rollout that is not over, else begin the next one; the second is what was made for it."""
    model = load(path, shipped()).profile.model
    where = record(fleet, model)
    try:
        old = Rollout.load(where)
    except Missing:
        old = None
    if old is not None:
        old.aim(devices)
        if old.verdict() not in {DONE, HALTED}:
            return old, None
    made = next_policy(fleet, path)
    fresh = Rollout.begin(where, model, made.sequence, made.signed, plan)
    fresh.aim([*devices, *(old.devices if old is not None else ())])
    if not fresh.devices:
        raise BadInput("there is no device to push to; name them with --device, or give a file with --devices")
    return fresh, made


def agreed(changes: list[Difference], number: int | None, dry_run: bool) -> bool:
    """Show what a policy changes, each loosening with its risk; say whether the operator wants it all the same."""
    loosened = [one for one in changes if one.direction == LOOSER]
    to = console(err=wants_json())
    for one in changes:
        to.print(f"{'[red]looser  [/]' if one in loosened else one.direction.ljust(8)}  {escape(one.text)}")
        if one.risk:
            to.print(f"          [red]risk:[/] {escape(one.risk)}")
    if not loosened or dry_run:
        return True
    to.print(f"{len(loosened)} of these are looser: on each device they wait until its owner says yes.")
    if number is not None:
        return number == len(loosened)
    if not sys.stdin.isatty() or wants_json():
        return False
    return click.confirm("Hand it out?", default=False, err=True)


def signed_bytes(fleet: Fleet, rollout: Rollout, made: Issued | None) -> bytes:
    """Return the policy that is handed out: the one just made, or the one kept when it began."""
    if made is not None:
        return made.signed
    kept = policy_folder(fleet, rollout.model, "") / f"{rollout.sequence}.cbor"
    try:
        return kept.read_bytes()
    except OSError as error:
        raise Missing(f"{kept} cannot be read ({error.strerror}); restore it, or remove {rollout.path}") from None


def place(fleet: Fleet, at: str | None) -> tuple[str, int]:
    """Return where the broker is."""
    known = host_and_port(at) if at else fleet_broker(fleet)
    if known is None or not known[0]:
        raise Missing("the fleet was made without a broker; say where it is with --broker host:port")
    return known


def percentages(text: str) -> tuple[int, ...]:
    """Read 5,25,100."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"{text!r} are no stages; write percentages such as 5,25,100") from None


def enrolled(fleet: Fleet, wanted: bool) -> list[str]:
    """Return the devices of the registry that have a certificate."""
    if not wanted:
        return []
    from provisioning.fleet.registry import Registry  # noqa: PLC0415 - SQLAlchemy, for this one option
    from provisioning.fleet.states import ACTIVE, CLAIMED  # noqa: PLC0415

    registry = Registry(fleet)
    try:
        return [str(row.id) for state in (CLAIMED, ACTIVE) for row in registry.listing(state)]
    finally:
        registry.close()


def lines_of(listed: TextIO | None) -> list[str]:
    """Read names, one a line."""
    return [line.strip() for line in listed or () if line.strip()]


def result_of(rollout: Rollout, made: Issued | None) -> dict[str, Any]:
    """Return where a rollout stands as plain facts."""
    facts: dict[str, Any] = {
        "class": rollout.model, "sequence": rollout.sequence, "state": rollout.verdict(), "stage": rollout.stage() + 1,
        "stages": list(rollout.plan.stages), "count": rollout.count(),
        "devices": {name: as_map(one) for name, one in sorted(rollout.devices.items())},
    }  # fmt: skip
    if made is not None:
        facts["changes"] = [one._asdict() for one in made.changes]
    return facts


def show_standing(to: Console, rollout: Rollout) -> None:
    """Print where a rollout stands, and by name who needs a look."""
    colour = {HALTED: "red", DONE: "green"}.get(rollout.verdict(), "yellow")
    to.print(f"[bold]Policy {rollout.sequence} for {rollout.model}[/]: [{colour}]{rollout.verdict()}[/], "
             f"stage {rollout.stage() + 1} of {len(rollout.plan.stages)}, "
             f"{many(len(rollout.devices), 'device')}")  # fmt: skip
    for word, number in rollout.count().items():
        if number:
            to.print(f"  {number:6}  {WORDS[word]}")
    for name, one in sorted(rollout.devices.items()):
        if one.state in {"refused", "left"}:
            to.print(f"  [red]{name}[/]: {WORDS[one.state]}" + (f" (reason {one.why})" if one.why else ""))
        elif one.waiting:
            to.print(f"  [yellow]{name}[/]: {many(one.waiting, 'setting')} left to the owner")
