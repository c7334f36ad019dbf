"""`profile diff` says that something is looser if and only if the orders say so, whatever two policies hold."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.policy import Policy
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import Issue, as_policy, policy_map
from provisioning.profile.diff import compare
from provisioning.profile.inherit import load
from tests.house import ROOT

PROFILES = sorted((ROOT / "device_profiles").glob("*.toml"))
NAMES = ("a", "b", "c")
CATALOGUE = shipped()


def loosened(new: Policy, old: Policy) -> set[str]:
    """Return what a policy asks for beyond another: the definition, written down once more, part by part."""
    return {
        about for about, no_looser in (*settings(new, old), *telemetry(new, old), *lists(new, old)) if not no_looser
    }


def settings(new: Policy, old: Policy) -> Iterator[tuple[str, bool]]:
    """Each setting by its own order; what is left out stands at its strictest."""
    for name, setting in CATALOGUE.settings.items():
        values = (one.baseline.get(name, setting.strictest()) for one in (new, old))
        yield name, setting.lattice().leq(*values)


def telemetry(new: Policy, old: Policy) -> Iterator[tuple[str, bool]]:
    """Every field, purpose and recipient of the new one was there, and told or reached no less."""
    fields = {one.name: one for one in old.fields}
    purposes = {one.id: one for one in old.purposes}
    keys = {one.id: one for one in old.recipients}
    for field in new.fields:
        was = fields.get(field.name)
        yield (
            f"field {field.name}",
            was is not None
            and (field.unit, field.purpose) == (was.unit, was.purpose)
            and all(
                (
                    Fraction(field.step, 10**field.scale) >= Fraction(was.step, 10**was.scale),
                    Fraction(field.low, 10**field.scale) >= Fraction(was.low, 10**was.scale),
                    Fraction(field.high, 10**field.scale) <= Fraction(was.high, 10**was.scale),
                    field.bucket >= was.bucket,
                    field.cell >= was.cell,
                    not was.noise or (bool(field.noise) and Fraction(*field.noise[:2]) <= Fraction(*was.noise[:2])),
                    was.most == 0 or field.most in range(1, was.most + 1),
                    not was.keep or 0 < len({*field.keep} & {*was.keep}) == len({*field.keep}),
                )
            ),
        )
    for purpose in new.purposes:
        before = purposes.get(purpose.id)
        yield f"purpose {purpose.id}", before is not None and purpose.retention_days <= before.retention_days
        yield f"purpose {purpose.id}", before is not None and set(purpose.recipients) <= set(before.recipients)
        changing = before is None or not before.pseudonym or purpose.pseudonym in range(1, before.pseudonym + 1)
        yield f"purpose {purpose.id}", changing
        yield f"purpose {purpose.id}", before is not None and held(new, purpose.id) >= held(old, purpose.id)
    for recipient in new.recipients:
        yield f"recipient {recipient.id}", keys.get(recipient.id, recipient) == recipient


def held(policy: Policy, purpose: str) -> int:
    """Return how long a reading of a purpose may wait to be sent."""
    return max([0, *(one.bucket for one in policy.fields if one.purpose == purpose and one.bucket > 60)])


def lists(new: Policy, old: Policy) -> Iterator[tuple[str, bool]]:
    """No channel and no secret is dropped; the new secrets are handed to nobody more."""
    for channel in old.channels:
        yield f"channel {channel}", channel in new.channels
    for credential in old.credentials:
        yield f"credential {credential['kind']}", credential in new.credentials
    yield "recovery", not new.recovery.get("console") or bool(old.recovery.get("console"))
    sealed = [(one.recovery.get("id"), one.recovery.get("key")) for one in (new, old)]
    yield "recovery", not sealed[0][1] or sealed[0] == sealed[1]


def value_of(setting: Any) -> st.SearchStrategy[Any]:
    """Draw a value of a setting's order."""
    options = [option.value for option in setting.options]
    if setting.order in {"at_most", "at_least"}:
        return st.integers(0, 40)
    if setting.order == "subset":
        words = sorted({word for option in options for word in option} | {"x", "y"})
        return st.lists(st.sampled_from(words), max_size=3).map(lambda some: sorted(set(some)))
    if setting.order == "mode":
        return st.sampled_from([*options, "root:root:0750", "pi:pi:0644"])
    return st.sampled_from(options)


