"""What the owner agrees to, carried to the streams: sealed to whom it was agreed to, nothing left for whom it was not.

Each time from what is kept, so that a start finishes what the one before it could not.
"""

from typing import TYPE_CHECKING

from agent.core.consent import agreed, denied, record_of
from agent.core.errors import PrivetError
from agent.core.policy import Policy
from agent.core.record import replace
from agent.guard.ending import leave, note_holders

if TYPE_CHECKING:
    from agent.guard.outbox import Outbox


def heed(outbox: "Outbox", policy: Policy, anew: str) -> PrivetError | None:
    """Seal to those the owner agrees to now and to nobody else; destroy what waits for whom they said no to.

    A stream whose recipients change, or that is to begin `anew`, goes on under a boot number of its own. What cannot be
    destroyed now is returned as the error that says why; nothing of it is sent meanwhile.
    """
    keys = {recipient.id: recipient.key for recipient in policy.recipients}
    consents = outbox.books.consents
    fresh, undone = False, finish(outbox, policy)
    asked = undone is None
    for name, lane in sorted(outbox.lanes.items()):
        if name not in {purpose.id for purpose in policy.purposes}:  # it waits until its recipients can be asked
            lane.keys, lane.key = [], None
            continue
        willing = agreed(consents, policy, name)
        unnamed = lane.acks.holders() - set(lane.purpose.recipients)
        gone = set(denied(consents, name)) | (unnamed if asked else set())
        lane.acks.closed = (set(lane.purpose.recipients) - set(willing)) | gone | unnamed
        chosen = [(one, keys[one]) for one in willing]
        try:
            note_holders(outbox, name, chosen, gone)
        except PrivetError as error:  # nothing is sealed to whom nobody would know later
            undone, chosen = error, [pair for pair in chosen if pair in lane.keys]
        if not chosen:
            outbox.drop(name)
        if name == anew or (lane.keys != chosen and lane.seq):
            if not fresh:
                outbox.mine = replace(outbox.mine, boot=outbox.books.next_boot())
            fresh = True
            lane.move(outbox.mine, lane.purpose, chosen)
        lane.keys = chosen
        told = {one: record_of(consents[name, one], policy) for one in willing}
        if told != lane.told:  # an epoch is sealed under one consent, to one declaration
            lane.told, lane.key = told, None
        if gone & lane.acks.holders():
            try:
                lane.part(gone)
            except PrivetError as error:
                undone = error
    return undone


def finish(outbox: "Outbox", policy: Policy) -> PrivetError | None:
    """End what the policy has no place for, then destroy it: nothing goes before its recipients are asked."""
    try:
        outbox.ends(policy)
    except PrivetError as error:
        return error
    return leave(outbox, policy)
