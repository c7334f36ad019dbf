"""Rules for udev by the hundred: whom the real one opens a node to, our look at the same files says.

The node is one of our own in a /dev of its own, for a device that every machine has; nothing of this machine changes.
"""

import subprocess
from pathlib import Path

from agent.core.plan import Write
from agent.core.record import Params
from agent.providers.linux import device_access
from agent.system.simulated import SimulatedSystem
from tests.device.differing import Draw

PARAMS: Params = {"name": "full", "subsystem": "mem", "nodes": "/dev/full", "group": "root"}
# As Debian gives cameras to a group.
USUAL = 'SUBSYSTEM=="mem", GROUP="users", MODE="0660"\n'
FOLDERS = {"etc": "/etc", "run": "/run", "local": "/usr/local/lib", "lib": "/usr/lib"}
NAMES = (
    "10-a.rules", "60-b.rules", "71-c.rules", "72-privet.rules", "72-privet-full.rules", "73-d.rules", "99-e.rules",
    ".hidden.rules", "10-a.rules~", "10-a.conf", "A.rules", "z.rules", "100-f.rules",
)  # fmt: skip
ABOUT = (
    'KERNEL=="full"', 'SUBSYSTEM=="mem"', 'SUBSYSTEM=="mem", KERNEL=="full"', 'KERNEL=="fu*"', 'KERNEL=="f?ll"',
    'KERNEL=="fu[a-z]l"', 'KERNEL=="zero|full"', 'KERNEL=="zero"', 'KERNEL!="zero"', 'KERNEL!="full"',
    'SUBSYSTEM=="video4linux"', 'SUBSYSTEM!="mem"', 'ACTION=="add|change"', 'ACTION!="remove"',
    'ENV{DEVNAME}=="/dev/full"',
    'KERNEL==e"full"', 'SUBSYSTEM=="m*", KERNEL=="full"', 'KERNEL=="full", ENV{DEVNAME}=="/dev/full"', 'KERNEL=="Full"',
    'ATTR{dev}=="1:7"', 'ATTRS{dev}=="1:[7]"', 'ATTR{dev}=="1:5"', 'ATTRS{idVendor}=="046d"', 'SUBSYSTEMS=="mem"',
    'KERNELS=="full"', 'DRIVERS=="uvcvideo"', 'ATTR{dev}=="1:7", KERNEL=="zero"', 'ATTR{dev}=="1:7", ATTR{dev}=="1:5"',
    'KERNEL=="*"', 'SUBSYSTEM=="mem|input"', 'KERNEL=="full|"', 'KERNEL==""', 'KERNEL=="fulls"', 'KERNEL=="ful"',
)  # fmt: skip
DOES = (
    'MODE:="0666"', 'MODE:="0666"', 'MODE="0666"', 'MODE:="666"', 'MODE:="0660"', 'MODE:="0600"', 'MODE:="0000"',
    'MODE:="0006"', 'MODE+="0666"', 'MODE:="rw"', 'MODE:="00666"', 'MODE:=""', 'GROUP:="users", MODE:="0660"',
    'OWNER:="nobody", MODE:="0600"', 'OWNER:="nobody"', 'OWNER="nobody", MODE:="0600"', 'GROUP:="users"',
    'OWNER:="65534", MODE:="0400"', 'MODE := "0666"', 'MODE:= "0666"', 'MODE:="0666" ', 'mode:="0666"', "MODE:=0666",
    'MODE=="0666"', 'MODE:="0666", FOO:="x"', 'MODE:="0666", ENV{X}="y"', 'ENV{X}="y" MODE:="0666"', 'MODE:="0666"x',
    'MODE:=e"0666"', 'MODE:=e"\\x30666"', 'OPTIONS+="nowatch", MODE:="0666"', 'GOTO="end"', 'LABEL="end"',
    'MODE:="0002"',
    'MODE:="0666", OPTIONS:="string_escape=none"', 'MODE:="0640", MODE:="0666"', 'OWNER:="nosuch", MODE:="0600"',
    'MODE:="0888"', 'TAG-="x", MODE:="0622"', 'MODE:="0020"', 'MODE:="0060"', 'MODE:="%k"', 'MODE:="$env{M}"',
    'ENV{M}="0666"', 'SYMLINK+="x", MODE:="0666"',
)  # fmt: skip
FORMS = ("{about}, {does}",) * 12 + (
    "{about} {does}", "{about},{does},", "  {about} , {does}", "{about}, \\\n  {does}", "# {about}, {does}",
    "{about}, \\\n# a note\n{does}", "# a note \\\n{about}, {does}", "{about}, {does} # a note", "{does}",
    "{does}, {about}",
    'SUBSYSTEM!="mem", GOTO="end"\n{about}, {does}\nLABEL="end"',
    'SUBSYSTEM!="usb", GOTO="end"\n{about}, {does}\nLABEL="end"',
    '{about}, GOTO="end"\n{does}\nLABEL="end"', 'GOTO="end"\n{about}, {does}\nLABEL="end"', "{about}, {does}\r",
    "\ufeff{about}, {does}", "\t{about},\t{does}", "{about}, {does}\\", "{about}, {does} \\\n\n",
    'GOTO="no"\n{about}, {does}',
    "{about}\f, {does}", "{about}, {does}, {does}", ";{about}, {does}", "{about}\u2028{does}", "x\u2028{about}, {does}",
)  # fmt: skip
LADDER = device_access.LADDER
ROUNDS = 60
INSIDE = """
mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 || exit 1
mkdir -p /run/udev && mount -t tmpfs none /run/udev && mount -t tmpfs none /usr/local/lib || exit 1
mkdir -p /run/udev/rules.d /usr/local/lib/udev/rules.d "$1/live/etc" "$1/live/run" "$1/live/local" "$1/live/lib"
mount --bind "$1/live/etc" /etc/udev/rules.d && mount --bind "$1/live/run" /run/udev/rules.d || exit 1
mount --bind "$1/live/lib" /usr/lib/udev/rules.d && mount --bind "$1/live/local" /usr/local/lib/udev/rules.d || exit 1
for number in $(seq "$2"); do
    find "$1/live" -mindepth 2 -delete
    cp -a "$1/$number/." "$1/live/"
    rm -f /dev/full && mknod -m 600 /dev/full c 1 7 || exit 1
    udevadm test --action=change /sys/class/mem/full >"$1/$number.said" 2>&1
    stat -c %a:%u:%g /dev/full
done
"""
Files = dict[tuple[str, str], str]
"""Folder (a word) and name, and the text; `>` begins a link."""


