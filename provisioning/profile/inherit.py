"""Profiles inherit by the stricter value.

A profile starts from its parent's. It may tighten any setting as it likes. Where it wants one looser, it must say a
reason and must stay within the parent's ceiling for that setting (without a ceiling: within the loosest option that
the setting lists; never "anything"). Ceilings only ever get stricter. Lists of flows, purposes, fields, recipients,
credentials and channels add up, each entry saying what it is for; `[without]` leaves flows, purposes, fields and
recipients out.
Credentials and channels cannot be left out: that would keep a factory secret or silence a warning.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.errors import BadInput
from agent.core.setting import Setting, plain
from provisioning.profile.catalogue import Catalogue
from provisioning.profile.check import FLOW_SETTINGS, Finding, check_alone, check_whole, shown
from provisioning.profile.schema import Choice, Flow, Flows, Profile, Purpose, TelemetryField, Without
from provisioning.profile.source import Fault, Source, parse, read_text
from provisioning.profile.words import metres, seconds

DEEPEST = 8


class Loaded(NamedTuple):
    """A profile with everything it inherits, the files it came from (nearest first), and who chose each setting."""

    profile: Profile
    files: tuple[str, ...]
    chosen_by: dict[str, str]


def load(path: Path, catalogue: Catalogue) -> Loaded:
    """Read a profile and its parents; BadInput holds one sentence per fault, each with file and line."""
    loaded, faults = examine(path, catalogue)
    if loaded is None or faults:
        raise BadInput("\n".join(str(fault) for fault in faults))
    return loaded


def examine(path: Path, catalogue: Catalogue, below: tuple[str, ...] = ()) -> tuple[Loaded | None, list[Fault]]:
    """Read a profile and its parents, and say everything that is wrong."""
    source = read_text(path)
    profile, faults = parse(source)
    if profile is None:
        return None, faults
    findings = check_alone(profile, path.stem, catalogue)
    if not profile.inherits:
        findings += check_whole(profile, profile, catalogue) + unreasoned(profile, catalogue)
        return Loaded(profile, (path.name,), dict.fromkeys(profile.settings, path.stem)), placed(source, findings)
    chain = (*below, path.stem)
    if profile.inherits in chain or len(chain) >= DEEPEST:
        round_trip = " → ".join((*chain, profile.inherits))
        return None, [source.fault(("inherits",), f"profiles inherit in a circle or too deep ({round_trip}); break it")]
    parent_path = path.with_name(profile.inherits + ".toml")
    if not parent_path.is_file():
        text = f'there is no profile "{profile.inherits}" beside this one; correct it'
        return None, [source.fault(("inherits",), text)]
    parent, parent_faults = examine(parent_path, catalogue, chain)
    if parent is None or parent_faults or findings:
        return None, parent_faults + placed(source, findings)
    whole = merge(profile, parent.profile)
    findings = loosenings(profile, whole, parent.profile, catalogue) + check_whole(whole, profile, catalogue)
    merged = Loaded(
        whole,
        (path.name, *parent.files),
        {**parent.chosen_by, **dict.fromkeys(profile.settings, path.stem)},
    )
    return merged, placed(source, findings)


def placed(source: Source, findings: list[Finding]) -> list[Fault]:
    """Give each finding its line."""
    return [source.fault(finding.place, finding.text) for finding in findings]


def unreasoned(profile: Profile, catalogue: Catalogue) -> list[Finding]:
    """Name the settings that a profile without a parent loosens and gives no reason for."""
    findings = []
    for name, choice in profile.settings.items():
        setting = catalogue.settings.get(name)
        if setting is None or name in FLOW_SETTINGS.values() or not setting.lattice().member(plain(choice.value)):
            continue  # `check_alone` has said so
        if not choice.reason and not setting.lattice().leq(plain(choice.value), setting.strictest()):
            said = f'"{name}" = {shown(choice.value)} is looser than {shown(setting.strictest())}'
            findings.append(Finding(("settings", name), f"{said}; add a reason or keep {shown(setting.strictest())}"))
    return findings


def inherited(parent: Profile, setting: Setting) -> Any:
    """Return the value a parent hands down: its own, else the strictest."""
    choice = parent.settings.get(setting.id)
    return plain(choice.value) if choice else setting.strictest()


def loosenings(child: Profile, whole: Profile, parent: Profile, catalogue: Catalogue) -> list[Finding]:
    """Name what a child loosens without a reason, or beyond its parent's ceiling."""
    findings = []
    for name, choice in child.settings.items():
        setting = catalogue.settings[name]
        value, base = plain(choice.value), inherited(parent, setting)
        place = ("settings", name)
        if not setting.lattice().leq(value, base) and not choice.reason:
            said = f"is looser than {shown(base)} of the profile {parent.model}"
            findings.append(Finding(place, f'"{name}" = {shown(value)} {said}; add a reason or keep {shown(base)}'))
        ceiling = parent.ceilings.get(name)
        if ceiling is not None and not setting.lattice().leq(value, plain(ceiling)):
            said = f"the profile {parent.model} allows at most {shown(ceiling)}"
            findings.append(Finding(place, f'"{name}" = {shown(value)} is too loose: {said}; keep to it'))
    for name, ceiling in child.ceilings.items():
        above = parent.ceilings.get(name)
        if above is not None and not catalogue.settings[name].lattice().leq(plain(ceiling), plain(above)):
            text = f'the ceiling of "{name}" may only get stricter than {shown(above)}; lower it'
            findings.append(Finding(("ceilings", name), text))
    for side, name in FLOW_SETTINGS.items():
        ceiling, flows = parent.ceilings.get(name), [flow.flow for flow in getattr(whole.flows, side)]
        if ceiling is not None and not catalogue.settings[name].lattice().leq(plain(flows), plain(ceiling)):
            said = f"the profile {parent.model} allows at most {shown(ceiling)} {side}"
            findings.append(Finding(("flows", side), f"{said}; leave the other flows out"))
    if child.platform and child.platform != (parent.platform or "linux"):
        findings.append(Finding(("platform",), f"{parent.model} is for another platform; inherit from another profile"))
    return findings + telemetry_loosenings(child, parent) + unknown_without(child, parent)


