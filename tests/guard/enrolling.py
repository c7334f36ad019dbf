"""A flashed card on a simulated device, and the fleet's enrolment desk in memory: no network, so every cut is quick."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.core.errors import PrivetError
from agent.core.secret import Secret
from agent.core.seed import Seed, seed_payload
from agent.core.slot import SEED, halves, receipt_in, whole
from agent.guard.enrolment import Enrolment
from agent.guard.pair import HOME
from agent.guard.rules import read_anchor
from agent.guard.seeds import FLEET, establish
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.programs import mount
from agent.system.simulated.volume import attach
from agent.system.vault import DirectVault, NewIdentity
from provisioning.fleet.identity import Fleet
from provisioning.profile.sign import sign
from tests.guard.boots import stream
from tests.guard.disk_store import DiskStore

PLACE, RAW = "/boot/firmware", "/dev/mmcblk0p1"
SLOT = f"{PLACE}/privet.slot"
TOKEN = bytes(range(100, 132))
POLICY = b"the policy of the image"
DAYS = 90
DAY = 86400
NOW = int(time.time())
OWNER = (990, 990)
DONE: dict[Any, Any] = {}  # what came of chance, by what it was for
DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM


class Desk:
    """The fleet's enrolment server without a network; it outlives every cut of the device."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.root = x509.load_pem_x509_certificate(fleet.trust_anchor())
        self.tokens: dict[bytes, str] = {}  # sha256 of a token: device
        self.bound: dict[bytes, tuple[bytes, bytes]] = {}
        self.alarms = 0
        self.keys = 0  # made by the devices that enrol here
        self.asked: list[str] = []
        self.time = NOW
        self.signs = True  # its time
        self.shut = ""  # an outcome other than the right one
        self.days = DAYS
        self.shown = (NOW - DAY, NOW + 30 * DAY)  # life of its own certificate
        self.answers: dict[str, Any] = {}  # what is to be put over an answer

    def seed(self, device: str = "d1", token: bytes = TOKEN, **changes: Any) -> bytes:
        """Return a slot with a seed in it, and let its token enrol once."""
        self.tokens[hashlib.sha256(token).digest()] = device
        fields = {
            "device": device, "token": Secret(token), "enrol_host": "enrol.test", "enrol_port": 8443,
            "broker_host": "broker.test", "broker_port": 8883, "floor": NOW - DAY, "sequence": 1, "serial": "",
            "anchor": hashlib.sha256(self.root.public_bytes(DER)).digest(),
            "policy": hashlib.sha256(POLICY).digest(), **changes,
        }  # fmt: skip
        return whole(SEED, sign(seed_payload(Seed(**fields)), self.fleet.signing_key()))

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer one question as the courier would bring it back."""
        self.asked.append(asked["what"])
        given = {"what": asked["what"], "outcome": "granted", "body": b"", "why": "", "wait": 0}
        given.update({"begins": self.shown[0], "ends": self.shown[1]})
        if self.shut:
            return {**given, "outcome": self.shut, "why": f"it is {self.shut}"}
        if asked["what"] == "time":
            said = sign(cbor2.dumps(["privet time 1", asked["nonce"], self.time]), self.fleet.signing_key())
            return {**given, **({"body": said} if self.signs else {"outcome": "absent"}), **self.answers}
        csr = x509.load_der_x509_csr(asked["request"])
        public = csr.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        token = hashlib.sha256(asked["token"]).digest()
        if asked["what"] == "token":
            if self.tokens.get(token) != asked["device"]:
                return {**given, "outcome": "refused", "why": "the token is not known"}
            if token in self.bound and self.bound[token][0] != public:
                self.alarms += 1
                return {**given, "outcome": "refused", "why": "the token was used with another key"}
            if token not in self.bound:
                self.bound[token] = public, self.certified(csr, asked["device"])
            return {**given, "body": self.bound[token][1], **self.answers}
        return {**given, "body": self.certified(csr, asked["device"]), **self.answers}

    def certified(self, csr: x509.CertificateSigningRequest, device: str) -> bytes:
        """Return what the fleet's authority makes of a request; of the same one the same."""
        name = (self.fleet.policy_key(), csr.public_bytes(DER), device, self.days)
        if name not in DONE:
            DONE[name] = self.fleet.sign_csr(csr.public_bytes(PEM), device, self.days)
        chain: bytes = DONE[name]
        return pkcs7.serialize_certificates(x509.load_pem_x509_certificates(chain), DER)


