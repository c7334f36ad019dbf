"""Grafana's users as they stand in its SQLite database, read and written as a whole; the arithmetic of their hashes."""

import hashlib
import hmac
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from agent.core.errors import BadInput, Failed
from agent.core.record import Record
from agent.credentials import digest, present, text
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "grafana"
ROUNDS, LENGTH = 10_000, 50  # of PBKDF2, in every release so far
LARGEST = 64 << 20  # bytes of a database that are taken into memory
WAL = slice(18, 20)  # of SQLite's header: both 2 where changes stand in a file beside it
USERS = "SELECT id, login, password, salt FROM \"user\" WHERE password IS NOT NULL AND password != '' ORDER BY id"


class User(Record):
    """One user: number, name, hash and salt."""

    __slots__ = ("hashed", "login", "number", "salt")
    number: int
    login: str
    hashed: str
    salt: str

    def field(self) -> str:
        """Return salt and hash in one."""
        return f"{self.salt}:{self.hashed}"

    def mark(self) -> bytes:
        """Return a digest of what stands."""
        return digest(self.login.encode("utf-8", "surrogateescape"), self.field().encode())


def hashed(password: str, salt: str, rounds: int = ROUNDS) -> str:
    """Hash a password as Grafana does."""
    plain = password.encode("utf-8", "surrogateescape")
    return hashlib.pbkdf2_hmac("sha256", plain, salt.encode(), rounds, LENGTH).hex()


def fits(params: "Params", password: str, field: str) -> bool:
    """Say whether a password belongs to salt and hash."""
    salt, _, stored = field.partition(":")
    return hmac.compare_digest(hashed(password, salt, rounds(params)), stored)


def rounds(params: "Params") -> int:
    """Return the rounds of the hash: those of every release, unless the profile knows of another."""
    value = params.get("rounds", ROUNDS)
    if type(value) is not int or not 0 < value <= 1_000_000:
        raise BadInput("grafana: rounds is a number; correct the profile")
    return value


def database(params: "Params") -> str:
    """Return where its users stand."""
    return text(KIND, params, "database", "/var/lib/grafana/grafana.db")


def opened(system: System, params: "Params") -> sqlite3.Connection | None:
    """Take the database into memory as it stands on the disk; None when there is none."""
    path = database(params)
    if not present(system, path):
        return None
    blob = bytearray(system.read(path, LARGEST))
    beside = f"{path}-wal" if blob[WAL] == b"\2\2" else f"{path}-journal"
    if blob[:16] != b"SQLite format 3\0":
        raise Failed(f"{path} is no SQLite database; start Grafana once")
    if present(system, beside) and system.stat(beside).size:
        raise Failed(f"{path} is in the middle of a change; start Grafana again")
    blob[WAL] = b"\1\1"
    held = sqlite3.connect(":memory:")
    held.deserialize(bytes(blob))
    return held


def users(system: System, params: "Params") -> dict[str, User] | None:
    """Return every user by name; None before Grafana's first start."""
    held = opened(system, params)
    if held is None:
        return None
    with closing(held):
        try:
            rows = held.execute(USERS).fetchall()
        except sqlite3.Error:
            return None  # a start that was cut: its tables are not there yet
    found = [User(number=row[0], login=str(row[1]), hashed=str(row[2]), salt=str(row[3] or "")) for row in rows]
    return {one.login: one for one in found}
