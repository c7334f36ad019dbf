"""Nothing is lost while the broker is killed under the device: the minute-long form."""

from pathlib import Path

from tests.chaos.soak import run
from tests.chaos.test_soak import site_with_recipient


def test_a_minute_of_kills_loses_nothing(tmp_path: Path):
    """60 s, broker -9 every 1.5-4 s, guard -9 every 2-5 s, collector late: 0 lost, 0 doubled, order kept."""
    history = run(site_with_recipient(tmp_path), tmp_path / "soak", 60)
    print(history.kills, "kills", history.restarts, "restarts", history.given, "readings", history.duplicates, "again")
    assert history.kills >= 15
    assert history.restarts >= 12
    assert history.sessions >= 10
    assert history.given >= 5000
    assert (history.lost, history.doubled, history.ordered) == (0, 0, True)


def test_trusting_puback_loses(tmp_path: Path):
    """The known-bad twin: letting go on PUBACK, a part of the readings is gone for good."""
    history = run(site_with_recipient(tmp_path), tmp_path / "twin", 15, trusting_puback=True)
    print(history.kills, "kills", history.given, "readings", history.lost, "lost")
    assert history.kills >= 3
    assert history.lost >= 50
