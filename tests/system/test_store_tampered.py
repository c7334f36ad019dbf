"""Meddling with the store: none goes unseen, and damage never loosens."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core import journal
from agent.core.errors import Tampered
from agent.core.journal import CHANGED, CUT, MISSING, Verdict
from agent.core.secret import Secret
from agent.system.store import Store
from agent.system.vault import DirectVault
from tests.system.stored import VAULT, noon, opened


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
