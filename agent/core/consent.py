"""Consent: per purpose, off until given, bound to the exact notice it was given for, withdrawn as easily as given."""

import binascii
import hashlib

from .errors import BadInput, NotConsented
from .notice import find_purpose, notice
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .policy import Policy

NEVER_ASKED = "never_asked"
REFUSED = "refused"
GIVEN = "given"
WITHDRAWN = "withdrawn"
STATES = (NEVER_ASKED, REFUSED, GIVEN, WITHDRAWN)


class Consent(Record):
    """One person's answer for one purpose: state, digest (hex) of the notice they saw, when (Unix seconds), who."""

    __slots__ = ("at", "by", "notice", "purpose", "state")
    purpose: str
    state: str
    notice: str
    at: int
    by: str


def notice_digest(policy: "Policy", name: str) -> str:
    """Return the digest (hex) of a notice together with the recipients' keys: a new recipient key asks again."""
    purpose = find_purpose(policy, name)
    mixed = hashlib.sha256(notice(policy, name).encode())
    for recipient in policy.recipients:
        if recipient.id in purpose.recipients:
            mixed.update(recipient.key)
    return binascii.hexlify(mixed.digest()).decode()


def state_of(consents: "dict[str, Consent]", policy: "Policy", name: str) -> str:
    """Return the state for a purpose; an answer to an older notice counts as never asked, a refusal stays a refusal."""
    consent = consents.get(name)
    if consent is None:
        return NEVER_ASKED
    if consent.state == GIVEN and consent.notice != notice_digest(policy, name):
        return NEVER_ASKED
    return consent.state


def require(consents: "dict[str, Consent]", policy: "Policy", name: str) -> None:
    """Refuse unless the owner has agreed to this purpose as it is described today."""
    state = state_of(consents, policy, name)
    if state != GIVEN:
        raise NotConsented(
            "nothing was sent: the owner has not agreed to the purpose %s (%s); to agree: privet consent give %s"
            % (name, state.replace("_", " "), name)
        )


def answer(policy: "Policy", name: str, state: str, seen: str, by: str, at: int) -> Consent:
    """Make a consent record; agreeing needs the digest of the notice that was shown, so nobody agrees unseen."""
    if state not in STATES or state == NEVER_ASKED:
        raise BadInput("an answer is one of: given, refused, withdrawn")
    digest = notice_digest(policy, name)
    if state == GIVEN and seen != digest:
        raise BadInput("the notice has changed since it was shown; read it again with privet notice, then answer")
    return Consent(purpose=name, state=state, notice=digest, at=at, by=by)
