"""What a reading costs when one device sends them, or ten, a hundred, a thousand: the same number in all."""

import resource
import time
from collections.abc import Callable

from provisioning.simulate.child import Child
from tests.bench.cost import Meter
from tests.bench.figures import Figures
from tests.bench.flow import on_disk
from tests.storm.apps import Apps
from tests.storm.marks import drawn
from tests.storm.site import Shape, Site

READINGS = 50_000
REQUEST = 200
SAVED = 1000  # changes of the broker's store between two times that it writes all of it
FILES = 12  # descriptors of one device
PATIENCE = 300.0


def devices(figures: Figures) -> None:
    """Print a row for each number of devices."""
    figures.heading(f"Cost of a reading, {READINGS} in all, from 1 to 1,000 devices (CPU in us, for each reading)")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1000 * FILES + 1000)), hard))
    print("  devices  readings/s  device  broker  collector  two cores, by CPU  written for each  records of")
    for count in (1, 10, 100, 1000):
        print(row(count), flush=True)


def row(count: int) -> str:
    """Let so many devices send, and tell what it cost."""
    with on_disk() as folder:
        shape = Shape(crowded=count, crowds=min(2, count), alone=0, full=0, broken=0)
        site = Site(folder, shape, drawn(), "", SAVED, far=False)
        home = str(folder / "collector")
        keeper = Child(
            "collector", site.logs / "collector", "tests.storm.keeper", str(folder / "fleet"), home, str(site.port)
        )
        apps = Apps(site.devices, "bench", site.marks, READINGS, REQUEST)
        site.broker.start()
        try:
            for child in (keeper, *site.crowds):
                child.start()
            until(lambda: all(child.ready for child in (keeper, *site.crowds)), lambda: time.sleep(0.05))
            until(lambda: connected(site) == count, lambda: time.sleep(0.2))
            return measured(site, keeper, apps)
        finally:
            keeper.close()
            apps.close()
            site.close()


def measured(site: Site, keeper: Child, apps: Apps) -> str:
    """Send all, wait until the last is let go of, and write the row."""
    pids = {"device": [pid(child) for child in site.crowds], "collector": [pid(keeper)], "broker": [site.broker.pid]}
    meter, begun = Meter(pids), time.monotonic()
    until(lambda: apps.done, lambda: apps.turn(0.05, 1e9))
    until(lambda: standing(site)["waiting"] == 0, lambda: time.sleep(0.05))
    took, used, written = time.monotonic() - begun, meter.cpu(), meter.written()["device"]
    count = apps.count("accepted")
    each = {name: seconds / count * 1e6 for name, seconds in used.items()}
    able = count / max(used["broker"], used["collector"], sum(used.values()) / 2)
    return (
        f"  {len(apps.all):>7}  {count / took:>10.0f}  {each['device']:>6.1f}  {each['broker']:>6.1f}"
        f"  {each['collector']:>9.1f}  {able:>17.0f}  {written / count:>10.0f} bytes  {min(REQUEST, apps.quota):>10}"
    )


def pid(child: Child) -> int:
    """Return its process id."""
    assert child.process is not None
    return child.process.pid


def standing(site: Site) -> dict[str, int]:
    """Ask all processes how their devices are; return the sums."""
    asked = time.monotonic()
    for child in site.crowds:
        child.tell({"standing": asked})
    until(lambda: all(child.listen().get("standing") == asked for child in site.crowds), lambda: time.sleep(0.01))
    return {name: sum(int(child.said[name]) for child in site.crowds) for name in ("waiting", "connected")}


def connected(site: Site) -> int:
    """Return how many devices the broker has let in."""
    return standing(site)["connected"]


def until(done: Callable[[], bool], turn: Callable[[], object]) -> None:
    """Turn until it is so."""
    ends = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > ends:
            raise TimeoutError("the devices did not come to an end; run it on a quieter machine")
        turn()
