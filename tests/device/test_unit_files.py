"""Files of systemd's units by the hundred: what the real systemd would start at boot, our look at the same files names.

`systemd --test` reads the whole tree as the first process does and says which jobs a start comes to. Each unit has a
condition of ours that never holds, another drop-in, a second name, and something that pulls it in, each put down in one
of the many ways that there are.
"""

import json
from dataclasses import dataclass, field

import pytest

from tests.device.differing import Draw, lay
from tests.device.lab import Device

SYSTEM = "systemd/system"
PLACES = ("/etc", "/run", "/usr/local/lib", "/usr/lib")
NEVER = "[Unit]\nConditionPathExists=!/\n"
RESET = "ConditionPathExists="
UNITS = 30
FRAGMENTS = ("whole",) * 6 + ("empty", "null", "nowhere", "linked")
NAMES = ("zzz.conf", "zzz.conf", "zz-privet.conf", "00.conf", ".zzz.conf", "zzz.conf~", "zzz.txt", "zzz.conf.dpkg-old")
TEXTS = (
    f"[Unit]\n{RESET}\n",
    f"[Unit]\n# a note \\\n{RESET}\n",
    f"[Unit]\n; a note \\\n{RESET}\n",
    f"\ufeff[Unit]\n{RESET}\n",
    f"[Unit]\r\n{RESET}\r\n",
    f"[Unit]\r{RESET}\r",
    f"[Unit]\nDescription=a \\\n{RESET}\n",
    f"[Unit]\nDescription=a \\\\\n{RESET}\n",
    f"[Unit]\nDescription=a \\ \n{RESET}\n",
    f"[Unit]\nDescription=a\\\r\n{RESET}\n",
    f"[Unit]\nDescription=a\f{RESET}\n",
    f"[Unit]\nDescription=a\u2028{RESET}\n",
    f"[Unit]\n{RESET}\\\n\n",
    f"[Unit]\n{RESET}\\\n# a note\n!/nowhere\n",
    f"[Unit]\n{RESET}\nConditionPathExists=\\\n# a note\n!/\n",
    f"[Unit]\n{RESET}\nConditionPathExists=\\\n!/\n",
    "[Unit]\nConditionPathExists\\\n=\n",
    "[Unit]\nConditionHost=\n",
    "[Unit]\nConditionACPower=\n",
    "[Unit]\nconditionpathexists=\n",
    "[Unit]\nConditionPathExists=|/\n",
    "[Unit]\nConditionPathExists=/etc\n",
    "[Unit]\nAssertPathExists=\n",
    f"[Service]\n{RESET}\n",
    f"[Unit ]\n{RESET}\n",
    f"[unit]\n{RESET}\n",
    f" [Unit] \n{RESET}\n",
    f"[[Unit]]\n{RESET}\n",
    f"[Unit\n{RESET}\n",
    f"[Unit]\n[Service\n{RESET}\n",
    f"{RESET}\n",
    f"[Unit]\n{RESET}\n{NEVER}",
    f"[Unit]\nnonsense\n{RESET}\n",
    f"[Unit]\nDescription=a\n\n\n\t{RESET}",
    "[Unit]\n\n",
    "",
    ">/dev/null",
    ">/nowhere",
)
PULLS = ("wants",) * 4 + (
    "", "requires", "upholds", "never", "target", "target_requires", "late_target", "socket", "socket_named",
    "timer_named", "timer", "path_named", "alias", "other", "other_dead", "bus", "slash", "instance",
)  # fmt: skip
# What starts it not now, but when a person or a program asks, or with a newer systemd: we say that it may run.
LATER = ("never", "bus", "upholds")
FOR_PERSONS = (
    ("/etc/systemd/system.control", "/home/pi/.config/systemd/user.control"),
    ("/etc/systemd/system.attached", "/home/pi/.config/systemd/user"),
    ("/usr/local/lib/systemd/system", "/home/pi/.local/share/systemd/user"),
    ("systemd/system", "systemd/user"),
    ("multi-user.target", "default.target"),
    ("ListenStream=/run", "ListenStream=%t"),
)
LOOK = """
import json, sys
from agent.providers.linux import systemd_unit
from agent.core.errors import Missing
from agent.system.real import RealSystem

class NotBooted(RealSystem):
    def stat(self, path):
        if path == "/run/systemd/system":
            raise Missing("no systemd runs here")
        return super().stat(path)

told = {}
for unit in json.loads(sys.argv[1]):
    params = {"units": (unit,), "safe": "off"}
    reading = systemd_unit.probe(NotBooted(), params)
    wished = systemd_unit.probe(NotBooted(), {**params, "safe": "on"})
    told[unit] = ["off" if reading.absent else reading.kept, "off" if wished.absent else wished.kept, reading.cause]
print(json.dumps(told))
"""

