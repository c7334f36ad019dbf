"""What leaves the registry: the list of revoked certificates, and at its time everything that need not be kept."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection, delete, func, select, update

from agent.core.errors import BadInput, Missing
from provisioning.fleet import rows, states
from provisioning.fleet.identity import Fleet
from provisioning.fleet.ledger import FORGOT
from provisioning.fleet.registry import DAY, Registry
from provisioning.fleet.revocation import (
    EARLIER,
    LIST,
    LIVES,
    MOST_LIST,
    Revoked,
    list_by_hand,
    one_crl,
    read_certificate,
)
from provisioning.fleet.tables import certificates, devices, ledger, shut, suspects, tokens, writing

KEEP_DAYS = 730
GONE = (rows.HELD, rows.REVOKED)
DEVICES = "device-ca"


def revocation_list(fleet: Fleet) -> bytes:
    """Return the CRL of the device CA (DER): all that `publish` and `privet-fleet broker revoke` have listed."""
    now = datetime.now(UTC).replace(microsecond=0)
    return one_crl(fleet, DEVICES, now - EARLIER, now).public_bytes(serialization.Encoding.DER)


def publish(registry: Registry) -> bool:
    """Write what is revoked or held into the fleet's list, where its broker looks; say whether that changed it.

    Within the registry's write lock, so of two who publish the later knows more. What others listed stays, and
    whatever a person listed.
    """
    with writing(registry.engine) as connection:
        listed = _listed(registry.fleet)
        found = connection.execute(select(certificates.c.serial, certificates.c.state)).all()
        ours, gone = {row.serial for row in found}, {row.serial for row in found if row.state in GONE}
        kept = [row for row in listed if row["serial"] not in (gone if row.get("hand") else ours)]
        fresh = [*kept, *_ended(connection, registry.now() - int(LIVES.total_seconds()))]
        if fresh == listed:
            return False
        registry.fleet.safe.write(LIST, json.dumps(fresh, indent=1).encode() + b"\n")
    return True


def revoke(registry: Registry, certificates_: Iterable[bytes], why: str, by: str) -> tuple[Revoked, ...]:
    """Let certificates (PEM) count no more, by a person's word; return what is new. BadInput for one that is not ours.

    What the registry gave out it withdraws, so that no renewal follows; what it does not know is listed by hand.
    """
    fleet, now = registry.fleet, registry.now()
    asked = {(one.issuer, one.serial): one for one in (read_certificate(fleet, pem) for pem in certificates_)}
    with registry.act() as (connection, book):
        fresh: list[Revoked] = []
        for one in asked.values():
            serial = f"{one.serial:x}"
            held = connection.execute(select(certificates).where(certificates.c.serial == serial)).first()
            if held is None or one.issuer != DEVICES:
                found = list_by_hand(fleet, [one])
            else:
                found = () if held.state == rows.REVOKED else (one,)
                if found:
                    rows.revoke(connection, held, now, f"its certificate was revoked{': ' if why else ''}{why}")
            fresh += found
            if found:
                device = one.name if one.issuer == DEVICES else ""
                book.note(now, "revoked", device, name=one.name, certificate=serial, issuer=one.issuer, why=why, by=by)
    publish(registry)
    return tuple(fresh)


def forget(registry: Registry) -> int:
    """Let go of what is older than the fleet keeps things; return how many rows of the ledger lost their facts.

    A retired device is forgotten altogether; of the ledger the chain remains, without names and facts.
    """
    now = registry.now()
    end = now - keep_days(registry.fleet) * DAY
    with registry.act() as (connection, book):
        old = select(devices.c.id).where(devices.c.state == states.RETIRED, devices.c.changed < end)
        gone = list(connection.scalars(old))
        for device in gone:
            for table in (tokens, suspects, shut):
                connection.execute(delete(table).where(table.c.device == device))
            connection.execute(delete(certificates).where(certificates.c.device == device, certificates.c.ends < now))
            connection.execute(delete(devices).where(devices.c.id == device))
        ended = certificates.c.state.in_((rows.REVOKED,)), certificates.c.ends < end
        connection.execute(delete(certificates).where(*ended))
        connection.execute(delete(tokens).where(tokens.c.state == rows.VOID, tokens.c.until < end))
        telling = ledger.c.at < end, ledger.c.facts.is_not(None), ledger.c.event != FORGOT
        count, last = connection.execute(select(func.count(), func.max(ledger.c.row)).where(*telling)).one()
        if count:
            connection.execute(update(ledger).where(*telling).values(facts=None, device=None))
            book.note(now, FORGOT, until_row=last, rows=count)
    return int(count)


def keep_days(fleet: Fleet) -> int:
    """Return how long the fleet keeps what it need not: `keep_days` of fleet.json, else two years."""
    said = fleet.safe.facts.get("keep_days", str(KEEP_DAYS))
    if not (said.isascii() and said.isdecimal() and 0 < int(said) < 36500):
        raise BadInput(f"keep_days of fleet.json is {said!r}; write a number of days there")
    return int(said)


def _ended(connection: Connection, since: int) -> list[dict[str, Any]]:
    """Return what is to be listed: a certificate that has ended by itself is refused without a list."""
    found = select(certificates).where(certificates.c.state.in_(GONE), certificates.c.ends > since)
    return [
        {"serial": row.serial, "name": row.device, "issuer": DEVICES, "at": row.since, "until": row.ends}
        for row in connection.execute(found.order_by(certificates.c.since, certificates.c.serial))
    ]


def _listed(fleet: Fleet) -> list[dict[str, Any]]:
    try:
        listed = json.loads(fleet.safe.read(LIST, MOST_LIST))
    except Missing:
        return []
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(row, dict) and "serial" in row for row in listed):
        raise BadInput(f"{fleet.safe.directory / LIST} is damaged; restore it from your copy")
    return listed
