"""What the owner is asked and answers: the notice of a purpose, and consent for each of its recipients."""

from agent.core.consent import GIVEN, NO, WITHDRAWN, answer, notice_digest, standing, state_of
from agent.core.errors import BadInput, Missing
from agent.core.notice import chosen, notice
from agent.core.policy import Policy
from agent.core.record import as_map
from agent.guard.callers import Caller
from agent.guard.deletions import Deletions
from agent.guard.guard import Guard
from agent.guard.lane import Lane
from agent.guard.outbox import Outbox
from agent.guard.wire import Reply


class Agreeing:
    """The verbs behind the control socket: everybody who may look sees the notice, the owner answers."""

    def __init__(self, guard: Guard, outbox: Outbox, deletions: Deletions) -> None:
        self.guard = guard
        self.outbox = outbox
        self.deletions = deletions
        self.table = {"notice": self.notice, "consent": self.consent}

    def policy(self) -> Policy:
        """Return the policy in force."""
        policy = self.guard.rules.policy
        if policy is None:
            raise Missing("no policy is in force yet; set the device up with privet-fleet")
        return policy

    def notice(self, caller: Caller, request: Reply) -> Reply:
        """Say what is collected, why, and who gets it, from the objects that the sender enforces.

        With `purpose`, of that one alone, and with `to` for these recipients alone.
        """
        policy, only = self.policy(), request.get("purpose")
        to = named(request)
        if only is not None:
            chosen(policy, str(only), to)
        rows = [self.row(policy, p.id, to) for p in policy.purposes if only in (None, p.id)]
        return {"purposes": rows, "withheld": self.outbox.withheld.shown()}

    def row(self, policy: Policy, name: str, to: tuple[str, ...]) -> Reply:
        """Write the notice of one purpose for the wire, and how each recipient stands."""
        consents = self.guard.books.consents
        recipients = [
            {
                "id": one.id,
                "name": one.name,
                "country": one.country,
                "state": state_of(consents, policy, name, one.id),
                "answer": as_map(consents[name, one.id]) if (name, one.id) in consents else None,
                "deletion": self.deletions.told(name, one.id),
            }
            for one in policy.recipients
            if one.id in chosen(policy, name, to)
        ]
        told: Reply = {"purpose": name, "state": standing(consents, policy, name), "notice": notice(policy, name, to)}
        told["fields"] = [field.name for field in policy.fields if field.purpose == name]
        return {**told, "seen": notice_digest(policy, name, to), "recipients": recipients}

    def consent(self, caller: Caller, request: Reply) -> Reply:
        """Record the owner's answer for a purpose: given (proving that the notice was shown), refused, withdrawn.

        For all of its recipients, or those in `to`. It counts at once; what a no destroys and cannot be destroyed now
        is an error, and is tried again.
        """
        policy, name, state = self.policy(), str(request.get("purpose")), str(request.get("state"))
        if state not in (GIVEN, *NO):
            raise BadInput("an answer is one of: given, refused, withdrawn")
        at = self.later(name, self.guard.rules.now(self.guard.system.clock()))
        answers = answer(policy, name, state, str(request.get("seen")), caller.name, at, named(request))
        lane = self.outbox.lanes[name]
        holders = [one.recipient for one in answers if state in NO and self.holds(lane, name, one.recipient)]
        known = {one.id: (one.name, one.key) for one in policy.recipients}
        values, notes = self.deletions.ask(known, lane.acks, name, holders, self.outbox.mine.boot, at)
        self.guard.books.keep_consents(answers, values, notes)
        self.deletions.take(values)
        self.outbox.heed(anew=name if state in NO else "")
        if self.outbox.undone is not None:
            raise self.outbox.undone
        return {"purpose": name, "state": state, "to": [one.recipient for one in answers], "asked": holders}

    def later(self, purpose: str, now: int) -> int:
        """Return the time of an answer: after every earlier one, whatever the clock says, for recipients go by it."""
        before = [one.at for (name, _), one in self.guard.books.consents.items() if name == purpose]
        return max([now, self.deletions.after(purpose), *(at + 1 for at in before)])

    def holds(self, lane: Lane, purpose: str, recipient: str) -> bool:
        """Say whether a recipient may have anything that it was not asked to delete yet."""
        before = self.guard.books.consents.get((purpose, recipient))
        unasked = before is not None and before.state == WITHDRAWN and self.deletions.told(purpose, recipient) is None
        return unasked or (before is not None and before.state == GIVEN) or recipient in lane.acks.holders()


def named(request: Reply) -> tuple[str, ...]:
    """Return the recipients that a request names."""
    to = request.get("to") or ()
    if not isinstance(to, list | tuple) or not all(isinstance(one, str) for one in to):
        raise BadInput("recipients are named in a list; see privet consent --help")
    return tuple(to)
