"""Many collectors of one recipient, as processes of their own: they share the messages and one store."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from agent.core.errors import Refused
from provisioning.broker import nats
from provisioning.broker.child import Setup, free_port
from provisioning.broker.mosquitto import Broker
from provisioning.collector import asking
from provisioning.collector.store import Store
from provisioning.profile.issue import add_recipient
from tests.courier.rig import FLEET, Site
from tests.fleet.site.engines import site_for_all
from tests.fleet.site.postgres import Postgres
from tests.fleet.site.sending import Device, crowd, drained
from tests.house import ROOT

PROGRAM = str(Path(sys.executable).with_name("privet-fleet"))
WORKERS = 4
NAMES = tuple(f"d{n:02}" for n in range(12))
RECORDS = 80  # of each device


@pytest.fixture
def site() -> Iterator[Site]:
    """Give a fleet with a recipient."""
    made, held = site_for_all()
    add_recipient(made.fleet, "one")
    yield made
    held.cleanup()


@pytest.fixture(params=["postgresql", "sqlite"])
def place(request: pytest.FixtureRequest, site: Site) -> Iterator[Path | str]:
    """Give an empty store, and so each kind of them."""
    if request.param == "sqlite":
        yield site.directory / "store.db"
        return
    with Postgres(durable=True) as server:
        yield server.fresh()


class Workers:
    """So many `privet-fleet collect --worker N`, each of which has come to receive."""

    def __init__(self, site: Site, port: int, place: Path | str) -> None:
        folder = str(site.fleet.safe.directory)
        words = ["collect", "--fleet", folder, "--recipient", "one", "--host", "127.0.0.1", "--port", str(port)]
        words += ["--store", str(place)]
        self.processes = [
            subprocess.Popen(
                [PROGRAM, *words, "--store", str(place), "--worker", str(n)],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
            )
            for n in range(1, WORKERS + 1)
        ]
        for one in self.processes:
            assert one.stderr is not None
            assert "receiving" in one.stderr.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for one in self.processes:
            one.kill()
            one.communicate()

    def kill(self) -> None:
        """End the first as a power cut would."""
        self.processes[0].send_signal(signal.SIGKILL)
        assert self.processes[0].wait(10) == -signal.SIGKILL

    def end(self) -> None:
        """End those that are left; none of them may have ended before."""
        for one in self.processes[1:]:
            assert one.poll() is None
            one.send_signal(signal.SIGINT)
        for one in self.processes[1:]:
            said = one.communicate(timeout=30)[1]
            assert (one.returncode, said) == (0, "")


def judge(store: Store, devices: list[Device]) -> Callable[[], None]:
    """Return what looks at each new acknowledgement: what it lets go of is in the store, without a hole."""
    looked = dict.fromkeys((one.sender.device for one in devices), 0)

    def look() -> None:
        for one in devices:
            for seq in one.acks[looked[one.sender.device] :]:
                assert store._number(asking.KEPT, one.place, ends=seq) == seq
            looked[one.sender.device] = len(one.acks)

    return look


def test_one_of_four_is_killed_in_the_middle(site: Site, place: Path | str):
    """Nothing is lost, nothing is there twice, and no acknowledgement passes over what is not there."""
    names = ("one", *(f"one-{n}" for n in range(1, WORKERS + 1)))
    setup = Setup(fleet=FLEET, address="127.0.0.1", port=free_port(), collectors=names, durable=True)
    credential = site.fleet.server(["localhost", "127.0.0.1"])
    store = Store(place)
    with Broker(site.directory / "mosquitto", setup, credential, site.fleet.client_anchors()):
        devices = crowd(site, NAMES, [setup.port], RECORDS)
        look = judge(store, devices)
        killed: list[int] = []
        with Workers(site, setup.port, place) as workers:

            def meanwhile() -> None:
                look()
                if not killed and store.last() > len(NAMES) * RECORDS // 3:
                    workers.kill()
                    killed.append(store.last())

            whole = drained(devices, meanwhile, 60)
            for one in devices:
                one.link.close()
            assert whole, [(one.released, one.link.connected, one.acks[-3:]) for one in devices]
            workers.end()
    assert killed
    assert killed[0] < len(NAMES) * RECORDS  # it was in the middle
    rows = [(one.place.device, one.seq) for one in store.records(kind=None)]
    assert len(rows) == len(set(rows)) == len(NAMES) * (RECORDS + 1)
    store.close()


def test_a_broker_that_shares_nothing_is_refused(site: Site):
    """A worker at an engine without shared subscriptions ends with a sentence: it would hear nothing."""
    setup = Setup(fleet=FLEET, address="127.0.0.1", port=free_port(), collectors=("one-1",), durable=True)
    credential = site.fleet.server(["127.0.0.1"])
    with nats.Broker(site.directory / "nats", setup, credential, site.fleet.client_anchors(), ()):
        words = ["collect", "--fleet", str(site.fleet.safe.directory), "--recipient", "one", "--worker", "1"]
        words += ["--host", setup.address, "--port", str(setup.port), "--seconds", "20"]
        done = subprocess.run([PROGRAM, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "cannot share" in done.stderr
    assert done.returncode == Refused.exit_code
