"""From a device's receipt of erasure to its next owner: what it ends, and the voucher that it may be answered with.

The receipt is signed by the device's own key and so needs no certificate to travel: it outlives the key it was made
with. It ends the former owner's certificates at once. A voucher is given only where the fleet's operator agreed to the
next owner (`privet-fleet devices transfer`, before or after): else whoever took a device away could make it theirs.

    receipt of a device in use        its certificates are revoked, it waits for the operator's word
    receipt of one in transfer        the same, and the token that it drew opens one claim: a voucher says so
    the same receipt again            the same answer: what was sent before was lost
    a receipt of an earlier owner     nothing: the key that signed it was given up long ago
"""

import hashlib
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from agent.core.cose import key_id, sign1
from agent.core.errors import Missing, Refused, Tampered
from agent.core.voucher import Voucher, voucher_payload
from provisioning.fleet import rows, states
from provisioning.fleet.desk import GIVEN, LATER, NOBODY, Desk, Outcome, refused
from provisioning.fleet.erased import read_receipt, verified_receipt
from provisioning.fleet.identity import Fleet
from provisioning.fleet.ledger import Book
from provisioning.fleet.tables import certificates, devices, tokens

ENDED = 204  # it is on record, and nothing more will come of it
HOUR = 3600
DAYS = 400  # how long a voucher may wait to be used: as long as a seed
EARLIER = "this receipt is of an earlier owner, whose key was given up since; nothing follows from it"
ASKS = "it is on record; the next owner needs the operator's word: privet-fleet devices transfer"
SHUT = "it is on record; the device is in quarantine, and its operator has to look at why"
OVER = "its voucher ended before it was used; the operator can give another: privet-fleet devices transfer"
NO_KEY = "it is on record; this machine signs no vouchers, so its operator has to write a seed"
ELSE = "this device waits for another token than its own; write its seed with privet-fleet devices reseed"
BY_ITSELF = "its owner erased it; privet-fleet devices transfer lets the next one claim it"


def taken(desk: Desk, receipt: bytes) -> Outcome:
    """Answer a device that hands in its receipt; BadInput when it is none."""
    said = read_receipt(receipt)
    row = desk.connection.execute(rows.DEVICE, {"device": said.device[:64]}).first()
    if row is None:
        return refused(NOBODY)
    held = newest_last(desk.connection, row.id)
    try:
        said = verified_receipt(receipt, row.id, [one.der for one in held])
    except Tampered as error:
        return refused(str(error))
    if row.state == states.RETIRED:
        return answer(ENDED, "")
    if row.receipt != receipt:
        if not counts(held, said.key):
            return refused(EARLIER)
        desk.revoked |= recorded(desk.connection, desk.book, row, receipt, desk.now)
        row = rows.device_row(desk.connection, row.id)
    return answered(desk, row, said.token, receipt)


def newest_last(connection: Connection, device: str) -> list[Row[Any]]:
    """Return all certificates that a device ever had."""
    found = select(certificates).where(certificates.c.device == device)
    return list(connection.execute(found.order_by(certificates.c.begins, certificates.c.since)))


def counts(held: list[Row[Any]], key: bytes) -> bool:
    """Say whether a receipt by this key ends anything: it is in force or held, or was the last one there was."""
    return any(one.key == key and one.state != rows.REVOKED for one in held) or bool(held and held[-1].key == key)


def recorded(connection: Connection, book: Book, row: Row[Any], receipt: bytes, now: int) -> bool:
    """Write a receipt down and let what it ends be over; say whether certificates were revoked."""
    agreed = row.state == states.TRANSFERRING
    why = "" if agreed else BY_ITSELF
    over: dict[str, Any] = {"receipt": receipt, "boots": None, "boot": None}
    if states.possible(row.state, states.ERASED):
        rows.move(connection, row, states.ERASED, now, why, **over)
        rows.void_unused(connection, row.id)
    elif row.state == states.QUARANTINED and rows.meanwhile(connection, row, states.ERASED, why):
        connection.execute(update(devices).where(devices.c.id == row.id).values(**over))
        rows.void_unused(connection, row.id)
    else:
        connection.execute(update(devices).where(devices.c.id == row.id).values(receipt=receipt))
    gone = rows.withdraw(connection, row.id, rows.REVOKED, now)
    book.note(now, states.ERASED, row.id, by="", receipt=receipt.hex(), revoked=gone)
    if agreed:
        agree(connection, book, rows.device_row(connection, row.id), now)
    return bool(gone)


def agree(connection: Connection, book: Book, row: Row[Any], now: int, by: str = "") -> None:
    """Let the token that an erased device drew open one claim; every other token of it is void then."""
    token = read_receipt(row.receipt).token if row.receipt else b""
    known = connection.execute(rows.TOKEN, {"hash": token}).first() if token else None
    if known is not None and (known.device != row.id or known.state != rows.OPEN):
        raise Refused(ELSE)
    if not token:
        if by:
            raise Refused(ELSE)
        return
    rows.void_unused(connection, row.id)
    until = now + DAYS * 86400
    if known is None:
        connection.execute(insert(tokens).values(hash=token, device=row.id, state=rows.OPEN, until=until))
    else:
        connection.execute(update(tokens).where(tokens.c.hash == token).values(state=rows.OPEN, until=until))
    rows.move(connection, row, states.TRANSFER, now)
    book.note(now, "vouched", row.id, by=by, token=token.hex(), until=until)


def answered(desk: Desk, row: Row[Any], token: bytes, receipt: bytes) -> Outcome:
    """Return what there is to say to a receipt that is on record."""
    if row.state == states.QUARANTINED:
        return answer(LATER, SHUT)
    known = desk.connection.execute(rows.TOKEN, {"hash": token}).first() if token else None
    if row.state != states.RESET or not token or (known is not None and known.state != rows.OPEN):
        return answer(ENDED, "")
    if known is None:
        return answer(LATER, ASKS)
    if known.until < desk.now:
        return answer(LATER, OVER)
    try:
        signed = voucher(desk.fleet, row.id, token, receipt, known.until)
    except Missing:
        return answer(LATER, NO_KEY)
    return Outcome(status=GIVEN, certificate=signed, sentence="", wait=0, shut=())


def voucher(fleet: Fleet, device: str, token: bytes, receipt: bytes, until: int) -> bytes:
    """Sign a voucher; the same facts give the same bytes."""
    digest = hashlib.sha256(receipt).digest()
    payload = voucher_payload(Voucher(fleet=fleet.name, device=device, token=token, receipt=digest, until=until))
    key = fleet.signing_key()
    return sign1(payload, key_id(key.public_key().public_bytes_raw()), key.sign)


def answer(status: int, sentence: str) -> Outcome:
    """Return an answer without a voucher."""
    wait = HOUR if status == LATER else 0
    return Outcome(status=status, certificate=b"", sentence=sentence, wait=wait, shut=())
