"""What is said when the guard is busy, hangs, or is not there."""

import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.call import BUSY, asked
from agent.core.errors import Unreachable
from tests.house import ROOT

ASK = "import sys; from agent.cli.call import asked; print(asked(sys.argv[1], {}, 60, 0.05))"


def test_a_guard_that_does_not_answer_is_told_from_one_that_is_not_there(tmp_path: Path):
    """Nobody is asked to start what runs: a guard that hangs, or is asked by too many, is there."""
    path = str(tmp_path / "control.sock")
    with pytest.raises(Unreachable, match="start it"):
        asked(path, {})
    with socket.socket(socket.AF_UNIX) as guard:
        guard.bind(path)
        guard.listen(0)
        with pytest.raises(Unreachable, match="is there and did not answer within"):
            asked(path, {}, 0.05)
        with pytest.raises(Unreachable, match="is there"):
            asked(path, {}, 0.05)  # nobody took the first one, and there is no room for a second
    with pytest.raises(Unreachable, match="start it"):
        asked(path, {})


def test_a_person_at_a_terminal_is_told_why_they_wait(tmp_path: Path):
    """While the guard looks at everything, whoever asks sees that it works; its answer comes all the same."""
    path = str(tmp_path / "control.sock")
    screen, back = pty.openpty()
    with socket.socket(socket.AF_UNIX) as guard:
        guard.bind(path)
        guard.listen(1)
        with subprocess.Popen(
            [sys.executable, "-c", ASK, path], cwd=ROOT, stdout=subprocess.PIPE, stderr=back
        ) as person:
            os.close(back)
            with guard.accept()[0] as asking:
                told = b""
                while BUSY.encode() not in told:
                    told += os.read(screen, 1000)
                asking.sendall(b'{"ok": true}\n')
            assert person.communicate()[0] == b"{'ok': True}\n"
    os.close(screen)
