"""Say in plain words what one policy loosens and tightens against another, by the same orders the device uses."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from agent.core.noise import budget
from agent.core.notice import fraction, span
from agent.core.notice import metres as in_metres
from agent.core.pace import span_of
from agent.core.policy import Policy
from agent.core.telemetry import TelemetryField, write_number
from provisioning.profile.catalogue import Catalogue
from provisioning.profile.check import FLOW_SETTINGS, shown
from provisioning.profile.compile import LISTENERS
from provisioning.profile.explain import peer_in_words

SIDES = {setting: side for side, setting in FLOW_SETTINGS.items()}
LOOSER, STRICTER, OTHER = "looser", "stricter", "other"


class Difference(NamedTuple):
    """One difference: direction (looser, stricter, other), what it is about, a sentence, and the risk when looser."""

    direction: str
    about: str
    text: str
    risk: str = ""


def compare(old: Policy, new: Policy, catalogue: Catalogue) -> list[Difference]:
    """Return every difference that matters to the owner, the loosening ones first."""
    found = [
        *settings_moved(old, new, catalogue),
        *fields_moved(old, new),
        *purposes_moved(old, new),
        *recipients_moved(old, new),
        *lists_moved(old, new),
    ]
    rank = {LOOSER: 0, STRICTER: 1, OTHER: 2}
    return sorted(found, key=lambda one: (rank[one.direction], one.about, one.text))


def settings_moved(old: Policy, new: Policy, catalogue: Catalogue) -> Iterable[Difference]:
    """Compare the baselines; what a policy leaves out stands at its strictest."""
    for name, setting in sorted(catalogue.settings.items()):
        before = old.baseline.get(name, setting.strictest())
        after = new.baseline.get(name, setting.strictest())
        if before == after:
            continue
        looser = not setting.lattice().leq(after, before)
        risks = dict.fromkeys(option.risk for option in setting.newly(before, after) if option.risk) if looser else ()
        if isinstance(before, tuple) and isinstance(after, tuple):  # said word by word, each in its own direction
            gained, lost = (sorted(set(one) - set(other)) for one, other in ((after, before), (before, after)))
            if gained:
                yield Difference(LOOSER, name, f"{setting.title}: now also {each(name, gained, new)}", " ".join(risks))
            if lost:
                yield Difference(STRICTER, name, f"{setting.title}: no longer {each(name, lost, old)}")
            continue
        text = f"{setting.title}: {shown(before)} becomes {shown(after)}."
        yield Difference(LOOSER if looser else STRICTER, name, text, " ".join(risks))


def each(name: str, words: list[str], policy: Policy) -> str:
    """Say words of a list as a sentence's end; a flow with where it leads and what for, a listener by its program."""
    if name == LISTENERS:
        words = list(dict.fromkeys(f"{word.rpartition(':')[2]} at {word.partition('@')[0]}" for word in words))
    if name not in SIDES:
        return ", ".join(words) + "."
    said = [f"{word}, {peer_in_words(SIDES[name], word)}{purpose_of(policy, name, word)}" for word in words]
    return "; ".join(said) + "."


def purpose_of(policy: Policy, name: str, flow: str) -> str:
    """Return what a flow is for, as the policy gives it among its reasons."""
    ahead = r"(?=; (?:tcp|udp|icmp|any)/|$)"
    found = re.search(rf"(?:^|; ){re.escape(flow)}: (.*?){ahead}", policy.reasons.get(name, ""))
    return f" ({found[1].rstrip('.')})" if found else ""


