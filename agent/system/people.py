"""Who can sign in to this device: accounts of persons and root, with a shell, and what their password field says."""

import hashlib

from agent.core.errors import PrivetError
from agent.core.record import Record
from agent.system.door import System

PERSONS = range(1000, 60000)
NO_SHELL = ("/nologin", "/false", "/sync")


class Person(Record):
    """One account; `field` is the password field in force, never shown."""

    __slots__ = ("field", "home", "name", "uid")
    name: str
    uid: int
    home: str
    field: str

    def __repr__(self) -> str:
        return "Person(%s)" % self.name

    def has_password(self) -> bool:
        """Say whether a password opens the account: there is one, and it is not locked."""
        return self.field[:1] not in ("", "!", "*")

    def digest(self) -> bytes:
        """Name the account with exactly this password, without telling it."""
        return hashlib.sha256(repr((self.name, self.field)).encode("utf-8", "surrogateescape")).digest()


def rows(system: System, path: str) -> list[list[str]]:
    """Return the rows of a colon file, none when it cannot be read."""
    try:
        text = system.read(path).decode("utf-8", "surrogateescape")
    except PrivetError:
        return []
    return [line.split(":") for line in text.splitlines() if line.count(":") > 1]


def people(system: System) -> tuple[Person, ...]:
    """Return root and every person who has a shell."""
    secret = {row[0]: row[1] for row in rows(system, "/etc/shadow")}
    found = []
    for row in rows(system, "/etc/passwd"):
        if len(row) < 7 or not row[2].isdigit() or row[6].strip().endswith(NO_SHELL):
            continue
        if int(row[2]) == 0 or int(row[2]) in PERSONS:
            field = secret.get(row[0], "") if row[1] == "x" else row[1]
            found.append(Person(name=row[0], uid=int(row[2]), home=row[5], field=field))
    return tuple(found)
