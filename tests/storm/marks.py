"""What is planted in every reading, and the search for it where nobody may find it.

The value of each reading is one mark, in its upper digits, and a number of its own in the lower ones; the name of the
field and a text are marks too. They are drawn anew for each run and are on no disk before it.
"""

import secrets
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

from agent.core.record import Record

NUMBERS = 1 << 16  # readings that one device can number
SCALE = 6
LEAST, MOST = 1 << 32, 10**15 // NUMBERS - 1
CHUNK = 1 << 20
LONGEST = 64  # bytes of a pattern at most


class Marks(Record):
    """The mark of the values, the name of the field, the text."""

    __slots__ = ("name", "text", "value")
    value: int
    name: str
    text: str

    def number(self, count: int) -> str:
        """Write a device's reading of this number."""
        whole = self.value * NUMBERS + count
        return f"{whole // 10**SCALE}.{whole % 10**SCALE:0{SCALE}}"

    def count(self, value: object) -> int:
        """Return the number of a reading; -1 when its value is none that we planted."""
        if not isinstance(value, Decimal):
            return -1
        mark, number = divmod(int(value.scaleb(SCALE)), NUMBERS)
        return number if mark == self.value else -1

    def patterns(self) -> dict[str, bytes]:
        """Return what each looks like in bytes: a value in CBOR and in digits, the name, the text."""
        first, last = self.number(0), self.number(NUMBERS - 1)
        digits = next(first[:n] for n in range(len(first), 0, -1) if first[:n] == last[:n])
        return {
            "value": b"\x1b" + self.value.to_bytes(6, "big"),
            "digits": digits.encode(),
            "name": self.name.encode(),
            "text": self.text.encode(),
        }


def drawn() -> Marks:
    """Draw marks."""
    while True:
        value = LEAST + secrets.randbelow(MOST - LEAST)
        made = Marks(value=value, name=f"n{secrets.token_hex(8)}", text=f"door left open {secrets.token_hex(8)}")
        if len(made.patterns()["digits"]) >= 9:
            return made


class Search:
    """Looks for patterns in what goes by; what was found is counted by pattern and place."""

    def __init__(self, patterns: dict[str, bytes]) -> None:
        self.patterns = patterns
        self.looked = 0  # bytes
        self.found: dict[str, int] = {}

    def look(self, where: str, content: bytes, but: Iterable[str] = ()) -> None:
        """Look through one piece."""
        self.looked += len(content)
        for name, pattern in self.patterns.items():
            if pattern in content and name not in but:
                self.found[f"{name} in {where}"] = self.found.get(f"{name} in {where}", 0) + 1

    def flow(self, where: str, before: bytes, content: bytes) -> bytes:
        """Look through a piece of a flow; return what the next look needs of this one."""
        whole = before + content
        self.look(where, whole)
        return whole[-LONGEST:]

    def file(self, where: str, path: Path, but: Iterable[str] = ()) -> None:
        """Look through a file or a whole raw disk."""
        kept = b""
        for piece in pieces(path):
            self.look(where, kept + piece, but)
            kept = piece[-LONGEST:]

    def folder(self, where: str, path: Path, policy: str = "etc/privet/policy.cbor") -> None:
        """Look through every file below a folder; a policy may name its fields, for it is no secret."""
        for one in sorted(path.rglob("*")):
            if one.is_file() and not one.is_symlink():
                self.file(where, one, ("name",) if str(one).endswith(policy) else ())


def pieces(path: Path) -> Iterator[bytes]:
    """Read a file by pieces; one that goes meanwhile has no more of them."""
    try:
        with path.open("rb") as opened:
            while piece := opened.read(CHUNK):
                yield piece
    except FileNotFoundError:
        return