LOOK_PERSON = """
import json, sys
from agent.providers.linux import user_unit
from agent.system.real import RealSystem
told = {}
for unit in json.loads(sys.argv[1]):
    reading = user_unit.probe(RealSystem(), {"rows": ("x " + unit,)})
    told[unit] = ["on" if reading.kept else "off", reading.cause]
print(json.dumps(told))
"""


@dataclass
class Case:
    """One unit, its files, and what was drawn for it."""

    unit: str
    files: dict[str, str] = field(default_factory=dict)
    drawn: list[str] = field(default_factory=list)

    def put(self, path: str, text: str) -> None:
        """Add a file, or a link where the text begins with `>`; the first one at a path stays."""
        self.files.setdefault(path, text)

    def shown(self, told: dict[str, list[str]]) -> str:
        """Return what was drawn, and what we said."""
        return "\n".join([self.unit, *self.drawn, *self.files, str(told[self.unit])])


def whole(number: int, more: str = "") -> str:
    """Return a unit's own file."""
    return f"[Service]\nExecStart=/opt/p{number}\n{more}"


def of_its_own(draw: Draw, case: Case, number: int) -> str:
    """Lay the unit's file into one place or two; return the path of the first."""
    case.put(f"/srv/{number}.service", whole(number))
    paths = [f"{place}/{SYSTEM}/{case.unit}" for place in (draw.one(PLACES), *draw.some(PLACES, 1))]
    for path in paths:
        kind = draw.one(FRAGMENTS)
        case.drawn.append(f"{path} {kind}")
        texts = {"whole": whole(number), "empty": "", "null": ">/dev/null", "nowhere": ">/srv/nowhere"}
        case.put(path, texts.get(kind, f">/srv/{number}.service"))
    return paths[0]