def ours(option: str) -> Files:
    """Return our rule as a file."""
    made = [step for step in device_access.steps({**PARAMS, "live": "no"}, option) if isinstance(step, Write)]
    return {("etc", step.path.rpartition("/")[2]): step.content.decode() for step in made}


def files(draw: Draw) -> Files:
    """Draw the files of one round, beside ours and Debian's."""
    made: Files = {("lib", "50-udev-default.rules"): USUAL}
    made |= ours(draw.one(("closed",) * 6 + ("everyone", "group")))
    for _ in range(1 + draw.below(4)):
        key = (draw.one(tuple(FOLDERS)), draw.one(NAMES))
        lines = [draw.one(FORMS).format(about=draw.one(ABOUT), does=draw.one(DOES)) for _ in range(1 + draw.below(3))]
        if key not in ours("closed"):
            made[key] = draw.one((("\n".join(lines) + draw.one(("\n", ""))),) * 9 + (">/dev/null", ">/nowhere", ""))
    return made


def opened(folder: Path, rounds: list[Files]) -> list[str]:
    """Let udev judge the node by each round's files; say whom it is open to."""
    for number, made in enumerate(rounds, 1):
        for place in FOLDERS:
            (folder / str(number) / place).mkdir(parents=True)
        for (place, name), text in made.items():
            path = folder / str(number) / place / name
            if text.startswith(">"):
                path.symlink_to(text[1:])
            else:
                path.write_bytes(text.encode())
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", INSIDE, "sh", str(folder), str(len(rounds))]
    done = subprocess.run(argv, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = []
    for line in done.stdout.decode().split():
        mode, owner, _ = line.split(":")
        bits = int(mode, 8)
        theirs = int(owner) and bits & 0o600
        found.append("everyone" if bits & 0o6 else "group" if bits & 0o60 or theirs else "closed")
    assert len(found) == len(rounds)
    return found


def told(made: Files) -> str:
    """Return what we say of the same files."""
    device = SimulatedSystem()
    device.hand.discard("/usr/lib/udev")
    device.hand.special("/dev/full", "device")
    device.hand.link("/sys/class/mem/full", "../../devices/virtual/mem/full")
    device.edit("/sys/devices/virtual/mem/full/dev", b"1:7\n")
    device.hand.link("/sys/devices/virtual/mem/full/subsystem", "../../../../class/mem")
    for (place, name), text in made.items():
        path = f"{FOLDERS[place]}/udev/rules.d/{name}"
        if text.startswith(">"):
            device.hand.link(path, text[1:])
        else:
            device.edit(path, text.encode())
    return str(device_access.kept_value(device, PARAMS))


def shown(made: Files) -> str:
    """Return the files of others as lines, in the order of their names."""
    rows = sorted(made.items(), key=lambda one: one[0][1])
    return "\n".join(f"{place} {name}: {text!r}" for (place, name), text in rows if not name.startswith("50-"))


def naive(made: Files) -> str:
    """Say what one would say who looks for our rule, and for nothing else."""
    return "closed" if ours("closed").items() <= made.items() else "everyone"


def test_whom_udev_opens_it_to_we_say(tmp_path: Path) -> None:
    """None that udev opens is opened wider than we say; we say too wide where a rule is broken or jumped over."""
    draw, counts, fooled, same = Draw("udev"), dict.fromkeys(device_access.LADDER, 0), 0, 0
    rounds = [files(draw) for _ in range(ROUNDS)]
    for number, (made, real) in enumerate(zip(rounds, opened(tmp_path, rounds), strict=True), 1):
        said = told(made)
        noted = (tmp_path / f"{number}.said").read_text(errors="replace").splitlines()
        why = "\n".join(line for line in noted if "rules" in line and "50-" not in line)
        assert device_access.widest(said, real) == said, f"it is {real}, we say {said}\n{shown(made)}\n{why}"
        counts[real] += 1
        same += said == real
        fooled += LADDER.index(naive(made)) < LADDER.index(real)
    assert all(counts.values()), counts
    assert same > ROUNDS // 2
    assert fooled, "the naive reader missed nothing"


FULL = 'KERNEL=="full", '
FIXED = {
    "another owner": (FULL + 'OWNER:="nobody", MODE:="0600"\n', "group"),
    "another owner, rights elsewhere": (FULL + 'OWNER:="nobody"\n' + FULL + 'MODE:="0400"\n', "group"),
    "a value that is put together": ('ENV{M}="0666"\n' + FULL + 'MODE:="$env{M}"\n', "everyone"),
    "a value in another spelling": (FULL + 'MODE:=e"\\x30666"\n', "everyone"),
    "a last word that says nothing": (FULL + 'MODE:=""\n', "everyone"),
    "a last word that is none": (FULL + 'MODE:="rw"\n', "everyone"),
    "an attribute": ('ATTR{dev}=="1:7", MODE:="0666"\n', "everyone"),
    "an attribute of a device or above": ('ATTRS{dev}=="1:*", MODE:="0666"\n', "everyone"),
    "the kind of a device or above": ('SUBSYSTEMS=="mem|usb", MODE:="0666"\n', "everyone"),
    "the name of a device or above": ('KERNELS=="f*", MODE:="0666"\n', "everyone"),
    "an attribute of another": ('ATTR{dev}=="1:5", MODE:="0666"\n', "closed"),
    "an attribute that is not there": ('ATTRS{idVendor}=="*", MODE:="0666"\n', "closed"),
    "a driver that is not there": ('DRIVERS=="uvcvideo", MODE:="0666"\n', "closed"),
    "jumped over by all others": (
        'SUBSYSTEM!="usb", GOTO="end"\nATTRS{dev}=="1:7", MODE:="0666"\nLABEL="end"\n',
        "closed",
    ),
    "jumped over by none": ('SUBSYSTEM!="mem", GOTO="end"\nMODE:="0666"\nLABEL="end"\n', "everyone"),
    "a jump that udev does not take": (
        'SUBSYSTEM!="usb", GOTO="end", FOO="x"\nMODE:="0666"\nLABEL="end"\n',
        "everyone",
    ),
    "a jump with a word too many": ('SUBSYSTEM!="usb", GOTO="end" x\nMODE:="0666"\nLABEL="end"\n', "everyone"),
    "a jump told otherwise": ('SUBSYSTEM!="usb", GOTO:="end"\nMODE:="0666"\nLABEL="end"\n', "everyone"),
    "two jumps": ('GOTO="no", GOTO="end"\nMODE:="0666"\nLABEL="end"\n', "everyone"),
    "no place to jump to": ('GOTO="end"\nMODE:="0666"\n', "everyone"),
    "a place further up": ('LABEL="end"\nGOTO="end"\nMODE:="0666"\n', "everyone"),
    "what stands at the place": ('GOTO="end"\nMODE:="0000"\nLABEL="end", MODE:="0666"\n', "everyone"),
    "no end of a line": (f'{FULL}\u2028MODE:="0000"\nx\u2028{FULL}MODE:="0666"\n', "closed"),
}


def test_what_the_drawn_ones_found(tmp_path: Path) -> None:
    """Each way in which we once said another thing than udev does; what is put together we take for open."""
    rounds: list[Files] = [{**ours("closed"), ("etc", "10-a.rules"): text} for text, _ in FIXED.values()]
    for (name, (_, wanted)), made, real in zip(FIXED.items(), rounds, opened(tmp_path, rounds), strict=True):
        assert real == wanted, name
        assert told(made) == wanted or name == "no end of a line", name


def test_all_but_one_is_not_none() -> None:
    """A rule for every camera but the first opens the second."""
    camera: Params = {"name": "camera", "subsystem": "video4linux", "nodes": "/dev/video*", "group": "video"}
    made = device_access.steps({**camera, "live": "no"}, "closed")[0]
    assert isinstance(made, Write)
    for pattern, wanted in (
        ("video0", "everyone"),
        ("video*", "closed"),
        ("*", "closed"),
        ("video0|card*", "everyone"),
    ):
        device = SimulatedSystem()
        device.edit(made.path, made.content)
        rule = f'SUBSYSTEM=="video4linux", KERNEL!="{pattern}", MODE:="0666"\n'
        device.edit("/etc/udev/rules.d/10-a.rules", rule.encode())
        assert device_access.kept_value(device, camera) == wanted, pattern
