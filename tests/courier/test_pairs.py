"""Which certificate the broker is shown, and by which time its own is judged: against a real mosquitto."""

import hashlib
import shutil
import time
from pathlib import Path

import pytest

from agent.courier.link import Link
from agent.courier.pairs import NEXT, Pairs
from agent.courier.session import Place
from provisioning.broker.mosquitto import Broker
from provisioning.fleet.safe import whole_file
from tests.courier.rig import FLEET, QUICK, Remembering, Site, drive

YEARS = 30 * 366 * 86400


def linked(pairs: Pairs, broker: Broker, until: str) -> tuple[Remembering, Link]:
    """Run a link of a device called paired until it has said something."""
    listener = Remembering()
    place = Place(host="127.0.0.1", port=broker.setup.port, fleet=FLEET, device="paired")
    link = Link(place, pairs.trusted, listener, QUICK)
    assert drive([link], lambda: any(word == until for word, _ in listener.states), 20), listener.states
    return listener, link


@pytest.fixture
def pairs(site: Site, tmp_path: Path) -> Pairs:
    """The home of a device, copied so that a test may change it."""
    shutil.copytree(site.device("paired"), tmp_path / "home")
    return Pairs(tmp_path / "home")


@pytest.mark.parametrize(("ahead", "said"), [(YEARS, "has expired"), (-YEARS, "is not valid yet")])
def test_the_given_time_judges_the_broker(pairs: Pairs, broker: Broker, ahead: int, said: str):
    """A certificate that is not in force at the guard's time is refused, whatever this machine's clock says."""
    pairs.clock(int(time.time()) + ahead)
    listener, link = linked(pairs, broker, "offline")
    assert said in listener.states[0][1] and link.faults == 0
    pairs.clock(int(time.time()))
    assert drive([link], lambda: ("connected", "") in listener.states, 20)
    link.close()


def test_the_clock_of_the_device_judges_when_no_time_is_given(pairs: Pairs, broker: Broker):
    """Without a time OpenSSL's own check is on."""
    pairs.clock(1)
    pairs.clock(0)
    _, link = linked(pairs, broker, "connected")
    link.close()


def test_a_renewed_pair_is_shown_first_and_the_old_one_after_a_failure(
    pairs: Pairs, site: Site, broker: Broker, tmp_path: Path
):
    """A next certificate the broker does not take costs nothing: the old one connects; a good one is shown and told."""
    stranger = Site(tmp_path / "other").device("paired")
    old = hashlib.sha256((pairs.home / "cert.pem").read_bytes()).digest()
    (pairs.home / NEXT).mkdir(mode=0o700)
    for name in ("cert.pem", "key.pem"):
        whole_file(pairs.home / NEXT / name, (stranger / name).read_bytes())
    listener, link = linked(pairs, broker, "connected")
    assert listener.states[0][0] == "offline" and pairs.proven() == old
    link.close()
    good = site.device("paired")
    for name in ("cert.pem", "key.pem"):
        whole_file(pairs.home / NEXT / name, (good / name).read_bytes())
    pairs.tries = 0
    listener, link = linked(pairs, broker, "connected")
    assert listener.states == [("connected", "")]
    assert pairs.proven() == hashlib.sha256((good / "cert.pem").read_bytes()).digest()
    link.close()
