"""What lies in the way before the guard starts: leftovers and plants in place of its sockets, its state, its records.

It starts, or it refuses with one sentence and an exit code: no traceback, no wait, nothing loosened, no link followed.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.device.lab import Device, Lab
from tests.device.people import become
from tests.device.whole import Whole

STATE, SOCKETS = "/var/lib/privet", "/run/privet"
PATIENCE = 120  # seconds; a device whose state is gone checks every factory password anew
PLANTS = {
    "fifo": "mkfifo",
    "directory": "mkdir -p",
    "link": "ln -s /srv/victim",
    "link to a directory": "ln -s /srv/other",
    "garbage": "cp /srv/garbage",
    "huge": "truncate -s 20G",
}
# (what lies there, where; exit code, a part of the sentence)
REFUSED = (
    ("directory", f"{SOCKETS}/control.sock", 69, "cannot listen on /run/privet/control.sock: .* remove it"),
    ("directory", f"{SOCKETS}/telemetry.sock", 69, "cannot listen on .*telemetry.sock: .* remove it"),
    ("directory", f"{SOCKETS}/courier.sock", 69, "cannot listen on .*courier.sock: .* remove it"),
    ("fifo", SOCKETS, 74, "cannot make the directory /run/privet"),
    ("link to a directory", SOCKETS, 74, "/run/privet: it is a symbolic link to /srv/other"),
    ("link to a directory", STATE, 74, "/var/lib/privet: it is a symbolic link to /srv/other"),
    ("garbage", STATE, 74, "a part of the path is not a directory"),
    ("fifo", "/etc/privet/device.cbor", 74, "device.cbor: it is a fifo"),
    ("garbage", "/etc/privet/device.cbor", 10, "device.cbor is damaged .* set the device up again"),
    ("huge", "/etc/privet/device.cbor", 74, "device.cbor: it is longer than"),
)
# What the guard reads of its own at a start; each of them with each plant is set aside, told, and keeps nobody waiting.
FILES = ["trial.cbor", "trial-2.cbor", "starts.cbor", "recovery.cbor", "recovery.sealed", "glass.cbor"]
FILES += ["glass-wrong.cbor", "provisioned", "later"]
TOGETHER = {
    "records": (*FILES, "originals", "queue/climate"),
    "key and logs": ("keys/state.key", "state.db-wal", "state.db-journal", "state.db-shm"),
    "state and folders": ("state.db", "keys", "queue"),
}
FOLDERS = ("keys", "queue", "originals", "queue/climate")
BARE = """
import sqlite3, sys
rows = sqlite3.connect(sys.argv[1], timeout=0.3)
rows.execute("PRAGMA locking_mode=EXCLUSIVE")
rows.execute("PRAGMA journal_mode=WAL")
rows.execute("SELECT 1 FROM sqlite_schema").fetchone()
"""
SEGMENT = f"{STATE}/queue/climate/0000000{{}}-0000000000000001.seg"
# Together in one start, as many as there are names for; none of them keeps the guard from its work.
BORNE = {
    "where the sockets belong": (
        ("fifo", f"{SOCKETS}/control.sock"),
        ("link", f"{SOCKETS}/telemetry.sock"),
        ("garbage", f"{SOCKETS}/courier.sock"),
        ("fifo", f"{SOCKETS}/early"),
        ("link", f"{SOCKETS}/first_boot"),
    ),
    "beside the state": (
        ("fifo", f"{STATE}/state.db.damaged-1"),
        ("garbage", f"{STATE}/state.db-wal"),
        ("garbage", f"{STATE}/trial.cbor"),
        ("link", f"{STATE}/trial-2.cbor"),
        ("link", f"{STATE}/provisioned"),
        ("fifo", f"{STATE}/originals"),
        ("garbage", f"{STATE}/recovery.sealed"),
    ),
    "among the records": (
        ("fifo", f"{STATE}/originals/{'0' * 32}.cbor"),
        ("link to a directory", f"{STATE}/originals/{'1' * 32}.cbor"),
        ("huge", f"{STATE}/originals/{'2' * 32}.cbor"),
        ("fifo", SEGMENT.format(1)),
        ("link", SEGMENT.format(2)),
        ("link to a directory", SEGMENT.format(3)),
        ("garbage", SEGMENT.format(4)),
        ("huge", SEGMENT.format(5)),
        ("directory", SEGMENT.format(6)),
    ),
    "half-made files": (
        ("fifo", "/etc/.privet-00.tmp"),
        ("link", "/etc/.privet-01.tmp"),
        ("link to a directory", "/etc/privet/.privet-02.tmp"),
        ("directory", "/etc/.privet-03.tmp"),
        ("huge", f"{STATE}/keys/.privet-04.tmp"),
        ("fifo", "/etc/privet/firewall/outbound.json"),
    ),
}


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Give a device that is past its first boot, with the guard stopped, a copy of its state, and two victims."""
    with lab.device() as device:
        made = Whole(device, tmp_path_factory.mktemp("whole"))
        made.start()
        made.until(lambda: made.ask("status")["ok"], 60, "the first look")
        made.stop()
        device.must(["sh", "-c", "cp -a /var/lib/privet /srv/state; cp -a /etc/privet /srv/facts"])
        device.must(["sh", "-c", "echo theirs >/srv/victim; chmod 640 /srv/victim; mkdir /srv/other"])
        device.must(["sh", "-c", "head -c 3000 /dev/urandom >/srv/garbage"])
        laid(made, ())
        made.start()
        assert len(fine(made)) > 10
        device.write("/srv/fine", "\n".join(fine(made)))
        made.stop()
        yield made


