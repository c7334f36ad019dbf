"""What several acts do to the registry's rows, always inside somebody's writing transaction."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from agent.core.errors import Missing
from provisioning.fleet import states
from provisioning.fleet.ledger import Book
from provisioning.fleet.tables import certificates, devices, shut, suspects, tokens

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


def move(
    connection: Connection, row: Row[Any], event: str, now: int, why: str = "", before: str = "", **more: Any
) -> str:
    """Let an event happen to a device; return its new state. Refused when it cannot happen now."""
    state = states.after(row.state, event, before)
    connection.execute(MOVED, {"device": row.id, "to_state": state, "to_why": why, "now": now})
    if more:
        connection.execute(update(devices).where(devices.c.id == row.id).values(**more))
    return state


def certificates_of(connection: Connection, device: str, *which: str) -> list[Row[Any]]:
    """Return a device's certificates in these states, oldest first."""
    found = select(certificates).where(certificates.c.device == device, certificates.c.state.in_(which))
    return list(connection.execute(found.order_by(certificates.c.since, certificates.c.serial)))


def mark(connection: Connection, serials: list[str], state: str, now: int) -> None:
    """Put certificates into a state."""
    if serials:
        marked = update(certificates).where(certificates.c.serial.in_(serials))
        connection.execute(marked.values(state=state, since=now))


def withdraw(connection: Connection, device: str, state: str, now: int, spare: str = "") -> list[str]:
    """Revoke or hold what is in force of a device, but for one serial; return the serials."""
    which = (*IN_FORCE, HELD) if state == REVOKED else IN_FORCE
    serials = [row.serial for row in certificates_of(connection, device, *which) if row.serial != spare]
    mark(connection, serials, state, now)
    return serials


def void_tokens(connection: Connection, device: str) -> None:
    """Let no token of a device open anything any more."""
    connection.execute(update(tokens).where(tokens.c.device == device).values(state=VOID))


def void_unused(connection: Connection, device: str) -> None:
    """Let no token of a device that nobody came with open anything any more."""
    unused = update(tokens).where(tokens.c.device == device, tokens.c.state == OPEN)
    connection.execute(unused.values(state=VOID))


def quarantine(
    connection: Connection, book: Book, device: str, why: str, now: int, suspect: bytes = b"", **facts: Any
) -> None:
    """Shut a device out: its certificates are held, its tokens rest, and a key that came with it is remembered."""
    row = device_row(connection, device)
    move(connection, row, states.QUARANTINE, now, why)
    if row.state != states.QUARANTINED:
        connection.execute(insert(shut).values(device=device, state=row.state, why=row.why))
    held = withdraw(connection, device, HELD, now)
    if suspect and connection.execute(SUSPECT, {"key": suspect}).first() is None:
        connection.execute(suspects.insert().values(key=suspect, device=device))
    book.note(now, "quarantined", device, why=why, held=held, key=suspect.hex(), **facts)


def before(connection: Connection, row: Row[Any]) -> tuple[str, str]:
    """Return the state that a device in quarantine is let back to, and its why."""
    kept = connection.execute(select(shut.c.state, shut.c.why).where(shut.c.device == row.id)).first()
    if kept is not None:
        return str(kept.state), str(kept.why)
    if certificates_of(connection, row.id, HELD):  # shut out by a Privet that did not write it down
        return states.ACTIVE, ""
    if certificates_of(connection, row.id, REVOKED):
        return (states.RESET if row.receipt else states.REVOKED), ""
    return states.PLANNED, ""


def meanwhile(connection: Connection, row: Row[Any], event: str, why: str = "") -> bool:
    """Let an event happen to what a device in quarantine was, where it can; say whether it did."""
    was, _ = before(connection, row)
    if not states.possible(was, event):
        return False
    unkept(connection, row.id)
    connection.execute(insert(shut).values(device=row.id, state=states.after(was, event), why=why))
    return True


def unkept(connection: Connection, device: str) -> None:
    """Forget what a device was before its quarantine."""
    connection.execute(delete(shut).where(shut.c.device == device))


def revoke(connection: Connection, held: Row[Any], now: int, why: str) -> None:
    """Let one certificate count no more, by a person's word; a device without another waits for a new seed."""
    row = device_row(connection, held.device)
    mark(connection, [held.serial], REVOKED, now)
    if certificates_of(connection, row.id, *IN_FORCE, HELD):
        return
    if row.state == states.QUARANTINED:
        meanwhile(connection, row, states.REVOKE, why)
    elif states.possible(row.state, states.REVOKE):
        move(connection, row, states.REVOKE, now, why)
