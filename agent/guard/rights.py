"""What the owner may see and take: the next message before it is sealed, everything that left, everything kept here."""

import hashlib
from collections.abc import Callable
from typing import Any

from agent.core import cbor
from agent.core.cell import reduced
from agent.core.consent import agreed, notice_digest, require, standing, state_of
from agent.core.errors import BadInput, Missing, PrivetError
from agent.core.notice import notice
from agent.core.policy import Policy
from agent.core.record import as_map
from agent.core.telemetry import Message, Recipient, declared, pack, write_number
from agent.guard.callers import Caller
from agent.guard.deletions import Deletions
from agent.guard.egress import KIND
from agent.guard.guard import Guard
from agent.guard.outbox import Outbox
from agent.guard.packs import fraction
from agent.guard.readings import read_samples
from agent.guard.windows import Windows
from agent.guard.wire import Reply, readable

PAGE = 100  # entries of the journal in one answer: full ones of the ledger fit the line it goes over


class Rights:
    """Verbs behind the control socket, for the owner alone."""

    def __init__(self, guard: Guard, outbox: Outbox, deletions: Deletions, counted: Callable[[], Reply]) -> None:
        self.guard = guard
        self.outbox = outbox
        self.deletions = deletions
        self.counted = counted  # how what left stands by the kernel's count
        self.table = {"preview": self.preview, "egress": self.egress, "export": self.export}

    def policy(self) -> Policy:
        """Return the policy in force."""
        policy = self.guard.rules.policy
        if policy is None:
            raise Missing("no policy is in force yet; set the device up first")
        return policy

    def preview(self, caller: Caller, request: Reply) -> Reply:
        """Say exactly what would be sealed for readings, or was sealed last for each purpose; nothing is sent."""
        policy = self.policy()
        if "send" in request:
            wanted: dict[str, object] = {key: request[key] for key in ("send", "at") if key in request}
            samples = read_samples(wanted, self.guard.system.clock())
            parts: dict[str, list[Message]] = {}
            counted = Windows(self.outbox.intake.bits)
            for sample in samples:
                field = declared(policy.fields, sample.name)
                if field.keep:
                    counted.count(field, sample)
                else:
                    parts.setdefault(field.purpose, []).extend(
                        self.outbox.intake.blurred(field, reduced(field, sample))
                    )
            for made in counted.take(list(counted.open)):
                parts.setdefault(made.purpose, []).append(made)
        else:
            parts = {p.id: list(self.outbox.lanes[p.id].last) for p in policy.purposes if p.id in self.outbox.lanes}
        return {"messages": [self.message(policy, purpose, parts[purpose]) for purpose in sorted(parts)]}

    def message(self, policy: Policy, purpose: str, messages: list[Message]) -> Reply:
        """Write one message as it is before sealing, as SenML JSON (RFC 8428 section 5), and who could open it."""
        plain = cbor.encode(pack(tuple(messages), fraction)) if messages else b""
        why = ""
        try:
            require(self.guard.books.consents, policy, purpose)
        except PrivetError as error:
            why = str(error)
        chosen = next(p for p in policy.purposes if p.id == purpose)
        to = agreed(self.guard.books.consents, policy, purpose) or chosen.recipients
        return {
            "purpose": purpose,
            "title": chosen.title,
            "to": [{"name": r.name, "country": r.country} for r in policy.recipients if r.id in to],
            "refused": why,
            "pack": senml(messages),
            "bytes": len(plain),
            "digest": hashlib.sha256(plain).hexdigest() if plain else "",
        }

    def egress(self, caller: Caller, request: Reply) -> Reply:
        """Return a page of the egress ledger: lines that are kept, and after the last page those that wait.

        With `counted`: how the kernel's count of what left compares.
        """
        if request.get("counted") is True:
            return {"counted": self.counted()}
        store: Any = self.guard.books.store
        since = request.get("since")
        after = since if type(since) is int and since >= 0 else 0
        entries = store.entries(after, PAGE)
        rows = [{"entry": e.seq, **lined(e.body)} for e in entries if e.kind == KIND]
        if entries:
            return {"rows": rows, "next": entries[-1].seq, "head": store.head.count}
        return {"rows": [{"entry": 0, **lined(body)} for body in self.outbox.ledger.waiting()], "next": None}

    def export(self, caller: Caller, request: Reply) -> Reply:
        """Return one part of everything that is kept here about the owner; the journal comes in pages."""
        part = request.get("part")
        parts = {"consents": self.consents, "policy": self.declared, "telemetry": self.telemetry, "journal": self.pages}
        if not isinstance(part, str) or part not in parts:
            raise BadInput(f"an export has the parts {', '.join(sorted(parts))}")
        return parts[part](request)

    def consents(self, request: Reply) -> Reply:
        """Return every answer, with the notice as it is today and whether that is the one answered."""
        policy, rows = self.policy(), []
        for purpose in policy.purposes:
            named = [r for r in policy.recipients if r.id in purpose.recipients]
            rows.append(
                {
                    "purpose": as_map(purpose),
                    "state": standing(self.guard.books.consents, policy, purpose.id),
                    "notice": notice(policy, purpose.id),
                    "digest": notice_digest(policy, purpose.id),
                    "fields": [as_map(field) for field in policy.fields if field.purpose == purpose.id],
                    "recipients": [self.answered(policy, purpose.id, recipient) for recipient in named],
                }
            )
        asked = [readable(row) for row in self.deletions.exported()]
        return {"fleet": policy.fleet, "device": policy.device, "rows": rows, "deletions": asked}

    def answered(self, policy: Policy, purpose: str, recipient: Recipient) -> Reply:
        """Write how one recipient of a purpose stands: the answer, and the notice as it is today."""
        consents, to = self.guard.books.consents, (recipient.id,)
        answer = consents.get((purpose, recipient.id))
        return {
            **readable(as_map(recipient)),
            "state": state_of(consents, policy, purpose, recipient.id),
            "answer": None if answer is None else as_map(answer),
            "notice": notice(policy, purpose, to),
            "digest": notice_digest(policy, purpose, to),
            "deletion": self.deletions.told(purpose, recipient.id),
        }

    def declared(self, request: Reply) -> Reply:
        """Return the policy in force, keys as hex."""
        table = as_map(self.policy())
        table["recipients"] = [readable(as_map(recipient)) for recipient in self.policy().recipients]
        for name in ("purposes", "fields"):
            table[name] = [as_map(row) for row in getattr(self.policy(), name)]
        table["recovery"] = readable(table["recovery"])
        table["baseline"] = {name: listed(value) for name, value in table["baseline"].items()}
        return {"policy": table}

    def telemetry(self, request: Reply) -> Reply:
        """Return what waits in the queues: sealed to its recipients, so nobody on the device can read it any more."""
        rows = []
        for name, lane in sorted(self.outbox.lanes.items()):
            rows.append(
                {
                    "purpose": name,
                    "sealed_records_waiting": lane.queue.count,
                    "bytes": lane.queue.size,
                    "latest": senml(list(lane.last)),
                }
            )
        return {"rows": rows, "withheld": self.outbox.withheld.shown()}

    def pages(self, request: Reply) -> Reply:
        """Return the entries of the journal after a number."""
        store: Any = self.guard.books.store
        after = request.get("after")
        entries = store.entries(after if type(after) is int and after >= 0 else 0, PAGE)
        return {"entries": [readable(entry) for entry in entries]}


def senml(messages: list[Message]) -> list[Reply]:
    """Write messages as SenML JSON rows: bt base time, n name, u unit, v value, t time relative to bt.

    Numbers are text, so that 21.50 stays what it is.
    """
    base = min((m.at for m in messages), default=0)
    rows: list[Reply] = []
    for message in messages:
        row: Reply = {"n": message.name, "u": message.unit, "v": write_number(message.value, message.scale)}
        rows.append({**row, "t": message.at - base} if message.at != base else row)
    if rows:
        rows[0] = {"bt": base, **rows[0]}
    return rows


def lined(body: Any) -> Reply:
    """Write one entry of the ledger for the wire."""
    names = ("boot", "seq", "at", "bytes", "digest")
    rows = [dict(zip(names, line, strict=True)) for line in body["lines"]]
    lines = [{**row, "digest": bytes(row["digest"]).hex()} for row in rows]
    return {"purpose": body["purpose"], "to": list(body["to"]), "lines": lines, "lost": body["lost"]}


def listed(value: Any) -> Any:
    """Write a value of a setting so that it fits JSON."""
    return sorted(value) if isinstance(value, tuple | frozenset) else value
