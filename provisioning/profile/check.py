"""What must hold inside a profile beyond its form: known settings, fitting values, names that are declared."""

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

from agent.core.order import ANY
from agent.core.pace import AT_ONCE
from agent.core.setting import plain
from provisioning.profile.catalogue import Catalogue, on_platform
from provisioning.profile.schema import Flow, Profile
from provisioning.profile.source import Place
from provisioning.profile.words import seconds

FLOW_SETTINGS = {"inbound": "firewall.inbound", "outbound": "firewall.outbound"}
LISTS = {"purpose": "id", "field": "name", "recipient": "id"}


class Finding(NamedTuple):
    """A fault before its line is known."""

    place: Place
    text: str


def shown(value: Any) -> str:
    """Write a setting value as a person reads it."""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(value) + "]" if value else "nothing"
    return f'"{value}"' if isinstance(value, str) else str(value)


def check_alone(profile: Profile, stem: str, catalogue: Catalogue) -> list[Finding]:
    """Check what can be checked without the parent; names may be declared there, so `check_whole` looks at those."""
    findings = []
    if profile.model != stem:
        findings.append(Finding(("model",), f'model must be the name of the file; write model = "{stem}"'))
    for table, values in (("settings", profile.settings), ("ceilings", profile.ceilings)):
        for name, choice in values.items():
            value = choice if table == "ceilings" else choice.value  # type: ignore[union-attr]
            findings += check_value((table, name), name, value, catalogue)
    findings += check_flows(profile, catalogue)
    findings += unknown_parts(("channels",), profile.channels, catalogue.channels, "warning channel")
    for place, credential in enumerate(profile.credential):
        kinds = (credential.kind,)
        findings += unknown_parts(("credential", place, "kind"), kinds, catalogue.credentials, "kind of credential")
    for key, listed in LISTS.items():
        findings += doubles(key, listed, [getattr(item, listed) for item in getattr(profile, key)])
    return findings


def check_value(place: tuple[str, str], name: str, value: Any, catalogue: Catalogue) -> list[Finding]:
    """Check that a setting exists and can have a value."""
    if name in FLOW_SETTINGS.values() and place[0] == "settings":
        return [Finding(place, f'"{name}" is written as [flows]; move it there, with a purpose for each flow')]
    setting = catalogue.settings.get(name)
    if setting is None:
        close = difflib.get_close_matches(name, catalogue.settings, 1)
        meant = f', did you mean "{close[0]}"?' if close else "; remove it"
        return [Finding(place, f'"{name}" is no setting of this version of Privet{meant}')]
    plain_value = plain(value)
    if plain_value == ANY or not setting.lattice().member(plain_value):
        known = ", ".join(shown(option.value) for option in setting.options)
        return [Finding(place, f'"{name}" cannot be {shown(value)}; choose from: {known}')]
    return []


def check_flows(profile: Profile, catalogue: Catalogue) -> list[Finding]:
    """Check that the firewall settings exist and that no flow is written twice."""
    findings = []
    for side, setting in FLOW_SETTINGS.items():
        flows: list[Flow] = getattr(profile.flows, side)
        if flows and setting not in catalogue.settings:
            text = f"this version of Privet has no setting {setting}; remove the flows"
            findings.append(Finding(("flows", side), text))
        findings += doubles("flows", "flow", [flow.flow for flow in flows], side)
    return findings


def doubles(key: str, listed: str, names: list[str], side: str = "") -> list[Finding]:
    """Name what is defined twice in one list."""
    table: Place = (key, side) if side else (key,)
    return [
        Finding((*table, place, listed), f'{key} "{name}" is written twice; remove one')
        for place, name in enumerate(names)
        if name in names[:place]
    ]


def unknown_parts(place: Place, names: Iterable[str], known: tuple[str, ...], what: str) -> list[Finding]:
    """Name parts that the agent does not ship."""
    return [
        Finding(place, f'there is no {what} "{name}"; choose from: {", ".join(known) or "none"}')
        for name in names
        if name not in known
    ]


def foreign(profile: Profile, here: Catalogue) -> list[Finding]:
    """Name what a profile asks for that its platform does not have."""
    wanted = (
        ("settings", profile.settings, here.settings),
        ("ceilings", profile.ceilings, here.settings),
        ("channels", profile.channels, here.channels),
        ("credential", [one.kind for one in profile.credential], here.credentials),
    )
    return [
        Finding((table,), f'"{name}" means nothing on the platform "{profile.platform}"; remove it')
        for table, names, known in wanted
        if profile.platform not in {None, "linux"}
        for name in names
        if name not in known
    ]


def uneven(profile: Profile, own: Profile, purpose: str) -> list[Finding]:
    """Name the fields of a purpose whose bucket ends within its longest one, with which everything of it is sent."""
    fields = [field for field in profile.field if field.purpose == purpose]
    longest = max((seconds(field.bucket) for field in fields), default=0)
    said = f'would show more than its bucket, for "{purpose}" is sent every {longest} s; make that a multiple of it'
    return [
        Finding(
            ("field", own.field.index(field), "bucket") if field in own.field else ("inherits",),
            f'the field "{field.name}" {said}',
        )
        for field in fields
        if longest > AT_ONCE and longest % seconds(field.bucket)
    ]


def check_whole(profile: Profile, own: Profile, catalogue: Catalogue) -> list[Finding]:
    """Check what a profile needs once all it inherits is there; `own` is what its own file says."""
    findings = foreign(profile, on_platform(catalogue, profile.platform))
    purposes = {purpose.id for purpose in profile.purpose}
    recipients = {recipient.id for recipient in profile.recipient}
    for field in profile.field:
        if field.purpose not in purposes:
            place: Place = ("field", own.field.index(field), "purpose") if field in own.field else ("inherits",)
            said = f'the field "{field.name}" serves the purpose "{field.purpose}", which is not declared'
            findings.append(Finding(place, f"{said}; add a [[purpose]]"))
    for purpose in profile.purpose:
        for name in purpose.recipients:
            if name not in recipients:
                mine = purpose in own.purpose
                place = ("purpose", own.purpose.index(purpose), "recipients") if mine else ("inherits",)
                said = f'the purpose "{purpose.id}" goes to "{name}", which is not declared'
                findings.append(Finding(place, f"{said}; add a [[recipient]]"))
        findings += uneven(profile, own, purpose.id)
    needed = {
        "support_until": ("add a date, such as support_until = 2031-12-31", profile.support_until),
        "channels": ('add channels = ["syslog"] or more, or the owner hears of nothing', profile.channels),
        "queue": ('add [queue] with size = "16 MiB"', profile.queue),
    }
    for key, (fix, value) in needed.items():
        if not value:
            findings.append(Finding((key,), f"{key} is missing; {fix}"))
    return findings
