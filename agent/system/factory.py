"""The list of known factory passwords that ships with this version, and looking for them without holding anybody up.

A hash that takes long on purpose is compared with the likeliest passwords at once (those listed for this name, the name
itself, none) and with all others in a thread of low priority. Until that thread has answered nothing is known, and that
is what is said. What was compared is remembered by a digest of name and hash, so an account costs once.
"""

import hashlib
import os
import threading
from functools import cache

from agent.core.credential import candidates, read_pairs, recognise
from agent.system import crypt

Pairs = tuple[tuple[str, str], ...]
Field = tuple[str, str]
"""The name of an account and its password field."""


@cache
def shipped() -> Pairs:
    """Read the list of known factory passwords that ships with this version."""
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(above, "credentials", "factory_passwords.txt"), encoding="utf-8") as file:
        return read_pairs(file.read())


def likely(name: str) -> tuple[str, ...]:
    """Return the passwords that cost little enough to be tried at once: those of this name, the name itself, none."""
    return (*(password for user, password in shipped() if user == name), name, "")


def digest(field: Field) -> bytes:
    """Name a case without keeping the hash."""
    return hashlib.sha256(repr(field).encode("utf-8", "surrogateescape")).digest()


class Search:
    """What is known of the password fields of one device."""

    def __init__(self) -> None:
        self.verdicts: dict[bytes, bool] = {}
        self.open: dict[bytes, Field] = {}  # what is still to be compared
        self.lacks = False  # whether the latest look waits for an answer
        self.news = False  # whether one came since
        self.thread: threading.Thread | None = None
        self.lock = threading.RLock()

    def known(self, fields: list[Field]) -> list[bool | None]:
        """Say of each field whether the password behind it is on the list; None: that takes a while."""
        with self.lock:
            said = [self.at_once(field) for field in fields]
            self.open = {digest(field): field for field, one in zip(fields, said, strict=True) if one is None}
            self.lacks, self.news = bool(self.open), False
            if self.lacks and not (self.thread and self.thread.is_alive()):
                self.thread = threading.Thread(target=crypt.patiently, args=(self.rest,), daemon=True)
                self.thread.start()
            return said

    def at_once(self, field: Field) -> bool | None:
        """Say what can be said without delay."""
        case, (name, hashed) = digest(field), field
        if case not in self.verdicts:
            costly = crypt.costly(hashed) and crypt.strength(hashed) != crypt.INVALID
            tried = likely(name) if costly else candidates(name, shipped())
            found = crypt.strength(hashed) != crypt.INVALID and recognise(hashed, tried, crypt.matches) is not None
            if not found and costly:
                return None
            self.verdicts[case] = found
        return self.verdicts[case]

    def answered(self) -> bool | None:
        """Say whether there is something new since the latest look; None when that look waits for nothing."""
        with self.lock:
            return self.news or not (self.thread and self.thread.is_alive()) if self.lacks else None

    def rest(self) -> None:
        """Compare what is open with the passwords that were not tried yet, one account after the other."""
        while True:
            with self.lock:
                case, field = next(iter(self.open.items()), (b"", ("", "")))
                if not case:
                    self.thread = None
                    return
            found = self.unlikely(case, field)
            with self.lock:
                self.open.pop(case, None)
                if found is not None:
                    self.verdicts[case], self.news = found, True

    def unlikely(self, case: bytes, field: Field) -> bool | None:
        """Compare with every password but the likely ones; None when nobody asks any more."""
        name, hashed = field
        tried = likely(name)
        for password in candidates(name, shipped()):
            if case not in self.open:
                return None
            if password not in tried and crypt.matches(password, hashed):
                return True
        return False
