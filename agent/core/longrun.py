"""What left in a week and in thirty days beside its explanation: slow leaks, each day of which is within the margin.

A margin pays for what falls between two spans. What one day sends before it is explained, the next explains without
sending: so a sum of days needs that once, not each day, and its part of the explanation may be smaller. Keep-alive is
taken for what it is there, one in a minute, not for the worst of a minute.
"""

from .egress import FLOOR, MINUTE, SPAN, explained

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .egress import Count

    Rows = tuple[tuple[int, int, int], ...]

STEADY = 256  # bytes of a minute: a keep-alive and the receipt of its answer, 168 over IPv6 with time stamps
TERMS = ((7, 32), (30, 64))  # days, and which part of the explanation is borne


def row(count: "Count", uptime: int) -> "tuple[int, int, int]":
    """Return what is remembered of a span: the seconds it lasted, what left, what explains it.

    What was told of the span itself is not told again in the sum of many.
    """
    lasted = uptime - count.begun
    if lasted < 0:  # of another start of the device
        return (0, 0, 0)
    known = explained(count, uptime) - (MINUTE - STEADY) * (lasted // 60 + 1)
    return (lasted, min(count.sent, known) if count.told else count.sent, known)


def added(rows: "Rows", new: "tuple[int, int, int]") -> "Rows":
    """Add a span; short ones become one of a day, and only as many are kept as the longest term needs."""
    kept = list(rows)
    if kept and kept[-1][0] < SPAN:
        last = kept.pop()
        new = (last[0] + new[0], last[1] + new[1], last[2] + new[2])
    kept.append(new)
    while sum([one[0] for one in kept[1:]]) >= TERMS[-1][0] * SPAN:
        kept.pop(0)
    return tuple(kept)


def excess(rows: "Rows") -> "tuple[int, int]":
    """Return the days of the first term in which more left than is borne, and how much; 0, 0 when there is none.

    A term that is not over yet says nothing. Its first day may have sent what the day before it was given.
    """
    lasted, sent, known, at = 0, 0, 0, len(rows)
    for days, part in TERMS:
        while at and lasted < days * SPAN:
            at -= 1
            lasted, sent, known = lasted + rows[at][0], sent + rows[at][1], known + rows[at][2]
        early = max(0, rows[at][1] - rows[at][2]) if rows else 0
        if lasted >= days * SPAN and sent - early > known + FLOOR + known // part:
            return days, sent - early - known
    return 0, 0
