"""The verb that lists, provision by provision, what a profile's settings are evidence for."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agent.core.errors import BadInput, Missing
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, profile_path, put, with_fleet, with_profiles
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.rollout import HAS, OPEN, REFUSED, ROLLOUTS, Rollout, record
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import as_policy, blank_issue, policy_map
from provisioning.profile.evidence import evidence, markdown
from provisioning.profile.inherit import Loaded, load
from provisioning.profile.issue import still_current

LIMIT = (
    "A device tells the fleet which policy it has, and how many settings wait for its owner. It does not tell where "
    "each setting stands: that is on the device (privet status, privet journal)."
)
WAIVERS = (
    "How many are loosened by their owner under a waiver is not known to the fleet: an owner's waiver is told to the "
    "owner alone, and to whom the owner agreed to send warnings."
)
NO_REGISTRY = "This fleet has no registry yet: no device was planned in it."
NONE = "No policy of this class was handed out by this fleet, so it knows nothing of its devices."


@click.command(
    "evidence",
    short_help="List by provision what the settings are evidence for.",
    epilog="\b\nExamples:\n  privet-fleet profile evidence base\n  privet-fleet profile evidence base -o evidence.md"
    "\n  privet-fleet profile evidence base --known --json",
)
@with_profiles
@with_fleet
@answers
@click.argument("name")
@click.option("--known", is_flag=True, help="Also what the fleet knows of its devices: policy, quarantine, last seen.")
@click.option("--registry", help="URL of the registry, with --known.  [default: the fleet's own]")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the page into this file.")
def evidence_of(
    name: str, profiles: Path | None, fleet_directory: Path, passphrase_fd: int | None, known: bool,
    registry: str | None, out: Path | None,
) -> None:  # fmt: skip
    """List which settings of the profile NAME are evidence for which provision, and the provisions none is about.

    Of EN 303 645, EN 18031, CRA, PSTI and GDPR; with each setting's default, what the profile sets, and what could be
    loosened. The page is Markdown. It is no assessment, and gives no verdict. With --known also how many devices of
    the fleet have the policy, are quarantined, came when, and whether the ledger is whole; none by name or serial.
    """
    if registry and not known:
        raise BadInput("a registry is asked with --known alone; give both")
    loaded = load(profile_path(name, profiles), shipped())
    policy = as_policy(policy_map(loaded.profile, shipped(), blank_issue(loaded.profile)), shipped())
    facts = evidence(loaded, policy, shipped())
    if known:
        fleet = open_fleet(fleet_directory, passphrase_fd)
        facts["known"] = known_of(fleet, loaded)
        facts["known"]["registry"], said = registered_of(fleet, registry)
        facts["known"]["words"] += [*said, WAIVERS]
        facts["known"]["waivers"] = None
    page = markdown(facts)
    if out is not None:
        put(out, page.encode())
        answer({**facts, "file": str(out)}, lambda to: to.print(f"[green]✓[/] The page is in {out}."))
        return
    answer(facts, lambda to: to.print(page, markup=False, soft_wrap=True))


def known_of(fleet: Fleet, loaded: Loaded) -> dict[str, Any]:
    """Return what a fleet knows of the devices of a class, and no more than that."""
    try:
        rollout = Rollout.load(record(fleet, loaded.profile.model))
    except Missing:
        return {"policy": None, "words": [NONE, LIMIT]}
    current = still_current(fleet, loaded.profile)
    same = current is not None and current.sequence == rollout.sequence
    counted = rollout.count()
    last = max((one.at for one in rollout.devices.values() if one.state in (HAS, REFUSED)), default=0)
    day = f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d}" if last else "never"
    says = "says what this profile says" if same else "does not say what this profile says now"
    answers = (
        f"Of {many(len(rollout.devices), 'device')} {counted['has']} said that they have it, {counted['refused']} that "
        f"they refused it, {counted['left']} that they went back from it; {counted['waiting']} have settings that "
        f"wait for their owner. The last of these answers is of: {day}."
    )
    words = [f"Policy {rollout.sequence} was handed out last; it {says}.", answers, LIMIT]
    return {"policy": rollout.sequence, "same_as_profile": same, "devices": len(rollout.devices), "count": counted,
            "last_answer": last, "words": words}  # fmt: skip


def registered_of(fleet: Fleet, place: str | None) -> tuple[dict[str, Any] | None, list[str]]:
    """Return what the registry tells of the fleet as a whole, and the same in words; none is made to be asked."""
    if not place and not fleet.safe.facts.get("registry") and not (fleet.safe.directory / "registry.db").exists():
        return None, [NO_REGISTRY]
    from provisioning.fleet.registry import Registry  # noqa: PLC0415 - SQLAlchemy, for this one option
    from provisioning.fleet.standing import standing, words  # noqa: PLC0415

    handed = {
        name
        for path in (fleet.safe.directory / ROLLOUTS).glob("*.json")
        for name, one in Rollout.load(path).devices.items()
        if one.state != OPEN
    }
    registry = Registry(fleet, place or None)
    try:
        facts = standing(registry, handed)
    finally:
        registry.close()
    return facts, words(facts)
