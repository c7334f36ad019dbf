"""What somebody's hand does on a simulated device, and a look at it by a probe that is made blind."""

import shlex
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from agent.core.errors import Missing
from agent.core.plan import Write
from agent.core.setting import Option, Setting
from agent.system.door import Outcome, Stat, System
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.sockets import EVERYWHERE, listen
from agent.system.units import called, second_names
from tests.test_catalogue import steps

Act = dict[str, Any]
Words = dict[str, str]
UNITS = "/usr/lib/systemd/system"


def written(device: SimulatedSystem, setting: Setting, option: Option) -> tuple[str, str]:
    """Return the name of the file that our steps would write for an option, and its text."""
    nothing = Write(path="", content=b"", mode=0, uid=0, gid=0)
    files = [nothing] + [step for step in steps(device, setting, option.value) if isinstance(step, Write)]
    return files[-1].path.rpartition("/")[2], files[-1].content.decode()


def assigning(text: str) -> list[str]:
    """Return the lines of a text that say something: no remark, no heading."""
    return [line for line in text.splitlines() if line and line[0] not in " #[/" and not line.startswith("Match")]


def installed(device: SimulatedSystem, setting: Setting) -> list[str]:
    """Return the units of a setting that are on the device, first those that have no other name.

    What stands beside one name of a unit counts for all of them: taking it away there loosens nothing.
    """
    units = setting.params.get("units", ())
    there, seconds = device.entries(UNITS), second_names(device)
    found = [str(unit) for unit in units if unit in there] if isinstance(units, tuple) else []
    return sorted(found, key=lambda unit: len(called(unit, seconds)) > 1)


def program(device: SimulatedSystem, units: list[str]) -> str:
    """Return the program that the first service among units starts."""
    for unit in units:
        for line in device.read(f"{UNITS}/{unit}").decode().splitlines():
            if line.startswith("ExecStart="):
                return line.partition("=")[2].split()[0]
    return ""


def forms(device: SimulatedSystem, setting: Setting, option: Option) -> Words:
    """Return what our own steps would write for an option, in the spellings that a mutant may ask for."""
    own, content = written(device, setting, option)
    lines = assigning(content)
    strict = assigning(written(device, setting, setting.options[0])[1])
    pairs = [line.split(None, 1) for line in lines]
    units = installed(device, setting)
    return {
        "strict": "".join(f"{line}\n" for line in strict),
        "lines": "".join(f"{line}\n" for line in lines),
        "content": content,
        "comments": "".join(f"# {line}\n" for line in lines),
        "capitals": "".join(f'\t"{key.upper()}" = "{rest[0] if rest else ""}"\n' for key, *rest in pairs),
        "dotted": "".join(f"{line.replace('/', '.')}\n" for line in lines),
        "options": " ".join(f"-o{key}={rest[0] if rest else ''}" for key, *rest in pairs),
        "own": own,
        "unit": units[0] if units else "",
        "type": units[0].rpartition(".")[2] if units else "",
        "program": program(device, units),
        "user": "root" if setting.id == "ssh.root" else "pi",
    }


def filled(text: str, words: Words) -> str:
    """Put the words of an option into a text."""
    for name, word in words.items():
        text = text.replace("{" + name + "}", word)
    return text


def mode_of(path: str) -> int:
    """Return the rights that a file has to have for its reader to take it."""
    if "sudoers" in path:
        return 0o440
    return 0o600 if "system-connections" in path else 0o644


