"""Every time that the owner reads is in the zone of the device, with its name; machines get UTC."""

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.channels import motd, syslog, terminal
from agent.core.clock import Clock
from agent.guard import words
from agent.system.moments import local, moment, since_1970
from tests.guard.conftest import Kept

MIDNIGHT = Clock(wall=1_767_225_600, boot=1, uptime=60)  # 2026-01-01 00:00 UTC


@pytest.fixture
def zone() -> Iterator[str]:
    """Live five hours east of Greenwich for a test."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "HOME-5"
    yield "HOME"
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


def test_at_login_times_are_those_of_the_device(kept: Kept, zone: str) -> None:
    """In the greeting the warning's own time and those in its sentences are of the zone of the device, by its name."""
    kept.turn()
    kept.loosen("ssh.password", "yes", 7200)
    said = kept.system.read(motd.PATH).decode()
    assert "UTC" not in said
    now = kept.house.books.warnings[-1].since
    assert f"* {moment(now)}  " in said
    assert f"until {moment(kept.house.books.waivers[0].until)} at the latest" in said
    assert f" {zone}" in moment(now)
    assert time.strftime("%H:%M", time.gmtime(now)) != moment(now)[11:16]
    # What machines read stays as it was: in UTC, and said to be.
    (open_one,) = [row for row in kept.ask("status")["warnings"] if row["open"]]
    assert " UTC at the latest" in open_one["text"]


def test_at_a_terminal_as_well(kept: Kept, zone: str) -> None:
    """Who is signed in reads local times; the log, which other tools pick up, says UTC."""
    said: list[tuple[tuple[str, ...], bytes]] = []

    class Heard:
        """A device that hears its programs."""

        def run(self, argv: tuple[str, ...], stdin: bytes, seconds: int = 5) -> None:
            """Take what a program is given."""
            said.append((argv, stdin))

    kept.turn()
    kept.loosen("ssh.password", "yes", 7200)
    warning = kept.house.books.warnings[-1]

    def post(purpose: str, name: str, text: str) -> bool:
        return False

    for channel in (terminal, syslog):
        channel.deliver(Heard(), post, warning)  # type: ignore[arg-type]
    (first, at_terminal), (second, in_log) = said
    assert (first[0], second[0]) == ("wall", "logger")
    assert zone.encode() in at_terminal and b"UTC" not in at_terminal
    assert b" UTC at the latest" in in_log


def test_on_trial_the_hour_has_its_zone(zone: str) -> None:
    """The owner has minutes to confirm: by whose clock is said."""
    assert "undone at 05:11 HOME (in 10 minutes)" in words.terms(600, Clock(wall=MIDNIGHT.wall + 60, boot=1, uptime=60))
    assert zone == "HOME"


def test_only_times_are_rewritten(zone: str) -> None:
    """A sentence keeps all else that it says; a time without its zone is nobody's to shift."""
    assert (
        local("at 2026-01-01 00:00 UTC, or 2026-01-01 00:00; UTC")
        == f"at {moment(MIDNIGHT.wall)}, or 2026-01-01 00:00; UTC"
    )
    assert moment(MIDNIGHT.wall) == f"2026-01-01 05:00 {zone}"


@given(st.integers(0, 430 * 366 * 24 * 60))
def test_times_are_reckoned_as_the_calendar_has_them(minutes: int) -> None:
    """Every minute of centuries, leap days and all, is the second that the C library says."""
    assert since_1970(*time.gmtime(minutes * 60)[:5]) == minutes * 60
