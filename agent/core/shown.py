"""Text of others as people are shown it: harmless at a terminal, no longer than is read, safe to copy into a command.

Whoever may name a program, a key or a folder on this device writes a part of what its owner reads: that part must
neither hide the rest (control characters, letters that turn the direction of writing), nor fill what is kept, nor be a
command of its own where a sentence says what to type.
"""

from .order import ANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .record import Value

LONG = 600  # letters of one piece
TYPED = 200  # letters that somebody may be asked to type
PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-"
# First and last of what is no letter: controls, marks without width or that turn the direction, halves of letters.
UNSEEN = (
    (0x00, 0x1F),
    (0x7F, 0x9F),
    (0xAD, 0xAD),
    (0x61C, 0x61C),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0xD800, 0xDFFF),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0xE0000, 0xE007F),
)


def spell(value: "Value | None") -> str:
    """Write a setting's value for a person."""
    if value is None:
        return "not known"
    if value == ANY:
        return "anything"
    if type(value) is tuple:
        return ", ".join(value) if value else "nothing"
    return str(value)


def many(count: int, thing: str) -> str:
    """Return how many there are of a thing, in words a person would use: 1 device, 3 devices, 2 entries."""
    if count == 1:
        return "1 %s" % thing
    return "%d %s" % (count, thing[:-1] + "ies" if thing.endswith("try") else thing + "s")


def harmless(text: str) -> str:
    """Return a text with a question mark for each letter that cannot be seen as one."""
    if all([" " <= letter <= "~" for letter in text]):
        return text
    return "".join(["?" if unseen(ord(letter)) else letter for letter in text])


def unseen(number: int) -> bool:
    """Say whether a code point is no letter that is seen in its place."""
    for first, last in UNSEEN:
        if first <= number <= last:
            return True
    return False


def brief(text: str, most: int = LONG) -> str:
    """Return a text harmless and no longer than so many letters; what was left out is said."""
    left = len(text) - most
    return harmless(text[:most]) + ("… (%d letters more)" % left if left > 0 else "")


def typed(value: "Value | None") -> str:
    """Write a value so that it can be copied into a command as it is; VALUE for what nobody could type or see."""
    said = "" if value is None or value == ANY else ",".join(value) if type(value) is tuple else str(value)
    if not said or len(said) > TYPED or harmless(said) != said:
        return "VALUE"
    if all([letter in PLAIN for letter in said]):
        return said
    return "'" + said.replace("'", "'\"'\"'") + "'"
