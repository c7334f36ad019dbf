"""A guard that is started on a disk which is read-only already: it comes up, keeps what is live private, says so."""

from pathlib import Path

import pytest

from agent.core.clock import Clock
from agent.core.errors import Unreadable
from agent.core.secret import Secret
from agent.guard.late import AGAIN
from agent.system.copied import open_copied
from agent.system.store import Store
from agent.system.vault import DirectVault
from tests.guard.conftest import Kept
from tests.guard.test_full_disk import DMESG, TITLE, entries, free, loosen_live, shown


def shut(store: Store) -> None:
    """Let the state take nothing, as on a disk that is read-only."""
    store._rows.execute("PRAGMA query_only=1")
    with pytest.raises(Unreadable, match="read-only"):
        store.append("filling", {})


def read_only_start(kept: Kept) -> None:
    """Start the device anew with a disk that is read-only from the beginning."""
    kept.stop()
    kept.system.reboot()
    kept.system.disk.read_only = True
    kept.opened = shut
    kept.start()


def test_it_comes_up_and_keeps_what_is_live_private(kept: Kept) -> None:
    """What is loosened live is set back and told; the owner is told once of the disk; it is all written later."""
    before = kept.house.system.boot
    read_only_start(kept)
    assert kept.house.system.boot == before + 1
    assert TITLE in shown(kept)
    loosen_live(kept)
    kept.ask("enforce")
    assert kept.system.read(DMESG) == b"1\n" and kept.status("kernel.dmesg") == "ok"
    for _ in range(3):
        kept.system.tick(AGAIN + 1)
        kept.turn()
    assert len([w for w in kept.warnings("failed") if w.title.startswith(TITLE)]) == 1
    free(kept)
    assert kept.house.store.get("boot") == before + 1
    assert [e["version"] for e in entries(kept, "started")][-1]
    assert entries(kept, "late")[0]["lost"] == 0
    kept.opened = lambda _store: None
    kept.reboot()
    assert kept.house.system.boot == before + 2


def test_it_comes_up_without_any_memory_too(kept: Kept) -> None:
    """Read-only, and the state gone: it takes the policy it was flashed with, stays shut in, and guards."""
    kept.stop()
    (kept.folder / "state.db").unlink()
    read_only_start(kept)
    assert kept.house.shut_in and kept.house.rules.policy is not None
    loosen_live(kept)
    kept.ask("enforce")
    assert kept.system.read(DMESG) == b"1\n"
    assert "could not be finished" in shown(kept)


class Gone:
    """A disk that takes nothing until it is told to: the state cannot be opened for changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shut = True

    def real(self) -> Store:
        """Open the real state."""
        if self.shut:
            raise Unreadable("the disk is read-only")
        return opened(self.path)


def opened(path: Path | str) -> Store:
    """Open a state."""
    return Store(str(path), DirectVault(Secret(b"k" * 32)), lambda: Clock(wall=1, boot=1, uptime=1))


def test_a_copy_has_what_waits_in_the_log_and_the_real_one_gets_what_comes_later(tmp_path: Path) -> None:
    """The log of a guard that was killed counts; changes are refused, then go to the disk; no copy is left."""
    path, copy = tmp_path / "state.db", tmp_path / "copy.db"
    before = opened(path)
    before.put({"a": 1}, [("one", {})])
    for tail in ("", "-wal"):
        (tmp_path / f"cut.db{tail}").write_bytes(Path(f"{path}{tail}").read_bytes())
    assert (tmp_path / "cut.db-wal").stat().st_size > 0
    disk = Gone(tmp_path / "cut.db")
    store, wrong = open_copied(str(disk.path), opened, disk.real, str(copy))
    assert (store.get("a"), store.head.count, wrong, store.fresh) == (1, 1, "", False)
    with pytest.raises(Unreadable):
        store.put({"a": 2})
    assert store.get("a") == 1 and copy.exists()
    disk.shut = False
    store.put({"a": 2}, [("two", {})])
    assert [e.kind for e in store.entries()] == ["one", "two"]
    store.close()
    again = opened(disk.path)
    assert again.get("a") == 2 and not list(tmp_path.glob("copy.db*"))
    again.close()
    before.close()


def test_a_damaged_copy_remembers_nothing(tmp_path: Path) -> None:
    """Damage on a disk that takes nothing: told, and begun as if nothing was ever allowed."""
    path = tmp_path / "state.db"
    path.write_bytes(b"rubbish" * 1000)
    store, wrong = open_copied(str(path), opened, Gone(path).real, str(tmp_path / "copy.db"))
    assert "damaged" in wrong and store.get("waivers") is None and store.fresh
    store.close()
