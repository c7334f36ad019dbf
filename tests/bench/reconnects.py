"""A thousand links after their broker was killed: all back when, how many in one second; beside links that hurry."""

import tempfile
from pathlib import Path

from agent.courier.link import PACE, Pace
from provisioning.simulate.links import Back, Links
from provisioning.simulate.stage import HOST, Stage
from tests.bench.figures import Figures

LINKS = 1000
AWAY = 10.0  # seconds of the longer outage: growing delays would crowd after one like it
BACK, CROWDING = 60.0, 2.0  # the budget: seconds until the last, and how often the mean the fullest second
PATIENCE = 900.0  # others may use this machine
AT_ONCE = Pace(keepalive=PACE.keepalive, slack=PACE.slack, first=0, most=0)


def reconnects(figures: Figures) -> None:
    """Measure how the agent's own links come back, and how links without a moment of their own do."""
    figures.heading(f"{LINKS:,} links, one certificate each, after their broker (mosquitto) was killed")
    with tempfile.TemporaryDirectory(prefix="privet-bench-") as folder:
        stage = Stage.build(Path(folder), "reconnects")
        stage.broker.start()
        try:
            ours, longer = outages(stage, Path(folder) / "ours", PACE, (0.0, AWAY))
            (twin,) = outages(stage, Path(folder) / "twin", AT_ONCE, (0.0,))
        finally:
            stage.close()
    told(figures, "restarted at once", ours)
    told(figures, f"away for {AWAY:g} s", longer)
    print(f"  beside: links that try again at once, {twin.peak} in the fullest second, {twin.failed:,} tries in vain")


def outages(stage: Stage, folder: Path, pace: Pace, lengths: tuple[float, ...]) -> list[Back]:
    """Let a crowd connect, take its broker away once for each length, and return how it came back each time."""
    crowd = Links(stage.fleet, folder, (HOST, stage.port), LINKS, pace)
    found = []
    try:
        crowd.gather(PATIENCE)
        for away in lengths:
            found.append(crowd.outage(stage.broker, away, PATIENCE))
    finally:
        crowd.close()
    return found


def told(figures: Figures, what: str, back: Back) -> None:
    """Print the figures of one outage."""
    figures.line(f"{what}: back", back.links, "links", LINKS, more=True)
    figures.line(f"{what}: the last after", back.seconds, "s", BACK, beside=f"{back.failed:,} tries in vain")
    beside = f"{back.peak} in the fullest second, {back.mean:g} in the mean"
    figures.line(f"{what}: the fullest second", back.crowding, "x mean", CROWDING, beside=beside)
