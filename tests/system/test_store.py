"""The store: kept or not kept, never in the clear, and no meddling goes unseen."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import journal
from agent.core.clock import Clock
from agent.core.errors import BadInput, Failed, Missing, Tampered, Unreadable
from agent.core.journal import CHANGED, CUT, MISSING, Verdict
from agent.core.secret import Secret
from agent.system.door import System
from agent.system.keys import STATE_KEY, FileSlot
from agent.system.real import RealSystem
from agent.system.simulated.system import SimulatedSystem
from agent.system.store import MEMORY, Store
from agent.system.vault import DirectVault

ROOT = Path(__file__).resolve().parents[2]
VAULT = DirectVault(Secret(bytes(range(32))))
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


def noon() -> Clock:
    """One moment."""
    return Clock(boot=1, uptime=2, wall=1_790_000_000)


def opened(path: Path | str) -> Store:
    """Open a store with the key of these tests."""
    return Store(str(path), VAULT, noon)


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


def meddled(path: Path, *statements: str) -> None:
    """Change a closed database as somebody with root's rights and without the key can."""
    rows = sqlite3.connect(path, isolation_level=None)
    changed = 0
    for statement in statements:
        changed += max(rows.execute(statement).rowcount, 0) or ("DROP" in statement)
    rows.close()
    assert changed  # the meddling took place


SWAP = (
    "UPDATE {0} SET sealed = (SELECT sealed FROM {0} AS other WHERE other.{1} = "
    "CASE {0}.{1} WHEN {2} THEN {3} ELSE {2} END) WHERE {1} IN ({2}, {3})"
)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM value WHERE name = 'second'",
        "UPDATE value SET sealed = substr(sealed, 1, length(sealed) - 1) || x'00' WHERE name = 'first'",
        "UPDATE value SET sealed = 'text' WHERE name = 'first'",
        "UPDATE value SET sealed = x'' WHERE name = 'first'",
        "UPDATE value SET sealed = 7",
        "UPDATE value SET name = x'ff00' WHERE name = 'second'",
        "UPDATE ending SET sealed = 1.5",
        "UPDATE value SET name = 'fourth' WHERE name = 'first'",
        "UPDATE value SET name = x'00' WHERE name = 'first'",
        "INSERT INTO value SELECT 'copy', sealed FROM value WHERE name = 'first'",
        SWAP.format("value", "name", "'first'", "'third'"),
        "DELETE FROM ending",
        "UPDATE ending SET sealed = x'01'",
        "UPDATE ending SET sealed = (SELECT sealed FROM value LIMIT 1)",
        "DROP TABLE ending",
        "DROP TABLE value",
    ],
)
def test_meddling_with_values_shows_at_start(filled, statement):
    """Removed, changed, renamed, copied or exchanged values, and a meddled ending: the store does not open."""
    meddled(filled, statement)
    with pytest.raises(Tampered, match=";"):
        opened(filled)


def test_a_value_put_back_shows(filled):
    """An old sealed value, genuine in itself, does not pass for the present one."""
    rows = sqlite3.connect(filled)
    old = rows.execute("SELECT sealed FROM value WHERE name = 'first'").fetchone()[0]
    rows.close()
    store = opened(filled)
    store.put({"first": 2})
    store.close()
    rows = sqlite3.connect(filled, isolation_level=None)
    rows.execute("UPDATE value SET sealed = ? WHERE name = 'first'", (old,))
    rows.close()
    with pytest.raises(Tampered, match="put back"):
        opened(filled)


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("DELETE FROM entry WHERE seq = 3", (2, MISSING, 3)),
        ("DELETE FROM entry WHERE seq = 1", (0, MISSING, 1)),
        ("DELETE FROM entry WHERE seq = 5", (4, CUT, 5)),
        ("DELETE FROM entry WHERE seq > 2", (2, CUT, 3)),
        ("DELETE FROM entry", (0, CUT, 1)),
        ("UPDATE entry SET sealed = sealed || x'00' WHERE seq = 4", (3, CHANGED, 4)),
        ("UPDATE entry SET digest = x'00' WHERE seq = 2", (1, CHANGED, 2)),
        ("UPDATE entry SET sealed = 7 WHERE seq = 2", (1, CHANGED, 2)),
        ("UPDATE entry SET digest = 'text' WHERE seq = 5", (4, CHANGED, 5)),
        (SWAP.format("entry", "seq", 2, 4), (1, CHANGED, 2)),
        ("INSERT INTO entry VALUES (6, x'00', x'00')", (5, CHANGED, 6)),
        ("INSERT INTO entry SELECT 0, sealed, digest FROM entry WHERE seq = 1", (0, "reordered", 1)),
    ],
)
def test_meddling_with_the_journal_is_named(filled, statement, verdict):
    """The first bad entry and the kind of damage are reported; values stay usable and the journal goes on."""
    meddled(filled, statement)
    store = opened(filled)
    count, damage, seq = verdict
    assert store.verify() == Verdict(count=count, damage=damage, seq=seq)
    assert store.get("first") == 1
    assert store.append("noticed", {}) == 6
    healed = statement.startswith("INSERT INTO entry VALUES (6")  # the genuine sixth entry took the place of the false
    assert (store.verify().damage, store.verify().seq) == (
        ("", 0) if healed else (MISSING if damage == CUT else damage, seq)
    )


