"""A device handed over by its own receipt: what ends, who gets a voucher and when, and receipts that do nothing."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from agent.core.cose import ES256, key_id, sign1
from agent.core.errors import BadInput, Refused
from agent.core.voucher import Voucher, read_voucher
from provisioning.fleet import desk, handover
from provisioning.fleet.desk import Outcome
from provisioning.fleet.erased import FORM, spki
from provisioning.fleet.est import TIME
from provisioning.fleet.keeping import publish
from provisioning.fleet.registry import Planned
from provisioning.fleet.revocation import revoked
from provisioning.profile.sign import verify
from tests.fleet.enrolling import DAY, Office, Served, asked, key

TOKEN = b"drawn by the device itself, 32 b"


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give a fleet's desk."""
    return Office(tmp_path)


def receipt(private: ec.EllipticCurvePrivateKey, device: str, token: bytes | None = TOKEN, at: int = 1) -> bytes:
    """Return what a device signs when it has erased itself."""

    def signed(content: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(content, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    facts = {"device": device, "time": at} | ({"token": hashlib.sha256(token).digest()} if token else {})
    return sign1(cbor2.dumps([FORM, facts]), key_id(spki(private.public_key())), signed, ES256)


def handed(office: Office, signed: bytes) -> Outcome:
    """Hand a receipt in."""
    return office.at_desk(lambda one: handover.taken(one, signed))


def in_use(office: Office) -> tuple[Planned, ec.EllipticCurvePrivateKey, bytes]:
    """Return a device in use, with its key and its certificate."""
    one, mine = office.planned()[0], key()
    got = office.claim(one, asked(mine)).certificate
    office.contact(got)
    return one, mine, got


def voucher(office: Office, signed: bytes) -> Voucher:
    """Read a voucher as a device does."""
    return read_voucher(verify(signed, (office.fleet.policy_key(),)))


def test_a_transfer_ends_by_the_devices_own_word(office: Office):
    """Old certificate and old token are dead, the voucher names the device's own token, and that opens one claim."""
    one, mine, old = in_use(office)
    office.registry.transfer(one.device, "ada")
    signed = receipt(mine, one.device)
    got = handed(office, signed)
    assert (got.status, office.state(one.device)) == (200, "reset")
    found = voucher(office, got.certificate)
    assert (found.device, found.fleet) == (one.device, "meadow")
    assert found.token == hashlib.sha256(TOKEN).digest() and found.receipt == hashlib.sha256(signed).digest()
    assert handed(office, signed).certificate == got.certificate, "its answer was lost: the same again"
    publish(office.registry)
    assert [row.name for row in revoked(office.fleet)] == [one.device]
    assert office.contact(old).sentence == desk.GONE
    assert office.claim(one, asked(key())).status == 403, "the token of before was used by another key"
    assert office.registry.release(one.device, "a thief with an old token", "ada") == "reset"
    assert handed(office, signed).status == 200, "the voucher is given as before"
    assert office.registry.verify() >= 1


def test_the_next_owner_claims_once(office: Office):
    """With the device's own token and a new key; again with the same key the same; another key is a copy."""
    one, mine, _ = in_use(office)
    office.registry.transfer(one.device, "ada")
    signed = receipt(mine, one.device)
    handed(office, signed)
    fresh, new = Planned(device=one.device, token=TOKEN), key()
    assert office.claim(fresh, asked(mine)).sentence == desk.OLD_KEY
    first = office.claim(fresh, asked(new))
    assert first.status == 200 and office.claim(fresh, asked(new)).certificate == first.certificate
    assert handed(office, signed).status == handover.ENDED, "the receipt of before does nothing to the new owner"
    assert office.state(one.device) == "claimed" and office.contact(first.certificate).status == 200
    assert office.claim(fresh, asked(key())).sentence == desk.COPY


def test_without_the_operators_word_there_is_no_voucher(office: Office):
    """What the owner had ends at once all the same; the voucher comes when the operator agrees, twice if late."""
    one, mine, old = in_use(office)
    signed = receipt(mine, one.device)
    assert handed(office, signed).sentence == handover.ASKS
    assert office.contact(old).sentence == desk.GONE and office.state(one.device) == "reset"
    assert office.claim(Planned(device=one.device, token=TOKEN), asked(key())).status == 401
    office.registry.transfer(one.device, "ada")
    assert handed(office, signed).status == 200
    office.clock.ahead = (handover.DAYS + 1) * DAY
    assert handed(office, signed).sentence == handover.OVER
    assert office.claim(Planned(device=one.device, token=TOKEN), asked(key())).sentence == desk.LATE
    office.registry.transfer(one.device, "ada")
    assert handed(office, signed).status == 200


def test_receipts_that_do_nothing(office: Office):
    """Forged, of nobody, garbage, and an earlier owner's: one sentence each, and the device goes on."""
    one, mine, _ = in_use(office)
    two, _, _ = in_use(office)
    assert "not signed by a key" in handed(office, receipt(key(), one.device)).sentence
    assert "not signed by a key" in handed(office, receipt(mine, two.device)).sentence
    assert handed(office, receipt(mine, "d-none")).sentence == desk.NOBODY
    for wrong in (b"", b"x" * 40, receipt(mine, one.device, b"")[:-1]):
        with pytest.raises(BadInput):
            handed(office, wrong)
    assert office.state(one.device) == office.state(two.device) == "active"
    office.registry.transfer(one.device, "ada")
    handed(office, receipt(mine, one.device))
    office.contact(office.claim(Planned(device=one.device, token=TOKEN), asked(key())).certificate)
    stale = receipt(mine, one.device, at=2)
    assert handed(office, stale).sentence == handover.EARLIER and office.state(one.device) == "active"
    office.registry.transfer(one.device, "ada")
    with pytest.raises(Refused, match="earlier owner"):
        office.registry.erased(one.device, stale)


def test_a_device_in_quarantine_or_retired_is_not_given_on(office: Office):
    """The receipt is kept, the certificates are over, and no voucher comes, whatever the operator had begun."""
    one, mine, _ = in_use(office)
    office.registry.quarantine(one.device, "seen at a market", "ada")
    signed = receipt(mine, one.device)
    assert handed(office, signed).sentence == handover.SHUT
    row, held, _ = office.registry.shown(one.device)
    assert (row.state, row.receipt, [c.state for c in held]) == ("quarantined", signed, ["revoked"])
    office.registry.retire(one.device, by="ada")
    assert handed(office, signed).status == handover.ENDED


def test_a_seed_takes_the_place_of_a_voucher_and_the_other_way_round(office: Office):
    """One token at a time opens the claim: the one that the operator made last."""
    one, mine, _ = in_use(office)
    office.registry.transfer(one.device, "ada")
    signed = receipt(mine, one.device)
    assert handed(office, signed).status == 200
    seed = office.registry.token(one.device)
    assert office.claim(Planned(device=one.device, token=TOKEN), asked(key())).sentence == desk.VOIDED
    assert handed(office, signed).status == handover.ENDED
    with pytest.raises(Refused, match="reseed"):
        office.registry.transfer(one.device, "ada")
    assert office.claim(seed, asked(key())).status == 200


def test_a_receipt_without_a_token_of_its_own_needs_a_seed(office: Office):
    """A device of before, or one that never enrolled by a server: the receipt counts, a seed lets it in."""
    one, mine, _ = in_use(office)
    office.registry.transfer(one.device, "ada")
    assert handed(office, receipt(mine, one.device, None)).status == handover.ENDED
    assert office.state(one.device) == "reset"
    assert office.claim(office.registry.token(one.device), asked(key())).status == 200


@pytest.fixture
def served(office: Office) -> Iterator[Served]:
    """Give a running enrolment server."""
    with Served(office) as made:
        yield made


def test_over_the_wire(served: Served):
    """The server takes a receipt without a certificate, answers by voucher, and says one sentence to all else."""
    office = served.office
    one, mine, _ = in_use(office)
    signed, head = receipt(mine, one.device), {"Content-Type": TIME}
    status, more, body = served.ask("POST", "erased", signed, head)
    assert (status, body.decode().strip(), more["retry-after"]) == (202, handover.ASKS, "3600")
    assert [row.name for row in revoked(office.fleet)] == [one.device], "where the broker looks, before the answer"
    office.registry.transfer(one.device, "ada")
    status, more, body = served.ask("POST", "erased", signed, head)
    assert (status, more["content-type"]) == (200, TIME) and voucher(office, body).device == one.device
    for wrong, kind, code in [(b"x", TIME, 400), (signed, "text/plain", 400), (receipt(key(), one.device), TIME, 403)]:
        status, _, body = served.ask("POST", "erased", wrong, {"Content-Type": kind})
        assert status == code and body.count(b"\n") == 1
    assert served.ask("GET", "erased")[0] == 405
    assert served.ask("POST", "erased", bytes(1 << 17), head)[0] == 413
