"""A flashed card on a really booted device: from its seed to the broker, under the package's own units."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.core.secret import Secret
from agent.core.seed import Seed, seed_payload
from agent.core.slot import SEED, receipt_in, whole
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Planned, Registry
from provisioning.profile.issue import Issued, issue_policy
from provisioning.profile.sign import sign
from tests.boot.desk import BROKER, ENROL
from tests.boot.lab import Booted, Lab
from tests.boot.shipped import ACCOUNT, PROFILE, active, install, new_fleet, privet, status
from tests.house import ROOT

SERVER = "10.88.0.1"
SLOT = "/boot/firmware/privet.slot"
HOME = "/var/lib/privet-courier"


class Carded:
    """A device flashed from an image of a fleet of its own, and that fleet's desk at the other end of the cable."""

    def __init__(self, device: Booted, folder: Path) -> None:
        self.device = device
        self.folder = folder
        self.fleet = new_fleet(folder / "fleet")
        self.registry = Registry(self.fleet)
        self.issued = issue_policy(self.fleet, PROFILE)
        self.one = self.registry.batch(1)[1][0]
        facts = {
            "fleet": self.fleet.name,
            "class": self.issued.model,
            "policy_keys": [self.fleet.policy_key()],
            "floor": 1,
        }
        device.lay("/etc/privet/fleet.cbor", cbor2.dumps(facts, canonical=True), 0o600)
        device.lay("/etc/privet/policy.cbor", self.issued.signed, 0o600)
        device.lay(f"{HOME}/ca.pem", self.fleet.trust_anchor(), 0o600)
        device.chroot(["chmod", "700", "/etc/privet"])
        device.chroot(["chown", "-R", f"{ACCOUNT}:", HOME])
        device.lay(SLOT, slot(self.fleet, self.issued, self.one), 0o600)

    def desk(self) -> "subprocess.Popen[bytes]":
        """Open the fleet's desk."""
        argv = [
            sys.executable,
            "-m",
            "tests.boot.desk",
            str(self.folder / "fleet"),
            str(self.folder / "broker"),
            SERVER,
        ]
        made = self.device.watcher(argv, ROOT)
        assert made.stdout is not None and made.stderr is not None
        said = made.stdout.readline()
        assert said == b"ready\n", said + made.stderr.read()
        return made

    def state(self) -> str:
        """Return what the fleet knows of the device."""
        return str(self.registry.shown(self.one.device)[0].state)

    def token_on_disk(self) -> bool:
        """Say whether any file of the device's disk holds the token."""
        needle = self.one.token
        places = [
            path for top in ("boot", "etc", "var", "root", "home") for path in (self.device.disk / top).rglob("*")
        ]
        return any(needle in path.read_bytes() for path in places if path.is_file() and not path.is_symlink())


def slot(fleet: Fleet, issued: Issued, one: Planned) -> bytes:
    """Return the slot as a station writes it."""
    root = x509.load_pem_x509_certificate(fleet.trust_anchor())
    made = Seed(
        device=one.device, token=Secret(one.token), enrol_host=SERVER, enrol_port=ENROL, broker_host=SERVER,
        broker_port=BROKER, floor=1_767_225_600, sequence=issued.sequence, serial="",
        anchor=hashlib.sha256(root.public_bytes(Encoding.DER)).digest(), policy=hashlib.sha256(issued.signed).digest(),
    )  # fmt: skip
    return whole(SEED, sign(seed_payload(made), fleet.signing_key()))


@pytest.fixture
def carded(lab: Lab, deb: Path, tmp_path: Path) -> Iterator[Carded]:
    """Give a flashed device that was never started."""
    lab.prepared("installed", lambda device: install(device, deb))
    with lab.device("installed", name="carded") as made:
        yield Carded(made, tmp_path)


def connected(device: Booted) -> bool:
    """Say whether the guard knows of a broker that lets it in."""
    return bool(status(device).get("link", {}).get("state") == "connected")


def test_a_card_enrols_at_its_first_boot(carded: Carded):
    """Offline it makes its key and stays private; its fleet there, it enrols, wipes its seed, reaches the broker."""
    device = carded.device
    device.start()
    active(device)
    active(device, "privet-courier.service")
    key = device.read(f"{HOME}/key.pem")
    assert carded.token_on_disk() and status(device)["shut_in"] is False
    carded.desk()
    device.until(lambda: connected(device), 120, "the broker to let it in")
    assert device.read(f"{HOME}/key.pem") == key
    receipt = receipt_in((device.disk / SLOT.lstrip("/")).read_bytes())
    assert receipt is not None and receipt.device == carded.one.device
    assert not carded.token_on_disk()
    assert device.must(["stat", "-c", "%U %a", f"{HOME}/key.pem", f"{HOME}/cert.pem"]).split() == ["privet", "600"] * 2
    device.until(lambda: carded.state() == "active", 60, "the fleet to know it")
    assert privet(device, "journal", "--verify").returncode == 0
    device.reboot()
    active(device)
    device.until(lambda: connected(device), 120, "the broker to let it in again")
    assert len(carded.registry.shown(carded.one.device)[1]) == 1


def test_erased_it_is_nobodys_until_it_gets_a_new_seed(carded: Carded):
    """Privet erase --all, a start, and the old identity is gone; a fresh seed makes it another device of the fleet."""
    device = carded.device
    device.start()
    active(device)
    carded.desk()
    device.until(lambda: connected(device), 120, "the broker to let it in")
    before = device.read(f"{HOME}/key.pem")
    done = privet(device, "erase", "--all", "--yes", "--receipt", "/root/receipt")
    assert done.returncode == 0, done.stderr
    assert (device.disk / "root/receipt").read_bytes() and not (device.disk / HOME.lstrip("/") / "key.pem").exists()
    device.reboot()
    active(device)
    assert "linux_account/pi" in privet(device, "credentials", "show", "--once").stdout.decode()
    device.until(lambda: carded.state() == "reset", 120, "its receipt to reach the fleet by itself")
    assert "waits for the fleet's word" in status(device)["enrolment"]["why"]
    following = carded.registry.batch(1)[1][0]
    device.lay(SLOT, slot(carded.fleet, carded.issued, following), 0o600)
    device.reboot()
    active(device)
    device.until(lambda: connected(device), 120, "the broker to let the new device in")
    assert device.read(f"{HOME}/key.pem") != before
    assert carded.registry.shown(following.device)[0].state in ("claimed", "active")


def test_it_changes_hands_with_its_fleets_word(carded: Carded):
    """The operator agrees, the owner erases: with no seed and no file the next start is let in, by a new key."""
    device = carded.device
    device.start()
    active(device)
    carded.desk()
    device.until(lambda: carded.state() == "active" and connected(device), 120, "the broker to let it in")
    before = device.read(f"{HOME}/key.pem")
    carded.registry.transfer(carded.one.device, "operator")
    done = privet(device, "erase", "--all", "--yes")
    assert done.returncode == 0, done.stderr
    device.reboot()
    active(device)
    device.until(lambda: connected(device), 120, "the broker to let the next owner's device in")
    assert device.read(f"{HOME}/key.pem") != before
    assert carded.state() in ("claimed", "active")
    old, new = carded.registry.shown(carded.one.device)[1]
    assert {old.state, new.state} == {"revoked", "valid"}
    assert "This device was erased by its owner" in privet(device, "status").stdout.decode()
