"""What the owner agrees to, carried to the streams: sealed to whom it was agreed to, nothing left for whom it was not.

Each time from what is kept, so that a start finishes what the one before it could not.
"""

from typing import TYPE_CHECKING

from agent.core.consent import agreed, denied
from agent.core.errors import PrivetError
from agent.core.policy import Policy
from agent.core.record import replace

if TYPE_CHECKING:
    from agent.guard.outbox import Outbox


def heed(outbox: "Outbox", policy: Policy, anew: str) -> PrivetError | None:
    """Seal to those the owner agrees to now and to nobody else; destroy what waits for whom they said no to.

    A stream whose recipients change, or that is to begin `anew`, goes on under a boot number of its own. What cannot be
    destroyed now is returned as the error that says why; nothing of it is sent meanwhile.
    """
    keys = {recipient.id: recipient.key for recipient in policy.recipients}
    consents = outbox.books.consents
    fresh, undone = False, None
    for name, lane in sorted(outbox.lanes.items()):
        willing, gone = agreed(consents, policy, name), set(denied(consents, name))
        lane.acks.closed = (set(lane.purpose.recipients) - set(willing)) | gone
        chosen = [(one, keys[one]) for one in willing]
        if not chosen:
            outbox.drop(name)
        if name == anew or (lane.keys != chosen and lane.seq):
            if not fresh:
                outbox.mine = replace(outbox.mine, boot=outbox.books.next_boot())
            fresh = True
            lane.move(outbox.mine, lane.purpose, chosen)
        lane.keys = chosen
        if gone & lane.acks.holders():
            try:
                lane.part(gone)
            except PrivetError as error:
                undone = error
    return undone