def pulled(draw: Draw, case: Case, number: int, path: str) -> None:
    """Make something start the unit, or nothing."""
    unit, how, place, other = case.unit, draw.one(PULLS), f"{draw.one(PLACES)}/{SYSTEM}", f"other{number}"
    case.drawn.append(f"{place} {how}")
    words = {"wants": "multi-user.target.wants", "requires": f"t{number}.target.requires",
             "never": "never.target.wants", "upholds": "multi-user.target.upholds"}  # fmt: skip
    if how in words:
        case.put(f"{place}/{words[how]}/{unit}", f">{path}")
        if how == "requires":  # a target of its own: what cannot start would take the whole start with it
            case.put(f"/usr/lib/{SYSTEM}/t{number}.target", "[Unit]\n")
            case.put(f"/etc/{SYSTEM}/multi-user.target.wants/t{number}.target", f">/usr/lib/{SYSTEM}/t{number}.target")
    elif how == "slash":
        case.put(f"{place}/multi-user.target.wants/{unit}", ">/dev/null")
    elif how.startswith("target") or how == "late_target":
        key = "Requires" if how.endswith("requires") else "Wants"
        said = f"[Unit]\n{key}=\\\n# x\n  basic.target {unit}\n" if how == "late_target" else f"[Unit]\n{key}={unit}\n"
        case.put(f"{place}/t{number}.target.d/{number}.conf", said)
        case.put(f"/usr/lib/{SYSTEM}/t{number}.target", "[Unit]\n")
        case.put(f"/etc/{SYSTEM}/multi-user.target.wants/t{number}.target", f">/usr/lib/{SYSTEM}/t{number}.target")
    elif how.startswith(("socket", "timer", "path")):
        kind = how.partition("_")[0]
        name = f"{other if how.endswith('named') else unit.removesuffix('.service')}.{kind}"
        key = {"socket": "Service", "timer": "Unit", "path": "Unit"}[kind]
        body = {"socket": f"[Socket]\nListenStream=/run/{number}.socket\n", "timer": "[Timer]\nOnBootSec=60\n",
                "path": "[Path]\nPathExists=/\n"}[kind]  # fmt: skip
        case.put(f"{place}/{name}", body + (f"{key}={unit}\n" if how.endswith("named") else ""))
        case.put(f"/etc/{SYSTEM}/multi-user.target.wants/{name}", f">{place}/{name}")
    elif how == "alias":
        case.put(f"/etc/{SYSTEM}/a{number}.service", f">{path}")
        case.put(f"/etc/{SYSTEM}/multi-user.target.wants/a{number}.service", f">{path}")
    elif how.startswith("other"):
        case.put(f"{place}/{other}.service", f"[Unit]\nWants={unit}\n[Service]\nExecStart=/bin/true\n")
        if how == "other":  # else nothing starts it
            case.put(f"/etc/{SYSTEM}/multi-user.target.wants/{other}.service", f">{place}/{other}.service")
    elif how == "bus":
        case.put(f"/etc/{SYSTEM}/dbus-org.u{number}.service", f">{path}")
    elif how == "instance":
        said = f"[Unit]\nWants=u{number}-of-%i.service\n[Service]\nExecStart=/bin/true\n"
        case.put(f"{place}/i{number}@.service", said)
        case.put(f"/etc/{SYSTEM}/multi-user.target.wants/i{number}@many.service", f">{place}/i{number}@.service")


def made(draw: Draw, number: int) -> Case:
    """Draw one unit."""
    case = Case(draw.one((f"u{number}.service", f"u{number}-of-many.service")))
    path = of_its_own(draw, case, number)
    if draw.maybe(6):
        case.put(f"/etc/{SYSTEM}/{case.unit}.d/zz-privet.conf", NEVER)
    alias = draw.maybe(3)
    if alias:
        case.put(f"/etc/{SYSTEM}/a{number}.service", f">{path}")
    folders = (case.unit, f"a{number}.service", f"u{number}-.service", f"u{number}-of-.service")
    controlled = (*PLACES, "/etc/systemd/system.control", "/etc/systemd/system.attached")
    for _ in range(draw.below(3)):
        place, folder, name = draw.one(controlled), draw.one(folders), draw.one(NAMES)
        text = draw.one(TEXTS)
        full = place if "/systemd/" in place else f"{place}/{SYSTEM}"
        case.drawn.append(f"{full}/{folder}.d/{name} {text!r}")
        case.put(f"{full}/{folder}.d/{name}", text)
    pulled(draw, case, number, path)
    return case


