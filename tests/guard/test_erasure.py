"""Giving a device away: all of the owner's goes, a receipt stays, old access is dead, the next seed is another id."""

import hashlib
import os

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from agent.core import cose
from agent.core.errors import BadInput, Refused, Tampered
from agent.guard import glass
from agent.guard.pair import HOME, NEXT
from agent.guard.seeds import establish
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.programs import ssh, ssh_keygen
from agent.system.store import Store
from provisioning.fleet.erased import verified_receipt
from tests.guard.conftest import Kept
from tests.guard.disk_store import DiskStore
from tests.guard.enrolling import SLOT, Desk, Start, Steady, card, certificate, digest, raw_holds

OLD = b"a word of their own"


@pytest.fixture
def used(kept: Kept, meadow_home: bytes) -> Kept:
    """A device in use: consent, a password and a key of a person, and a certificate in its fleet."""
    kept.turn()
    kept.ask("credentials", taken=["linux_account/pi", "recovery/code"])
    kept.system.run(("chpasswd",), b"pi:" + OLD + b"\n")
    ssh_keygen.make(kept.system, "/root/former", "anna")
    kept.system.edit("/home/pi/.ssh/authorized_keys", kept.system.read("/root/former.pub"), mode=0o600, uid=1000)
    kept.agree("climate")
    kept.system.edit(f"{HOME}/key.pem", meadow_home.partition(b"|")[0], mode=0o600)
    kept.system.edit(f"{HOME}/cert.pem", meadow_home.partition(b"|")[2], mode=0o600)
    kept.system.edit(f"{NEXT}/key.pem", b"the key that was to follow", mode=0o600)
    kept.system.disk.settle()
    return kept


@pytest.fixture
def meadow_home(desk: Desk) -> bytes:
    """The key and the certificate of a device of the fleet."""
    system = card(desk)
    Start(system, desk)
    return system.read(f"{HOME}/key.pem") + b"|" + system.read(f"{HOME}/cert.pem")


def restarted(kept: Kept) -> None:
    """Start the device as `run.build` puts it together after an erasure."""
    kept.stop()
    kept.system.reboot()
    glass.start_over(kept.system, kept.start_store)
    if not kept.system_has_begun():
        os.unlink(kept.folder / "state.db")  # it lies outside of the simulated disk
    store = kept.start_store()
    glass.resume(kept.system, store)
    store.close()
    kept.start()
    kept.turn()


def erase(kept: Kept) -> bytes:
    """Erase as the command does: what goes is shown first."""
    told = kept.ask("erase")
    assert len(told["goes"]) == 3 and "homes stay" in told["stays"]
    return bytes.fromhex(kept.ask("erase", seen=told["seen"])["receipt"])


def test_everything_of_the_owner_goes_and_their_access_is_dead(used: Kept) -> None:
    """Password, key, consent, identity of before: each is tried and refused or gone; the new owner gets a password."""
    assert used.system.run(("unix_chkpwd", "pi", "nullok"), OLD + b"\0").code == 0
    key = used.system.read(f"{HOME}/key.pem")
    erase(used)
    assert used.system.entries(HOME) == ("next",) and used.system.entries(NEXT) == ()
    restarted(used)
    assert used.system.run(("unix_chkpwd", "pi", "nullok"), OLD + b"\0").code != 0
    assert ssh.run(used.system, ("ssh", "-i", "/root/former", "-l", "pi", "127.0.0.1"), b"").code != 0
    assert used.house.books.consents == {} and used.house.books.waivers == ()
    assert {row["status"] for row in used.ask("status")["findings"]} <= {"ok", "absent"}
    rows = {row["label"]: row["secret"] for row in used.ask("credentials", once=True)["credentials"]}
    assert set(rows) == {"linux_account/pi", "recovery/code"}
    assert all(key not in bytes(node.content) and key not in node.kept_content for _, node in used.system.disk.walk())
    assert not glass.pending(used.system)


