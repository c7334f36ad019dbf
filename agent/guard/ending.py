"""Consent that ends because a policy names its purpose or recipient no more: what was sent is asked back.

Whom a purpose is sealed to, and their key, is kept apart from the policy: the one that named them
is gone when this is looked at. It is looked at whenever a policy is taken up, also at the start after a power cut.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.core.consent import ENDED, GIVEN, Consent
from agent.core.errors import PrivetError
from agent.core.policy import Policy
from agent.core.record import replace
from agent.guard.acks import Acks
from agent.guard.deletions import Deletions

if TYPE_CHECKING:
    from agent.guard.outbox import Outbox

HOLDING = "holding/"
BY = "policy"  # who ended it


def note_holders(outbox: "Outbox", purpose: str, chosen: Sequence[tuple[str, bytes]], gone: set[str]) -> None:
    """Keep whom a purpose is sealed to from now on, before anything is; without those who are gone."""
    store = outbox.books.store
    before = store.get(HOLDING + purpose) or {}
    left = {one: row for one, row in before.items() if one not in gone}
    names = {} if outbox.policy is None else {one.id: one.name for one in outbox.policy.recipients}
    rows = {**left, **{one: [names[one], key] for one, key in chosen}}
    if rows != before:
        try:
            store.put({HOLDING + purpose: rows or None})
        except PrivetError:
            if any(before.get(one) != row for one, row in rows.items()):
                raise  # one too many can be put right later, one too few never


def end(outbox: "Outbox", deletions: Deletions, policy: Policy, at: int) -> list[str]:
    """End the consents that a policy has no place for, ask their recipients to delete; durable first."""
    books = outbox.books
    named = {purpose.id: purpose.recipients for purpose in policy.purposes}
    values: dict[str, object] = {}
    answers, notes, asked = [], [], {}
    for key in books.store.keys(HOLDING):
        purpose = key[len(HOLDING) :]
        rows = books.store.get(key)
        gone = {one: (row[0], row[1]) for one, row in rows.items() if one not in named.get(purpose, ())}
        if not gone:
            continue
        acks = outbox.lanes[purpose].acks if purpose in outbox.lanes else Acks(books.store, purpose)
        made, said = deletions.ask(gone, acks, purpose, sorted(gone), outbox.mine.boot, at)
        asked.update(made)
        notes += said
        answers += [ended(books.consents[purpose, one], at) for one in sorted(gone) if given(outbox, purpose, one)]
        values[key] = {one: row for one, row in rows.items() if one not in gone} or None
    if not values:
        return []
    books.keep_consents(answers, {**values, **asked}, notes)
    deletions.take(asked)
    # What is agreed to later, also to the same again, lies above the start that they were asked to delete.
    outbox.mine = replace(outbox.mine, boot=books.next_boot())
    for lane in outbox.lanes.values():
        lane.move(outbox.mine, lane.purpose, lane.keys)
    return [key[len(HOLDING) :] for key in values]


def given(outbox: "Outbox", purpose: str, recipient: str) -> bool:
    """Say whether there is a yes to end."""
    known = outbox.books.consents.get((purpose, recipient))
    return known is not None and known.state == GIVEN


def ended(consent: Consent, at: int) -> Consent:
    """Return how a consent stands that has ended: should it be named again, its owner is asked again."""
    return replace(consent, state=ENDED, by=BY, at=max(at, consent.at + 1))


def leave(outbox: "Outbox", policy: Policy) -> PrivetError | None:
    """Destroy keys and queues of purposes that the policy has no more; say why where that fails."""
    undone = None
    known = {key[len("acks/") :] for key in outbox.books.store.keys("acks/")}
    for name in sorted((known | set(outbox.lanes)) - {purpose.id for purpose in policy.purposes}):
        lane = outbox.lanes.pop(name, None) or outbox.lane_of(name, policy)
        outbox.holds.pop(name, None)
        outbox.drop(name)
        try:
            lane.forget()
        except PrivetError as error:
            undone = error
    return undone
