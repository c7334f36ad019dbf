"""Our writes as root against a user who swaps names on the way, as fast as he can: nothing of root's ever changes."""

import json
from collections.abc import Iterator

import pytest

from tests.device.lab import Device, Lab
from tests.device.people import become

pytestmark = pytest.mark.alone  # they want a processor each

# Of each operation, in 5 swaps of 7 operations: more than 10,000 by name, which is how it is in the units' sandbox.
ROUNDS = {"openat2": 160, "walk": 300}
FEW = 40
SWAPS = ("a", "b", "c", "link", "hardlink")
ONE_ACT = {"link", "hardlink"}  # where the last name is swapped, whatever is put in its place or removed is the name
LINK = 'import os, sys; os.link(sys.argv[1], "/home/pi/stolen")'


@pytest.fixture(scope="module")
def street(lab: Lab) -> Iterator[Device]:
    """Give a device whose homes lie in memory, with the user pi in his own."""
    with lab.device() as device:
        device.must(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/home"])
        device.must(["install", "-d", "-o", "pi", "-g", "pi", "/home/pi"])
        yield device


def raced(device: Device, who: str, what: str, rounds: int) -> dict[str, dict[str, int]]:
    """Run one race; return the tally of each operation."""
    done = device.module("tests.device.racing", who, what, str(rounds), seconds=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    tally: dict[str, dict[str, int]] = json.loads(done.stdout)
    return tally


@pytest.mark.parametrize("what", SWAPS)
@pytest.mark.parametrize("who", ["openat2", "walk"])
def test_no_escape_at_any_name_of_the_way(street: Device, who: str, what: str) -> None:
    """Every operation, every name of the path: content, mode and owner of what is outside stay as they were."""
    tally = raced(street, who, what, ROUNDS[who])
    assert len(tally) == (6 if what == "hardlink" else 7)
    print(who, what, json.dumps(tally))
    assert {name: row["escaped"] for name, row in tally.items() if row["escaped"]} == {}
    for name, row in tally.items():
        assert row["done"] + row["refused"] >= ROUNDS[who] and row["done"] > 10, (name, row)
        assert row["refused"] > 10 or (what in ONE_ACT and name in {"write", "remove"}), (name, row)
    assert sum(row["swapped"] for row in tally.values()) > 20, tally  # in the very moment of our write


@pytest.mark.parametrize("what", SWAPS)
@pytest.mark.parametrize("who", ["by-path", "no-follow"])
def test_twin_that_opens_by_path_escapes(street: Device, who: str, what: str) -> None:
    """Known bad: opening the path, also when the last name must be no link, changes what is root's in the same race."""
    tally = raced(street, who, what, FEW)
    escaped = {name for name, row in tally.items() if row["escaped"]}
    if what in ("a", "b", "c"):
        assert escaped == set(tally)
    elif (who, what) == ("no-follow", "link"):
        assert escaped == set()
    else:
        assert escaped == set(tally) - {"remove"}


def test_a_user_makes_no_hard_link_where_the_kernel_protects(street: Device) -> None:
    """With fs.protected_hardlinks a user cannot link to a file of root's at all; what is tried above is older links."""
    street.must(["install", "-m", "600", "/dev/null", "/home/secret"])
    assert street.read("/proc/sys/fs/protected_hardlinks").strip() == "1"
    done = street.run(become(street, "pi", *street.python("-c", LINK, "/home/secret")))
    assert done.returncode != 0 and b"Operation not permitted" in done.stderr


@pytest.mark.parametrize("who", ["openat2", "walk", "by-path"])
def test_the_setting_of_home_directories_follows_no_home(street: Device, who: str) -> None:
    """A home that a user swaps for a link while files.home is set and undone: what it names keeps rights and list."""
    if street.run(["id", "kid"]).returncode != 0:
        street.must(["useradd", "-M", "-d", "/home/pi/kid", "-s", "/bin/bash", "kid"])
    done = street.module("tests.device.racing_home", who, str(300 if who != "by-path" else 60), seconds=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    tally = json.loads(done.stdout)
    assert (tally["escaped"] > 0) == (tally["lists"] > 0) == (who == "by-path"), tally
    assert tally["done"] > 5 and tally["swapped"] > 5 and (tally["refused"] > 5 or who == "by-path"), tally
