"""What a registry tells of a fleet as a whole, for who has to judge it: counts and days, no device by name."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from agent.core.errors import Tampered
from agent.core.shown import many
from provisioning.fleet import rows, states
from provisioning.fleet.registry import DAY, Registry
from provisioning.fleet.tables import certificates, ledger, reading

# What a device did itself; what a person did with it says nothing of when it was last there.
CAME = ("claimed", "given again", "renewed", "renewal proven", states.SEEN)
USED = (states.CLAIMED, states.ACTIVE)
WITHIN = (30, 120)  # days: a certificate is renewed every sixty


def standing(registry: Registry, handed: Collection[str]) -> dict[str, Any]:
    """Return how many devices stand where, when they came last, and whether the ledger is whole.

    `handed` are the devices that policies were handed out to. A ledger that was changed is said, and nothing fails.
    """
    now = registry.now()
    counted = {state: count for state, count in sorted(registry.counted().items()) if count}
    used = [str(row.id) for state in USED for row in registry.listing(state)]
    with reading(registry.engine) as connection:
        last = select(ledger.c.device, func.max(ledger.c.at)).where(ledger.c.event.in_(CAME)).group_by(ledger.c.device)
        came = {str(device): int(at) for device, at in connection.execute(last) if device is not None}
        valid = certificates.c.state.in_(rows.IN_FORCE), certificates.c.ends > now
        holders = set(connection.scalars(select(certificates.c.device).where(*valid)))
    ages = [(now - came[device]) // DAY if device in came else None for device in used]
    first, second = WITHIN
    return {
        "states": counted,
        "devices": sum(counted.values()),
        "quarantined": counted.get(states.QUARANTINED, 0),
        "in_use": len(used),
        "certified": sum(device in holders for device in used),
        "without_policy": sum(device not in handed for device in used),
        "came": {
            f"within_{first}_days": sum(age is not None and age < first for age in ages),
            f"within_{second}_days": sum(age is not None and first <= age < second for age in ages),
            "longer_ago": sum(age is not None and age >= second for age in ages),
            "not_known": ages.count(None),
        },
        "came_last": max((came[device] for device in used if device in came), default=0),
        "ledger": checked_ledger(registry),
    }


def checked_ledger(registry: Registry) -> dict[str, Any]:
    """Check the ledger; return how many rows it has, or the sentence that names the first wrong one."""
    try:
        return {"whole": True, "rows": registry.verify(), "why": ""}
    except Tampered as error:
        return {"whole": False, "rows": None, "why": str(error)}


def words(facts: dict[str, Any]) -> list[str]:
    """Say it in plain words."""
    came, held = facts["came"], facts["ledger"]
    first, second = WITHIN
    states_said = ", ".join(f"{count} {state}" for state, count in facts["states"].items()) or "none"
    used = (
        f"Of {many(facts['in_use'], 'device')} in use {facts['certified']} have a certificate that counts today, and "
        f"{facts['without_policy']} were never handed out a policy; these have the one they were flashed with."
    )
    seen = (
        f"They came to the enrolment server last: {came[f'within_{first}_days']} within {first} days, "
        f"{came[f'within_{second}_days']} within {second}, {came['longer_ago']} longer ago, {came['not_known']} not "
        f"known. The last one came on: {day(facts['came_last'])}. A device comes there to renew its certificate, and "
        "what it sends to its broker is not counted here."
    )
    said = [
        f"The registry has {many(facts['devices'], 'device')}: {states_said}.",
        f"Quarantined, that is shut out until a person has looked: {facts['quarantined']}.",
        used,
        seen,
    ]
    if held["whole"]:
        return [*said, f"The ledger was verified row by row and is whole ({held['rows']} rows)."]
    return [*said, f"The ledger is NOT whole: {held['why']}."]


def day(at: int) -> str:
    """Return a day as people read it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" if at else "never"
