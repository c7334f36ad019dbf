"""How a device comes to its certificate and keeps one: the next act, whatever instant the last start ended at.

    no certificate:   adopt the seed -> make a key -> learn the time -> ask with the token -> kept -> wipe the seed
    two thirds over:  make the next key -> learn the time -> ask with the old certificate -> try it at the broker
    a further seed:   as two thirds over, but with its token; the seed is wiped before the new certificate is tried

A key is durable before its request is sent, and the server answers the same key with the same certificate: so every
cut ends in "not enrolled, goes on with the same key" or "enrolled". The seed is wiped only over a durable certificate,
and the old certificate stays until the broker has let the device in with the new one.
"""

from .errors import Refused
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .clock import Clock

# What the slot holds.
EMPTY = "empty"  # no slot, or nothing in it
SEED = "seed"  # a seed whose token was never used here
ASKED = "asked"  # the seed whose token was adopted last
RECEIPT = "receipt"  # what is left of a used seed
DAMAGED = "damaged"
OTHERS = "others"  # a seed for another device than this enrolled one

# How far the next pair of key and certificate is, and what it is asked with.
NONE, KEY, CERTIFICATE = "none", "key", "certificate"
TOKEN, RENEWAL = "token", "renewal"

LEAVE = "leave"  # this device is not to be enrolled
LOST = "lost"  # it began, and now lacks a seed
ADOPT = "adopt"
MAKE = "make"
MAKE_NEXT = "make next"
TIME = "time"
ASK = "ask"
ASK_NEXT = "ask next"
RENEW = "renew"
WIPE = "wipe"
TRY = "try"
REST = "rest"
ASKING = (TIME, ASK, ASK_NEXT, RENEW)

LATER = ("unreachable", "wrong", "busy")  # what a try came to, and what is worth another one soon
FIRST, MOST = 5, 900  # seconds of the first wait at most, and of every wait at most
SLOW_FIRST, SLOW_MOST = 600, 21600  # the same once the fleet has said no: only a person changes that
YEAR_2100 = 4102444800


class Standing(Record):
    """What stands on the device: the slot, key and certificate in force, the pair that is to follow, the time.

    `begins` and `ends` are of the certificate in force; `told` says whether the server's signed time came in this
    start, or is not to be had and the own clock may be right.
    """

    __slots__ = ("begins", "by", "certificate", "ends", "key", "next", "now", "slot", "told")
    slot: str
    key: bool
    certificate: bool
    next: str
    by: str
    begins: int
    ends: int
    now: int
    told: bool


def next_act(stands: Standing) -> str:
    """Return what to do next."""
    if stands.slot == SEED:
        return ADOPT
    if not stands.certificate:
        if stands.slot == ASKED:
            return asking(stands.key, stands.told, MAKE, ASK)
        return LOST if stands.key or stands.slot in (DAMAGED, RECEIPT) else LEAVE
    if stands.slot == ASKED and stands.by == TOKEN and stands.next != CERTIFICATE:
        return asking(stands.next == KEY, stands.told, MAKE_NEXT, ASK_NEXT)
    if stands.slot in (ASKED, DAMAGED):
        return WIPE
    if not stands.now and not stands.told:
        return TIME  # a clock that is certainly wrong: nothing of this device would trust its broker
    if stands.next == CERTIFICATE:
        return TRY
    young = stands.now < renew_at(stands.begins, stands.ends)
    return REST if young else asking(stands.next == KEY, stands.told, MAKE_NEXT, RENEW)


def asking(key: bool, told: bool, make: str, ask: str) -> str:
    """Return the first that is lacking: the key, the time, the certificate."""
    return make if not key else TIME if not told else ask


def renew_at(begins: int, ends: int) -> int:
    """Return when two thirds of a certificate's life are over."""
    return begins + (ends - begins) * 2 // 3


def delay(outcome: str, tries: int, drawn: int) -> int:
    """Return the seconds to wait after so many failed tries: drawn from the whole range, which doubles each time.

    `drawn` is any unpredictable number. A fleet that said no is asked seldom, but asked: an operator may change it.
    """
    first, most = (FIRST, MOST) if outcome in LATER else (SLOW_FIRST, SLOW_MOST)
    longest = first << (tries if tries < 12 else 12)
    return 1 + drawn % (longest if longest < most else most)


def believed(clock: "Clock", floor: int, told: "tuple[int, int] | None") -> int:
    """Return the time to judge certificates by: what the server said in this start, carried on; else the own clock.

    `told` is (time, uptime when it came). 0 when nothing can be believed: a clock before the floor is wrong, and the
    floor itself may be long over, so a certificate that was valid then may have ended since.
    """
    if told is not None:
        return told[0] + (clock.uptime - told[1] if clock.uptime > told[1] else 0)
    return clock.wall if floor <= clock.wall < YEAR_2100 else 0


def admitted(time: int, floor: int, begins: int, ends: int) -> int:
    """Return a signed time that may be believed, or refuse it.

    It is never before the floor, and lies within the validity of the certificate the server showed: so whoever stole
    an old key of a server cannot lead a device back into that key's time.
    """
    if time < floor:
        raise Refused(
            "the enrolment server says a time before one that this device knows for sure; check the clock of the server"
        )
    if not begins <= time <= ends:
        raise Refused(
            "the enrolment server says a time outside of its own certificate's life; renew that certificate, or check "
            "who answers there"
        )
    return time


def valid(begins: int, ends: int, now: int) -> str:
    """Return how a certificate stands at a time: early, ended, or "" when it counts."""
    return "early" if now < begins else "ended" if now > ends else ""
