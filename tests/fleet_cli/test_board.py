"""What a person sees while cards are written, and what a program reads."""

import io
import json
import threading
from pathlib import Path

import pytest
from rich.console import Console

from agent.core.errors import BadCard
from provisioning.card.progress import Progress
from provisioning.card.targets.target import Target
from provisioning.card.worker import Worker
from provisioning.cli.board import Board, bar, clock, line
from tests.card import rig

MIB = 1 << 20


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """Give a card that is half written, in a reader with a hostile name."""

    def opens() -> Target:
        raise BadCard("never opened")

    with rig.base(rig.small_image(tmp_path / "x.img"), rig.SMALL_SLOT) as base:
        made = Worker("sdb\u202e\x1b[31m", "1-4[red]", opens, base, None, threading.Event())
    ticks = iter(range(1000))
    made.progress = Progress(lambda: float(next(ticks)))
    made.progress.enter("write", 100 * MIB)
    for _ in range(5):
        made.progress.add(10 * MIB)
    made.state, made.device = "work", "d-7"
    return made


def drawn(worker: Worker) -> str:
    """Return the table as a terminal shows it."""
    to = Console(file=io.StringIO(), width=120, force_terminal=False)
    board = Board(to, lambda: [worker], lambda: "3 good, 1 not", lines=False)
    to.print(board.table())
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def test_the_table_shows_rate_and_time_left(worker: Worker):
    """Half of 100 MiB at 10 MiB/s: five seconds are left; what a device calls itself cannot hide anything."""
    text = drawn(worker)
    for told in ("1-4[red]", "sdb[31m", "d-7", "write", "50%", "10.0", "0:05", "3 good, 1 not"):
        assert told in text
    assert "\u202e" not in text and "\x1b" not in text


def test_a_card_that_only_begins_has_no_rate(worker: Worker):
    """Nothing is claimed before anything was measured."""
    worker.progress.enter("finish", 0)
    text = drawn(worker)
    assert "finish" in text and "%" not in text
    assert worker.progress.left() is None


def test_programs_get_one_object_a_line(worker: Worker, capsys: pytest.CaptureFixture[str]):
    """Each event is JSON; nothing else is written, and no bell rings."""
    board = Board(Console(file=io.StringIO()), lambda: [worker], lambda: "", lines=True)
    board.tell({"event": "done", "target": "sdb", "seconds": 1.5})
    worker.error = BadCard("sdb is bad; use another card")
    board.tell({"event": "failed", **worker.facts()})
    out = capsys.readouterr()
    assert [json.loads(one)["event"] for one in out.out.splitlines()] == ["done", "failed"]
    assert json.loads(out.out.splitlines()[1])["code"] == 31
    assert out.err == ""


def test_a_terminal_rings(worker: Worker):
    """Once for a good card, three times for one that failed: who works at a station need not look."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, _environ={"TERM": "xterm"})
    with Board(terminal, lambda: [worker], lambda: "", lines=False) as board:
        board.tell({"event": "done", "target": "sdb", "seconds": 1.5})
        board.tell({"event": "failed", "error": "sdb is bad"})
        board.show()
    assert screen.getvalue().count("\a") == 4


def test_a_log_gets_a_line_for_each_event():
    """Where there is no terminal, words."""
    assert line({"event": "done", "target": "sdb", "device": "d-7", "seconds": 61.25}) == "sdb: done, d-7, 61.2 s"
    assert line({"event": "failed", "target": "sdb", "error": "bad; use another"}) == "sdb: failed: bad; use another"
    assert line({"event": "progress", "target": "sdb", "stage": "write", "share": 0.5, "rate": 10 * MIB}).endswith(
        "write 50%, 10.0 MiB/s"
    )
    assert (clock(125.4), bar(None), "100%" in bar(1.0)) == ("2:05", "", True)