def fields_moved(old: Policy, new: Policy) -> Iterable[Difference]:
    """Compare what may be measured."""
    before, after = {f.name: f for f in old.fields}, {f.name: f for f in new.fields}
    for name in sorted(after.keys() - before.keys()):
        why = next(one.title for one in new.purposes if one.id == after[name].purpose)
        text = f'May be collected now, once the owner agrees to "{why}": {after[name].title}, {grain(after[name])}.'
        yield Difference(LOOSER, f"field {name}", text)
    for name in sorted(before.keys() - after.keys()):
        yield Difference(STRICTER, f"field {name}", f"No longer collected: {before[name].title}.")
    for name in sorted(before.keys() & after.keys()):
        less = tells_less(after[name], before[name])
        if not less or not tells_less(before[name], after[name]):
            was, now = (f"{grain(one)}, for {one.purpose}" for one in (before[name], after[name]))
            text = f"{after[name].title}: {was} becomes {now}."
            yield Difference(STRICTER if less else LOOSER, f"field {name}", text)
        elif before[name].noise != after[name].noise:
            least = (one.noise[2] for one in (after[name], before[name]))
            text = "{}: a mean is reckoned as of {} readings at least, instead of {}.".format(after[name].title, *least)
            yield Difference(OTHER, f"field {name}", text)
        elif before[name].title != after[name].title:
            text = f'"{before[name].title}" is now called "{after[name].title}", so the owner is asked again.'
            yield Difference(OTHER, f"field {name}", text)


def tells_less(new: TelemetryField, old: TelemetryField) -> bool:
    """Say whether a field tells at most what it told before."""
    up, down = 10**old.scale, 10**new.scale
    return (
        (new.unit, new.purpose) == (old.unit, old.purpose)
        and new.step * up >= old.step * down
        and new.low * up >= old.low * down
        and new.high * up <= old.high * down
        and new.cell >= old.cell
        and new.bucket >= old.bucket
        and (not old.noise or (bool(new.noise) and new.noise[0] * old.noise[1] <= old.noise[0] * new.noise[1]))
        and (not old.most or 0 < new.most <= old.most)
        and (not old.keep or (bool(new.keep) and set(new.keep) <= set(old.keep)))
    )


def grain(field: TelemetryField) -> str:
    """Describe how precise a field is."""
    timed = f"timed to {field.bucket} s" + (f", at most {field.most} in that time" if field.most else "")
    if field.cell:
        return f"a cell of at least {in_metres(field.cell)}, {timed}"
    low, high, step = (write_number(number, field.scale) for number in (field.low, field.high, field.step))
    hidden = f", with noise (epsilon {fraction(*budget(field))} a span)" if field.noise else ""
    kept = f", only {' and '.join(field.keep)}" if field.keep else ""
    return f"{low} to {high} {field.unit} in steps of {step}, {timed}{kept}{hidden}"


def purposes_moved(old: Policy, new: Policy) -> Iterable[Difference]:
    """Compare why, to whom and how long."""
    before, after = {p.id: p for p in old.purposes}, {p.id: p for p in new.purposes}
    for name in sorted(after.keys() - before.keys()):
        yield Difference(LOOSER, f"purpose {name}", f'A new purpose can be agreed to: "{after[name].title}".')
    for name in sorted(before.keys() - after.keys()):
        yield Difference(STRICTER, f"purpose {name}", f'The purpose "{before[name].title}" is gone.')
    for name in sorted(before.keys() & after.keys()):
        was, now = before[name], after[name]
        gained = sorted(set(now.recipients) - set(was.recipients))
        lost = sorted(set(was.recipients) - set(now.recipients))
        if gained:
            yield Difference(LOOSER, f"purpose {name}", f'"{now.title}" now also goes to {", ".join(gained)}.')
        if lost:
            yield Difference(STRICTER, f"purpose {name}", f'"{now.title}" no longer goes to {", ".join(lost)}.')
        if now.retention_days != was.retention_days:
            direction = LOOSER if now.retention_days > was.retention_days else STRICTER
            text = f'"{now.title}" is kept for {now.retention_days} days instead of {was.retention_days}.'
            yield Difference(direction, f"purpose {name}", text)
        if was.pseudonym != now.pseudonym:
            less = 0 < now.pseudonym <= was.pseudonym or not was.pseudonym
            said = [f"every {span(one.pseudonym)}" if one.pseudonym else "never" for one in (was, now)]
            text = f'Handed on, a device has another name in "{now.title}" {said[1]} instead of {said[0]}.'
            yield Difference(STRICTER if less else LOOSER, f"purpose {name}", text)
        ends = [span_of(one.fields, name) for one in (old, new)]
        if ends[0] != ends[1]:
            said = [f"after each {span(end)}" if end else "at once" for end in ends]
            text = f'"{now.title}" is sent {said[1]} instead of {said[0]}.'
            yield Difference(LOOSER if ends[1] < ends[0] else STRICTER, f"purpose {name}", text)
        if (was.title, was.text, was.basis) != (now.title, now.text, now.basis):
            text = f'"{was.title}" is described anew, so its owner is asked again.'
            yield Difference(OTHER, f"purpose {name}", text)