def telemetry_loosenings(child: Profile, parent: Profile) -> list[Finding]:
    """Name the fields and purposes a child redefines more widely than its parent, without a reason."""
    findings = []
    fields = {field.name: field for field in parent.field}
    for place, field in enumerate(child.field):
        base = fields.get(field.name)
        if base and not field.reason and not coarser(field, base):
            said = f'the field "{field.name}" is finer or wider than in {parent.model}'
            findings.append(Finding(("field", place, "name"), f"{said}; add a reason or keep to the parent's"))
    purposes = {purpose.id: purpose for purpose in parent.purpose}
    for place, purpose in enumerate(child.purpose):
        known = purposes.get(purpose.id)
        if known and not purpose.reason and not narrower(purpose, known):
            said = f'the purpose "{purpose.id}" has more recipients or a longer retention than in {parent.model}'
            findings.append(Finding(("purpose", place, "id"), f"{said}; add a reason or keep to the parent's"))
    taken = {recipient.id for recipient in parent.recipient}
    for place, recipient in enumerate(child.recipient):
        if recipient.id in taken:
            said = f'the recipient "{recipient.id}" is already defined in {parent.model}'
            findings.append(Finding(("recipient", place, "id"), f"{said}; give the new one another id"))
    return findings


def coarser(field: TelemetryField, base: TelemetryField) -> bool:
    """Say whether a field tells at most what another tells."""
    (step, low, high), (base_step, base_low, base_high) = field.numbers(), base.numbers()
    return (
        (field.unit, field.purpose) == (base.unit, base.purpose)
        and (step >= base_step and low >= base_low and high <= base_high)
        and (not base.noise or (bool(field.noise) and epsilon(field) <= epsilon(base)))
        and metres(field.cell or "0m") >= metres(base.cell or "0m")
        and seconds(field.bucket) >= seconds(base.bucket)
        and (not base.most or 0 < (field.most or 0) <= base.most)
        and (not base.keep or (bool(field.keep) and set(field.keep) <= set(base.keep)))
    )


def epsilon(field: TelemetryField) -> Decimal:
    """Return how much one figure of a field may tell of a reading."""
    return Decimal(field.noise.epsilon) if field.noise else Decimal("Infinity")


def narrower(purpose: Purpose, base: Purpose) -> bool:
    """Say whether a purpose reaches at most whom another reaches, for at most as long, under names no more lasting."""
    renamed = seconds(purpose.pseudonym) if purpose.pseudonym else 0
    return (
        set(purpose.recipients) <= set(base.recipients)
        and purpose.retention_days <= base.retention_days
        and (not base.pseudonym or 0 < renamed <= seconds(base.pseudonym))
    )


def unknown_without(child: Profile, parent: Profile) -> list[Finding]:
    """Name what a child wants to leave out and the parent does not have."""
    known = {
        "flows": {flow.flow for flow in parent.flows.inbound + parent.flows.outbound},
        "purposes": {purpose.id for purpose in parent.purpose},
        "fields": {field.name for field in parent.field},
        "recipients": {recipient.id for recipient in parent.recipient},
    }
    wanted = {kind: getattr(child.without, kind) for kind in known}
    return [
        Finding(("without", kind), f'{parent.model} has no {kind[:-1]} "{name}" to leave out; remove it')
        for kind, names in wanted.items()
        for name in names
        if name not in known[kind]
    ]


def merge(child: Profile, parent: Profile) -> Profile:
    """Lay a checked child over its parent."""
    ceilings = {**parent.ceilings, **child.ceilings}
    left_out = child.without
    settings: dict[str, Choice] = {**parent.settings, **child.settings}
    purposes = {item.id: item for item in parent.purpose if item.id not in left_out.purposes}
    recipients = [item for item in parent.recipient if item.id not in left_out.recipients]
    fields = {
        item.name: item
        for item in parent.field
        if item.name not in left_out.fields and item.purpose not in left_out.purposes
    }
    return child.model_copy(
        update={
            "inherits": None,
            "platform": child.platform or parent.platform,
            "support_until": child.support_until or parent.support_until,
            "settings": settings,
            "ceilings": ceilings,
            "flows": merge_flows(child.flows, parent.flows, left_out),
            "purpose": list({**purposes, **{item.id: item for item in child.purpose}}.values()),
            "field": list({**fields, **{item.name: item for item in child.field}}.values()),
            "recipient": recipients + child.recipient,
            "credential": parent.credential + [item for item in child.credential if item not in parent.credential],
            "channels": sorted({*parent.channels, *child.channels}),
            "broker": child.broker or parent.broker,
            "queue": child.queue or parent.queue,
            "recovery": child.recovery or parent.recovery,
            "without": Without(),
        }
    )


def merge_flows(child: Flows, parent: Flows, left_out: Without) -> Flows:
    """Add a child's flows to its parent's, less what it leaves out."""

    def joined(ours: list[Flow], theirs: list[Flow]) -> list[Flow]:
        known = {flow.flow: flow for flow in theirs if flow.flow not in left_out.flows}
        return list({**known, **{flow.flow: flow for flow in ours}}.values())

    return Flows(inbound=joined(child.inbound, parent.inbound), outbound=joined(child.outbound, parent.outbound))
