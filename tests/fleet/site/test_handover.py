"""A device changes hands at a real server and a real mosquitto: what the former owner had is tried, and is dead."""

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.core import enrol
from agent.core.cose import split_sign1
from agent.core.secret import Secret
from agent.guard import glass
from agent.guard.books import Books
from agent.guard.callers import Caller
from agent.guard.deletions import Deletions
from agent.guard.enrolment import Enrolment
from agent.guard.erasure import Erasure
from agent.guard.guard import Guard
from agent.guard.handover import WHAT, Handover
from agent.guard.late import LateStore
from agent.guard.pair import HOME
from agent.guard.rules import Rules, read_anchor
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import DirectVault
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.broker.watch import Watch
from provisioning.fleet import handover
from provisioning.fleet.registry import Planned
from provisioning.fleet.revocation import crl
from tests.broker.party import let_in
from tests.fleet.enrolling import HOST, KIND, Office, Served, login, request
from tests.fleet.test_device import Device as Enrolling

OWNER = Caller(name="anna", role="owner")
CONSENT = {"purpose": "comfort", "recipient": "home", "state": "given", "notice": "00", "at": 1, "by": "anna"}
LEAVE = {
    "setting": "ssh.password_login", "ceiling": "yes", "context": "", "by": "anna", "role": "owner",
    "reason": "a visit", "since": 1, "until": 1 << 40, "left": 1 << 20, "boot": 0, "uptime": 0,
}  # fmt: skip
KEPT_KEY = "/var/lib/privet/keys/state.key"


class Device(Enrolling):
    """One device with its real store, that can be erased and started again as its guard does it."""

    def opened(self) -> Any:
        """Open the real store, of this start's key; what is carried over an erasure goes into it."""
        key = self.root / KEPT_KEY[1:]
        if not key.exists():
            key.parent.mkdir(exist_ok=True)
            key.write_bytes(os.urandom(32))
        self.vault = DirectVault(Secret(key.read_bytes()))
        self.store = Store(str(self.root / "var/lib/privet/state.db"), self.vault, self.system.clock)
        glass.resume(self.system, self.store)
        return self.store

    def start(self) -> Enrolment:
        """Start the guard's part: what an erasure left to do, then the enrolment and the handing over."""
        glass.start_over(self.system, self.opened)
        made = super().start()
        self.handover = Handover(made, lambda told: self.said.append(told.outcome))
        self.handover.courier(lambda frame: self.guard.say(*frame))
        self.handover.turn()
        return made

    def hear(self, frame: list[Any]) -> None:
        """Take one frame of the courier."""
        if frame[0] == "enrolled" and frame[1]["what"] == WHAT:
            self.handover.heard(frame[1])
        else:
            super().hear(frame)
        self.handover.turn()

    def erase(self) -> bytes:
        """Do what `privet erase --all` asks of the guard; return the receipt."""
        late, anchor = LateStore(self.store, self.system), read_anchor(self.system)
        rules = Rules(late, self.vault, {}, anchor)
        guard = Guard(self.system, Books(late), late, rules, {}, lambda *_: None)
        place = (anchor.identity.fleet, anchor.identity.device)
        deletions = Deletions(self.system, late, self.vault, place, lambda *_: None)
        act = Erasure(guard, self.vault, deletions, self.handover.look).erase
        shown = act(OWNER, {})
        return bytes.fromhex(act(OWNER, {"seen": shown["seen"]})["receipt"])

    def again(self) -> Enrolment:
        """Start the device once more."""
        assert self.guard.link is not None
        self.store.close()
        self.guard.link.close()
        self.system = type(self.system)(str(self.root))
        return self.start()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Give a running enrolment server."""
    with Served(Office(tmp_path)) as made:
        yield made


@pytest.fixture
def watch(served: Served, tmp_path: Path) -> Iterator[Watch]:
    """Give the fleet's broker, running, with somebody who sees to the revoked."""
    fleet = served.office.fleet
    setup = Setup(fleet=fleet.name, address=HOST, port=free_port(), collectors=("one",), durable=True)
    crls, begins = crl(fleet)
    tmp_path.chmod(0o711)
    with Broker(tmp_path / "broker", setup, fleet.server([HOST, "localhost"]), fleet.client_anchors(), crls) as made:
        yield Watch(fleet, made, HOST, begins)


@pytest.fixture
def device(served: Served, watch: Watch) -> Iterator[Device]:
    """Give a device in use: enrolled, at its broker, with a consent and a leave of its owner."""
    with tempfile.TemporaryDirectory(prefix="privet-hands-") as room:
        made = Device(Path(room), served, watch.broker, served.office.planned()[0])
        made.start()
        made.until("state")
        made.store.put({"consents": [CONSENT], "waivers": [LEAVE]})
        yield made
        made.close()


def stolen(device: Device, to: Path) -> Path:
    """Copy what a former owner can copy before they give a device away."""
    shutil.copytree(device.root / HOME[1:], to)
    return to