def started(device: Device, *, person: bool = False) -> set[str]:
    """Return the units, by every name of theirs, that the real systemd starts at boot and that no condition stops."""
    number, home, whose, target = "65534", "/nonexistent", "--system", "multi-user.target"
    if person:
        number, home, whose, target = "1000", "/home/pi", "--user", "default.target"
    ready = "mount -t cgroup2 cgroup2 /sys/fs/cgroup; mkdir -p /run/systemd /run/u"
    device.must(["sh", "-c", f"{ready}; chown {number} /run/systemd /run/u"])
    argv = ["env", f"HOME={home}", "XDG_RUNTIME_DIR=/run/u", "setpriv", f"--reuid={number}", f"--regid={number}"]
    argv += ["--clear-groups", "/usr/lib/systemd/systemd", "--test", whose, f"--unit={target}"]
    text = device.must(argv)
    acts = [line.split() for line in text.splitlines() if line.lstrip().startswith("Action: ")]
    jobs = {words[1] for words in acts if words[-1] == "start"}
    found: set[str] = set()
    for block in text.split("-> Unit ")[1:]:
        head, _, rest = block.partition("\n-> ")[0].partition("\n")
        rows = [line.strip().partition(": ")[::2] for line in rest.splitlines()]
        pullers = {head.rstrip(":")} | {value.split()[0] for key, value in rows if key == "TriggeredBy"}
        names = {head.rstrip(":")} | {value for key, value in rows if key == "Alias"}
        stopped = ("ConditionPathExists", "!/ untested") in rows
        if pullers & jobs and ("Unit Load State", "loaded") in rows and not stopped:
            found |= names
    return found


def of_a_person(case: Case) -> Case:
    """Return the same unit as one that a person's own systemd starts."""

    def theirs(text: str) -> str:
        for old, new in FOR_PERSONS:
            text = text.replace(old, new)
        return text

    return Case(case.unit, {theirs(path): theirs(text) for path, text in case.files.items()}, case.drawn)


def naive(case: Case) -> bool:
    """Say what one would say who looks for a link in /etc, and for our condition in the folder of the unit's name."""
    linked = any(path.startswith("/etc/") and ".wants/" in path and path.endswith(case.unit) for path in case.files)
    own = [text for path, text in case.files.items() if f"{case.unit}.d/" in path]
    return linked and "ConditionPathExists=!/" not in "\n".join(own)


def compared(cases: list[Case], starts: set[str], told: dict[str, list[str]]) -> None:
    """Hold what we said of each unit against what starts: first missed ones, then false warnings."""
    missed = [case for case in cases if case.unit in starts and told[case.unit][0] != "on"]
    assert not missed, missed[0].shown(told)
    wronged = [case for case in cases if case.unit not in starts and told[case.unit][0] == "on"]
    wronged = [one for one in wronged if one.drawn[-1].split()[1] not in LATER]
    assert not wronged, wronged[0].shown(told)
    assert sum(case.unit in starts for case in cases) > 2
    assert sum(case.unit not in starts for case in cases) > 5


@pytest.mark.parametrize("everywhere", [False, True], ids=["each its own", "one for all services"])
def test_what_systemd_starts_is_named(device: Device, everywhere: bool) -> None:
    """None that the real systemd starts at boot passes for off, and none that it does not start passes for on."""
    draw = Draw(f"unit files {everywhere}")
    cases = [made(draw, number) for number in range(UNITS)]
    if everywhere:
        cases[0].put(f"{draw.one(PLACES)}/{SYSTEM}/service.d/{draw.one(('zzz.conf', '00.conf'))}", draw.one(TEXTS[:19]))
    lay(device, {path: text for case in cases for path, text in case.files.items()})
    starts = started(device)
    told = device.ask(LOOK, json.dumps([case.unit for case in cases]))
    compared(cases, starts, told)
    promised = [case for case in cases if case.unit not in starts and told[case.unit][1] == "on"]
    assert not promised, promised[0].shown(told)
    assert [case for case in cases if case.unit in starts and not naive(case)], "the naive reader missed nothing"


def test_what_a_persons_systemd_starts_is_named(device: Device) -> None:
    """None that the systemd of a person starts at sign-in passes for none, wherever the home has its say."""
    draw = Draw("unit files of a person")
    cases = [of_a_person(made(draw, number)) for number in range(UNITS)]
    lay(device, {path: text for case in cases for path, text in case.files.items()})
    device.must(["chown", "-R", "pi", "/home/pi"])
    device.must(["sed", "-i", "/^root:/d", "/etc/passwd"])  # nobody but pi, as below
    starts = started(device, person=True)
    compared(cases, starts, device.ask(LOOK_PERSON, json.dumps([case.unit for case in cases])))