def recipients_moved(old: Policy, new: Policy) -> Iterable[Difference]:
    """Compare who holds which key."""
    before, after = {r.id: r for r in old.recipients}, {r.id: r for r in new.recipients}
    for name in sorted(before.keys() & after.keys()):
        was, now = before[name], after[name]
        if (was.name, was.country) != (now.name, now.country):
            text = f"The recipient {was.name} ({was.country}) is now {now.name} ({now.country})."
            yield Difference(LOOSER, f"recipient {name}", text)
        if was.key != now.key:
            text = f"{now.name} has a new key, so the owner is asked again."
            yield Difference(LOOSER, f"recipient {name}", text)


def lists_moved(old: Policy, new: Policy) -> Iterable[Difference]:
    """Compare warnings, factory credentials, broker and queue."""
    for name in sorted(set(old.channels) - set(new.channels)):
        yield Difference(LOOSER, f"channel {name}", f"Warnings no longer reach the owner by {name}.")
    for name in sorted(set(new.channels) - set(old.channels)):
        yield Difference(STRICTER, f"channel {name}", f"Warnings also reach the owner by {name}.")
    for credential in [one for one in old.credentials if one not in new.credentials]:
        text = f"The factory secret {named(credential)} is no longer replaced at first boot."
        yield Difference(LOOSER, f"credential {credential['kind']}", text)
    for credential in [one for one in new.credentials if one not in old.credentials]:
        text = f"The factory secret {named(credential)} is also replaced at first boot."
        yield Difference(STRICTER, f"credential {credential['kind']}", text)
    if hands(old) != hands(new):
        direction = STRICTER if hands(new) < hands(old) else LOOSER
        yield Difference(direction, "recovery", f"The owner's new secrets: {handed(old)} before, {handed(new)} now.")
    if old.broker != new.broker:
        was, now = (
            " or ".join(f"{b['host']}:{b['port']}" for b in (one.broker, *one.broker.get("others", ())))
            for one in (old, new)
        )
        text = f"Sealed readings go through {now} instead of {was}."
        yield Difference(OTHER, "broker", text)
    if old.queue_bytes != new.queue_bytes:
        text = f"The queue holds {new.queue_bytes >> 20} MiB instead of {old.queue_bytes >> 20} MiB."
        yield Difference(OTHER, "queue", text)


def hands(policy: Policy) -> set[tuple[str, bytes]]:
    """Return the ways by which the new secrets are handed over, beside the owner's own."""
    wishes = policy.recovery
    sealed = {(wishes["id"], wishes["key"])} if wishes.get("key") else set()
    return sealed | ({("the screen", b"")} if wishes.get("console") else set())


def handed(policy: Policy) -> str:
    """Say how the new secrets are handed over."""
    wishes = policy.recovery
    ways = [f"sealed to {wishes['id']}"] if wishes.get("key") else []
    return ", ".join([*ways, *(["shown on the screen"] if wishes.get("console") else [])]) or "to the owner alone"


def named(credential: dict[str, Any]) -> str:
    """Name a credential with its params."""
    inside = ", ".join(f"{key} {shown(value)}" for key, value in sorted(credential["params"].items()))
    return f"{credential['kind']} ({inside})" if inside else str(credential["kind"])
