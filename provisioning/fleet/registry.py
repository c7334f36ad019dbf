"""The registry: which devices the fleet has, what each may do next, and the ledger of all that happened.

Ids are random. A board's serial number is kept as a digest under the fleet's own key, a token as its SHA-256; no MAC
address, no name of a person, nothing that a device measured.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, func, insert, select

from agent.core.errors import BadInput, Missing, Refused
from provisioning.fleet import handover, rows, states
from provisioning.fleet.erased import verified_receipt
from provisioning.fleet.identity import Fleet, checked
from provisioning.fleet.ledger import Book, verified
from provisioning.fleet.tables import (
    batches,
    certificates,
    database,
    devices,
    ledger,
    reading,
    suspects,
    tokens,
    writing,
)

DAY = 86400
TOKEN = 32  # bytes
MOST_BATCH = 1_000_000
TOKEN_DAYS = 400  # how long a card may lie in a drawer before it is first used
HEAD = "ledger.head"


class Planned(NamedTuple):
    """A device to be flashed, and the token that opens its enrolment. The token is nowhere else."""

    device: str
    token: bytes

    def __repr__(self) -> str:
        return f"Planned(device={self.device!r}, token=<secret>)"


class Registry:
    """One fleet's registry. Any number of processes may write: each act is one transaction, one after the other."""

    def __init__(self, fleet: Fleet, place: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self.fleet = fleet
        self.engine = database(fleet.safe.facts.get("registry", "") if place is None else place, fleet.safe.directory)
        self._clock = clock
        self._ledger_key = fleet.ledger_key()
        self._digest_key = fleet.digest_key()

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def now(self) -> int:
        """Return the time by which the fleet judges."""
        return int(self._clock())

    @contextmanager
    def act(self) -> Iterator[tuple[Connection, Book]]:
        """Open a writing transaction with the ledger's end; what was noted is written when it closes well."""
        with writing(self.engine) as connection:
            book = Book(connection, self._ledger_key)
            yield connection, book
            book.close()

    def batch(self, count: int, serials: Sequence[str] = ()) -> tuple[int, list[Planned]]:
        """Plan devices with random ids and a token each; bind them to boards when serial numbers are given."""
        made = drawn(count)
        return self.planned(made, serials), made

    def planned(self, made: Sequence[Planned], serials: Sequence[str] = ()) -> int:
        """Take in devices that were drawn; return the number of their batch."""
        now, count = self.now(), len(made)
        if serials and len(serials) != count:
            raise BadInput("there are as many serial numbers as devices, or none; correct the list")
        digests: list[bytes | None] = [self.digest(serial) for serial in serials] or [None] * count
        with self.act() as (connection, book):
            number = (connection.scalar(select(func.max(batches.c.id))) or 0) + 1
            self._no_twins(connection, digests)
            connection.execute(insert(batches).values(id=number, made=now, count=count))
            fresh = {"batch": number, "state": states.PLANNED, "why": "", "changed": now}
            connection.execute(
                insert(devices),
                [{"id": one.device, "serial": digest, **fresh} for one, digest in zip(made, digests, strict=True)],
            )
            connection.execute(insert(tokens), [self._token_row(one, now) for one in made])
            ids = hashlib.sha256("\n".join(one.device for one in made).encode()).hexdigest()
            book.note(now, "batch", number=number, count=count, ids=ids)
        return int(number)

    def token(self, device: str, event: str = states.FLASH, **facts: Any) -> Planned:
        """Make a new token for a device whose card is written (anew); every token before it is void."""
        made, now = Planned(device=checked(device, "device"), token=secrets.token_bytes(TOKEN)), self.now()
        with self.act() as (connection, book):
            row = rows.device_row(connection, device)
            rows.move(connection, row, event, now)
            self._new_token(connection, made, now)
            book.note(now, states.FLASH, device, **facts)
        return made

    def happened(self, device: str, event: str, **facts: Any) -> str:
        """Record what a station or a server saw of a device; return its new state."""
        now = self.now()
        with self.act() as (connection, book):
            state = rows.move(connection, rows.device_row(connection, device), event, now)
            book.note(now, event, device, **facts)
        return state

    def quarantine(self, device: str, why: str, by: str) -> None:
        """Shut a device out, by a person's word."""
        with self.act() as (connection, book):
            rows.quarantine(connection, book, device, why, self.now(), by=by)

    def release(self, device: str, why: str, by: str) -> str:
        """Let a device be what it was before its quarantine, and return that.

        The newest of its held certificates has to prove itself where there are two.
        """
        now = self.now()
        with self.act() as (connection, book):
            row = rows.device_row(connection, device)
            was, because = rows.before(connection, row)
            state = rows.move(connection, row, states.RELEASE, now, because, was)
            rows.unkept(connection, device)
            held = [row.serial for row in rows.certificates_of(connection, device, rows.HELD)]
            rows.mark(connection, held[:1], rows.VALID, now)
            rows.mark(connection, held[1:], rows.OFFERED, now)
            own = select(certificates.c.key).where(certificates.c.device == device)
            connection.execute(delete(suspects).where((suspects.c.device == device) | suspects.c.key.in_(own)))
            book.note(now, "released", device, why=why, by=by, state=state)
        return state

    def transfer(self, device: str, by: str) -> None:
        """Begin to give a device away: its owner has to erase it before anybody can claim it anew.

        Where its owner began, by erasing it, this is the operator's word for the next one.
        """
        now = self.now()
        with self.act() as (connection, book):
            row = rows.device_row(connection, device)
            if row.state == states.RESET:
                handover.agree(connection, book, row, now, by)
                return
            rows.move(connection, row, states.TRANSFER, now)
            book.note(now, states.TRANSFER, device, by=by)

    def erased(self, device: str, receipt: bytes = b"", by: str = "") -> Planned:
        """End a transfer with the old owner's signed receipt, or by a person's name: old certificates are revoked.

        The token returned opens the new owner's claim. Refused when neither is given, Tampered for a wrong receipt.
        """
        made, now = Planned(device=device, token=secrets.token_bytes(TOKEN)), self.now()
        with self.act() as (connection, book):
            row = rows.device_row(connection, device)
            self._proven(connection, device, receipt, by)
            rows.move(connection, row, states.ERASED, now, receipt=receipt or row.receipt, boots=None, boot=None)
            gone = rows.withdraw(connection, device, rows.REVOKED, now)
            self._new_token(connection, made, now)
            book.note(now, states.ERASED, device, by=by, receipt=receipt.hex(), revoked=gone)
        return made

    def retire(self, device: str, receipt: bytes = b"", by: str = "") -> None:
        """End a device's life: revoked, no token opens anything, the receipt is kept."""
        now = self.now()
        with self.act() as (connection, book):
            row = rows.device_row(connection, device)
            self._proven(connection, device, receipt, by)
            rows.move(connection, row, states.RETIRE, now, receipt=receipt or row.receipt)
            rows.unkept(connection, device)
            gone = rows.withdraw(connection, device, rows.REVOKED, now)
            rows.void_tokens(connection, device)
            book.note(now, "retired", device, by=by, receipt=receipt.hex(), revoked=gone)

    def following(self, device: str, event: str) -> tuple[str, str]:
        """Return a device's state, and what an event would make of it; Refused when it cannot happen now."""
        with reading(self.engine) as connection:
            row = rows.device_row(connection, device)
            return row.state, states.after(row.state, event, rows.before(connection, row)[0])

    def listing(self, state: str = "", batch: int = 0) -> list[Row[Any]]:
        """Return devices, those that need a person first."""
        wanted = select(devices).order_by(devices.c.state != states.QUARANTINED, devices.c.batch, devices.c.id)
        wanted = wanted.where(devices.c.state == state) if state else wanted
        wanted = wanted.where(devices.c.batch == batch) if batch else wanted
        with reading(self.engine) as connection:
            return list(connection.execute(wanted))

    def counted(self) -> dict[str, int]:
        """Return how many devices are in each state."""
        with reading(self.engine) as connection:
            found = connection.execute(select(devices.c.state, func.count()).group_by(devices.c.state))
            return {str(state): int(count) for state, count in found}

    def shown(self, device: str) -> tuple[Row[Any], list[Row[Any]], list[Row[Any]]]:
        """Return a device, its certificates and its rows of the ledger."""
        with reading(self.engine) as connection:
            held = select(certificates).where(certificates.c.device == device).order_by(certificates.c.begins)
            told = select(ledger).where(ledger.c.device == device).order_by(ledger.c.row)
            row = rows.device_row(connection, device)
            return row, list(connection.execute(held)), list(connection.execute(told))

    def verify(self) -> int:
        """Check the whole ledger; return the number of its rows. Tampered names the row."""
        with reading(self.engine) as connection:
            return verified(connection, self._ledger_key.public_key(), self._remembered())

    def remember(self) -> None:
        """Keep the end of the ledger beside the database, so that cutting it off shows."""
        with reading(self.engine) as connection:
            last = connection.execute(
                select(ledger.c.row, ledger.c.hash).order_by(ledger.c.row.desc()).limit(1)
            ).first()
        before = self._remembered()
        if last is not None and (before is None or last.row > before[0]):
            self.fleet.safe.write(HEAD, f"{last.row} {last.hash.hex()}\n".encode())

    def digest(self, serial: str) -> bytes:
        """Return what is kept of a board's serial number."""
        return hashlib.blake2b(serial.encode(), key=self._digest_key, digest_size=32, person=b"privet serial").digest()

    def _remembered(self) -> tuple[int, bytes] | None:
        try:
            row, _, hashed = self.fleet.safe.read(HEAD).decode().partition(" ")
            return int(row), bytes.fromhex(hashed)
        except Missing:
            return None
        except ValueError:
            raise BadInput(f"{self.fleet.safe.directory / HEAD} is damaged; restore it from your copy") from None

    @staticmethod
    def _token_row(one: Planned, now: int) -> dict[str, Any]:
        until = now + TOKEN_DAYS * DAY
        return {"hash": hashlib.sha256(one.token).digest(), "device": one.device, "state": rows.OPEN, "until": until}

    def _new_token(self, connection: Connection, made: Planned, now: int) -> None:
        rows.void_unused(connection, made.device)
        connection.execute(insert(tokens).values(**self._token_row(made, now)))

    @staticmethod
    def _no_twins(connection: Connection, digests: Sequence[bytes | None]) -> None:
        known = [digest for digest in digests if digest is not None]
        for at in range(0, len(known), 500):
            found = select(devices.c.id).where(
                devices.c.serial.in_(known[at : at + 500]), devices.c.state != states.RETIRED
            )
            twin = connection.scalar(found.limit(1))
            if twin is not None:
                raise Refused(f"one of these serial numbers belongs to the device {twin} already; retire that first")

    @staticmethod
    def _proven(connection: Connection, device: str, receipt: bytes, by: str) -> None:
        if receipt:
            held = handover.newest_last(connection, device)
            said = verified_receipt(receipt, device, [one.der for one in held])
            if not handover.counts(held, said.key):
                raise Refused(handover.EARLIER)
        elif not by.strip():
            raise Refused("there is no receipt that the device was erased; give it, or answer for it with your name")


def drawn(count: int) -> list[Planned]:
    """Draw random ids and tokens for devices of which nobody knows yet."""
    if not 1 <= count <= MOST_BATCH:
        raise BadInput(f"a batch has 1 to {MOST_BATCH} devices; make several")
    width = 8 + TOKEN
    noise = secrets.token_bytes(width * count)
    return [
        Planned(device=f"d-{noise[at : at + 8].hex()}", token=noise[at + 8 : at + width])
        for at in range(0, width * count, width)
    ]
