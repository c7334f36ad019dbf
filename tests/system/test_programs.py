"""Running real programs: nothing inherited, bounded in time and output, nothing left behind."""

import os
import signal
import time
from pathlib import Path

import pytest

from agent.core.errors import Failed, Unreachable
from agent.system.programs import LIMIT, run


def descriptors() -> int:
    """Count our open files."""
    return len(os.listdir("/proc/self/fd"))


def running(number: int) -> bool:
    """Say whether a process runs (a dead one that nobody has reaped does not)."""
    try:
        return ") Z " not in Path("/proc/%d/stat" % number).read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def gone_soon(number: int) -> bool:
    """Wait up to ten seconds for a process to be gone."""
    deadline = time.monotonic() + 10
    while running(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not running(number)


def test_output_code_and_input() -> None:
    """Output, error output and exit code come back; input goes in."""
    outcome = run(("sh", "-c", "cat; echo wrong >&2; exit 3"), b"right\n")
    assert (outcome.code, outcome.out, outcome.err) == (3, b"right\n", b"wrong\n")


def test_only_path_and_language_are_in_the_environment() -> None:
    """No variable of ours reaches a program, and no argument is read by a shell."""
    os.environ["PRIVET_CANARY"] = "leak"
    try:
        outcome = run(("env",))
    finally:
        del os.environ["PRIVET_CANARY"]
    assert sorted(outcome.out.split()) == [b"LC_ALL=C", b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    assert run(("echo", "$HOME; id", "*")).out == b"$HOME; id *\n"


def test_no_open_file_is_inherited(tmp_path: Path) -> None:
    """Not even one that was marked to be inherited reaches a program."""
    with (tmp_path / "secret").open("wb") as secret:
        os.set_inheritable(secret.fileno(), True)
        listing = run(("ls", "-l", "/proc/self/fd")).out
    assert b"secret" not in listing and listing.count(b" -> ") <= 4


def test_works_in_the_root_with_a_known_umask() -> None:
    """Directory and umask do not depend on who started us."""
    old = os.umask(0o077)
    try:
        assert run(("sh", "-c", "pwd; umask")).out == b"/\n0022\n"
    finally:
        os.umask(old)


def test_a_killed_program_reports_its_signal() -> None:
    """A negative code is the signal."""
    assert run(("sh", "-c", "kill -9 $$")).code == -signal.SIGKILL


def test_much_in_and_much_out_at_once() -> None:
    """Both directions flow at the same time: no deadlock with more than a pipe holds."""
    content = os.urandom(3 << 20)
    assert run(("cat",), content).out == content


def test_a_program_that_does_not_listen() -> None:
    """Input that nobody reads is no error."""
    assert run(("true",), b"x" * (1 << 20)).code == 0


def test_a_program_that_closes_its_output_and_goes_on() -> None:
    """Closed output is not the end of a program, and waiting for it costs no processor time."""
    before = time.process_time()
    assert run(("sh", "-c", "exec >&- 2>&-; sleep 0.4; exit 5")).code == 5
    assert time.process_time() - before < 0.2


def test_too_slow_is_stopped_with_all_its_children() -> None:
    """A program that hangs is killed, and so is what it started; the answer is Unreachable."""
    began, held = time.monotonic(), descriptors()
    mark = "77.%d" % os.getpid()  # so that another run of this test at the same time is not taken for ours
    with pytest.raises(Unreachable, match="sh did not end within 1 seconds and was stopped;") as caught:
        run(("sh", "-c", "sleep %s & sleep %s" % (mark, mark)), seconds=1)
    assert time.monotonic() - began < 20 and caught.value.exit_code == 69
    assert descriptors() == held
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in quietly(path)]
    assert all(gone_soon(int(path.parent.name)) for path in left)


def quietly(path: Path) -> bytes:
    """Read a file of a process that may be gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_chatter_does_not_put_off_the_end() -> None:
    """A program that keeps talking is stopped in time all the same."""
    began = time.monotonic()
    with pytest.raises(Unreachable):
        run(("sh", "-c", "while :; do echo x; done"), seconds=1)
    assert time.monotonic() - began < 20


def test_too_much_is_stopped() -> None:
    """A flood is stopped at the limit; it does not fill the memory."""
    with pytest.raises(Failed, match="printed more than"):
        run(("yes",), seconds=20)
    assert len(run(("head", "-c", str(LIMIT), "/dev/zero")).out) == LIMIT


def test_a_daemon_left_behind_does_not_hold_us_up(tmp_path: Path) -> None:
    """A program that leaves a daemon with its output open has ended when it has ended; the daemon lives on."""
    note = tmp_path / "pid"
    began = time.monotonic()
    outcome = run(("sh", "-c", "setsid sleep 30 & echo $! > %s; echo started" % note), seconds=20)
    number = int(note.read_text(encoding="ascii"))
    try:
        assert outcome.out == b"started\n" and time.monotonic() - began < 15
        assert running(number)
    finally:
        os.kill(number, signal.SIGKILL)


def test_not_executable(tmp_path: Path) -> None:
    """A file that cannot be run is Unreachable, with the reason."""
    (tmp_path / "program").write_text("not executable", encoding="ascii")
    with pytest.raises(Unreachable, match="does not start: Permission denied;"):
        run((str(tmp_path / "program"),))


def test_nothing_stays_open() -> None:
    """Many runs leave no descriptor and no unreaped child."""
    held = descriptors()
    for _ in range(20):
        run(("true",))
    assert descriptors() == held
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
