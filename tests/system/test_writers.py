"""Who wrote where is remembered for a minute, and by directory."""

import os
from pathlib import Path

from agent.system.writers import RECENT, Writers


def test_who_wrote_is_remembered_for_a_minute(tmp_path: Path) -> None:
    """Named where they wrote and nowhere else; later it says nothing about what is found changed then."""
    at = [1000.0]
    writers = Writers(-1, lambda: at[0])
    writers.note(os.open(tmp_path / "x", os.O_CREAT | os.O_WRONLY), 1)
    (name,) = writers.names([f"{tmp_path}/"])
    assert name.endswith("(process 1)")
    assert writers.names([str(tmp_path.parent)]) == ()
    at[0] += RECENT
    assert writers.names([str(tmp_path)]) == (name,)
    at[0] += 1
    assert writers.names([str(tmp_path)]) == ()


def test_what_we_write_ourselves_is_nobody_elses(tmp_path: Path) -> None:
    """Our own process, and the kernel's number for one that is not ours to see, are no names."""
    writers = Writers(-1)
    for pid in (0, os.getpid()):
        writers.note(os.open(tmp_path / "x", os.O_CREAT | os.O_WRONLY), pid)
    assert writers.names([str(tmp_path)]) == ()
