"""Roles: who may do what on this device, and until when that is due for review."""

from .errors import Refused
from .record import Record

OWNER = "owner"
MAINTAINER = "maintainer"
VIEWER = "viewer"
NOBODY = "nobody"
YEAR = 365 * 86400

LOOK = ("status", "explain", "notice", "version", "password")
ACTS = {
    OWNER: LOOK
    + ("loosen", "tighten", "enforce", "confirm", "consent", "credentials", "journal", "preview", "egress", "export")
    + ("erase",),
    MAINTAINER: LOOK + ("tighten", "enforce", "journal"),
    VIEWER: LOOK,
    NOBODY: (
        "password",
    ),  # the new one of one's own account: without it the owner of a key alone never gets rights again
}


class Grant(Record):
    """A principal ("uid:1000", "gid:4") has a role until it is due for review (Unix seconds, at most a year on)."""

    __slots__ = ("principal", "review_by", "role")
    principal: str
    role: str
    review_by: int


def role_of(principals: "tuple[str, ...]", grants: "tuple[Grant, ...]", now: int) -> str:
    """Return the role of a caller: root is the owner; an overdue grant falls back to viewing; several grants meet.

    Roles of several principals combine to the least powerful one, so that adding a group never adds power.
    """
    if "uid:0" in principals:
        return OWNER
    ranks = (NOBODY, VIEWER, MAINTAINER, OWNER)
    lowest = -1
    for grant in grants:
        if grant.principal in principals and grant.role in ranks:
            rank = ranks.index(grant.role if grant.review_by > now else VIEWER)
            lowest = rank if lowest < 0 or rank < lowest else lowest
    return ranks[lowest] if lowest >= 0 else NOBODY


def require(role: str, act: str) -> None:
    """Refuse an act that the role does not include."""
    if act not in ACTS.get(role, ()):
        raise Refused("%s is not allowed to you (your role here: %s); run it with sudo, or ask the owner" % (act, role))
