"""Who gets a certificate and who does not: every way to come to the desk, with the state the fleet is in afterwards."""

from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.cose import ES256, key_id, sign1
from agent.core.errors import BadInput, Missing, Refused, Tampered
from provisioning.fleet import desk, rows
from provisioning.fleet.erased import FORM, spki
from provisioning.fleet.keeping import forget, publish, revocation_list
from provisioning.fleet.registry import Planned
from tests.fleet.enrolling import DAY, DER, Office, asked, key


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give a fleet's desk."""
    return Office(tmp_path)


def listed(office: Office) -> set[int]:
    """Return the serial numbers that a broker refuses."""
    publish(office.registry)
    return {one.serial_number for one in x509.load_der_x509_crl(revocation_list(office.fleet))}


def serial(der: bytes) -> int:
    """Return a certificate's serial number."""
    return x509.load_der_x509_certificate(der).serial_number


def receipt(private: ec.EllipticCurvePrivateKey, device: str, form: str = FORM) -> bytes:
    """Return what a device signs when it has erased itself."""

    def signed(content: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(content, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    payload = cbor2.dumps([form, {"device": device, "time": 1}])
    return sign1(payload, key_id(spki(private.public_key())), signed, ES256)


def test_a_token_opens_one_enrolment(office: Office):
    """The certificate bears the device's id; the device counts as claimed, and as active once it came back with it."""
    one, mine = office.planned()[0], key()
    got = office.claim(one, asked(mine))
    leaf = x509.load_der_x509_certificate(got.certificate)
    assert (got.status, leaf.subject.rfc4514_string()) == (200, f"CN={one.device}")
    assert leaf.public_key() == mine.public_key()
    assert office.state(one.device) == "claimed"
    assert office.contact(got.certificate).status == 200
    assert office.state(one.device) == "active"
    assert office.registry.verify() == 3


def test_a_lost_reply_is_given_again(office: Office):
    """The same token with the same key gives the very same certificate, any number of times."""
    one, mine = office.planned()[0], key()
    first = office.claim(one, asked(mine))
    assert {office.claim(one, asked(mine)).certificate for _ in range(3)} == {first.certificate}
    assert office.state(one.device) == "claimed"


def test_a_copied_card_shuts_both_out(office: Office):
    """The second key gets nothing, the first one's certificate is held, and both stay out until a person says so."""
    one, mine, copy = office.planned()[0], key(), key()
    first = office.claim(one, asked(mine))
    second = office.claim(one, asked(copy))
    assert (second.status, second.sentence, second.shut) == (403, desk.COPY, (one.device,))
    assert office.state(one.device) == "quarantined"
    for answer in (office.claim(one, asked(mine)), office.contact(first.certificate), office.claim(one, asked(copy))):
        assert (answer.status, answer.sentence) == (403, desk.SHUT)
    assert listed(office) == {serial(first.certificate)}
    stranger = office.planned()[0]
    assert office.claim(stranger, asked(copy)).sentence == desk.SUSPECT
    office.registry.release(one.device, "the other card is here on my table", "ada")
    assert office.contact(first.certificate).status == 200
    assert listed(office) == set()
    assert [row.event for row in office.registry.shown(one.device)[2]] == ["claimed", "quarantined", "released", "seen"]


def test_one_key_for_two_devices_shuts_both_out(office: Office):
    """A request replayed with another device's token, or a copied key: neither device counts until a person looked."""
    (one, two), mine = office.planned(2), key()
    first = office.claim(one, asked(mine))
    got = office.claim(two, asked(mine))
    assert (got.status, got.sentence, set(got.shut)) == (403, desk.TWICE, {one.device, two.device})
    assert {office.state(one.device), office.state(two.device)} == {"quarantined"}
    assert listed(office) == {serial(first.certificate)}
    office.registry.release(one.device, "looked", "ada")
    assert office.contact(first.certificate).status == 200


def test_two_boards_with_one_key_are_found(office: Office):
    """A device counts its starts: the same start with another random, or an earlier one, is a second board."""
    for boots, boot, fine in [(8, b"x", True), (7, b"a", True), (7, b"b", False), (6, b"a", False)]:
        one, mine = office.planned()[0], key()
        office.claim(one, asked(mine, 7, b"a"))
        got = office.claim(one, asked(mine, boots, boot))
        assert (got.status == 200) == fine
        assert office.state(one.device) == ("claimed" if fine else "quarantined")
        assert fine or got.sentence == desk.BOARDS


def test_wrong_tokens_are_all_answered_alike(office: Office):
    """Unknown, another device's, and an id that does not exist: one sentence, so nobody learns which ids there are."""
    one, two = office.planned(2)
    cases = [
        Planned(device=one.device, token=bytes(32)),
        Planned(device=two.device, token=one.token),
        Planned(device="d-none", token=one.token),
    ]
    for case in cases:
        got = office.claim(case, asked(key()))
        assert (got.status, got.sentence) == (401, desk.NOBODY)
    assert office.claim(one, asked(key())).status == 200


def test_a_new_token_voids_the_one_before(office: Office):
    """Writing a card anew: the old token opens nothing; the certificate in use counts until the new one is claimed."""
    one, mine, later = office.planned()[0], key(), key()
    first = office.claim(one, asked(mine))
    again = office.registry.token(one.device)
    assert office.claim(one, asked(mine)).status == 200, "a used token still answers its own key"
    assert office.contact(first.certificate).status == 200
    got = office.claim(again, asked(later))
    assert got.status == 200
    assert listed(office) == {serial(first.certificate)}
    assert office.contact(first.certificate).sentence == desk.GONE
    other = office.planned()[0]
    office.registry.token(other.device)
    assert office.claim(other, asked(key())).sentence == desk.VOIDED


def test_a_token_ends_by_the_servers_clock(office: Office):
    """After 400 days in a drawer a token opens nothing; a new one does."""
    one = office.planned()[0]
    office.clock.ahead = 401 * DAY
    assert (office.claim(one, asked(key())).status, office.claim(one, asked(key())).sentence) == (401, desk.LATE)
    assert office.claim(office.registry.token(one.device), asked(key())).status == 200


def test_renewal_has_two_phases(office: Office):
    """Not before two thirds; then old and new both count, until the new one is used: the old one is revoked then."""
    one, mine, next_key = office.planned()[0], key(), key()
    first = office.claim(one, asked(mine)).certificate
    early = office.renew(first, asked(next_key))
    assert (early.status, early.sentence) == (202, desk.EARLY)
    assert 59 * DAY < early.wait <= 60 * DAY
    office.clock.ahead = 61 * DAY
    second = office.renew(first, asked(next_key))
    assert second.status == 200
    assert office.renew(first, asked(next_key)).certificate == second.certificate, "a lost reply"
    assert office.contact(first).status == 200
    assert listed(office) == set()
    assert office.contact(second.certificate).status == 200
    assert listed(office) == {serial(first)}
    assert office.contact(first).sentence == desk.GONE
    assert office.renew(first, asked(key())).sentence == desk.GONE


def test_a_renewal_that_got_lost_with_its_key_is_followed_by_another(office: Office):
    """Only one certificate is on offer: a further request drops the one before."""
    one = office.planned()[0]
    first = office.claim(one, asked(key())).certificate
    office.clock.ahead = 61 * DAY
    lost = office.renew(first, asked(key())).certificate
    second = office.renew(first, asked(key())).certificate
    assert listed(office) == {serial(lost)}
    assert office.contact(lost).sentence == desk.GONE
    assert office.contact(second).status == 200


def test_a_renewal_brings_a_new_key(office: Office):
    """The same key again, a key given up before, and one of another device are refused."""
    (one, two), mine, next_key, others = office.planned(2), key(), key(), key()
    first = office.claim(one, asked(mine)).certificate
    office.claim(two, asked(others))
    office.clock.ahead = 61 * DAY
    assert office.renew(first, asked(mine)).sentence == desk.OLD_KEY
    second = office.renew(first, asked(next_key)).certificate
    office.contact(second)
    office.clock.ahead = 122 * DAY
    assert office.renew(second, asked(mine)).sentence == desk.OLD_KEY
    assert office.renew(second, asked(others)).sentence == desk.TWICE


def test_a_device_that_was_away_may_still_renew(office: Office):
    """Its certificate ended while it was in a drawer; within a year it counts for a renewal, after that no more."""
    one = office.planned()[0]
    first = office.claim(one, asked(key())).certificate
    office.clock.ahead = (90 + 364) * DAY
    assert office.renew(first, asked(key())).status == 200
    office.clock.ahead = (90 + 366) * DAY
    assert office.renew(first, asked(key())).sentence == desk.AWAY


def test_certificates_of_nobody_are_refused(office: Office, tmp_path: Path):
    """Rightly signed, and not in the registry: no device of ours."""
    mine = key()
    made = office.fleet.device_leaf(mine.public_key(), "made-elsewhere", 30).public_bytes(DER)
    assert office.renew(made, asked(key())).sentence == desk.STRANGER
    assert office.contact(made).sentence == desk.STRANGER


def test_a_transfer_waits_for_the_receipt(office: Office):
    """Old certificate good until the receipt is there; then revoked, and the new owner's token opens a claim."""
    one, mine = office.planned()[0], key()
    first = office.claim(one, asked(mine)).certificate
    office.contact(first)
    office.registry.transfer(one.device, "ada")
    assert office.state(one.device) == "transferring"
    assert office.contact(first).status == 200
    for wrong, kind in [
        (receipt(key(), one.device), Tampered),
        (receipt(mine, "d-other"), Tampered),
        (receipt(mine, one.device, "privet receipt 1"), BadInput),
        (b"x", BadInput),
        (b"", Refused),
    ]:
        with pytest.raises(kind):
            office.registry.erased(one.device, wrong)
    assert office.state(one.device) == "transferring"
    fresh = office.registry.erased(one.device, receipt(mine, one.device))
    assert office.contact(first).sentence == desk.GONE
    assert listed(office) == {serial(first)}
    assert office.claim(one, asked(mine)).sentence == desk.OLD_KEY
    assert office.claim(fresh, asked(mine)).sentence == desk.OLD_KEY, "the new owner's device has a new key"
    assert office.claim(fresh, asked(key())).status == 200
    assert office.state(one.device) == "claimed"


def test_without_a_receipt_somebody_answers_by_name(office: Office):
    """A device that is lost or broken can be given away or retired by a person, whose name is in the ledger."""
    one, two = office.planned(2)
    office.claim(one, asked(key()))
    office.registry.transfer(one.device, "ada")
    office.registry.erased(one.device, by="ada")
    with pytest.raises(Refused):
        office.registry.retire(two.device)
    office.registry.retire(two.device, by="ada")
    assert '"by":"ada"' in office.registry.shown(two.device)[2][-1].facts


def test_a_retired_device_is_over(office: Office):
    """Its certificate is revoked, its token opens nothing, its receipt is kept, and nothing brings it back."""
    one, mine = office.planned()[0], key()
    first = office.claim(one, asked(mine)).certificate
    kept = receipt(mine, one.device)
    office.registry.retire(one.device, kept)
    assert office.registry.shown(one.device)[0].receipt == kept
    assert office.contact(first).sentence == desk.OVER
    assert office.claim(one, asked(mine)).status == 401
    for act in (office.registry.token, lambda d: office.registry.retire(d, by="ada")):
        with pytest.raises(Refused, match="retired for good"):
            act(one.device)
    with pytest.raises(Missing):
        office.registry.token("d-none")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=6))
def test_no_series_of_claims_leaves_two_keys_in_force(tmp_path_factory, series: list[tuple[int, int]]):
    """However tokens and keys are combined, a device has one key in force at most, and a key one device."""
    office = Office(tmp_path_factory.mktemp("office"))
    cards, keys = office.planned(2), [key() for _ in range(3)]
    for card, chosen in series:
        office.claim(cards[card], asked(keys[chosen]))
    held = [one for card in cards for one in office.registry.shown(card.device)[1] if one.state in rows.IN_FORCE]
    assert len(held) == len({one.device for one in held}) == len({one.key for one in held})
    assert office.registry.verify() >= 1
    forget(office.registry)
    office.registry.close()
