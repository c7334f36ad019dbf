"""Files of systemd-coredump by the hundred: whether the real one keeps what a crash leaves, we read from them too.

It is started twice for each round, as the kernel and systemd do: for a process that is there, and at its own socket.
"""

import json

from tests.device import systemd_files, tree
from tests.device.differing import Draw
from tests.device.lab import Device

RECIPE = tree.RADIOS  # devices that have systemd-coredump

NAME = "coredump.conf"
WORDS = {"Storage": ("none", "none", "external", "journal", "None", "EXTERNAL", "", "off"), "Compress": ("yes", "no")}
FIRST = "[Coredump]\nStorage=none\n"
ROUNDS = 60
LOOK = (
    systemd_files.LAY
    + r"""
import json, os, shutil, socket, subprocess, sys
from agent import registry
from agent.providers.linux import conf_switch
from agent.system.real import RealSystem

PROGRAM, KEPT = "/usr/lib/systemd/systemd-coredump", "/var/lib/systemd/coredump"
PARAMS = registry.settings()["kernel.core_storage"].params
os.makedirs("/run/systemd", exist_ok=True)
door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door.bind("/run/systemd/coredump")
door.listen(9)
os.makedirs("/run/systemd/journal", exist_ok=True)
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/run/systemd/journal/socket")
log.settimeout(10)
os.chmod("/run/systemd/journal/socket", 0o666)
victim = subprocess.Popen(["sleep", "1000"])

def kept():
    shutil.rmtree(KEPT, ignore_errors=True)
    os.makedirs(KEPT)
    argv = [PROGRAM, str(victim.pid), "0", "0", "11", "1700000000", "18446744073709551615", "device"]
    first = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    first.stdin.write(b"\x7fELF" + b"a secret" * 99)
    first.stdin.close()
    door.settimeout(10)
    talk = door.accept()[0]
    script = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" 3<&{talk.fileno()}'
    second = subprocess.run(["sh", "-c", script, PROGRAM], pass_fds=(talk.fileno(),), stderr=subprocess.PIPE)
    talk.close()
    said = first.stderr.read() + second.stderr
    assert first.wait() == 0, said
    passed, fds, *_ = socket.recv_fds(log, 1 << 20, 4)
    for one in fds:  # what is long comes as a file
        with open(one, "rb") as file:
            file.seek(0)
            passed += file.read()
    return bool(os.listdir(KEPT)) or b"a secret" in passed, said.decode()

told = []
for files in json.loads(sys.stdin.read()):
    lay("coredump.conf", files)
    reading = conf_switch.probe(RealSystem(), PARAMS)
    told.append([*kept(), reading.kept, reading.cause])
victim.kill()
print(json.dumps(told))
"""
)


def looked(device: Device, rounds: list[dict[str, str]]) -> list[tuple[bool, bool | None, str]]:
    """Return of each round whether a core is kept, whether we say so, and all that is known of it."""
    device.must(["sh", "-ec", "mount -t cgroup2 cgroup2 /sys/fs/cgroup; systemd-machine-id-setup"])
    done = device.run(device.python("-c", LOOK), json.dumps(rounds).encode(), seconds=150)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = []
    for made, (real, said, told, cause) in zip(rounds, json.loads(done.stdout), strict=True):
        shown = f"kept: {real}, we say {told} {cause}\n{systemd_files.shown(made)}\n{said}"
        found.append((real, None if told is None else bool(told), shown))
    return found


def naive(made: dict[str, str]) -> bool:
    """Say what one would say who looks for the word in any file."""
    return not any("Storage=none" in text for text in made.values())


def test_what_we_read_is_what_is_kept(device: Device) -> None:
    """None that is kept passes for none, and none that is not for one."""
    draw = Draw("coredump")
    rounds = [systemd_files.files(draw, NAME, "Coredump", WORDS, FIRST) for _ in range(ROUNDS)]
    kept, fooled = 0, 0
    for made, (real, said, shown) in zip(rounds, looked(device, rounds), strict=True):
        unread = said is None and systemd_files.DOUBTFUL.intersection(made.values())
        assert unread or said == real, shown
        kept += real
        fooled += naive(made) != real
    assert ROUNDS // 10 < kept < ROUNDS
    assert fooled, "the naive reader was never wrong"


MAIN, LAST = "/etc/systemd/coredump.conf", "/etc/systemd/coredump.conf.d/zz-privet.conf"
FIXED = {
    "the main file": ({MAIN: FIRST}, False),
    "a word in capitals is none": ({MAIN: "[Coredump]\nStorage=external\nStorage=NONE\n"}, True),
    "no word": ({MAIN: FIRST + "Storage=EXTERNAL\nStorage=\n"}, False),
    "a broken heading ends all": ({MAIN: "[Coredump\n", LAST: FIRST}, True),
    "a value in two lines": ({MAIN: "[Coredump]\nX=\\\nStorage=none\n"}, True),
    "an empty file in front": ({LAST: FIRST, "/usr/lib/systemd/coredump.conf.d/zzz.conf": ">/dev/null"}, False),
}


def test_what_the_drawn_ones_found(device: Device) -> None:
    """Each way in which we once said another thing than systemd-coredump does."""
    rounds = [made for made, _ in FIXED.values()]
    for (name, (_, wanted)), (real, said, shown) in zip(FIXED.items(), looked(device, rounds), strict=True):
        assert (real, said) == (wanted, wanted), f"{name}: {shown}"
