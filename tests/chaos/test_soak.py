"""Nothing is lost while the broker is killed under the device: the short form (the device tier has the long one)."""

from pathlib import Path

from tests.chaos.soak import run
from tests.courier.rig import Site


def site_with_recipient(tmp_path: Path) -> Site:
    """Return a site whose fleet has the recipient of the telemetry."""
    site = Site(tmp_path / "site")
    site.fleet.add_recipient("home")
    return site


def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path):
    """Broker -9 every 1.5-4 s, guard -9 every 2-5 s, collector late: every reading arrives once, in order."""
    history = run(site_with_recipient(tmp_path), tmp_path / "soak", 9)
    print(history.kills, "kills", history.restarts, "restarts", history.given, "readings", history.duplicates, "again")
    assert history.kills >= 2
    assert history.restarts >= 1
    assert history.sessions >= 2
    assert history.given >= 1000
    assert (history.lost, history.doubled, history.ordered) == (0, 0, True)


def test_trusting_puback_loses(tmp_path: Path):
    """The known-bad twin: the same run, letting go on the broker's PUBACK, loses readings with the broker's memory."""
    lost: list[int] = []
    while not any(lost) and len(lost) < 4:  # whether a kill meets a reading on its way is chance
        place = tmp_path / f"twin{len(lost)}"
        place.mkdir()
        history = run(site_with_recipient(place), place / "run", 6, trusting_puback=True)
        print(history.kills, "kills", history.given, "readings", history.lost, "lost")
        assert history.kills >= 1
        lost.append(history.lost)
    assert any(lost)