class Steady(DirectVault):
    """A vault in which chance repeats itself: the same life leaves the same bytes, so equal disks are tried once.

    Each key that is made is another one, as on a real device: a device that makes one twice is found out.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__(Secret(b"k" * 32))
        self.desk = desk

    def new_identity(self, device: str) -> NewIdentity:
        """Make the next key of this device."""
        self.desk.keys += 1
        made: NewIdentity = self.once("identity", self.desk.keys, lambda: super(Steady, self).new_identity(device))
        return made

    def with_key(self, act: str, key: Secret, *facts: bytes | str | int) -> Any:
        """Do an act with the key, or bring what it came to before."""
        return self.once(act, (key.reveal(), facts), lambda: super(Steady, self).with_key(act, key, *facts))

    def once(self, act: str, facts: Any, make: Callable[[], Any]) -> Any:
        """Do a thing once in this run."""
        name = (self.desk.fleet.policy_key(), act, facts)
        if name not in DONE:
            DONE[name] = make()
        return DONE[name]


class Start:
    """One start of the guard's part of it: identity from the seed, then whatever can be done; `turn` does more."""

    def __init__(self, system: SimulatedSystem, desk: Desk, *, online: bool = True) -> None:
        self.system = system
        self.desk = desk
        self.said: list[str] = []
        self.links = 0
        self.questions: list[dict[str, Any]] = []
        self.times: list[int] = []
        vault = Steady(desk)
        establish(system, vault)
        self.store = DiskStore(system)
        self.made = Enrolment(
            system, self.store, vault, read_anchor(system), OWNER,
            lambda warning: self.said.append(f"{warning.title}: {warning.outcome}"), self.linked,
        )  # fmt: skip
        self.made.begin()
        if online:
            self.made.courier(self.tell)
            self.turn()

    def linked(self) -> None:
        """The courier is to connect anew."""
        self.links += 1

    def tell(self, frame: list[Any]) -> None:
        """Take a frame for the courier."""
        if frame[0] == "enrol":
            self.questions.append(frame[1])
        elif frame[0] == "time":
            self.times.append(frame[1])

    def turn(self) -> None:
        """Let what is due be done, and questions be answered, until nothing more comes."""
        self.made.turn()
        while self.questions:
            self.made.heard(self.desk.answer(self.questions.pop(0)))
            self.made.turn()

    def later(self, seconds: int) -> None:
        """Let time pass, then do what is due."""
        self.system.tick(seconds)
        self.turn()

    def let_in(self) -> None:
        """The broker lets the device in with the certificate that is to follow."""
        self.made.proven(self.made.pair.next_digest())


def card(desk: Desk, slot: bytes = b"", system: type[SimulatedSystem] = SimulatedSystem) -> SimulatedSystem:
    """Make a device with a card as `privet-fleet flash` leaves it."""
    facts = {
        "fleet": desk.fleet.name, "class": "base", "policy_keys": [desk.fleet.policy_key()], "floor": NOW - 2 * DAY,
    }  # fmt: skip
    content = slot or desk.seed()

    def lay(device: SimulatedSystem) -> None:
        device.programs["mount"] = mount
        attach(device, PLACE, clusters=32)
        device.edit(SLOT, content, in_place=True)
        device.edit(FLEET, cbor2.dumps(facts, canonical=True), mode=0o600)
        device.edit("/etc/privet/policy.cbor", POLICY, mode=0o600)
        device.edit(f"{HOME}/ca.pem", desk.fleet.trust_anchor(), mode=0o600)
        device.hand.directory("/var/lib/privet")

    made = system(image=lay, entropy=stream(), shipped=False)
    made.wall = NOW
    return made


def raw_holds(system: SimulatedSystem, token: bytes = TOKEN) -> bool:
    """Say whether the raw boot partition, or any file, holds the token."""
    if system.search(RAW, (token,)):
        return True
    return any(token in bytes(node.content) or token in node.kept_content for _, node in system.disk.walk())


def certificate(system: SimulatedSystem, folder: str = HOME) -> x509.Certificate | None:
    """Return the certificate in a folder when it fits the key beside it, as it would be after a power cut."""
    try:
        leaf = x509.load_pem_x509_certificates(system.read(f"{folder}/cert.pem"))[0]
        key = serialization.load_pem_private_key(system.read(f"{folder}/key.pem"), None)
    except (PrivetError, ValueError):  # not there, or cut while it was destroyed
        return None
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return leaf if leaf.public_key() == key.public_key() else None


def digest(key: x509.Certificate) -> bytes:
    """Return what a receipt names of a certificate's key."""
    public = key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).digest()


def enrolled(system: SimulatedSystem, desk: Desk) -> None:
    """Assert the end: a certificate in force, a receipt for its key in both halves, no token anywhere, no alarm."""
    made = certificate(system)
    assert made is not None and desk.alarms == 0
    receipts = [receipt_in(half * 2) for half in halves(system.read(SLOT))]
    assert {(one.device, one.key) for one in receipts if one} == {("d1", digest(made))} and None not in receipts
    assert not raw_holds(system)
    stat = system.stat(f"{HOME}/key.pem")
    assert (stat.mode, stat.uid, stat.gid) == (0o600, 990, 990)