def test_a_forged_chain_shows(filled):
    """Entries rewritten with every digest recomputed, which needs no key, still do not end where the ending says."""
    rows = sqlite3.connect(filled, isolation_level=None)
    head = journal.EMPTY
    for seq in range(1, 6):
        row = journal.extend(head, b"forged")
        rows.execute("UPDATE entry SET sealed = ?, digest = ? WHERE seq = ?", (row.sealed, row.digest, seq))
        head = journal.Head(count=seq, digest=row.digest)
    rows.close()
    assert opened(filled).verify() == Verdict(count=4, damage=CHANGED, seq=5)


def test_an_entry_that_does_not_open_is_named(filled):
    """Where the chain holds but a seal does not (made here with another key), verification finds it too."""
    store = opened(filled)
    store._vault = DirectVault(Secret(bytes(32)))
    assert store.verify() == Verdict(count=0, damage=CHANGED, seq=1)
    with pytest.raises(Tampered):
        store.entries(2)


def truncated(path: Path) -> None:
    """Half the file is lost."""
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    """Another file is in its place."""
    path.write_bytes(b"not a database, but long enough to look like one " * 100)


def scratched(path: Path) -> None:
    """A page in the middle is gone."""
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncated, overwritten, scratched])
def test_damage_is_tampered_and_recovery_begins_anew(filled, damage: Callable[[Path], None]):
    """A broken file gives one sentence; recovery keeps it aside, begins empty, and the first entry tells of it."""
    damage(filled)
    broken = filled.read_bytes()
    with pytest.raises(Tampered, match="damaged") as caught:
        opened(filled)
    store = Store.recover(str(filled), VAULT, noon, str(caught.value))
    assert store.fresh and store.keys() == () and store.verify().damage == ""
    (entry,) = store.entries()
    assert (entry.kind, entry.body["kept"]) == ("recovered", "state.db.damaged-1")
    assert (filled.parent / "state.db.damaged-1").read_bytes() == broken
    store.close()
    again = Store.recover(str(filled), VAULT, noon, "once more")
    assert again.entries()[0].body["kept"] == "state.db.damaged-2"
    again.close()
    assert not opened(filled).fresh


def test_another_key_opens_nothing(filled):
    """A store copied to where the key is another one is Tampered."""
    with pytest.raises(Tampered):
        Store(str(filled), DirectVault(Secret(bytes(32))), noon)


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
    with pytest.raises(Unreadable):
        opened(path)
    assert (tmp_path / "victim").read_text() == "mine"


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


OWNER = (os.getuid(), os.getgid())


def slot(system: System) -> FileSlot:
    """The file slot, for the user who runs the tests."""
    return FileSlot(system, owner=OWNER)


@pytest.fixture(name="system", params=["real", "simulated"])
def _system(request: pytest.FixtureRequest, tmp_path: Path) -> RealSystem | SimulatedSystem:
    """The real door on a folder, then the simulated one."""
    return RealSystem(str(tmp_path)) if request.param == "real" else SimulatedSystem()


def test_the_state_key_is_made_once(system):
    """The first opening makes a key for root alone; later ones find it, and put loose rights right."""
    key, made = slot(system).open()
    assert made and len(key.reveal()) == 32
    assert (system.stat(STATE_KEY).mode, system.stat("/var/lib/privet/keys").mode) == (0o600, 0o700)
    system.own(STATE_KEY, 0o644, *OWNER)
    assert slot(system).open() == (key, False)
    assert system.stat(STATE_KEY).mode == 0o600


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33), bytes(5000)])
def test_a_damaged_key_is_never_replaced(system, content):
    """A key of the wrong length is Tampered and left as it is: it may be all that opens the state."""
    system.write(STATE_KEY, content, 0o600, *OWNER)
    with pytest.raises(Tampered, match="key"):
        slot(system).open()
    assert system.read(STATE_KEY) == content


def test_an_erased_key_is_gone(system):
    """After erasing the next opening makes another key; erasing twice, or a damaged key, is fine."""
    key, _ = slot(system).open()
    slot(system).erase()
    with pytest.raises(Missing):
        system.stat(STATE_KEY)
    slot(system).erase()
    other, made = slot(system).open()
    assert made and other != key
    system.write(STATE_KEY, bytes(5000), 0o600, *OWNER)
    slot(system).erase()
    assert slot(system).open()[1]


def test_a_key_survives_a_cut_at_every_call():
    """Power cut at each call of the first opening: afterwards there is one whole key, and never a part of one."""
    fired = 0
    for k in range(1, 200):
        system = SimulatedSystem()
        if not system.kill_at(k, lambda device: slot(device).open()):
            break
        fired += 1
        key, _ = slot(system).open()
        assert len(key.reveal()) == 32
    assert fired > 10
