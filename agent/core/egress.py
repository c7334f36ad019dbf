"""Whether what the courier sent, by the kernel's count, is explained by what it was given to send.

Every allowance is the most that an honest courier needs, worst case for worst case; the guard counts the events itself.
What the courier tells (connections) is believed up to what time allows, so that it cannot explain away much. Whole
bytes; what is lost on the way and sent again is counted by the kernel too, in segments, for the whole device.
"""

from .record import Record, replace

SPAN = 86400  # seconds of uptime after which the count begins anew
FLOOR = 256 << 10  # bytes beyond the explanation that are borne in a span
TENTH = 10  # and this part of the explanation
MESSAGE = 1024  # a message's topic, its TLS records and packets, the receipt of the broker's answer
EIGHTH = 8  # of a payload: the headers of its packets (72 bytes in 1208 at the smallest of IPv6) and of TLS
ATTEMPT = 24 << 10  # names looked up, every address tried, the greeting with our chain, CONNECT: in MQTT 5, then 3.1.1
ASK = 64 << 10  # the same for a question to the enrolment server, and for the time that it is asked before
HEARD = 512  # a message that came: the receipts of its packets, our answer
MINUTE = 600  # a keep-alive, and the receipt of its answer
SEGMENT = 1500  # what was sent again
BURST, EACH = 20, 5  # connections that time allows: so many at once, and one in so many seconds
ANSWERS, SOME = 8, 100  # messages that came: so many for each that was sent, and some


class Count(Record):
    """One span: when it began, what the kernel counted in it, and the events that explain it.

    since: Unix seconds; begun: uptime; seen, resent: the kernel's own numbers at the last look; sent, again: bytes and
    segments of this span; messages, payload: given to the courier; taken: bytes of which the broker has answered;
    links, asks, heard, received: connections, enrolment requests, messages that came and their bytes; told: 0 or 1.
    """

    __slots__ = (
        "again", "asks", "begun", "heard", "links", "messages", "payload", "received", "resent", "seen", "sent",
        "since", "taken", "told",
    )  # fmt: skip
    since: int
    begun: int
    seen: int
    sent: int
    resent: int
    again: int
    messages: int
    payload: int
    taken: int
    links: int
    asks: int
    heard: int
    received: int
    told: int


def begin(wall: int, uptime: int, seen: int, resent: int) -> Count:
    """Begin a span at a look at the kernel's numbers."""
    nothing = dict.fromkeys(Count.__slots__, 0)
    nothing.update({"since": wall, "begun": uptime, "seen": seen, "resent": resent})
    return Count(**nothing)


def look(count: Count, seen: int, resent: int) -> Count:
    """Take the kernel's numbers; one below what was seen before began at nothing meanwhile, so all of it is new."""
    more = seen - count.seen if seen >= count.seen else seen
    again = resent - count.resent if resent >= count.resent else resent
    return replace(count, seen=seen, resent=resent, sent=count.sent + more, again=count.again + again)


def parts(count: Count, uptime: int) -> "tuple[tuple[str, int], ...]":
    """Return what explains bytes, and how many."""
    lasted = max(0, uptime - count.begun)
    links = min(count.links, BURST + lasted // EACH)
    heard = min(count.heard, SOME + ANSWERS * count.messages)
    return (
        ("messages", count.payload + count.payload // EIGHTH + MESSAGE * count.messages),
        ("connections", ATTEMPT * links),
        ("enrolment", ASK * count.asks),
        ("answers", HEARD * heard + count.received // EIGHTH),
        ("keep-alive", MINUTE * (lasted // 60 + 1)),
        ("sent again", SEGMENT * count.again),
    )


def explained(count: Count, uptime: int) -> int:
    """Return the most bytes that the events of a span explain."""
    return sum([size for _, size in parts(count, uptime)])


def margin(known: int) -> int:
    """Return what is borne beyond an explanation."""
    return FLOOR + known // TENTH


def excess(count: Count, uptime: int) -> int:
    """Return the bytes that nothing explains, 0 while they are within the margin."""
    known = explained(count, uptime)
    return count.sent - known if count.sent > known + margin(known) else 0


def blind(count: Count) -> bool:
    """Say whether the kernel counted less than surely was sent, so that its count is worth nothing."""
    return count.sent < count.taken


def over(count: Count, uptime: int) -> bool:
    """Say whether a span is over, or of another start of the device."""
    return not 0 <= uptime - count.begun < SPAN