def kinds(field: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a number, with noise only where that goes, or a place."""
    number = field if sound(field) else field | {"noise": []}
    return st.sampled_from([number, place(field, 500), place(field, 5000)])


@st.composite
def baselines(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """Draw values of some settings."""
    changed = draw(st.lists(st.sampled_from(sorted(CATALOGUE.settings)), max_size=3))
    return {name: draw(value_of(CATALOGUE.settings[name])) for name in changed}


def sound(field: dict[str, Any]) -> bool:
    """Say whether noise goes with what else a field says."""
    return "max" not in field["keep"] and bool(field["keep"] or field["most"])


def place(field: dict[str, Any], cell: int) -> dict[str, Any]:
    """Make a place of a field."""
    return {key: field[key] for key in ("name", "title", "purpose", "bucket", "most")} | {"cell": cell}


@st.composite
def policies(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """Draw a policy as a map."""
    baseline = draw(baselines())
    recipients = [
        {"id": name, "name": draw(st.sampled_from("AB")), "country": "DE", "key": draw(st.sampled_from([b"1", b"2"]))}
        for name in NAMES
    ]
    purposes = [
        {
            "id": name, "title": draw(st.sampled_from("AB")), "text": "T", "basis": "consent",
            "recipients": draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(sorted)),
            "retention_days": draw(st.integers(1, 3)), "pseudonym": draw(st.integers(0, 2)),
        }
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    ]  # fmt: skip
    fields = [
        {
            "name": name, "title": draw(st.sampled_from("AB")), "unit": draw(st.sampled_from(["Cel", "K"])),
            "purpose": draw(st.sampled_from([one["id"] for one in purposes])),
            "scale": (scale := draw(st.integers(0, 2))),
            "step": draw(st.integers(1, 3)) * 10**scale, "low": draw(st.integers(-2, 2)) * 10**scale,
            "high": draw(st.integers(6, 9)) * 10**scale,
            "bucket": draw(st.sampled_from([1, 2, 600, 900])), "most": draw(st.integers(0, 2)),
            "noise": draw(st.sampled_from([[], [1, 2, 1], [1, 3, 5]])),
            "keep": draw(st.sets(st.sampled_from(["count", "max", "mean"]), max_size=2).map(sorted)),
        }
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True))
    ]  # fmt: skip
    fields = [draw(kinds(one)) for one in fields]
    made = {
        "v": 1, "fleet": "f", "class": "c", "device": "", "sequence": 1, "issued": 1, "expires": 2,
        "baseline": baseline, "reasons": dict.fromkeys(baseline, "Why."), "purposes": purposes, "fields": fields,
        "recipients": recipients, "broker": {"host": "b", "port": 1}, "queue": {"bytes": 1 << 20},
        "credentials": draw(st.lists(st.sampled_from([{"kind": k, "params": {}} for k in NAMES]), max_size=2)),
        "channels": draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)),
    }  # fmt: skip
    if draw(st.booleans()):
        key = draw(st.sampled_from([b"", b"1", b"2"]))
        made["recovery"] = {"console": draw(st.booleans()), "id": "a" if key else "", "key": key}
    return made


def looser(old: Policy, new: Policy) -> set[str]:
    """Return what the comparison calls looser."""
    return {one.about for one in compare(old, new, CATALOGUE) if one.direction == "looser"}


@given(policies(), policies(), st.sets(st.sampled_from(
    ["baseline", "purposes", "fields", "recipients", "credentials", "channels", "recovery"]), max_size=3))  # fmt: skip
def test_looser_is_said_if_and_only_if_it_is_so(before, after, parts):
    """Two policies that differ in some parts: what is told to be looser is exactly what the definition finds."""
    mixed = before | {key: after[key] for key in parts if key in after}
    if "baseline" in parts:
        mixed["reasons"] = after["reasons"]
    known = [one["id"] for one in mixed["purposes"]]
    mixed["fields"] = [one for one in mixed["fields"] if one["purpose"] in known]
    old, new = as_policy(before, CATALOGUE), as_policy(mixed, CATALOGUE)
    for one, other in ((old, new), (new, old)):
        assert looser(one, other) == loosened(other, one)
    assert compare(old, old, CATALOGUE) == []


# One leaf of a policy: the table it is in, its key, and what it may become.
LEAVES: tuple[tuple[str, str, st.SearchStrategy[Any]], ...] = (
    ("fields", "step", st.integers(1, 3)),
    ("fields", "low", st.integers(-2, 2)),
    ("fields", "high", st.integers(6, 9)),
    ("fields", "bucket", st.sampled_from([1, 2, 600, 900])),
    ("fields", "most", st.integers(1, 2)),
    ("fields", "cell", st.sampled_from([500, 5000])),
    ("fields", "unit", st.sampled_from(["Cel", "K"])),
    ("fields", "title", st.sampled_from("AB")),
    ("recipients", "key", st.sampled_from([b"1", b"2"])),
    ("recipients", "name", st.sampled_from("AB")),
    ("purposes", "retention_days", st.integers(1, 3)),
    ("purposes", "pseudonym", st.integers(0, 2)),
    ("purposes", "recipients", st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(sorted)),
    ("recovery", "console", st.booleans()),
    ("recovery", "key", st.sampled_from([b"1", b"2"])),
)


def fitting(made: dict[str, Any], table: str, key: str) -> dict[str, Any]:
    """Leave out the rows of a table that have no such key: places have no unit, numbers no cell."""
    return made if table == "recovery" else made | {table: [row for row in made[table] if key in row]}


WISHES = {"console": False, "id": "a", "key": b"1"}


@pytest.mark.parametrize(("table", "key", "values"), LEAVES, ids=[f"{table} {key}" for table, key, _ in LEAVES])
@given(st.data())
def test_one_leaf_alone_is_told_truly(table, key, values, drawn):
    """Two policies that differ in one leaf: the same, part by part, both ways."""
    drawable = policies().map(lambda made: {"recovery": WISHES} | fitting(made, table, key))
    before = drawn.draw(drawable.filter(lambda made: bool(made[table])))
    rows = [dict(row) for row in ([before[table]] if table == "recovery" else before[table])]
    row = rows[drawn.draw(st.integers(0, len(rows) - 1))]
    scale = 10 ** row["scale"] if key in {"step", "low", "high"} else 1
    row[key] = drawn.draw(values) * scale if scale > 1 else drawn.draw(values)
    old, new = (as_policy(one, CATALOGUE) for one in (before, before | {table: row if table == "recovery" else rows}))
    for one, other in ((old, new), (new, old)):
        assert looser(one, other) == loosened(other, one)
        assert bool(compare(one, other, CATALOGUE)) == (one != other)


def shipped_policy(path: Any) -> Policy:
    """Compile a profile that ships."""
    profile = load(path, CATALOGUE).profile
    issue = Issue("garden", 1, 1_800_000_000, {one.id: b"k" for one in profile.recipient}, ("broker.example", 8883))
    return as_policy(policy_map(profile, CATALOGUE, issue), CATALOGUE)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_two_profiles_that_ship_are_told_apart_truly(path):
    """Against each of the others; every difference is a sentence, and a looser setting brings its risk."""
    old = shipped_policy(path)
    for other in PROFILES:
        new = shipped_policy(other)
        found = compare(old, new, CATALOGUE)
        assert looser(old, new) == loosened(new, old), other.stem
        assert all(one.text[0].isupper() or one.text[0] == '"' for one in found)
        assert all(one.text.endswith(".") and "\n" not in one.text for one in found)
        assert all(one.risk for one in found if one.direction == "looser" and one.about in CATALOGUE.settings)
