"""What owners ask a recipient to delete: FORMAT.md section 3.8, written apart from the device's side.

A request counts when a device's own key has signed it, which this fleet's certificates name, and when whoever asks
knows the ack key that the readings here are tied to. It is done once; the same one again is answered as before. What
comes late of a start that was deleted is not taken any more.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.x509 import verification

from agent.core.cbor import decode
from agent.core.cose import ES256, Signed, key_id, split_sign1
from agent.core.errors import BadInput, Failed, PrivetError, Refused, Tampered, Unreachable
from provisioning.collector.open import MOST_BOOT, WRAPPED, EpochKeys, Place, canonical, open_key, read_topic
from provisioning.collector.store import Store

BEGINS = canonical([1, "delete"])[1:]  # behind the head of the array
MOST, MOST_SIGNED = 32 * 1024, 4096  # bytes
LINKS = 4  # certificates in a chain, at most
# Our authorities' own key usages are critical, which the web's rules do not know.
AUTHORITY = verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(
    x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, None
)
LEAF = verification.ExtensionPolicy.webpki_defaults_ee()
DER, SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
SHAPE = {
    "fleet": str,
    "device": str,
    "purpose": str,
    "recipient": str,
    "boot": int,
    "at": int,
    "key": bytes,
    "proof": bytes,
}
ROW = "SELECT deleted, kept, at, done FROM deletion WHERE id = ?"
COUNT = (
    "SELECT count(*) FROM record WHERE kind IN (1, 3) AND length(body) > 0"  # readings, understood or not
    " AND stream IN (SELECT id FROM stream WHERE device = ? AND purpose = ?)"
)
SENDERS = (
    "SELECT max(boot), mark FROM sender WHERE stream IN (SELECT id FROM stream WHERE device = ? AND purpose = ?)"
    " AND boot <= ? GROUP BY mark"
)
REMOVE = (
    "DELETE FROM record WHERE stream IN (SELECT id FROM stream WHERE device = ? AND purpose = ?) AND boot <= ?",
    "DELETE FROM epoch WHERE stream IN (SELECT id FROM stream WHERE device = ? AND purpose = ?) AND boot <= ?",
    "DELETE FROM gap WHERE stream IN (SELECT id FROM stream WHERE device = ? AND purpose = ?) AND boot <= ?",
    "DELETE FROM reach WHERE stream IN (SELECT id FROM stream WHERE device = ? AND purpose = ?) AND boot <= ?",
    "DELETE FROM sender WHERE stream IN (SELECT id FROM stream WHERE device = ? AND purpose = ?) AND boot <= ?",
)
NAMES = ("device", "purpose", "boot", "asked", "at", "deleted", "kept", "done")
DONE = "SELECT device, purpose, boot, asked, at, deleted, kept, done FROM deletion ORDER BY at, id"

Answers = list[tuple[str, bytes]]
Keys = Callable[[Place, int], EpochKeys | None]


def is_request(payload: bytes) -> bool:
    """Say whether a message on a telemetry topic asks for a deletion instead of bringing a record."""
    return payload[1 : 1 + len(BEGINS)] == BEGINS


class Asked:
    """A request whose form and signature are right, and the key for the receipt."""

    def __init__(self, place: Place, facts: dict[str, Any], plain: bytes, signed: bytes) -> None:
        self.place, self.facts, self.signed = place, facts, signed
        self.id = hashlib.sha256(plain).digest()[:16]


class Deletions:
    """One recipient's; `anchors` is the fleet's root certificate (PEM), `keys` opens the epochs of its store."""

    def __init__(
        self, fleet: str, recipient: str, key: MLKEM768X25519PrivateKey, store: Store, anchors: bytes, keys: Keys
    ) -> None:
        self.fleet, self.recipient, self.store = fleet, recipient, store
        self._key, self._keys = key, keys
        self._roots = x509.load_pem_x509_certificates(anchors) if anchors else []
        self._over: dict[tuple[str, str], int] = {}

    def begin(self) -> None:
        """Forget what was known of others' deletions: a batch of records begins."""
        self._over.clear()

    def over(self, place: Place) -> bool:
        """Say whether a start's records were deleted, so that none of them is taken any more."""
        name = (place.device, place.purpose)
        if name not in self._over:
            found = self.store.plain("SELECT max(boot) FROM deletion WHERE device = ? AND purpose = ?", *name)
            self._over[name] = int(found[0][0] or 0)
        return place.boot <= self._over[name]

    def take_all(
        self,
        asked: Iterable[tuple[str, bytes]],
        refuse: Callable[[PrivetError], None],
        deleted: Callable[[Place], None],
    ) -> tuple[Answers, bool]:
        """Do what genuine requests ask for; return the receipts, all about what is gone from the disk, and if any is.

        Failed and Unreachable: the disk or the database refuses, and the message may be given again.
        """
        answers: Answers = []
        gone = False
        for topic, payload in asked:
            try:
                place, receipts = self.take(topic, payload)
            except (Failed, Unreachable):
                raise
            except PrivetError as error:
                refuse(error)
                continue
            try:
                if place is not None:
                    deleted(place)  # what was made of the readings goes, too, before there is a receipt
            except PrivetError as error:
                refuse(error)
                continue
            answers += receipts
            gone = gone or place is not None
        return answers, gone

    def take(self, topic: str, payload: bytes) -> tuple[Place | None, Answers]:
        """Do what a genuine request asks for, if it is for us; return what went (up to this start) and the answer.

        BadInput, Refused or Tampered say why nothing was done.
        """
        asked = self._read(topic, payload)
        if asked is None:
            return None, []
        answering = self._receipt_key(asked)
        known = self.store.plain(ROW, asked.id.hex())
        if not known:
            self._proven(asked)
            with self.store.transaction():
                self._delete(asked)
            known = self.store.plain(ROW, asked.id.hex())
        deleted, kept, at, done = known[0]
        if not done:  # power may have gone in between: only what is gone from the files is answered
            self.store.scrub()
            self.store.plain("UPDATE deletion SET done = 1 WHERE id = ?", asked.id.hex())
        return asked.place, [self._answer(asked, answering, (at, deleted, kept))]

    def _read(self, topic: str, payload: bytes) -> Asked | None:
        """Take a request apart and check who signed it; None when it is to another recipient."""
        device, purpose = read_topic(self.fleet, topic)
        problem = BadInput(f"a request to delete on {topic} is none; it was put aside")
        outer = decode(payload, MOST)
        if type(outer) is not list or len(outer) != 4 or [type(one) for one in outer[2:]] != [bytes, bytes]:
            raise problem
        signed = split_sign1(outer[2], MOST_SIGNED, ES256)
        value = decode(signed.payload, MOST_SIGNED, 2)
        if type(value) is not list or len(value) != 2 or value[0] != "privet deletion 1" or type(value[1]) is not dict:
            raise problem
        facts = value[1]
        if set(facts) != set(SHAPE) or any(type(facts[name]) is not kind for name, kind in SHAPE.items()):
            raise problem
        if not 0 < facts["boot"] <= MOST_BOOT or len(facts["key"]) != WRAPPED:
            raise problem
        if facts["recipient"] != self.recipient:
            return None
        if (facts["fleet"], facts["device"], facts["purpose"]) != (self.fleet, device, purpose):
            raise Tampered(f"a request to delete what {device} sent is not its own; look who runs the broker")
        self._signed_by(device, signed, outer[3])
        return Asked(Place(device=device, purpose=purpose, boot=facts["boot"]), facts, signed.payload, outer[2])

    def _signed_by(self, device: str, signed: Signed, chain: bytes) -> None:
        """Refuse a signature that is not of a key which this fleet's authorities name as the device's, now."""
        problem = Tampered(
            f"a request to delete what {device} sent is not signed by its own key; look who runs the broker"
        )
        if not self._roots:
            raise Refused("a request to delete cannot be checked without the fleet's root certificate; give it")
        try:
            leaf, *rest = x509.load_pem_x509_certificates(chain)[:LINKS]
            builder = verification.PolicyBuilder().store(verification.Store(self._roots)).time(datetime.now(UTC))
            builder = builder.extension_policies(ca_policy=AUTHORITY, ee_policy=LEAF)
            builder.build_client_verifier().verify(leaf, rest)
            names = [str(one.value) for one in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
            also = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = also.get_values_for_type(x509.UniformResourceIdentifier)
            key = leaf.public_key()
        except (ValueError, verification.VerificationError, x509.ExtensionNotFound):
            raise problem from None
        if names != [device] or uris != [f"urn:privet:{self.fleet}:{device}"]:
            raise problem
        if not isinstance(key, ec.EllipticCurvePublicKey) or key_id(key.public_bytes(DER, SPKI)) != signed.kid:
            raise problem
        halves = [int.from_bytes(half, "big") for half in (signed.signature[:32], signed.signature[32:])]
        try:
            key.verify(encode_dss_signature(*halves), signed.signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise problem from None

    def _receipt_key(self, asked: Asked) -> bytes:
        """Open the key that the receipt is made with."""
        place = Place(device=asked.place.device, purpose=f"delete/{asked.place.purpose}", boot=asked.place.boot)
        return open_key(place, 1, self.recipient, asked.facts["key"], self._key).acknowledging.reveal()

    def _proven(self, asked: Asked) -> None:
        """Refuse whoever does not know an ack key that the records here are tied to; where there are none, nobody."""
        place, facts = asked.place, asked.facts
        rows = self.store.plain(SENDERS, place.device, place.purpose, place.boot)
        named = ["privet deletion proof 1", place.device, place.purpose, self.recipient, place.boot, facts["at"]]
        for boot, _ in rows:
            here = Place(device=place.device, purpose=place.purpose, boot=int(boot))
            keys = self._keys(here, self.store.newest_epoch(here))
            mac = b"" if keys is None else hmac.digest(keys.acknowledging.reveal(), canonical(named), hashlib.sha256)
            if mac and hmac.compare_digest(mac, facts["proof"]):
                return
        if rows:
            raise Tampered(
                f"a request to delete what {place.device} sent does not know its keys: its memory was lost, or its"
                " courier is another's; if its owner asks, privet-fleet readings forget --days 0"
            )

    def _delete(self, asked: Asked) -> None:
        """Remove everything of a purpose up to a start, and keep what was asked and done."""
        place = asked.place
        key = (place.device, place.purpose, place.boot)
        before = int(self.store.plain(COUNT, *key[:2])[0][0])
        for words in REMOVE:
            self.store.plain(words, *key)
        kept = int(self.store.plain(COUNT, *key[:2])[0][0])
        facts = (asked.facts["at"], int(time.time()), before - kept, kept, 0, asked.signed.hex())
        self.store.plain("INSERT INTO deletion VALUES (?,?,?,?,?,?,?,?,?,?)", asked.id.hex(), *key, *facts)
        self._over.clear()

    def _answer(self, asked: Asked, key: bytes, done: tuple[int, int, int]) -> tuple[str, bytes]:
        """Return the receipt as a message."""
        device, purpose = asked.place.device, asked.place.purpose
        mac = hmac.digest(
            key, canonical(["privet deleted 1", device, purpose, self.recipient, asked.id, *done]), hashlib.sha256
        )
        payload = canonical([1, purpose, self.recipient, asked.id, *done, mac])
        return f"privet/1/{self.fleet}/{device}/ack", payload


def done(store: Store) -> list[dict[str, Any]]:
    """Return what was asked and deleted, oldest first."""
    return [dict(zip(NAMES, row, strict=True)) for row in store.plain(DONE)]
