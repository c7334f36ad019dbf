"""Seeded mutations: every way in tests/mutants/ to loosen a setting is found, and none that loosens nothing.

For each kind of setting with a file there, each of its settings and each looser option. Twins do the same mutants: for
each kind a probe that is made blind in one eye, and for OpenSSH a reader of the main file alone. They have to miss
some, or the mutants prove nothing.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent import registry
from agent.core.assess import LOOSENED, OK, UNKNOWN, assess
from agent.core.setting import Option, Setting, plain
from agent.guard.executor import apply
from agent.system.simulated import SimulatedSystem
from tests.mutants.hands import Blind, forms, perform
from tests.test_catalogue import judged, safe, settled, steps

HERE = Path(__file__).parent / "mutants"
TEXTS = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.toml"))}
MUTANTS = {kind: text["mutant"] for kind, text in TEXTS.items()}
SETTINGS = {name: one for name, one in registry.settings().items() if one.provider in MUTANTS}


def suits(setting: Setting, option: Option, mutant: dict[str, Any]) -> bool:
    """Say whether a mutant is about a setting and an option; one that is about one setting alone is done once."""
    if not mutant.get("when", {}).items() <= setting.params.items():
        return False
    if "setting" not in mutant:
        return setting.enforce or "value" in mutant
    if mutant["setting"] != setting.id:
        return False
    return option == setting.options[-1] if "value" not in mutant else option.value == plain(mutant["value"])


CASES = [
    (name, option, mutant)
    for name, setting in SETTINGS.items()
    for option in setting.options[1:]
    for mutant in MUTANTS[setting.provider]
    if suits(setting, option, mutant)
]
LABELS = [f"{name}={option.value!r}: {mutant['name']}" for name, option, mutant in CASES]


def started(setting: Setting) -> SimulatedSystem:
    """Start a device on which the setting is at its strictest."""
    device = safe(setting)
    for act in TEXTS[setting.provider].get("start", ()):
        perform(device, act, forms(device, setting, setting.options[-1]))
    return device


def loosen(device: SimulatedSystem, setting: Setting, option: Option, mutant: dict[str, Any]) -> None:
    """Let somebody change a device that has been looked at."""
    words = forms(device, setting, option)
    device.tick(2)
    for act in mutant["acts"]:
        if "look" in act:
            judged(device, setting, setting.strictest())
        else:
            perform(device, act, words)
    device.tick(2)


@pytest.mark.parametrize(("name", "option", "mutant"), CASES, ids=LABELS)
def test_no_loosening_is_missed_and_nothing_else_is_told(name: str, option: Option, mutant: dict[str, Any]) -> None:
    """Loosened by a hand: found. A hand that loosens nothing: no finding, and enforcing again changes none of that."""
    setting = SETTINGS[name]
    device = started(setting)
    assert judged(device, setting, setting.strictest()).status == OK
    loosen(device, setting, option, mutant)
    finding = judged(device, setting, setting.strictest())
    expected = OK if mutant.get("harmless") else UNKNOWN if mutant.get("unknown") else LOOSENED
    assert finding.status == expected, finding
    if mutant.get("harmless"):
        apply(device, steps(device, setting, setting.strictest()))
        settled(device, setting)
        assert judged(device, setting, setting.strictest()).status == OK


@pytest.mark.parametrize("kind", [kind for kind in TEXTS if "blind" in TEXTS[kind]])
def test_a_blind_probe_is_caught(kind: str) -> None:
    """The known-bad twin: a probe that overlooks some places, or goes by what it heard before, misses some mutants."""
    blind, missed, done = TEXTS[kind]["blind"], [], 0
    for name, option, mutant in CASES:
        setting = SETTINGS[name]
        if setting.provider == kind and option == setting.options[-1] and not mutant.get("harmless"):
            device = started(setting)
            twin = Blind(device, blind.get("hides", ()), blind.get("replays", ()))
            probe = registry.provider(kind).probe
            probe(twin.door(), setting.params)
            loosen(device, setting, option, mutant)
            reading = probe(twin.door(), setting.params)
            finding = assess(setting, setting.strictest(), reading, (), device.clock())
            done += 1
            if finding.status == OK:
                missed.append(mutant["name"])
    assert missed, f"a blind probe misses none of {done} mutants"


def test_every_kind_with_steps_or_strangers_has_mutants() -> None:
    """No kind of setting ships without a file of mutants, and each has a blind twin.

    But for OpenSSH, which has one of its own, and for a kind with one place alone: without it the setting is absent.
    """
    kinds = {setting.provider for setting in registry.settings().values()}
    assert kinds == set(TEXTS)
    assert {kind for kind in kinds if "blind" not in TEXTS[kind]} == {"disk", "sshd_option"}


def main_file_alone(device: SimulatedSystem, keyword: str) -> str:
    """Say what a reader of the main file alone says of a keyword of OpenSSH: its first line decides."""
    for line in device.read("/etc/ssh/sshd_config").decode().splitlines():
        words = line.split()
        if words and words[0] == keyword:
            return words[1]
    return ""


def test_a_reader_of_the_main_file_alone_is_caught() -> None:
    """The known-bad twin calls most of the mutants of root's login fine."""
    setting = SETTINGS["ssh.root"]
    missed = []
    for mutant in MUTANTS["sshd_option"]:
        if not mutant.get("harmless") and suits(setting, setting.options[-1], mutant):
            device = started(setting)
            loosen(device, setting, setting.options[-1], mutant)
            if main_file_alone(device, "PermitRootLogin") != "yes":
                missed.append(mutant["name"])
    assert 5 <= len(missed) < len(MUTANTS["sshd_option"])