def test_the_receipt_is_signed_by_the_key_that_is_gone(used: Kept) -> None:
    """Whoever has the old certificate can check it; it also stands in the new journal; another key's is refused."""
    leaf = certificate(used.system)
    assert leaf is not None
    receipt = erase(used)
    taken = cose.split_sign1(receipt, 4096, cose.ES256)
    form, table = cbor2.loads(taken.payload)
    assert form == "privet erased 1" and table["key"] == digest(leaf) and table["device"] == "d1"
    halves = (int.from_bytes(taken.signature[:32], "big"), int.from_bytes(taken.signature[32:], "big"))
    public = leaf.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(encode_dss_signature(*halves), taken.signed, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(encode_dss_signature(*halves), taken.signed + b"?", ec.ECDSA(hashes.SHA256()))
    held = [leaf.public_bytes(Encoding.DER)]
    assert verified_receipt(receipt, "d1", held).at == table["time"], "the fleet's own tool takes it"
    with pytest.raises(Tampered):
        verified_receipt(receipt, "d2", held)
    assert erase(used) == receipt  # asked again before the next start
    restarted(used)
    store = used.store
    assert isinstance(store, Store)
    (entry,) = [one for one in store.entries(0, 999) if one.kind == "reset"]
    assert entry.body["receipt"] == receipt.hex() and entry.body["by"] == "owner"


def test_nobody_else_may_and_nothing_goes_unseen(used: Kept) -> None:
    """A maintainer is refused; so is an owner to whom nothing was shown; and then nothing has gone."""
    with pytest.raises(Refused):
        used.ask("erase", role="maintainer")
    with pytest.raises(BadInput, match="was not shown"):
        used.ask("erase", seen="something else")
    assert certificate(used.system) is not None and not glass.pending(used.system)


class Empty:
    """A store of before that holds nothing."""

    def get(self, name: str) -> object:
        """Return nothing."""
        return None

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return no names."""
        return ()

    def close(self) -> None:
        """Close it."""


def test_power_cut_at_every_call_ends_erased(desk: Desk) -> None:
    """Once it is asked for, whatever the instant: at the next start the key and the certificate are gone."""
    total = card(desk)
    Start(total, desk)
    whole = [(path, bytes(node.content), node.rights) for path, node in total.disk.walk(gone=False)
             if node.kind == "file" and path.startswith(("/var/lib/privet", "/etc/privet"))]  # fmt: skip

    def made() -> SimulatedSystem:
        def lay(system: SimulatedSystem) -> None:
            for path, content, rights in whole:
                system.edit(path, content, mode=rights.mode)
            system.edit(glass.KEY, b"K" * 32, mode=0o600)

        return SimulatedSystem(image=lay, shipped=False)

    def over(system: SimulatedSystem) -> None:
        glass.start_over(system, Empty)  # type: ignore[arg-type]

    def asked(system: SimulatedSystem) -> None:
        glass.keep(system, glass.ASKED, {"state": "asked", "by": glass.OWNER, "receipt": b"signed", "token": b"t"})
        over(system)

    fired = 0
    for k in range(1, 500):
        system = made()
        if not system.kill_at(k, asked, "all"):
            break
        fired += 1
        over(system)
        if glass.pending(system):
            assert certificate(system) is None and "key.pem" not in system.entries(HOME)
            assert "state.key" not in system.entries("/var/lib/privet/keys")
            store = DiskStore(system)
            glass.resume(system, store)  # type: ignore[arg-type]
            assert store.get("handover")["receipt"] == b"signed", "what the fleet is to hear outlives every cut"
        else:
            assert certificate(system) is not None  # it had not been asked yet
    assert fired > 20


def test_a_new_seed_makes_it_another_device_and_an_old_one_does_not(desk: Desk) -> None:
    """After the erasure: the used seed opens nothing; a fresh one, with another id, enrols under that id."""
    system = card(desk)
    used = system.read(SLOT)
    Start(system, desk)
    for path in glass.IDENTITY[2:]:
        system.shred(path)
    system.write("/var/lib/privet/books", cbor2.dumps({"values": {}, "journal": []}), 0o600)  # the state begun anew
    system.edit(SLOT, used, in_place=True)
    system.reboot()
    again = Start(system, desk)
    assert desk.alarms == 1 and certificate(system) is None and len(again.said) == 1
    token = hashlib.sha256(b"fresh").digest()
    system.edit(SLOT, desk.seed("d2", token), in_place=True)
    system.reboot()
    assert establish(system, Steady(desk))
    start = Start(system, desk)
    made = certificate(system)
    assert made is not None and made.subject.rfc4514_string() == "CN=d2"
    assert start.made.anchor.identity.device == "d2" and not raw_holds(system, token)
