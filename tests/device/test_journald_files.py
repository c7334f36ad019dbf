"""Files of systemd-journald by the hundred: what the real one does with them, we read from the same files.

Where it keeps its log, what it passes on and whether an ordinary message stays is seen from the running daemon; spans,
sizes and levels are asked of the library that it reads its files with. Each round has files of its own.
"""

import json

from agent.core.order import ANY
from tests.device import systemd_files
from tests.device.differing import Draw
from tests.device.lab import Device

WORDS = {
    "Storage": ("volatile", "persistent", "auto", "none", "Volatile", "NONE", "persist", "", "persistent"),
    "ForwardToSyslog": ("no", "No", "0", "off", "f", "FALSE", "yes", "y", "true", "nope", "", "1", "on"),
    "ForwardToKMsg": ("no", "yes", "ON", "nope", ""),
    "ForwardToConsole": ("no", "yes", "T", "enable", ""),
    "MaxRetentionSec": (
        "1day", "1month", "2weeks", "1d 12h", "1.5d", "1.5 days", "90", "36h", "infinity", "0", "", "forever", "1M",
        "1m", "1 D", "1Day", "-1", "0.1s", "1y1d", "200000000000d", "1day,", "1e3", ".5d", "5.d", "+3d", "0x10", "010d",
        "1d 1d", "1 month", "1us", "1 mon", "1usec", "0s", "0d", "infinity d", "1d\u00a0", "9us 9999us",
    ),
    "MaxFileSec": ("1day", "1month", "0", "", "infinity", "1s", "12h", "1.25h", "never", "1min30"),
    "MaxLevelStore": ("info", "debug", "notice", "warning", "emerg", "7", "6", "5", "0", "8", "Info", "", "none"),
    "RuntimeMaxUse": ("1M", "100M", "1.5G", "1 M", "10m", "", "4194304", "4194303", "1G2M", "0", "99%", "1K", "4096B"),
    "SystemMaxUse": ("1M", "100M", "0.5G", "1T", "2K 5M", "", "4095K", "4M", "infinity", "1E", "-1"),
}  # fmt: skip
ROUNDS = 60
QUIET = "[Journal]\nForwardToSyslog=no\n"
MAIN, LAST = "/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d/zz-privet-storage.conf"
LOOK = (
    systemd_files.LAY
    + r"""
import ctypes, glob, json, os, shutil, socket, subprocess, sys, time
from agent.providers.linux import journald
from agent.system.real import RealSystem

TALK = "/run/systemd/journal"
shared = ctypes.CDLL(glob.glob("/usr/lib/*/systemd/libsystemd-shared-252.so")[0])
class Item(ctypes.Structure):
    _fields_ = [("section", ctypes.c_char_p), ("key", ctypes.c_char_p), ("parse", ctypes.c_void_p),
                ("kind", ctypes.c_int), ("place", ctypes.c_void_p)]
KINDS = {"MaxRetentionSec": "sec", "MaxFileSec": "sec", "ForwardToKMsg": "bool", "ForwardToConsole": "bool",
         "RuntimeMaxUse": "iec_uint64", "SystemMaxUse": "iec_uint64", "MaxLevelStore": "log_level"}
USUAL = {"MaxFileSec": 2629800 * 10**6, "RuntimeMaxUse": 2**64 - 1, "SystemMaxUse": 2**64 - 1, "MaxLevelStore": 7}

def parsed():
    places = {key: ctypes.c_uint64(USUAL.get(key, 0)) for key in KINDS}
    rows = [Item(b"Journal", key.encode(), ctypes.cast(getattr(shared, "config_parse_" + kind), ctypes.c_void_p), 0,
                 ctypes.cast(ctypes.byref(places[key]), ctypes.c_void_p)) for key, kind in KINDS.items()]
    table = (Item * (len(rows) + 1))(*rows)
    folders = b"".join(f"{one}/systemd/journald.conf.d".encode() + b"\0" for one in FOLDERS) + b"\0"
    shared.config_parse_many_nulstr(b"/etc/systemd/journald.conf", folders, b"Journal\0\0",
                                    shared.config_item_table_lookup, table, 1, None, None)
    return {key: place.value & (0xff if kind == "bool" else 0xffffffff if kind == "log_level" else 2**64 - 1)
            for (key, kind), place in zip(KINDS.items(), places.values())}

def obeyed(inbox, card):
    for path in ("/run/log/journal", "/var/log/journal"):
        shutil.rmtree(path, ignore_errors=True)
    if card:
        os.makedirs("/var/log/journal")
    daemon = subprocess.Popen(["/usr/lib/systemd/systemd-journald"], stderr=subprocess.DEVNULL)
    talk = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    while True:
        try:
            talk.connect(TALK + "/dev-log")
            break
        except OSError:
            assert daemon.poll() is None, "journald does not run"
            time.sleep(0.002)
    talk.send(b"<14>me: an ordinary message")
    talk.close()
    ends = time.monotonic() + 20  # it may not be asked yet, and would be ended before it has read the message
    while subprocess.run(["journalctl", "--sync"], stderr=subprocess.DEVNULL).returncode:
        assert time.monotonic() < ends, "journald is not to be asked"
        time.sleep(0.005)
    daemon.terminate()
    daemon.wait()
    sent = False
    try:
        while True:
            sent = b"an ordinary" in inbox.recv(9999) or sent
    except BlockingIOError:
        pass
    for name in ("socket", "dev-log", "stdout", "io.systemd.journal"):
        if os.path.lexists(f"{TALK}/{name}"):
            os.unlink(f"{TALK}/{name}")
    files = [file for top in ("/run/log/journal", "/var/log/journal") for file in glob.glob(top + "/*/*.journal")]
    stays = any(b"an ordinary message" in open(file, "rb").read() for file in files)
    return {"sent": sent, "stays": stays, "card": any(file.startswith("/var") for file in files)}

for name in (TALK, "/run/systemd/system"):
    os.makedirs(name, exist_ok=True)
open(TALK + "/flushed", "w").close()
inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
inbox.bind(TALK + "/syslog")
inbox.setblocking(False)
told = []
for files, card in json.loads(sys.stdin.read()):
    lay("journald.conf", files)
    real = {**parsed(), **obeyed(inbox, card)}
    said = [journald.probe(RealSystem(), {"what": what}) for what in ("storage", "retention", "least")]
    told.append([real, [one.kept for one in said], [one.cause for one in said]])
print(json.dumps(told))
"""
)
DAY = 86400 * 10**6
FOREVER = 2**64 - 1