def test_from_one_owner_to_the_next(device: Device, served: Served, watch: Watch, tmp_path: Path):
    """Receipt by the link, session ended, certificate, token and consents dead; the voucher lets the next one in."""
    office, one = served.office, device.one
    copy, before = stolen(device, tmp_path / "copy"), device.certificate()
    assert let_in(watch.broker, copy), "the known bad: until it is given away, a copy of the card comes in"
    office.registry.transfer(one.device, "ada")
    receipt = device.erase()
    assert not (device.root / HOME[1:] / "key.pem").exists(), "the key is gone before anything was sent"
    device.handover.turn()
    device.until("enrolled")
    assert office.state(one.device) == "reset" and office.registry.shown(one.device)[0].receipt == receipt
    watch.turn()
    assert not let_in(watch.broker, copy)
    assert served.ask("GET", "cacerts", home=copy)[0] == 200, "who asks for what is public is nobody special"
    old = load_pem_private_key((copy / "key.pem").read_bytes(), None)
    asked = base64.b64encode(request(old))  # type: ignore[arg-type]
    assert served.ask("POST", "simplereenroll", asked, KIND, copy)[0] == 403
    assert served.ask("POST", "simpleenroll", asked, {**login(one), **KIND})[0] == 403
    device.again()
    assert device.store.get("consents") is None and device.store.get("waivers") is None
    device.until("state")
    assert device.certificate().public_key() != before.public_key() and device.said == []
    assert office.state(one.device) in ("claimed", "active")
    assert device.store.get("handover") is None, "the token was used, and is gone"
    assert device.made.act == enrol.REST
    assert not let_in(watch.broker, copy) and let_in(watch.broker, device.root / HOME[1:])
    assert office.registry.verify() >= 1
    events = [row.event for row in office.registry.shown(one.device)[2]]
    assert [name for name in events if name in ("transfer", "erased", "vouched", "claimed")] == [
        "claimed", "transfer", "erased", "vouched", "claimed",
    ]  # fmt: skip


def test_no_link_at_the_time_it_was_erased(device: Device, served: Served, watch: Watch):
    """Started again before anything could be sent: the receipt waits in the new store, and goes when a link is there.

    The operator had not begun it: the old certificate ends all the same, and the voucher comes after their word.
    """
    office, one = served.office, device.one
    device.handover.courier(None)
    device.erase()
    device.again()
    device.until("enrolled")
    assert office.state(one.device) == "reset" and not (device.root / HOME[1:] / "key.pem").exists()
    assert "has not let the next owner claim it" in device.handover.why and "waits for the fleet" in device.made.why
    office.registry.transfer(one.device, "ada")
    device.handover.due = 0
    device.handover.turn()
    device.until("state")
    assert office.state(one.device) in ("claimed", "active") and device.said == []


@pytest.mark.parametrize("kind", ["another device", "forged", "earlier", "ended", "no voucher"])
def test_vouchers_that_do_nothing(device: Device, served: Served, kind: str):
    """The device keeps none of them, tells its owner one sentence, and asks again later."""
    office, fleet = served.office, served.office.fleet
    office.registry.transfer(device.one.device, "ada")
    device.handover.courier(None)
    receipt = device.erase()
    device.again()
    device.handover.pending, device.handover.tell = True, None  # the answer below comes before the server's
    facts = cbor2.loads(split_sign1(receipt, 4096, -7).payload)[1]
    name, token = device.one.device, facts["token"]
    until, words = 1 << 32, "is for another device"
    if kind == "another device":
        name = "d-other"
    elif kind == "earlier":
        token, words = bytes(32), "earlier handing over"
    elif kind == "ended":
        until, words = 1, "ended before it was used"
    signed = handover.voucher(fleet, name, token, receipt, until)
    if kind == "forged":
        signed, words = signed[:-1] + bytes([signed[-1] ^ 1]), "not signed by this device's fleet"
    elif kind == "no voucher":
        signed, words = b"x", "not signed by this device's fleet"
    answer = {"what": WHAT, "outcome": "granted", "body": signed, "why": "", "wait": 0, "begins": 0, "ends": 0}
    device.handover.heard(answer)
    assert len(device.said) == 1 and words in device.said[0] and "\n" not in device.said[0]
    assert not device.store.get("handover")["voucher"] and device.handover.waiting()


def test_by_file_where_there_is_no_link(device: Device, served: Served):
    """The receipt carried by hand, a seed written: the next owner's start uses the seed, and the receipt ends there."""
    office, one = served.office, device.one
    office.registry.transfer(one.device, "ada")
    device.handover.courier(None)
    seed: Planned = office.registry.erased(one.device, device.erase())
    device.lay("boot/firmware/privet.slot", device.slot(seed))
    device.again()
    device.until("state")
    assert office.state(one.device) in ("claimed", "active") and device.said == []
    device.handover.due = 0
    device.handover.turn()
    assert device.store.get("handover") is None and not device.handover.waiting()


def test_a_card_without_a_receipt_stays_silent(served: Served, watch: Watch):
    """The known bad: a device that was never erased hands nothing in, whatever link it has."""
    with tempfile.TemporaryDirectory(prefix="privet-hands-") as room:
        made = Device(Path(room), served, watch.broker, served.office.planned()[0])
        try:
            made.start()
            made.until("state")
            assert not made.handover.waiting() and isinstance(made.system, RealSystem)
        finally:
            made.close()
    assert served.office.state(made.one.device) in ("claimed", "active")
