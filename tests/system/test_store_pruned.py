"""The oldest entries of the journal go: what is left is verified, what went is vouched for, at every cut."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.errors import Tampered
from agent.core.journal import CHANGED, MISSING, NOTHING, REORDERED
from agent.system.store import Store
from tests.system.stored import opened

MARK = "a word that only an old entry holds"


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Nine entries, the first of which are marked."""
    path = tmp_path / "state.db"
    with_entries(path, 9)
    return path


def with_entries(path: Path, count: int) -> None:
    """Write entries, and a value."""
    store = opened(path)
    for number in range(count):
        store.put({"value": number}, [("made", {"number": number, "text": MARK})])
    store.close()


def meddled(path: Path, *statements: str) -> None:
    """Change the file behind the store's back."""
    rows = sqlite3.connect(path)
    for statement in statements:
        rows.execute(statement)
    rows.commit()
    rows.close()


def test_what_went_is_said_and_what_is_left_is_sound(path: Path):
    """Numbers go on, the chain is whole from there on, over restarts; a second time adds to the first."""
    store = opened(path)
    gone = store.prune(4)
    assert (gone.count, gone.since, gone.until) == (4, 1_790_000_000, 1_790_000_000)
    verdict = store.verify()
    assert (verdict.damage, verdict.count) == ("", 10)
    assert [entry.seq for entry in store.entries(0, 99)] == [5, 6, 7, 8, 9, 10]
    last = store.entries(9, 1)[0]
    assert last.kind == "pruned"
    assert (last.body["first"], last.body["last"], last.body["digest"]) == (1, 4, gone.digest)
    assert store.append("after", {}) == 11
    store.close()
    store = opened(path)
    assert store.gone == gone
    assert store.prune(2).count == 6
    assert store.get("value") == 8
    store.close()
    store = opened(path)
    assert (store.verify().damage, store.verify().count, store.gone.count) == ("", 12, 6)
    assert store.entries(0, 1)[0].seq == 7
    store.close()


def test_all_may_go_and_nothing_is_none(path: Path):
    """Everything that there was leaves the entry that says so; to let go of nothing changes nothing."""
    store = opened(path)
    assert store.prune(0) == NOTHING
    assert store.prune(999).count == 9
    assert [entry.kind for entry in store.entries(0, 99)] == ["pruned"]
    assert store.verify().damage == ""
    store.close()


@pytest.mark.parametrize(
    ("statement", "damage"),
    [
        ("DELETE FROM entry WHERE seq = 5", MISSING),
        ("DELETE FROM entry WHERE seq IN (5, 6)", MISSING),
        ("UPDATE entry SET seq = 4 WHERE seq = 5", REORDERED),
        ("UPDATE entry SET digest = zeroblob(32) WHERE seq = 5", CHANGED),
        ("DELETE FROM entry WHERE seq = 10", "cut off the end"),
    ],
)
def test_more_than_was_let_go_of_shows(path: Path, statement: str, damage: str):
    """Whoever takes more away at the front, or changes the first that is left, is found out."""
    store = opened(path)
    store.prune(4)
    store.close()
    meddled(path, statement)
    store = opened(path)
    assert store.verify().damage == damage
    store.close()


def test_what_went_does_not_come_back_and_the_front_cannot_be_forged(path: Path):
    """An old row put back is no part of the chain; an ending of before, whose front is another, does not fit."""
    rows = sqlite3.connect(path)
    old = rows.execute("SELECT * FROM entry WHERE seq = 4").fetchone()
    ending = rows.execute("SELECT sealed FROM ending").fetchone()[0]
    rows.close()
    store = opened(path)
    store.prune(4)
    store.close()
    rows = sqlite3.connect(path)
    rows.execute("INSERT INTO entry VALUES (?, ?, ?)", old)
    rows.commit()
    rows.close()
    store = opened(path)
    assert store.verify().damage == REORDERED
    store.close()
    rows = sqlite3.connect(path)
    rows.execute("DELETE FROM entry WHERE seq = 4")
    rows.execute("UPDATE ending SET sealed = ?", (ending,))
    rows.commit()
    rows.close()
    try:
        store = opened(path)
    except Tampered:
        return
    assert store.verify().damage == MISSING
    store.close()


def test_the_bytes_of_what_went_are_overwritten(path: Path):
    """No sealed entry that was let go of is in the files any more, once they are closed."""
    rows = sqlite3.connect(path)
    sealed = [bytes(row[0]) for row in rows.execute("SELECT sealed FROM entry WHERE seq <= 4")]
    rows.close()
    before = path.read_bytes()
    assert all(one[-16:] in before for one in sealed)
    store = opened(path)
    store.prune(4)
    store.close()
    whole = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert not any(one[-16:] in whole for one in sealed)


CUT = """
import os, signal, sys
from agent.system import store as module
from tests.system.stored import opened
store, left = opened(sys.argv[1]), [int(sys.argv[2])]
class Counted:
    def __init__(self, rows): self.rows = rows
    def __getattr__(self, name): return getattr(self.rows, name)
    def execute(self, *words):
        left[0] -= 1
        if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)
        return self.rows.execute(*words)
store._rows = Counted(store._rows)
store.prune(4)
print("done", flush=True)
"""


def test_killed_at_every_step_it_is_before_or_after(path: Path):
    """Ended before each statement in turn: all nine are there and sound, or five and the entry that says so."""
    whole, seen, step = path.read_bytes(), set(), 0
    done = False
    while not done:
        step += 1
        for one in path.parent.iterdir():
            one.unlink()
        path.write_bytes(whole)
        run = subprocess.run([sys.executable, "-c", CUT, str(path), str(step)], capture_output=True, check=False)
        done = run.stdout == b"done\n"
        assert done or run.returncode == -signal.SIGKILL, run.stderr
        store = opened(path)
        verdict = store.verify()
        assert verdict.damage == ""
        seen.add((store.gone.count, verdict.count))
        store.close()
    assert step > 6 and seen == {(0, 9), (4, 10)}


def test_twin_in_which_the_rows_go_first_is_caught(path: Path):
    """The known-bad twin: rows taken away in a step of their own, then the power: the journal is damaged."""
    meddled(path, "DELETE FROM entry WHERE seq <= 4")
    store: Store = opened(path)
    assert store.verify().damage == MISSING
    store.close()
    assert os.path.exists(path)
