"""The list of known factory passwords that ships with this version, and looking for them without holding anybody up.

A hash that takes long on purpose is compared with the likeliest passwords at once (those listed for this name, the name
itself, none) and with all others in a thread of low priority: what that finds counts at the next look. What was
compared is remembered by a digest of name and hash, so an account costs once.
"""

import hashlib
import os
import threading
from functools import cache

from agent.core.credential import candidates, read_pairs, recognise
from agent.system import crypt

Pairs = tuple[tuple[str, str], ...]


@cache
def shipped() -> Pairs:
    """Read the list of known factory passwords that ships with this version."""
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(above, "credentials", "factory_passwords.txt"), encoding="utf-8") as file:
        return read_pairs(file.read())


class Search:
    """What is known of the password fields of one device."""

    def __init__(self) -> None:
        self.verdicts: dict[bytes, bool] = {}
        self.thread: threading.Thread | None = None

    def known(self, name: str, field: str) -> bool:
        """Say whether the password behind a field is on the list."""
        case = hashlib.sha256(repr((name, field)).encode("utf-8", "surrogateescape")).digest()
        if case not in self.verdicts:
            own = tuple(password for user, password in shipped() if user == name)
            likely = (*own, name, "") if crypt.costly(field) else candidates(name, shipped())
            found = crypt.strength(field) != crypt.INVALID and recognise(field, likely, crypt.matches) is not None
            if found or not crypt.costly(field):
                self.verdicts[case] = found
            elif self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self.rest, args=(case, name, field, set(likely)), daemon=True)
                self.thread.start()
            return found
        return self.verdicts[case]

    def rest(self, case: bytes, name: str, field: str, tried: set[str]) -> None:
        """Compare with all passwords that were not tried yet."""
        others = tuple(password for password in candidates(name, shipped()) if password not in tried)
        self.verdicts[case] = crypt.patiently(lambda: recognise(field, others, crypt.matches) is not None)
