"""The store: kept or not kept, and never in the clear."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadInput, Failed, Tampered, Unreadable
from agent.core.journal import Verdict
from agent.core.secret import Secret
from agent.system.store import MEMORY, Store
from agent.system.vault import DirectVault
from tests.system.stored import noon, opened

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary in a coal mine"
VALUES = st.none() | st.integers(-5, 5) | st.text(max_size=5) | st.lists(st.integers(0, 3), max_size=3)

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from agent.core.clock import Clock
from agent.core.secret import Secret
from agent.system.store import Store
from agent.system.vault import DirectVault
store = Store(sys.argv[2], DirectVault(Secret(bytes(range(32)))), lambda: Clock(boot=1, uptime=2, wall=3))
number = store.get("number") or 0
while True:
    number += 1
    store.put({"number": number}, [("counted", {"number": number})])
    print(number, flush=True)
"""


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Where the store of a test is."""
    return tmp_path / "state.db"


@pytest.fixture(name="filled")
def _filled(path: Path) -> Path:
    """A closed store with three values and five entries."""
    store = opened(path)
    store.put({"first": 1, "second": "two", "third": [3]}, [("made", {"by": "test"})])
    for number in range(4):
        store.append("counted", {"number": number})
    store.close()
    return path


def test_values_and_entries_outlive_the_process(path):
    """What was put is there after a restart, entries in order with their time; a new store says that it is fresh."""
    store = opened(path)
    assert store.fresh and store.put({}) == () and store.get("none") is None
    assert store.put({"waiver/a": {"left": 3}, "waiver/b": 1, "x": b"\0"}, [("one", {}), ("two", {"n": 2})]) == (1, 2)
    assert store.append("three", {}) == 3
    store.put({"waiver/b": None})
    store.close()
    again = opened(path)
    assert not again.fresh and again.head.count == 3
    assert again.keys() == ("waiver/a", "x") and again.keys("waiver/") == ("waiver/a",)
    assert again.get("waiver/a") == {"left": 3} and again.get("waiver/b") is None
    assert [(e.seq, e.kind, e.body, e.wall) for e in again.entries(1)] == [
        (2, "two", {"n": 2}, 1_790_000_000),
        (3, "three", {}, 1_790_000_000),
    ]
    assert [entry.seq for entry in again.entries(0, 2)] == [1, 2]
    assert again.verify() == Verdict(count=3, damage="", seq=0)


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from("abc"), VALUES), st.integers(0, 2)), max_size=8))
def test_it_is_a_dictionary_with_a_journal(acts):
    """After any acts the store holds what a plain dictionary would, and as many entries as were added."""
    store, model, count = opened(MEMORY), {}, 0
    for changes, notes in acts:
        store.put(changes, [("act", {"n": n}) for n in range(notes)])
        model.update(changes)
        count += notes
    kept = {name: value for name, value in model.items() if value is not None}
    assert {name: store.get(name) for name in store.keys("")} == kept
    assert store.verify() == Verdict(count=count, damage="", seq=0)


def test_a_value_given_out_is_not_the_value_kept(path):
    """Changing what `get` returned changes nothing in the store."""
    store = opened(path)
    store.put({"list": [1]})
    store.get("list").append(2)
    assert store.get("list") == [1]


def test_nothing_is_on_the_disk_in_the_clear(path):
    """Neither database nor log, open or closed, holds a value, an entry's kind or its particulars."""
    store = opened(path)
    store.put({"secret": CANARY, "gone": CANARY}, [(CANARY, {"word": CANARY, CANARY: 1})])
    store.put({"gone": None, "name in the clear": 1})
    seen = b""
    for _ in range(2):
        files = sorted(path.parent.iterdir())
        seen += b"".join(file.read_bytes() for file in files)
        assert path in files and seen
        store.close()
    assert b"name in the clear" in seen  # the search does find what is there
    assert CANARY.encode() not in seen and CANARY.encode()[3:15] not in seen
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_file_is_for_root_alone(path):
    """Database and log have the rights 0600, whatever the umask, and loose ones are put right."""
    before = os.umask(0)
    try:
        path.touch(0o666)
        store = opened(path)
        store.put({"a": 1})
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 2
    finally:
        os.umask(before)


def test_it_is_as_durable_as_promised(path):
    """The settings that the power cuts of the study were survived with are in force."""
    store = opened(path)
    ask = store._rows.execute
    assert ask("PRAGMA synchronous").fetchone() == (2,)
    assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ask("PRAGMA locking_mode").fetchone() == ("exclusive",)