def fine(whole: Whole) -> set[str]:
    """Return the settings that are as the policy wants them; this device has no systemd, so not all can be."""
    return {name for name, status in whole.statuses().items() if status == "ok"}


def lost(whole: Whole) -> set[str]:
    """Return the settings that are not as they are after a start without any plant."""
    return set(whole.device.read("/srv/fine").split()) - fine(whole)


def laid(whole: Whole, plants: tuple[tuple[str, str], ...]) -> None:
    """Put the device back to how it was, then plant."""
    whole.device.must(["sh", "-c", "rm -rf /var/lib/privet /run/privet /etc/privet /etc/.privet-*"])
    whole.device.must(["sh", "-c", "mkdir /run/privet; cp -a /srv/state /var/lib/privet; cp -a /srv/facts /etc/privet"])
    for what, path in plants:
        whole.device.must(["sh", "-c", f"rm -rf {path}; {PLANTS[what]} {path}"])


def outside(whole: Whole) -> str:
    """Return what no plant may lead to, and the firewall."""
    look = "stat -c '%a %u %g %n' /srv/victim /srv/other; cat /srv/victim; ls -A /srv/other; nft list ruleset"
    return "\n".join(sorted(whole.device.must(["sh", "-c", look]).splitlines()))


def begun(whole: Whole) -> subprocess.Popen[bytes]:
    """Start the guard; return it once it answers or has ended."""
    guard = whole.guard = whole.device.spawn(whole.device.python("-m", "agent.guard"))
    end = time.monotonic() + PATIENCE
    while guard.poll() is None and not whole.ask("version")["ok"]:
        assert time.monotonic() < end, "the guard hangs"
    return guard


@pytest.mark.parametrize(("what", "path", "code", "sentence"), REFUSED)
def test_refused_with_one_sentence(whole: Whole, what: str, path: str, code: int, sentence: str) -> None:
    """One line on standard error that names the place, an exit code; outside and at the gate all is as it was."""
    laid(whole, ((what, path),))
    before = outside(whole)
    guard = begun(whole)
    if guard.poll() is None:
        raise AssertionError(f"it started, and said {whole.stop()!r}")
    assert guard.stderr is not None
    said = guard.stderr.read().decode().strip()
    assert re.search(sentence, said) and said.startswith("privet-guard: ") and "\n" not in said, said
    assert guard.returncode == code
    assert outside(whole) == before