def true(real: dict[str, int]) -> list[object]:
    """Return what the three settings should say of what the real one does."""
    passed = real["sent"] or real["ForwardToKMsg"] or real["ForwardToConsole"]
    where = "forwarded" if passed else "persistent" if real["card"] else "volatile"
    age, span = real["MaxRetentionSec"], real["MaxFileSec"]
    endless = not age or not span or FOREVER in (age, span)
    longest = ANY if endless else -(-(age + span) // DAY)
    room = real["SystemMaxUse" if real["card"] else "RuntimeMaxUse"]
    least = 0 if not real["stays"] or room < 4 << 20 else 36500 if age in {0, FOREVER} else min(age // DAY, 36500)
    return [where, longest, least]


def naive(made: dict[str, str]) -> bool:
    """Say whether the age is limited, as one would who reads the files of /etc by name and takes the last line."""
    said = ""
    for path in sorted(path for path in made if path.startswith("/etc/")):
        for line in made[path].splitlines():
            said = line.partition("=")[2].strip() if line.strip().startswith("MaxRetentionSec") else said
    return said not in {"", "0", "infinity"}


def looked(device: Device, rounds: list[tuple[dict[str, str], bool]]) -> list[tuple[list[object], list[object], str]]:
    """Return of each round what the real one does, what we say, and all that is known of it."""
    device.must(["sh", "-ec", "mount -t cgroup2 cgroup2 /sys/fs/cgroup; systemd-machine-id-setup"])
    done = device.run(device.python("-c", LOOK), json.dumps(rounds).encode(), seconds=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = []
    for (made, card), (real, said, cause) in zip(rounds, json.loads(done.stdout), strict=True):
        rows = f"card {card}\n{real}\n{systemd_files.shown(made)}"
        found.append((true(real), said, f"it does {true(real)}, we say {said} {cause}; {rows}"))
    return found


def test_what_we_read_is_what_journald_does(device: Device) -> None:
    """Where the log is, for how long at most and at least: of each round the three verdicts are those of the daemon."""
    draw = Draw("journald")
    drawn = [systemd_files.files(draw, "journald.conf", "Journal", WORDS, QUIET) for _ in range(ROUNDS)]
    rounds = [(made, draw.maybe(5)) for made in drawn]
    fooled, known, wheres, ends, leasts = 0, 0, set(), set(), set()
    for (made, _), (right, said, shown) in zip(rounds, looked(device, rounds), strict=True):
        unread = said == [None] * 3 and systemd_files.DOUBTFUL.intersection(made.values())
        assert unread or said == right, shown
        known += not unread
        fooled += naive(made) == (right[1] == ANY)
        wheres.add(right[0])
        ends.add(right[1] == ANY)
        leasts.add(right[2] == 0)
    assert wheres == {"forwarded", "persistent", "volatile"}
    assert ends == leasts == {True, False}
    assert known > ROUNDS // 2
    assert fooled, "the naive reader was never wrong"


FIXED = {
    "a word in capitals is none": ({LAST: QUIET + "Storage=persistent\nStorage=VOLATILE\n"}, "persistent", ANY, 36500),
    "an empty word is none": ({LAST: QUIET + "Storage=persistent\nStorage=\n"}, "persistent", ANY, 36500),
    "a broken heading ends all": ({MAIN: "[Journal\n", LAST: QUIET + "Storage=volatile\n"}, "forwarded", ANY, 36500),
    "so does what is no UTF-8": (
        {MAIN: "[Journal]\nx=\udcff\n", LAST: "[Journal]\nMaxRetentionSec=1d\n"}, "forwarded", ANY, 36500,
    ),
    "a mask is an empty file": ({MAIN: QUIET, LAST: ">/dev/null"}, "volatile", ANY, 36500),
    "a main file elsewhere": ({"/usr/lib/systemd/journald.conf": QUIET}, "forwarded", ANY, 36500),
    "no switch": ({LAST: QUIET + "ForwardToSyslog=yes\nForwardToSyslog=nope\n"}, "forwarded", ANY, 36500),
    "a mark in the second line": ({LAST: QUIET + "\ufeffStorage=persistent\n"}, "persistent", ANY, 36500),
    "no span": ({LAST: QUIET + "MaxRetentionSec=0\nMaxRetentionSec=1 d d\n"}, "volatile", ANY, 36500),
    "two spans": ({LAST: QUIET + "MaxRetentionSec=1d1.5d\nMaxFileSec=12h\n"}, "volatile", 3, 2),
    "only what is urgent": ({LAST: QUIET + "MaxLevelStore=notice\n"}, "volatile", ANY, 0),
    "room elsewhere": ({LAST: QUIET + "SystemMaxUse=1M\n"}, "volatile", ANY, 36500),
    "small room stays": ({LAST: QUIET + "RuntimeMaxUse=1M\nRuntimeMaxUse=\n"}, "volatile", ANY, 0),
    "no size": ({LAST: QUIET + "RuntimeMaxUse=1m\n"}, "volatile", ANY, 36500),
}  # fmt: skip


def test_what_the_drawn_ones_found(device: Device) -> None:
    """Each way in which we once said another thing than journald does."""
    rounds = [(made, False) for made, *_ in FIXED.values()]
    for (name, (_, *wanted)), (right, said, shown) in zip(FIXED.items(), looked(device, rounds), strict=True):
        assert right == wanted, f"{name}: {shown}"
        assert said == wanted, f"{name}: {shown}"
