"""Seeded mutations: every way in tests/mutants/ to loosen a setting is found, and none that loosens nothing.

For each kind of setting with a file there, each of its settings and each looser option. A twin that reads the main file
of OpenSSH alone does the same mutants and has to miss some, or the mutants prove nothing.
"""

import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent import registry
from agent.core.assess import LOOSENED, OK
from agent.core.plan import Write
from agent.core.setting import Option, Setting
from agent.guard.executor import apply
from agent.system.simulated import SimulatedSystem
from tests.test_catalogue import judged, safe, steps

HERE = Path(__file__).parent / "mutants"
TEXTS = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.toml"))}
MUTANTS = {kind: text["mutant"] for kind, text in TEXTS.items()}
SETTINGS = {name: one for name, one in registry.settings().items() if one.provider in MUTANTS and one.enforce}
CASES = [
    (name, option, mutant)
    for name, setting in SETTINGS.items()
    for option in setting.options[1:]
    for mutant in MUTANTS[setting.provider]
    if mutant.get("when", {}).items() <= setting.params.items()
]
LABELS = [f"{name}={option.value!r}: {mutant['name']}" for name, option, mutant in CASES]


def written(device: SimulatedSystem, setting: Setting, option: Option) -> tuple[str, list[str]]:
    """Return the name of the file that our steps would write for an option, and its lines."""
    nothing = Write(path="", content=b"", mode=0, uid=0, gid=0)
    files = [nothing] + [step for step in steps(device, setting, option.value) if isinstance(step, Write)]
    text = files[-1].content.decode().splitlines()
    lines = [line for line in text if line and line[0] not in " #[" and not line.startswith("Match")]
    return files[-1].path.rpartition("/")[2], lines


def installed(device: SimulatedSystem, setting: Setting) -> str:
    """Return the first unit of a setting that is on the device; empty when it has none."""
    units = setting.params.get("units", ())
    there = device.entries("/usr/lib/systemd/system")
    return next((str(unit) for unit in units if unit in there), "") if isinstance(units, tuple) else ""


def forms(device: SimulatedSystem, setting: Setting, option: Option) -> dict[str, str]:
    """Return what our own steps would write for an option, in the spellings that a mutant may ask for."""
    own, lines = written(device, setting, option)
    strict = written(device, setting, setting.options[0])[1]
    pairs = [line.split(None, 1) for line in lines]
    return {
        "strict": "".join(f"{line}\n" for line in strict),
        "lines": "".join(f"{line}\n" for line in lines),
        "comments": "".join(f"# {line}\n" for line in lines),
        "capitals": "".join(f'\t"{key.upper()}" = "{rest[0] if rest else ""}"\n' for key, *rest in pairs),
        "dotted": "".join(f"{line.replace('/', '.')}\n" for line in lines),
        "options": " ".join(f"-o{key}={rest[0] if rest else ''}" for key, *rest in pairs),
        "own": own,
        "unit": installed(device, setting),
        "user": "root" if setting.id == "ssh.root" else "pi",
    }


def filled(text: str, words: dict[str, str]) -> str:
    """Put the words of an option into a text."""
    for name, word in words.items():
        text = text.replace("{" + name + "}", word)
    return text


def perform(device: SimulatedSystem, setting: Setting, act: dict[str, Any], words: dict[str, str]) -> None:
    """Do one act as somebody's hand."""
    if "edit" in act:
        path = filled(act["edit"], words)
        device.edit(path, filled(act["text"], words).encode(), mode=0o440 if "sudoers" in path else 0o644)
    elif "link" in act:
        device.hand.link(filled(act["link"], words), filled(act["to"], words))
    elif "discard" in act:
        device.hand.discard(filled(act["discard"], words))
    elif "run" in act:
        argv = [piece for word in act["run"] for piece in shlex.split(filled(word, words))]
        assert device.run(tuple(argv), filled(act.get("stdin", ""), words).encode()).code == 0
    elif "reload" in act:
        device.reload(act["reload"], "/run/sshd.pid")
    elif "look" in act:
        judged(device, setting, setting.strictest())
    else:
        device.tick(act["tick"])


def mutated(name: str, option: Option, mutant: dict[str, Any]) -> SimulatedSystem:
    """Start a device on which the setting is at its strictest and has been looked at, then let somebody change it."""
    setting = SETTINGS[name]
    device = safe(setting)
    words = forms(device, setting, option)
    for act in TEXTS[setting.provider].get("start", ()):
        perform(device, setting, act, words)
    assert judged(device, setting, setting.strictest()).status == OK
    device.tick(2)
    for act in mutant["acts"]:
        perform(device, setting, act, words)
    device.tick(2)
    return device


@pytest.mark.parametrize(("name", "option", "mutant"), CASES, ids=LABELS)
def test_no_loosening_is_missed_and_nothing_else_is_told(name: str, option: Option, mutant: dict[str, Any]) -> None:
    """Loosened by a hand: found. A hand that loosens nothing: no finding. Enforced again: as it was."""
    setting = SETTINGS[name]
    device = mutated(name, option, mutant)
    finding = judged(device, setting, setting.strictest())
    assert finding.status == (OK if mutant.get("harmless") else LOOSENED), finding
    if mutant.get("harmless"):
        apply(device, steps(device, setting, setting.strictest()))
        assert judged(device, setting, setting.strictest()).status == OK


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
        if not mutant.get("harmless"):
            device = mutated(setting.id, setting.options[-1], mutant)
            if main_file_alone(device, "PermitRootLogin") != "yes":
                missed.append(mutant["name"])
    assert 5 <= len(missed) < len(MUTANTS["sshd_option"])