@pytest.mark.parametrize("kind", BORNE)
def test_borne(whole: Whole, kind: str) -> None:
    """The guard starts and works: every setting as it was, the gate too, no link followed, nothing said in panic."""
    laid(whole, BORNE[kind])
    before = outside(whole)
    guard = begun(whole)
    assert guard.poll() is None, whole.last_words()
    assert lost(whole) == set()
    assert whole.privet("journal", "--verify").returncode == 0
    said = whole.stop()
    assert "Traceback" not in said, said
    assert outside(whole) == before


def harmless(name: str, what: str) -> bool:
    """Say whether a plant is none: a directory where one belongs, or content of a file that is only there or not."""
    return what == "directory" if name in FOLDERS else what == "garbage" and name in ("provisioned", "later")


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("names", TOGETHER.values(), ids=TOGETHER)
def test_whatever_lies_in_place_of_its_own_it_starts(whole: Whole, names: tuple[str, ...], what: str) -> None:
    """Set aside and told, or begun anew: the guard comes up, every setting as it was, no link followed, no panic."""
    laid(whole, tuple((what, f"{STATE}/{name}") for name in names if not harmless(name, what)))
    before = outside(whole)
    guard = begun(whole)
    assert guard.poll() is None, whole.last_words()
    assert lost(whole) == set()
    assert whole.privet("journal", "--verify").returncode == 0
    journal = whole.privet("journal").stdout.decode()
    said = whole.stop()
    assert "Traceback" not in said, said
    assert outside(whole) == before
    left = whole.device.must(["find", STATE, "-name", "*.damaged-*"]).split()
    for name in names:
        if what not in ("garbage", "huge") and not harmless(name, what):
            assert f"{STATE}/{name}.damaged-1" in left or name.startswith("state.db-"), (name, left)
            assert "memory was damaged or removed" in journal


@pytest.mark.parametrize("what", ["garbage", "huge"])
def test_damaged_state_is_set_aside_and_told(whole: Whole, what: str) -> None:
    """State that cannot be read is kept beside a new one; the owner is told, and nothing is looser than before."""
    laid(whole, ((what, f"{STATE}/state.db"),))
    before = outside(whole)
    guard = begun(whole)
    assert guard.poll() is None, whole.last_words()
    assert lost(whole) == set()
    assert "memory was damaged or removed" in whole.privet("journal").stdout.decode()
    said = whole.stop()
    assert "Traceback" not in said, said
    assert "state.db.damaged-1" in whole.device.must(["ls", STATE])
    assert outside(whole) == before


def test_twin_that_leaves_it_to_sqlite_hangs(whole: Whole) -> None:
    """Known bad: SQLite, asked to open the same state, waits at a pipe in the place of its journal for ever."""
    laid(whole, (("fifo", f"{STATE}/state.db-journal"),))
    argv = ["timeout", "--signal=KILL", "5", *whole.device.python("-c", BARE, f"{STATE}/state.db")]
    assert whole.device.run(argv).returncode in (137, -9)


