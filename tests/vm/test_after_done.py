"""Once a device says that it is done, no power cut brings the factory password back."""

import time
from pathlib import Path

from agent.system import crypt
from tests.vm.cuts import CUTS, FACTORY, instants, mounted, photographs
from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.saved import MARKER, Saved

AFTER = 8.0  # processor seconds behind the mark: the kernel writes of itself what lies longer than five
WINDOW = 4.0  # seconds, within those five
COUNT = max(CUTS * 2 // 3, 4)


def marked(copy: Path) -> tuple[bool, bool]:
    """Say whether the mark stands on a disk after a cut, and whether the factory password does."""
    with mounted(copy) as place:
        there = (place / MARKER.lstrip("/")).exists()
        rows = (place / "etc/shadow").read_text(encoding="ascii").splitlines()
    return there, crypt.matches(FACTORY, next(row.split(":")[1] for row in rows if row.startswith("pi:")))


def test_no_cut_after_done_brings_it_back(held: Saved, tmp_path: Path):
    """From the instant at which the mark is there: the mark stays, and the factory password opens nothing any more."""
    disk = tmp_path / "disk"
    with held.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        assert guest.opens("pi", FACTORY)
        guest.release()
        guest.await_path(MARKER)
        found = [marked(copy) for _, copy in photographs(machine, disk, instants("after done", AFTER, COUNT))]
    back = sum(old for _, old in found)
    tell(f"after done the factory password was back in {back} of {COUNT} cuts")
    assert (sum(there for there, _ in found), back) == (COUNT, 0)


def test_twin_stock_chpasswd_brings_it_back(settled: Saved, tmp_path: Path):
    """Known bad: after chpasswd alone, which has said that all is well, most cuts of the next seconds bring it back."""
    disk, back = tmp_path / "disk", 0
    when = instants("twin after done", WINDOW, COUNT)
    with settled.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        guest.must(["systemctl", "stop", "privet-guard.service", "privet-courier.service"])
        for number, instant in enumerate(when):
            guest.must(["sh", "-c", f"echo pi:{FACTORY} | chpasswd && sync"])
            guest.must(["chpasswd"], b"pi:of-the-owner-0815\n")
            time.sleep(instant)  # when the power goes
            copy = Path(f"{disk}.{number}")
            machine.freeze(disk, copy)
            back += marked(copy)[1]
    tell(f"after stock chpasswd the factory password was back in {back} of {COUNT} cuts within {WINDOW:.0f} s")
    assert back * 2 > COUNT
