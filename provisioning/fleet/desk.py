"""The desk where devices come with a token or a certificate: who gets one, who is sent away, who is shut out.

Every question is answered inside one writing transaction, so that of two who come with the same token at the same
moment exactly one is first. A refusal is an answer, not an error: what it found (a copy, a suspect key) has to be kept.

    same token, same key    the same certificate again: its reply was lost
    same token, other key   a copy of the card: both are shut out, and a person is told
    same key, two devices   as above, for both devices
    same key, two starts    as above: two boards run with it (see `copied`)
"""

import hashlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, Row, insert, select, update

from agent.core.record import Record
from provisioning.fleet import rows, states
from provisioning.fleet.erased import fingerprint
from provisioning.fleet.identity import Fleet
from provisioning.fleet.ledger import Book
from provisioning.fleet.tables import certificates, devices

GIVEN, LATER, UNKNOWN, REFUSED = 200, 202, 401, 403
NOBODY = "no device is waited for with this id and token; write a new seed with privet-fleet inject"
VOIDED = "this token was replaced by a newer one; use the card that was written last"
LATE = "this token was not used in time; write a new seed with privet-fleet inject"
SHUT = "this device is in quarantine; its operator has to look at why"
OVER = "this device is retired; flash its card for a new one"
GONE = "this certificate was revoked; write a new seed with privet-fleet inject"
STRANGER = "this certificate is none of this fleet's devices; enrol with a token"
COPY = "this token was used with another key before: the card was copied, and both are in quarantine now"
TWICE = "this key belongs to another device: one of them is a copy, and both are in quarantine now"
BOARDS = "two boards run with this key: the card was copied, and the device is in quarantine now"
OLD_KEY = "this key was given up before; make a new one"
SUSPECT = "this key came with a copied card; its operator has to look at why"
EARLY = "two thirds of this certificate's life are not over yet; ask again then"
AWAY = "this certificate ended too long ago to be renewed; write a new seed with privet-fleet inject"
WAITS = "this device is being given away; erase it first"
NEVER_CLAIMED = (states.PLANNED, states.FLASHED, states.VERIFIED)
BARRED = {states.QUARANTINED: SHUT, states.RETIRED: OVER}


class Rules(Record):
    """How long a certificate lives, and how long after its end a device that was away may still renew it (days)."""

    __slots__ = ("grace", "life")
    life: int
    grace: int


RULES = Rules(life=90, grace=365)


class Asked(Record):
    """What came: the key of the request, the count and a random of the device's start where it tells them."""

    __slots__ = ("boot", "boots", "key")
    key: ec.EllipticCurvePublicKey
    boots: int | None
    boot: bytes


class Outcome(Record):
    """What is answered: an HTTP status, a certificate (DER) or a sentence, seconds to wait, who was shut out."""

    __slots__ = ("certificate", "sentence", "shut", "status", "wait")
    status: int
    certificate: bytes
    sentence: str
    wait: int
    shut: tuple[str, ...]


