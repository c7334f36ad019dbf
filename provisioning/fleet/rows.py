"""What several acts do to the registry's rows, always inside somebody's writing transaction."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from agent.core.errors import Missing
from provisioning.fleet.ledger import Book
from provisioning.fleet.states import QUARANTINE, after
from provisioning.fleet.tables import certificates, devices, suspects, tokens

OPEN, USED, VOID = "open", "used", "void"
OFFERED, VALID, HELD, REVOKED = "offered", "valid", "held", "revoked"
IN_FORCE = (OFFERED, VALID)
# Built once: putting such a question together costs as much as asking it.
DEVICE = select(devices).where(devices.c.id == bindparam("device"))
TOKEN = select(tokens).where(tokens.c.hash == bindparam("hash"))
OWNERS = select(certificates.c.device, certificates.c.state).where(certificates.c.key == bindparam("key"))
SUSPECT = select(suspects.c.key).where(suspects.c.key == bindparam("key"))
MOVED = (
    update(devices)
    .where(devices.c.id == bindparam("device"))
    .values(state=bindparam("to_state"), why=bindparam("to_why"), changed=bindparam("now"))
)
USE = (
    update(tokens)
    .where(tokens.c.hash == bindparam("hash_"))
    .values(state=USED, key=bindparam("to_key"), certificate=bindparam("to_certificate"))
)


def device_row(connection: Connection, device: str) -> Row[Any]:
    """Return a device's row; Missing when the fleet has no such device."""
    row = connection.execute(DEVICE, {"device": device}).first()
    if row is None:
        raise Missing(f"this fleet has no device {device[:80]!r}; see privet-fleet devices list")
    return row


def move(connection: Connection, row: Row[Any], event: str, now: int, why: str = "", **more: Any) -> str:
    """Let an event happen to a device; return its new state. Refused when it cannot happen now."""
    state = after(row.state, event)
    connection.execute(MOVED, {"device": row.id, "to_state": state, "to_why": why, "now": now})
    if more:
        connection.execute(update(devices).where(devices.c.id == row.id).values(**more))
    return state


def certificates_of(connection: Connection, device: str, *states: str) -> list[Row[Any]]:
    """Return a device's certificates in these states, oldest first."""
    found = select(certificates).where(certificates.c.device == device, certificates.c.state.in_(states))
    return list(connection.execute(found.order_by(certificates.c.since, certificates.c.serial)))


def mark(connection: Connection, serials: list[str], state: str, now: int) -> None:
    """Put certificates into a state."""
    if serials:
        marked = update(certificates).where(certificates.c.serial.in_(serials))
        connection.execute(marked.values(state=state, since=now))


def withdraw(connection: Connection, device: str, state: str, now: int, spare: str = "") -> list[str]:
    """Revoke or hold what is in force of a device, but for one serial; return the serials."""
    states = (*IN_FORCE, HELD) if state == REVOKED else IN_FORCE
    serials = [row.serial for row in certificates_of(connection, device, *states) if row.serial != spare]
    mark(connection, serials, state, now)
    return serials


def void_tokens(connection: Connection, device: str) -> None:
    """Let no token of a device open anything any more."""
    connection.execute(update(tokens).where(tokens.c.device == device).values(state=VOID))


def quarantine(
    connection: Connection, book: Book, device: str, why: str, now: int, suspect: bytes = b"", **facts: Any
) -> None:
    """Shut a device out: its certificates are held, its tokens rest, and a key that came with it is remembered."""
    row = device_row(connection, device)
    move(connection, row, QUARANTINE, now, why)
    held = withdraw(connection, device, HELD, now)
    if suspect and connection.execute(SUSPECT, {"key": suspect}).first() is None:
        connection.execute(suspects.insert().values(key=suspect, device=device))
    book.note(now, "quarantined", device, why=why, held=held, key=suspect.hex(), **facts)
