"""Runs on a light device, by `Device.module`: loosens real files as tests/mutants says, and asks the real door.

Arguments: `blind` (the twin, which overlooks the places that a file of mutants hides) or `seeing`, then kinds. Of each
kind it takes the mutants that are made of files alone, and puts every file back after each.
What is printed is a row for each mutant: setting, name, status, the status it should have.
"""

import json
import os
import shutil
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from agent import registry
from agent.core.assess import ABSENT, LOOSENED, OK, assess
from agent.core.setting import Setting, plain
from agent.guard.executor import apply
from agent.system.door import System
from agent.system.real import RealSystem
from agent.system.simulated import SimulatedSystem
from tests.mutants.hands import Blind, filled, forms, mode_of

FILES = {"edit", "append", "replace", "link", "discard", "tick"}
RELOAD = ["systemctl", "daemon-reload"]  # nothing to tell without systemd
TIMERS = "update.automatic"  # on is what systemd runs, and there is none
TOLD = "ssh.enabled"  # nothing makes it strict but its owner
BOOTED = "/run/systemd/system/"
HERE = Path(__file__).resolve().parents[1] / "mutants"
Act = dict[str, Any]


def of_files(act: Act) -> bool:
    """Say whether an act is done on files alone."""
    return bool(FILES & set(act)) or act.get("run") == RELOAD


def put(path: str, content: bytes, mode: int) -> None:
    """Write a new file over what is there."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path + "~new").write_bytes(content)
    os.chmod(path + "~new", mode)
    os.replace(path + "~new", path)


def gone(path: str) -> None:
    """Remove what is there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def perform(act: Act, words: dict[str, str]) -> None:
    """Do one act."""
    if "edit" in act:
        path = filled(act["edit"], words)
        put(path, filled(act["text"], words).encode(), mode_of(path))
    elif "append" in act or "replace" in act:
        path = filled(act.get("append", act.get("replace", "")), words)
        before, text = Path(path).read_text(encoding="utf-8"), filled(act["text"], words)
        put(path, (before + text if "append" in act else before.replace(act["old"], text)).encode(), mode_of(path))
    elif "link" in act:
        path = filled(act["link"], words)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        gone(path)
        os.symlink(filled(act["to"], words), path)
    elif "discard" in act:
        gone(filled(act["discard"], words))


class Kept:
    """What stands at a path now, to be put back."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.link = os.readlink(path) if os.path.islink(path) else ""
        self.copy = f"/tmp/kept{path}" if os.path.isdir(path) and not self.link else ""
        if self.copy:
            shutil.copytree(path, self.copy, symlinks=True, dirs_exist_ok=True)
        there = os.path.isfile(path) and not self.link
        self.file = (Path(path).read_bytes(), os.stat(path).st_mode & 0o7777) if there else None
        self.above = path  # the first directory on the way that is missing, else the path itself
        while not os.path.lexists(os.path.dirname(self.above)):
            self.above = os.path.dirname(self.above)

    def back(self) -> None:
        """Put it back."""
        gone(self.above)
        if self.link:
            os.symlink(self.link, self.path)
        elif self.copy:
            shutil.copytree(self.copy, self.path, symlinks=True)
        elif self.file is not None:
            put(self.path, *self.file)


def paths(acts: list[Act], words: dict[str, str]) -> list[str]:
    """Return every path that acts change."""
    keys = ("edit", "append", "replace", "link", "discard")
    return list(dict.fromkeys(filled(act[key], words) for act in acts for key in keys if key in act))


def judged(system: System, setting: Setting) -> str:
    """Look, and judge by the strictest option."""
    reading = registry.provider(setting.provider).probe(system, setting.params)
    return assess(setting, setting.strictest(), reading, (), system.clock()).status


def tried(system: System, setting: Setting, text: dict[str, Any]) -> list[list[str]]:
    """Do each mutant of one setting that is made of files."""
    looser = setting.options[-1]
    rows = []
    for mutant in text["mutant"]:
        about = mutant.get("setting", setting.id) == setting.id
        valued = "value" not in mutant or looser.value == plain(mutant["value"])
        suits = about and valued and mutant.get("when", {}).items() <= setting.params.items()
        if not suits or mutant.get("unknown") or not all(of_files(act) for act in mutant["acts"]):
            continue
        words = forms(cast(SimulatedSystem, system), setting, looser)
        places = paths(mutant["acts"], words)
        if any(path.startswith(BOOTED) for path in places):
            continue  # it would look as if systemd ran here
        back = [Kept(path) for path in places]
        for act in mutant["acts"]:
            perform(act, words)
        rows.append([setting.id, mutant["name"], judged(system, setting), OK if mutant.get("harmless") else LOOSENED])
        for one in reversed(back):
            one.back()
        rows[-1] += [judged(system, setting)]
    return rows


def main() -> None:
    """Make each setting of some kinds as strict as can be, then do its mutants."""
    real, rows = RealSystem(), list[list[str]]()
    for setting in registry.settings().values():
        system: System = real
        if setting.provider in sys.argv[2:] and setting.id not in {TIMERS, TOLD}:
            text = tomllib.loads((HERE / f"{setting.provider}.toml").read_text(encoding="utf-8"))
            provider = registry.provider(setting.provider)
            prepare = getattr(provider, "prepare", None)
            params = prepare(system, setting.params) if prepare else setting.params
            apply(system, provider.steps(params, setting.strictest()))
            for act in text.get("start", ()):
                perform(act, forms(cast(SimulatedSystem, system), setting, setting.options[-1]))
            if sys.argv[1] == "blind":
                hides = text["blind"].get("hides", ())
                system = Blind(cast(SimulatedSystem, real), hides, ()).door()
            if judged(system, setting) == ABSENT:
                continue
            if judged(system, setting) == OK:
                rows += tried(system, setting, text)
            else:
                rows.append([setting.id, "before", judged(system, setting), OK, OK])
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
