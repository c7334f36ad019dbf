"""What a profile's settings are evidence for, provision by provision; and the provisions that no setting is about.

It says what is there. Whether that is enough for a provision is for whoever assesses the product: nothing is counted
up, and no verdict is given.
"""

import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.policy import Policy
from agent.core.setting import Setting
from provisioning.profile.catalogue import Catalogue, on_platform
from provisioning.profile.check import shown
from provisioning.profile.inherit import Loaded

PROVISIONS = Path(__file__).with_name("provisions.toml")
NATURE = (
    "This lists what settings of Privet contribute as evidence. It is no assessment of a product: whether a provision "
    "is met depends on the whole product and its maker."
)


class Provision(NamedTuple):
    """One provision: its id as settings name it, and in our own words what it asks."""

    id: str
    title: str


class Standard(NamedTuple):
    """One text: which of its provisions are here, and why not all of them."""

    id: str
    title: str
    source: str
    whole: bool
    note: str
    provisions: tuple[Provision, ...]


@cache
def standards() -> tuple[Standard, ...]:
    """Read the provisions that this version of Privet knows."""
    return tuple(
        Standard(
            one["id"], one["title"], one["source"], one["whole"], one.get("note", ""),
            tuple(Provision(f"{one['id']}:{name}" if name else one["id"], title) for name, title in one["provision"]),
        )
        for one in tomllib.loads(PROVISIONS.read_text("utf-8"))["standard"]
    )  # fmt: skip


def evidence(loaded: Loaded, policy: Policy, catalogue: Catalogue) -> dict[str, Any]:
    """Return, for each text and each of its provisions, the settings that are evidence for it."""
    known = on_platform(catalogue, loaded.profile.platform).settings
    about = defaultdict(list)
    for name, setting in sorted(known.items()):
        for provision in setting.satisfies:
            about[provision].append(name)
    return {
        "model": loaded.profile.model,
        "title": loaded.profile.title,
        "nature": NATURE,
        "settings": {name: stands(setting, loaded, policy) for name, setting in sorted(known.items())},
        "standards": [
            {
                **one._asdict(),
                "provisions": [{**row._asdict(), "settings": about[row.id]} for row in one.provisions if about[row.id]],
                "no_setting": [row._asdict() for row in one.provisions if not about[row.id]],
            }
            for one in standards()
        ],
    }


def stands(setting: Setting, loaded: Loaded, policy: Policy) -> dict[str, Any]:
    """Return where a setting stands in a profile: Privet's default, the profile's value, what may be looser than it."""
    value = policy.baseline.get(setting.id, setting.strictest())
    ceiling = loaded.profile.ceilings.get(setting.id)
    return {
        "title": setting.title,
        "default": shown(setting.strictest()),
        "value": shown(value),
        "strictest": setting.lattice().leq(value, setting.strictest()),
        "chosen_by": loaded.chosen_by.get(setting.id, ""),
        "reason": policy.reasons.get(setting.id, ""),
        "ceiling": shown(ceiling) if ceiling is not None else "",
        "set_back": setting.enforce,
        "loosenings": [
            {"value": shown(option.value), "risk": option.risk}
            for option in setting.options[1:]
            if not setting.lattice().leq(option.value, value)
        ],
    }


def markdown(facts: dict[str, Any]) -> str:
    """Return the same as a page of Markdown."""
    lines = [
        f"# Evidence by provision: {plain(facts['title'])}",
        "",
        f"Profile `{facts['model']}`. {facts['nature']}",
        "",
    ]
    for line in facts.get("known", {}).get("words", ()):
        lines += [plain(line), ""]
    for one in facts["standards"]:
        lines += [f"## {one['title']}", "", f"{one['source']}. {extent(one)}", ""]
        for row in one["provisions"]:
            lines += [f"### {row['id']}: {row['title']}", "", "| Setting | What it holds | Default | In this profile |"]
            lines += ["|---|---|---|---|"]
            for name in row["settings"]:
                held = facts["settings"][name]
                said = "the default" if held["value"] == held["default"] else plain(held["value"])
                lines.append(f"| `{name}` | {plain(held['title'])} | {plain(held['default'])} | {said} |")
            lines.append("")
        if one["no_setting"]:
            lines += ["No setting of Privet is about:", ""]
            lines += [f"- {row['id']}: {row['title']}" for row in one["no_setting"]]
            lines.append("")
    return "\n".join([*lines, *loosenings(facts)]) + "\n"


def loosenings(facts: dict[str, Any]) -> list[str]:
    """Return the part that says of each setting why it is as it is, and what an owner could still allow."""
    lines = ["## Loosenings", "", "An owner may loosen a setting for a time, with the risk shown first.", ""]
    for name, held in facts["settings"].items():
        lines += [f"### `{name}`", "", f"{plain(held['title'])}. Default: {plain(held['default'])}.", ""]
        if not held["strictest"]:
            lines += [f"This profile sets {plain(held['value'])}, because: {plain(held['reason'])}", ""]
        if held["ceiling"]:
            lines += [f"A profile that inherits from this one may set {plain(held['ceiling'])} at most.", ""]
        if not held["set_back"]:
            lines += ["It is found and told to the owner, and not set back.", ""]
        lines += [f"- {plain(one['value'])}: {plain(one['risk'])}" for one in held["loosenings"]] or [
            "- none is listed"
        ]
        lines.append("")
    return lines[:-1]


def extent(one: dict[str, Any]) -> str:
    """Say whether all provisions of a text are here."""
    return "All its provisions are listed." if one["whole"] else f"Not all its provisions are listed. {one['note']}"


def plain(text: str) -> str:
    """Return text such that it is nothing but text in a table of Markdown."""
    spaced = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in spaced)