class Desk:
    """One transaction's desk."""

    def __init__(self, fleet: Fleet, connection: Connection, book: Book, now: int, rules: Rules = RULES) -> None:
        self.fleet = fleet
        self.connection = connection
        self.book = book
        self.now = now
        self.rules = rules
        self.revoked = False  # whether certificates count no more since

    def claim(self, device: str, token: bytes, asked: Asked) -> Outcome:
        """Answer a device that comes with the SHA-256 of its token."""
        held = self.connection.execute(rows.TOKEN, {"hash": token}).first()
        if held is None or held.device != device:
            return refused(NOBODY, UNKNOWN)
        if held.state == rows.VOID:
            return refused(VOIDED, UNKNOWN)
        row, mine = rows.device_row(self.connection, device), fingerprint(asked.key)
        if row.state in BARRED:
            return refused(BARRED[row.state])
        if held.state == rows.USED and held.key != mine:
            return self._shut(COPY, device, suspect=mine)
        found = self._suspicious(row, mine, asked)
        if found is not None:
            return found
        return self._again(row, held, asked) if held.state == rows.USED else self._first(row, held, asked, mine)

    def _first(self, row: Row[Any], held: Row[Any], asked: Asked, mine: bytes) -> Outcome:
        if held.until < self.now:
            return refused(LATE, UNKNOWN)
        if not states.possible(row.state, states.CLAIM):
            return refused(WAITS)
        serial, der = self._made(asked.key, row.id, mine, rows.VALID)
        gone = [] if row.state in NEVER_CLAIMED else self._withdraw(row.id, serial)
        self.connection.execute(rows.USE, {"hash_": held.hash, "to_key": mine, "to_certificate": serial})
        rows.move(self.connection, row, states.CLAIM, self.now)
        self._told(row, asked)
        self.book.note(self.now, "claimed", row.id, key=mine.hex(), certificate=serial, revoked=gone)
        return given(der)

    def renew(self, shown: bytes, asked: Asked) -> Outcome:
        """Answer a device that shows a certificate (DER) whose key it has proven to hold."""
        held, row, found = self._known(shown)
        if found is not None or held is None or row is None:
            return found or refused(STRANGER)
        self.seen(held, row)
        mine = fingerprint(asked.key)
        found = self._suspicious(row, mine, asked)
        if found is not None:
            return found
        if mine == held.key:
            return refused(OLD_KEY)
        open_ones = rows.certificates_of(self.connection, row.id, rows.OFFERED)
        same = next((one for one in open_ones if one.key == mine), None)
        if same is not None:
            return given(same.der)
        wait = held.begins + (held.ends - held.begins) * 2 // 3 - self.now
        if wait > 0:
            return Outcome(status=LATER, certificate=b"", sentence=EARLY, wait=wait, shut=())
        dropped = [one.serial for one in open_ones if one.serial != held.serial]
        rows.mark(self.connection, dropped, rows.REVOKED, self.now)
        self.revoked |= bool(dropped)
        serial, der = self._made(asked.key, row.id, mine, rows.OFFERED)
        self._told(row, asked)
        self.book.note(
            self.now, "renewed", row.id, key=mine.hex(), certificate=serial, before=held.serial, dropped=dropped
        )
        return given(der)

    def contact(self, shown: bytes) -> Outcome:
        """Note that a device came with this certificate: if it is a new one, the one before counts no more."""
        held, row, found = self._known(shown)
        if found is not None or held is None or row is None:
            return found or refused(STRANGER)
        self.seen(held, row)
        return given(held.der)

    def seen(self, held: Row[Any], row: Row[Any]) -> None:
        """Let the certificate that was just used be the one, and the device be in use."""
        if held.state == rows.OFFERED:
            rows.mark(self.connection, [held.serial], rows.VALID, self.now)
            gone = self._withdraw(row.id, held.serial)
            self.book.note(self.now, "renewal proven", row.id, certificate=held.serial, revoked=gone)
        if row.state == states.CLAIMED:
            rows.move(self.connection, row, states.SEEN, self.now)
            self.book.note(self.now, states.SEEN, row.id, certificate=held.serial)

    def _known(self, shown: bytes) -> tuple[Row[Any] | None, Row[Any] | None, Outcome | None]:
        serial = f"{x509.load_der_x509_certificate(shown).serial_number:x}"
        held = self.connection.execute(select(certificates).where(certificates.c.serial == serial)).first()
        if held is None or held.der != shown:
            return None, None, refused(STRANGER)
        row = rows.device_row(self.connection, held.device)
        if row.state in BARRED:
            return None, None, refused(BARRED[row.state])
        if held.state not in rows.IN_FORCE:
            return None, None, refused(GONE)
        if held.ends + self.rules.grace * 86400 < self.now:
            return None, None, refused(AWAY)
        return held, row, None

    def _suspicious(self, row: Row[Any], mine: bytes, asked: Asked) -> Outcome | None:
        owners = self.connection.execute(rows.OWNERS, {"key": mine}).all()
        other = next((one.device for one in owners if one.device != row.id), None)
        if other is not None:
            return self._shut(TWICE, row.id, other, suspect=mine)
        if self.connection.execute(rows.SUSPECT, {"key": mine}).first() is not None:
            return refused(SUSPECT)
        if copied(row.boots, row.boot, asked):
            return self._shut(BOARDS, row.id, suspect=mine)
        if owners and all(one.state == rows.REVOKED for one in owners):
            return refused(OLD_KEY)
        return None

    def _again(self, row: Row[Any], held: Row[Any], asked: Asked) -> Outcome:
        before = self.connection.execute(select(certificates).where(certificates.c.serial == held.certificate)).first()
        if before is None or before.state not in rows.IN_FORCE:
            return refused(GONE)
        self._told(row, asked)
        self.book.note(self.now, "given again", row.id, certificate=before.serial)
        return given(before.der)

    def _shut(self, sentence: str, *who: str, suspect: bytes) -> Outcome:
        shut = []
        for device in who:
            if rows.device_row(self.connection, device).state not in BARRED:
                rows.quarantine(self.connection, self.book, device, sentence, self.now, suspect)
                shut.append(device)
                self.revoked = True
        return Outcome(status=REFUSED, certificate=b"", sentence=sentence, wait=0, shut=tuple(shut))

    def _withdraw(self, device: str, spare: str) -> list[str]:
        gone = rows.withdraw(self.connection, device, rows.REVOKED, self.now, spare)
        self.revoked |= bool(gone)
        return gone

    def _made(self, key: ec.EllipticCurvePublicKey, device: str, mine: bytes, state: str) -> tuple[str, bytes]:
        made = self.fleet.device_leaf(key, device, self.rules.life)
        serial, der = f"{made.serial_number:x}", made.public_bytes(serialization.Encoding.DER)
        values = {
            "serial": serial, "device": device, "key": mine, "state": state, "since": self.now, "der": der,
            "begins": int(made.not_valid_before_utc.timestamp()), "ends": int(made.not_valid_after_utc.timestamp()),
        }  # fmt: skip
        self.connection.execute(insert(certificates), values)
        return serial, der

    def _told(self, row: Row[Any], asked: Asked) -> None:
        if asked.boots is not None:
            told = update(devices).where(devices.c.id == row.id)
            self.connection.execute(told.values(boots=asked.boots, boot=asked.boot))


def copied(boots: int | None, boot: bytes | None, asked: Asked) -> bool:
    """Say whether two boards must be running with one key.

    A device counts its starts and draws a random at each. It never goes back, and it has one random for each start:
    a lower count, or the same count with another random, comes from a copy.
    """
    if asked.boots is None or boots is None:
        return False
    return asked.boots < boots or (asked.boots == boots and asked.boot != boot)


def token_hash(token: bytes) -> bytes:
    """Return what the registry knows of a token."""
    return hashlib.sha256(token).digest()


def given(der: bytes) -> Outcome:
    """Return the answer that holds a certificate."""
    return Outcome(status=GIVEN, certificate=der, sentence="", wait=0, shut=())


def refused(sentence: str, status: int = REFUSED) -> Outcome:
    """Return the answer that holds none."""
    return Outcome(status=status, certificate=b"", sentence=sentence, wait=0, shut=())