def test_it_comes_up_on_a_disk_that_is_read_only_already(whole: Whole) -> None:
    """The state on a read-only mount: what is loosened live is set back, the owner told once; all is written later."""
    laid(whole, ())
    begun(whole)
    assert whole.guard is not None
    whole.device.must(["kill", "-KILL", str(whole.pid("agent.guard"))])  # SQLite's log is not in its file yet
    whole.guard.wait()
    whole.guard = None
    assert whole.device.run(["test", "-s", f"{STATE}/state.db-wal"]).returncode == 0
    whole.device.must(["sh", "-c", f"mount --bind {STATE} {STATE} && mount -o remount,bind,ro {STATE}"])
    try:
        assert whole.device.run(["touch", f"{STATE}/x"]).returncode != 0, "it is not read-only"
        guard = begun(whole)
        assert guard.poll() is None, whole.last_words()
        assert lost(whole) == set()
        whole.device.must(["sysctl", "-q", "-w", "net.ipv4.conf.all.accept_redirects=1"])
        whole.privet("enforce")
        assert whole.device.read("/proc/sys/net/ipv4/conf/all/accept_redirects").strip() == "0"
        told = [row["title"] for row in whole.ask("status")["warnings"]]
        assert len([title for title in told if "Nothing can be written on this device now" in title]) == 1, told
        assert whole.device.must(["stat", "-c", "%a %U", f"{SOCKETS}/state-copy.db"]).split() == ["600", "root"]
    finally:
        whole.device.must(["umount", STATE])
    whole.until(lambda: "late" in whole.privet("journal").stdout.decode(), 60, "what waited to be written")
    assert whole.device.run(["test", "-e", f"{SOCKETS}/state-copy.db"]).returncode != 0
    assert whole.privet("journal", "--verify").returncode == 0
    assert "Traceback" not in whole.stop()


def test_places_given_away_are_taken_back(whole: Whole) -> None:
    """Folders, key and state given to a user and left open: the guard starts, and the user reaches none of it."""
    laid(whole, ())
    whole.device.must(["sh", "-c", f"chown -R pi: {STATE} {SOCKETS}; chmod -R a+rwX {STATE} {SOCKETS}"])
    before = outside(whole)
    guard = begun(whole)
    assert guard.poll() is None, whole.last_words()
    for path in (f"{STATE}/state.db", f"{STATE}/keys/state.key", f"{STATE}/queue/climate", f"{SOCKETS}/new"):
        for argv in (["test", "-r", path], ["touch", path]):
            assert whole.device.run(become(whole.device, "pi", *argv)).returncode != 0, (argv, path)
    rights = whole.device.must(["stat", "-c", "%a %U", SOCKETS, STATE, f"{STATE}/keys", f"{STATE}/keys/state.key"])
    assert rights.split("\n")[:4] == ["755 root", "700 root", "700 root", "600 root"]
    assert lost(whole) == set()
    whole.stop()
    assert outside(whole) == before


# (what lies there, where; whether the first boot goes on)
LOCKS = (
    ("fifo", "/etc/passwd.lock", False),
    ("directory", "/etc/shadow.lock", False),
    ("link", "/etc/passwd.lock", True),
    ("garbage", "/etc/shadow.lock", True),
    ("fifo", "/etc/.pwd.lock", False),
    ("directory", "/etc/.pwd.lock", False),
    ("link", "/etc/.pwd.lock", True),
)


@pytest.mark.parametrize(("what", "path", "goes_on"), LOCKS)
def test_locks_of_the_shadow_tools(device: Device, what: str, path: str, goes_on: bool) -> None:
    """First boot among leftovers in the place of their locks: it ends well, or stays shut in with one sentence."""
    device.must(["sh", "-c", "echo theirs >/srv/victim; chmod 640 /srv/victim; head -c 99 /dev/urandom >/srv/garbage"])
    device.must(["sh", "-c", f"rm -rf {path}; {PLANTS[what]} {path}"])
    done = device.module("tests.device.rotate", "run", seconds=PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    opens = device.run(["unix_chkpwd", "pi", "nullok"], b"raspberry\0").returncode == 0
    assert (answer["failed"] == "", answer["gate"]) == ((True, "open") if goes_on else (False, "shut")), answer[
        "failed"
    ]
    assert "\n" not in answer["failed"] and opens != goes_on
    assert device.must(["sh", "-c", "cat /srv/victim; stat -c %a%u /srv/victim"]) == "theirs\n6400\n"
