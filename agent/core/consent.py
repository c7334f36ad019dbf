"""Consent: per purpose and recipient, off until given, bound to the exact notice, withdrawn as easily as given.

The notice of one recipient holds what is collected, why, for how long, and that recipient's name, country and key: a
purpose that gets a further recipient asks for that one alone.
"""

import binascii
import hashlib

from .catalogue import declared
from .errors import BadInput, NotConsented
from .notice import chosen, find_purpose, notice, texts
from .record import Record, from_map, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .policy import Policy

    Consents = dict[tuple[str, str], "Consent"]

NEVER_ASKED = "never_asked"
REFUSED = "refused"
GIVEN = "given"
WITHDRAWN = "withdrawn"
ENDED = "ended"  # a policy named purpose or recipient no more; no answer of anybody's
STATES = (NEVER_ASKED, REFUSED, GIVEN, WITHDRAWN)
NO = (REFUSED, WITHDRAWN)


class Consent(Record):
    """One person's answer for a purpose and recipient: digest (hex) of the notice they saw, when (Unix seconds), who.

    Versions before asked once for all recipients of a purpose; their answers have no recipient until they are `spread`.
    """

    __slots__ = ("at", "by", "notice", "purpose", "recipient", "state")
    purpose: str
    recipient: str
    state: str
    notice: str
    at: int
    by: str


def stored(row: "dict[str, Any]") -> Consent:
    """Read an answer as it is kept, also by versions that asked once for all recipients."""
    whole = {"recipient": ""}
    whole.update(row)
    return from_map(Consent, whole)


def notice_digest(policy: "Policy", name: str, to: "tuple[str, ...]" = ()) -> str:
    """Return the digest (hex) of a notice together with the recipients' keys: a new recipient key asks again."""
    named = chosen(policy, name, to)
    mixed = hashlib.sha256(notice(policy, name, to).encode())
    for recipient in policy.recipients:
        if recipient.id in named:
            mixed.update(recipient.key)
    return binascii.hexlify(mixed.digest()).decode()


def record_of(consent: Consent, policy: "Policy") -> bytes:
    """Return what a recipient is told of a consent given to it: when, to which words, to which declaration.

    Who gave it is nothing that the recipient needs.
    """
    (who,) = [one for one in policy.recipients if one.id == consent.recipient]
    fields = tuple([field for field in policy.fields if field.purpose == consent.purpose])
    purpose = find_purpose(policy, consent.purpose)
    about = declared(purpose, fields, who, texts(policy, consent.purpose))
    return consent.at.to_bytes(8, "big") + binascii.unhexlify(consent.notice) + about


def state_of(consents: "Consents", policy: "Policy", name: str, recipient: str) -> str:
    """Return the state for a recipient; an answer to an older notice counts as never asked, a no stays a no."""
    consent = consents.get((name, recipient))
    if consent is None or consent.state == ENDED:
        return NEVER_ASKED
    if consent.state == GIVEN and consent.notice != notice_digest(policy, name, (recipient,)):
        return NEVER_ASKED
    return consent.state


def agreed(consents: "Consents", policy: "Policy", name: str) -> "tuple[str, ...]":
    """Return the recipients of a purpose that the owner agrees to, as it is described today."""
    known = find_purpose(policy, name).recipients
    return tuple([one for one in known if state_of(consents, policy, name, one) == GIVEN])


def denied(consents: "Consents", name: str) -> "tuple[str, ...]":
    """Return whom the owner said no to, whether a policy still names them or not."""
    return tuple([who for what, who in sorted(consents) if what == name and consents[what, who].state in NO])


def standing(consents: "Consents", policy: "Policy", name: str) -> str:
    """Return the state of a whole purpose: given when anybody gets anything, else what was not answered yet."""
    states = [state_of(consents, policy, name, one) for one in find_purpose(policy, name).recipients]
    for state in (GIVEN, NEVER_ASKED, WITHDRAWN):
        if state in states:
            return state
    return REFUSED


def require(consents: "Consents", policy: "Policy", name: str) -> None:
    """Refuse unless the owner has agreed to a recipient of this purpose as it is described today."""
    if not agreed(consents, policy, name):
        state = standing(consents, policy, name)
        raise NotConsented(
            "nothing was sent: the owner has not agreed to the purpose %s (%s); to agree: privet consent give %s"
            % (name, state.replace("_", " "), name)
        )


def answer(
    policy: "Policy", name: str, state: str, seen: str, by: str, at: int, to: "tuple[str, ...]" = ()
) -> "tuple[Consent, ...]":
    """Make the records of an answer, one for each recipient it is about.

    Agreeing needs the digest of the notice that was shown, with exactly these recipients: nobody agrees unseen.
    """
    if state not in STATES or state == NEVER_ASKED:
        raise BadInput("an answer is one of: given, refused, withdrawn")
    named = chosen(policy, name, to)
    if state == GIVEN and seen != notice_digest(policy, name, to):
        raise BadInput("the notice has changed since it was shown; read it again with privet notice, then answer")
    return tuple(
        [
            Consent(purpose=name, recipient=one, state=state, notice=notice_digest(policy, name, (one,)), at=at, by=by)
            for one in named
        ]
    )


def spread(consents: "Consents", policy: "Policy") -> "Consents":
    """Give each recipient of a purpose its own record of an answer that was for all of them, as long as it counts."""
    made = dict(consents)
    for purpose in policy.purposes:
        old = made.pop((purpose.id, ""), None)
        if old is None:
            continue
        counts = old.notice == notice_digest(policy, purpose.id)
        for one in purpose.recipients:
            digest = notice_digest(policy, purpose.id, (one,)) if counts else old.notice
            if (purpose.id, one) not in made:
                made[purpose.id, one] = replace(old, recipient=one, notice=digest)
    return made