def test_one_process_at_a_time(path):
    """A second guard on the same store is told so."""
    store = opened(path)
    with pytest.raises(Unreadable, match="only one guard"):
        opened(path)
    assert store.append("still", {}) == 1


def test_a_link_in_its_place_is_not_followed(path, tmp_path):
    """A planted link is refused, and what it points to is not touched."""
    (tmp_path / "victim").write_text("mine")
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(Tampered):
        opened(path)
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("tail", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("what", ["pipe", "directory", "link"])
def test_what_is_no_file_is_refused_at_once(path, tmp_path, what, tail):
    """In the place of any of its files: a sentence that names it, no waiting at a pipe, no link followed."""
    opened(path).close()
    place = Path(f"{path}{tail}")
    place.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(place)
    elif what == "directory":
        place.mkdir()
    else:
        (tmp_path / "victim").write_text("mine")
        place.symlink_to(tmp_path / "victim")
    with pytest.raises(Tampered, match=f"{place.name} is no plain file"):
        opened(path)
    assert what != "link" or (tmp_path / "victim").read_text() == "mine"


def test_a_full_disk_changes_nothing_and_passes(path):
    """When there is no room, a put fails whole with a sentence; when there is again, the same put succeeds."""
    store = opened(path)
    store.put({"a": 1}, [("one", {})])
    pages = store._rows.execute("PRAGMA page_count").fetchone()[0]
    store._rows.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(Unreadable, match="disk is full; "):
        store.put({"a": 2, "b": "x" * 9000}, [("two", {})])
    assert (store.get("a"), store.get("b"), store.head.count) == (1, None, 1)
    store._rows.execute("PRAGMA max_page_count=100000")
    assert store.put({"a": 2, "b": "x" * 9000}, [("two", {})]) == (2,)
    store._rows.execute("PRAGMA query_only=1")
    with pytest.raises(Unreadable, match="read-only; "):
        store.append("three", {})
    assert store.verify() == Verdict(count=2, damage="", seq=0)


class Failing(DirectVault):
    """A vault that dies at its k-th seal."""

    def __init__(self) -> None:
        super().__init__(Secret(bytes(range(32))))
        self.left = 1_000_000
        self.fired = 0

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Seal, or die."""
        self.left -= 1
        if self.left < 0:
            self.fired += 1
            raise Failed("the vault died; try again")
        return super().seal(plain, aad)


def test_a_vault_that_dies_changes_nothing(path):
    """Whichever seal of a put fails, neither values nor journal nor disk have changed, and the next put works."""
    vault = Failing()
    store = Store(str(path), vault, noon)
    store.put({"a": 1}, [("one", {})])
    for left in range(5):
        vault.left = left
        with pytest.raises(Failed):
            store.put({"a": 2, "b": 3}, [("two", {}), ("three", {})])
        vault.left = 1000
        assert (store.get("a"), store.keys(), store.head.count) == (1, ("a",), 1)
    assert vault.fired == 5
    assert store.put({"a": 2, "b": 3}, [("two", {}), ("three", {})]) == (2, 3)
    store.close()
    assert opened(path).verify() == Verdict(count=3, damage="", seq=0)


def test_too_much_is_refused(path):
    """A value over a megabyte, or one CBOR has no form for, is refused and nothing changes."""
    store = opened(path)
    for value in (b"x" * (1 << 20), 1.5, Secret(b"key")):
        with pytest.raises(BadInput):
            store.put({"a": value}, [("one", {})])
    with pytest.raises(BadInput):
        store.append("x", {"text": "x" * 70_000})
    assert store.keys() == () and store.head.count == 0


def test_killed_at_any_moment_it_holds_what_it_reported(path):
    """A writer killed again and again leaves a whole store with all it reported, value and entry alike."""
    killed, reported = 0, 0
    for turn in range(5):
        argv = [sys.executable, "-c", WRITER, str(ROOT), str(path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(3 + 7 * turn):
                reported = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            reported = max([reported, *map(int, writer.stdout.read().split())])
        killed += writer.returncode == -signal.SIGKILL
        store = opened(path)
        assert reported <= store.get("number") <= reported + 1
        assert store.verify() == Verdict(count=store.get("number"), damage="", seq=0)
        store.close()
    assert killed == 5