def edit(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Write a new file over the old one."""
    path = filled(act["edit"], words)
    device.edit(path, filled(act["text"], words).encode(), mode=mode_of(path), in_place=path.startswith("/boot/"))


def append(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Add lines to a file."""
    path = filled(act["append"], words)
    device.edit(path, device.read(path) + filled(act["text"], words).encode(), in_place=path.startswith("/boot/"))


def replace(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Put another text in the place of one that is there."""
    path, old = filled(act["replace"], words), act["old"].encode()
    content = device.read(path)
    assert old in content, (path, old, content)
    device.edit(path, content.replace(old, filled(act["text"], words).encode()), in_place=path.startswith("/boot/"))


def rights(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Change mode and owner."""
    device.hand.rights(act["rights"], int(act["mode"], 8), act.get("uid", 0), act.get("gid", 0))


def run(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Run a program, which has to succeed."""
    argv = [piece for word in act["run"] for piece in shlex.split(filled(word, words))]
    assert device.run(tuple(argv), filled(act.get("stdin", ""), words).encode()).code == 0, argv


def spawn(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Start a program by hand: it may wait on a port, hold a file open, belong to a control group."""
    argv = tuple(filled(act["spawn"], words).split())
    process = device.start(argv, None, uid=act.get("uid", 0))
    base = f"/proc/{process.pid}"
    device.hand.link(f"{base}/exe", argv[0])
    if "listen" in act:
        table, port, *address = act["listen"].split()
        listen(device, process, table, int(port), *(address or [EVERYWHERE * (4 if table.endswith("6") else 1)]))
    if "hold" in act:
        device.hand.link(f"{base}/fd/9", act["hold"])
    if "group" in act:
        device.hand.produced(f"{base}/cgroup", f"0::{act['group']}\n".encode)
    device.tick(120)


def show(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Let a file of the kernel say something."""
    text: str = act["text"]
    device.hand.produced(act["show"], text.encode)


HANDS: dict[str, Callable[[SimulatedSystem, Act, Words], None]] = {
    "edit": edit,
    "append": append,
    "replace": replace,
    "rights": rights,
    "run": run,
    "spawn": spawn,
    "show": show,
    "link": lambda device, act, words: device.hand.link(filled(act["link"], words), filled(act["to"], words)),
    "discard": lambda device, act, words: device.hand.discard(filled(act["discard"], words)),
    "reload": lambda device, act, words: device.reload(act["reload"], "/run/sshd.pid"),
    "tick": lambda device, act, words: device.tick(act["tick"]),
    "reboot": lambda device, act, words: device.reboot(),
}


def perform(device: SimulatedSystem, act: Act, words: Words) -> None:
    """Do one act as somebody's hand."""
    next(hand for name, hand in HANDS.items() if name in act)(device, act, words)


class Blind:
    """A device as a probe sees it that overlooks some places, and believes what some programs said before."""

    def __init__(self, device: SimulatedSystem, hides: Sequence[str], replays: Sequence[str]) -> None:
        self._device = device
        self._hides = tuple(hides)
        self._replays = tuple(replays)
        self._said: dict[tuple[tuple[str, ...], bytes], Outcome] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def hidden(self, path: str) -> bool:
        """Say whether the probe overlooks a path."""
        return any(fnmatchcase(path, pattern) for pattern in self._hides)

    def seen(self, path: str) -> str:
        """Return a path, or say that it is not there."""
        if self.hidden(path):
            raise Missing(f"{path} is not there")
        return path

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read what is not hidden."""
        return self._device.read(self.seen(path), limit)

    def entries(self, path: str) -> tuple[str, ...]:
        """List what is not hidden."""
        return tuple(name for name in self._device.entries(self.seen(path)) if not self.hidden(f"{path}/{name}"))

    def stat(self, path: str) -> Stat:
        """Look at what is not hidden."""
        return self._device.stat(self.seen(path))

    def target(self, path: str) -> str:
        """Follow what is not hidden."""
        return self._device.target(self.seen(path))

    def targets(self, path: str) -> dict[str, str]:
        """Follow what is not hidden."""
        return {name: to for name, to in self._device.targets(self.seen(path)).items() if not self.hidden(to)}

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Run a program, or say again what it said the first time."""
        if argv[0] not in self._replays:
            return self._device.run(argv, stdin, seconds)
        if (argv, stdin) not in self._said:
            self._said[argv, stdin] = self._device.run(argv, stdin, seconds)
        return self._said[argv, stdin]

    def door(self) -> System:
        """Return itself as what a probe looks through."""
        return cast(System, self)
