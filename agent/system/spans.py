"""Spans of time, sizes, switches and levels, read as systemd's own programs read them; None for what they ignore.

A value that they cannot read changes nothing for them: what was said before it goes on counting.
"""

import re

BLANKS = " \t\n\r"
SECOND = 1_000_000
DAY = 86400 * SECOND
MONTH = 2629800 * SECOND  # a twelfth of 365.25 days
MOST = (1 << 64) - 1
LONG = (1 << 63) - 1  # the largest number that one word may be
# In this order: the first that a text begins with counts (`months` before `m`).
UNITS = (
    (("seconds", "second", "sec", "s"), SECOND), (("minutes", "minute", "min"), 60 * SECOND),
    (("months", "month", "M"), MONTH), (("msec", "ms"), 1000), (("m",), 60 * SECOND),
    (("hours", "hour", "hr", "h"), 3600 * SECOND), (("days", "day", "d"), DAY), (("weeks", "week", "w"), 7 * DAY),
    (("years", "year", "y"), 12 * MONTH), (("usec", "us", "\u00b5s", "\u03bcs"), 1),
)  # fmt: skip
SIZES = "EPTGMKB"
YES, NO = {"1", "yes", "y", "true", "t", "on"}, {"0", "no", "n", "false", "f", "off"}
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
NUMBER = re.compile(r"[ \t\n\r\f\v]*([+-]?[0-9]*)(\.[0-9]+)?")
WHOLE = re.compile(r"[ \t\n\r]*\+?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)")


def microseconds(text: str) -> int | None:
    """Return a span of systemd.time(7) in microseconds, MOST for one without end."""
    rest, total = text.lstrip(BLANKS), 0
    if rest.startswith("infinity"):
        return None if rest[8:].strip(BLANKS) else MOST
    if not rest:
        return None
    while rest:
        number = NUMBER.match(rest)
        if number is None or number[1] in {"+", "-"} or not (number[1] or number[2]) or number[1].startswith("-"):
            return None
        after = rest[number.end() :]
        unit, factor = unit_of(after.lstrip(BLANKS))
        left = after.lstrip(BLANKS)[len(unit) :]
        if left == after and left:  # 12.34.56 is none, 12.34 .56 is one
            return None
        part = int(number[1] or "0")
        if part > LONG or part >= MOST // factor or part * factor >= MOST - total:
            return None
        total += part * factor
        for digit in (number[2] or ".")[1:]:
            factor //= 10
            total += int(digit) * factor
        rest = left.lstrip(BLANKS)
    return total


def unit_of(text: str) -> tuple[str, int]:
    """Return the unit that a text begins with, and its length; seconds where none is named."""
    for names, factor in UNITS:
        for name in names:
            if text.startswith(name):
                return name, factor
    return "", SECOND


def size(text: str) -> int | None:
    """Return a number of bytes, such as 10, 1.5G or 1G 200M."""
    rest, total, place = text, 0, 0
    while True:
        number = NUMBER.match(rest)
        if number is None or not number[1].strip("+-") or number[1].startswith("-"):
            return None
        rest = rest[number.end() :].removeprefix("" if number[2] else ".").lstrip(BLANKS)
        at = SIZES.find(rest[:1], place) if rest else -1
        if at < 0 and place > len(SIZES):
            return None
        factor = 1 << 10 * (len(SIZES) - 1 - at) if at >= 0 else 1
        fraction = (number[2] or ".")[1:]
        total += int(number[1]) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)
        if int(number[1]) > LONG or total > MOST:
            return None
        rest, place = (rest[1:], at + 1) if at >= 0 else (rest, len(SIZES) + 1)
        if not rest:
            return total


def switch(text: str) -> bool | None:
    """Return what a yes or no says."""
    word = text.lower()
    return True if word in YES else False if word in NO else None


def level(text: str) -> int | None:
    """Return the number of a level of importance, 0 the highest."""
    if text in LEVELS:
        return LEVELS.index(text)
    number = WHOLE.fullmatch(text)
    if number is None:
        return None
    said = number[1].lower()
    base = 16 if said.startswith("0x") else 2 if said.startswith("0b") else 8 if said.startswith("0") else 10
    value = int(said.removeprefix("0x").removeprefix("0b").removeprefix("0o") or "0", base)
    return value if value < len(LEVELS) else None
