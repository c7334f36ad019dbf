"""The device's key and certificate in the courier's home, and the pair that is to follow; the guard writes, it reads.

A change of pairs is written down first and can be done again from any point: the old key is shredded, the new key and
the new certificate take the names, and what lay in `next` goes last.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress

from agent.core.enrol import CERTIFICATE, KEY, NONE
from agent.core.errors import BadInput, Missing, Tampered
from agent.core.secret import Secret
from agent.system import identity
from agent.system.door import System
from agent.system.identity import Certified
from agent.system.seen import names, there
from agent.system.vault import Vault

HOME = "/var/lib/privet-courier"
NEXT = f"{HOME}/next"
LIMIT = 65536


class Pair:
    """Both pairs; `owner` is the courier's account."""

    def __init__(self, system: System, vault: Vault, owner: tuple[int, int]) -> None:
        self.system = system
        self.vault = vault
        self.owner = owner
        self.known: tuple[bytes, tuple[int, int] | None] = (b"", None)  # digest of the certificate in force, its life

    def sync(self) -> None:
        """Make durable what a process before this one may have been killed over: what is seen counts from now on."""
        for folder in (HOME, NEXT):
            for path in [*(f"{folder}/{name}" for name in names(self.system, folder) if name.endswith(".pem")), folder]:
                with suppress(Missing):
                    self.system.sync(path)

    def root(self) -> bytes:
        """Return the fleet's root."""
        return self.read(f"{HOME}/ca.pem")

    def has_key(self) -> bool:
        """Say whether there is a key."""
        return there(self.system, f"{HOME}/key.pem")

    def key(self, follows: bool) -> Secret:
        """Return the key in force, or the one that is to follow."""
        return Secret(self.system.read(f"{NEXT if follows else HOME}/key.pem", LIMIT))

    def life(self) -> tuple[int, int] | None:
        """Return begin and end of the certificate in force; None when there is none that fits the key."""
        kept, digest = self.read(f"{HOME}/cert.pem"), self.digest()
        if not kept or not self.has_key():
            return None
        if self.known[0] != digest:
            try:
                found = identity.standing(self.vault, self.key(follows=False), kept)
                self.known = (digest, (found.begins, found.ends))
            except (Tampered, Missing, BadInput):  # a key that was cut while it was destroyed, too
                self.known = (digest, None)
        return self.known[1]

    def follows(self) -> str:
        """Say how far the next pair is."""
        if not there(self.system, f"{NEXT}/key.pem"):
            return NONE
        return CERTIFICATE if there(self.system, f"{NEXT}/cert.pem") else KEY

    def digest(self) -> bytes:
        """Return the sha256 of the certificate's file in force."""
        return hashlib.sha256(self.read(f"{HOME}/cert.pem")).digest()

    def next_digest(self) -> bytes:
        """Return the sha256 of the next certificate's file, empty when there is none."""
        kept = self.read(f"{NEXT}/cert.pem")
        return hashlib.sha256(kept).digest() if kept and there(self.system, f"{NEXT}/key.pem") else b""

    def keep_key(self, key: Secret, *, follows: bool) -> None:
        """Keep a new key, durable before anything is asked with it."""
        if follows:
            self.forget_next()
            self.system.make_directory(NEXT, 0o700, *self.owner)
        self.write(f"{NEXT if follows else HOME}/key.pem", key.reveal())

    def keep_certificate(self, made: Certified, *, follows: bool) -> None:
        """Keep a certificate that was judged."""
        self.write(f"{NEXT if follows else HOME}/cert.pem", made.chain)

    def forget_next(self) -> None:
        """Let go of the pair that was to follow: first its certificate, by which it would be shown."""
        self.system.remove(f"{NEXT}/cert.pem")
        with suppress(Missing):
            self.system.shred(f"{NEXT}/key.pem")

    def finish(self, change: bytes | None, settled: Callable[[], None]) -> None:
        """Put the next pair in force, from wherever that was cut; nothing without a written-down change."""
        if not change:
            return
        if self.next_digest() == change:
            key, chain = self.read(f"{NEXT}/key.pem"), self.read(f"{NEXT}/cert.pem")
            if self.read(f"{HOME}/key.pem") != key:
                with suppress(Missing):
                    self.system.shred(f"{HOME}/key.pem")
                self.write(f"{HOME}/key.pem", key)
            self.write(f"{HOME}/cert.pem", chain)
        self.forget_next()
        settled()

    def erase(self) -> None:
        """Destroy both keys, then what they were for."""
        for path in (f"{NEXT}/key.pem", f"{HOME}/key.pem", f"{NEXT}/cert.pem", f"{HOME}/cert.pem"):
            with suppress(Missing):
                self.system.shred(path)

    def read(self, path: str) -> bytes:
        """Return a file's bytes, none when it is not there."""
        try:
            return self.system.read(path, LIMIT)
        except Missing:
            return b""

    def write(self, path: str, content: bytes) -> None:
        """Write a file for the courier alone."""
        self.system.write(path, content, 0o600, *self.owner)
