"""A device's own side against the real server: slot file, key, certificate by the courier's process, a real broker."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.core import enrol
from agent.core.secret import Secret
from agent.core.seed import Seed, seed_payload
from agent.core.slot import SEED, receipt_in, whole
from agent.guard.enrolment import Enrolment
from agent.guard.pair import HOME, NEXT
from agent.guard.rules import read_anchor
from agent.guard.seeds import establish
from agent.system.real import RealSystem
from agent.system.vault import DirectVault
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.fleet.registry import Planned
from provisioning.profile.sign import sign
from tests.courier.test_process import NOBODY, Guard
from tests.fleet.enrolling import DAY, HOST, Office, Served
from tests.guard.disk_store import DiskStore
from tests.house import ROOT

POLICY = b"the policy of the image"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give a running enrolment server."""
    with Served(Office(tmp_path_factory.mktemp("office"))) as made:
        yield made


@pytest.fixture(scope="module")
def broker(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Give the fleet's broker, running."""
    fleet = served.office.fleet
    setup = Setup(fleet=fleet.name, address=HOST, port=free_port(), collectors=("one",), durable=False)
    folder = tmp_path_factory.mktemp("broker")
    with Broker(folder, setup, fleet.server([HOST, "localhost"]), fleet.client_anchors()) as made:
        yield made


class Card(RealSystem):
    """Real files beneath a directory; a clock that tests set."""

    ahead = 0

    def clock(self) -> Any:
        """Look at the clock, with what the test adds to it."""
        seen = super().clock()
        return type(seen)(wall=seen.wall + self.ahead, boot=seen.boot, uptime=seen.uptime)


class Device:
    """One device: real files, the guard's enrolment, and the courier as a process of its own."""

    def __init__(self, room: Path, served: Served, broker: Broker, one: Planned) -> None:
        self.root = room / "disk"
        self.served, self.broker, self.one = served, broker, one
        self.said: list[str] = []
        self.vault = DirectVault(Secret(b"k" * 32))
        for folder in ("boot/firmware", "etc/privet", "var/lib/privet", HOME[1:]):
            (self.root / folder).mkdir(parents=True)
        for above in (self.root / HOME[1:]).parents:  # the courier enters its home, as on a device
            if above.is_relative_to(room):
                above.chmod(0o711)
        fleet = served.office.fleet
        facts = {
            "fleet": fleet.name, "class": "base", "policy_keys": [fleet.policy_key()], "floor": int(time.time()) - DAY,
        }  # fmt: skip
        self.lay("etc/privet/fleet.cbor", cbor2.dumps(facts, canonical=True))
        self.lay("etc/privet/policy.cbor", POLICY)
        self.lay(f"{HOME[1:]}/ca.pem", fleet.trust_anchor())
        self.lay("boot/firmware/privet.slot", self.slot(one))
        self.owner = (NOBODY, NOBODY) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        for path in (self.root / HOME[1:], self.root / HOME[1:] / "ca.pem"):
            os.chown(path, *self.owner)
        self.system = Card(str(self.root))
        self.guard = Guard(room / "courier.sock")
        argv = [sys.executable, "-m", "agent.courier", "--socket", str(room / "courier.sock")]
        argv += ["--home", str(self.root / HOME[1:]), "--user", str(NOBODY)]
        self.process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.links = 0

    def slot(self, one: Planned) -> bytes:
        """Return the slot as a station writes it."""
        fleet = self.served.office.fleet
        root = x509.load_pem_x509_certificate(fleet.trust_anchor())
        made = Seed(
            device=one.device, token=Secret(one.token), enrol_host=HOST, enrol_port=self.served.port,
            broker_host=HOST, broker_port=self.broker.setup.port, floor=int(time.time()) - 60, sequence=1, serial="",
            anchor=hashlib.sha256(root.public_bytes(Encoding.DER)).digest(),
            policy=hashlib.sha256(POLICY).digest(),
        )  # fmt: skip
        return whole(SEED, sign(seed_payload(made), fleet.signing_key()))

    def lay(self, path: str, content: bytes) -> None:
        """Write a file of the image."""
        (self.root / path).write_bytes(content)

    def start(self) -> Enrolment:
        """Start the guard's part, and let the courier come."""
        establish(self.system, self.vault)
        store = self.opened()
        anchor = read_anchor(self.system)
        self.made = Enrolment(
            self.system, store, self.vault, anchor, self.owner, lambda told: self.said.append(told.outcome), self.link
        )
        self.made.begin()
        self.guard.accept()
        self.guard.until("hello")
        self.link()
        self.made.courier(lambda frame: self.guard.say(*frame))
        self.made.turn()
        return self.made

    def opened(self) -> Any:
        """Open the store."""
        return DiskStore(self.system)  # type: ignore[arg-type] # it asks for reading and writing alone

    def link(self) -> None:
        """Tell the courier where the broker is."""
        self.links += 1
        place = {"host": HOST, "port": self.broker.setup.port, "fleet": "meadow", "device": self.one.device}
        self.guard.say("link", place)

    def until(self, what: str, count: int = 1) -> list[Any]:
        """Hand over what the courier says until so many of a kind have come; return the last one."""
        seen = 0
        while True:
            assert self.guard.link is not None
            received = self.guard.link.recv(65536)
            assert received, "the courier hung up"
            for frame in self.guard.frames.feed(received):
                self.hear(frame)
                seen += frame[0] == what and (what != "state" or frame[1] == "connected")
                if seen == count:
                    return frame

    def hear(self, frame: list[Any]) -> None:
        """Take one frame of the courier."""
        self.made.message(frame[0], frame[1])
        self.made.turn()

    def close(self) -> None:
        """Switch it off."""
        self.guard.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def certificate(self, folder: str = HOME) -> x509.Certificate:
        """Return the certificate in a folder."""
        return x509.load_pem_x509_certificates((self.root / folder[1:] / "cert.pem").read_bytes())[0]

    def holds(self, secret: bytes) -> list[str]:
        """Name the files that hold a secret, raw or in hex."""
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return [str(p) for p in files if secret in p.read_bytes() or secret.hex().encode() in p.read_bytes()]


@pytest.fixture
def device(served: Served, broker: Broker) -> Iterator[Device]:
    """Give a flashed card that was never started."""
    served.serving._enrolment._failures._left.clear()
    served.office.clock.ahead = 0
    with tempfile.TemporaryDirectory(prefix="privet-card-") as room:
        made = Device(Path(room), served, broker, served.office.planned()[0])
        yield made
        made.close()


def test_from_the_slot_to_the_broker(device: Device):
    """Key on the device, time and certificate from the real server, the seed wiped, a real broker lets it in."""
    assert device.holds(device.one.token)
    enrolment = device.start()
    assert device.until("state") == ["state", "connected", ""]
    assert enrolment.act == enrol.REST and device.said == []
    assert device.holds(device.one.token) == []
    receipt = receipt_in((device.root / "boot/firmware/privet.slot").read_bytes())
    assert receipt is not None and receipt.device == device.one.device
    assert device.certificate().subject.rfc4514_string() == f"CN={device.one.device}"
    assert device.served.office.state(device.one.device) in ("claimed", "active")


@pytest.mark.parametrize("ahead", [-55 * 365 * DAY, -400 * DAY, 12 * 365 * DAY], ids=["1970", "a year ago", "2038"])
def test_with_a_wrong_clock_it_enrols_and_reaches_its_broker(device: Device, ahead: int):
    """The guard's clock is wrong by years: the signed time counts, for the certificate and for the broker."""
    device.system.ahead = ahead
    enrolment = device.start()
    assert device.until("state") == ["state", "connected", ""]
    assert abs(enrolment.times.now() - time.time()) < 60 and enrolment.act == enrol.REST


def test_two_thirds_over_it_renews_and_the_broker_sees_the_new_one(device: Device):
    """Over mutual TLS with the old certificate; the old pair stays until the broker has let in the new one."""
    enrolment = device.start()
    device.until("proven")
    first = device.certificate()
    device.until("enrolled")  # it showed its certificate to the server, too
    assert device.served.office.state(device.one.device) == "active"
    now = int(time.time())
    enrolment.pair.known = (enrolment.pair.digest(), (now - 61 * DAY, now + 29 * DAY))  # as if so much time had passed
    device.served.office.clock.ahead = 61 * DAY
    enrolment.due = 0
    enrolment.turn()
    device.until("enrolled")
    device.served.office.clock.ahead = 0
    assert device.certificate() == first and device.certificate(NEXT) != first
    follows = device.certificate(NEXT)
    device.until("proven")
    assert device.certificate() == follows and not (device.root / NEXT[1:] / "cert.pem").exists()
    assert device.links == 3 and device.said == []
    device.until("enrolled")
    states = [row.state for row in device.served.office.registry.shown(device.one.device)[1]]
    assert sorted(states) == ["revoked", "valid"]


def test_a_copied_card_gets_nothing_and_is_told(device: Device, served: Served, broker: Broker):
    """The same slot on a second card: the server shuts both out, the second says why, and keeps no certificate."""
    device.start()
    device.until("state")
    with tempfile.TemporaryDirectory(prefix="privet-copy-") as room:
        copy = Device(Path(room), served, broker, device.one)
        try:
            enrolment = copy.start()
            copy.until("enrolled", 2)
            assert "another key" in enrolment.why and len(copy.said) == 1
            assert not (copy.root / HOME[1:] / "cert.pem").exists()
        finally:
            copy.close()
    assert served.office.state(device.one.device) == "quarantined"
