"""Key slots: where the key that seals the device's state rests while the device is off.

What the file slot protects, honestly: the key lies on the same card as what it seals, readable by root alone. So the
seal keeps state and journal from every other user, from backups and copies of the database, and from unnoticed
changes by whoever lacks the key. It does not keep them from somebody who holds the whole card: a bare card has no
place to hide a key. A device with a TPM, or with one-time memory in its chip, gets a slot of its own: one new class
with the same `open`. Telemetry does not hang on this: its keys are never on the card at all.
"""

from collections.abc import Callable
from typing import Protocol

from agent.core.errors import Missing, Tampered, Unreadable
from agent.core.secret import Secret
from agent.system.copied import takes_nothing
from agent.system.door import System

STATE_KEY = "/var/lib/privet/keys/state.key"
BYTES = 32


class KeySlot(Protocol):
    """A place for one key of 32 bytes."""

    def open(self) -> tuple[Secret, bool]:
        """Return the key, and whether it was made just now; Tampered when it is damaged."""

    def erase(self) -> None:
        """Make everything sealed with the key unreadable."""


class FileSlot:
    """A key in a file of root's (0600, in a directory 0700); made from the kernel's entropy, durable before its use."""

    def __init__(self, system: System, path: str = STATE_KEY, owner: tuple[int, int] = (0, 0)) -> None:
        self._system = system
        self._owner = owner
        self._path = path

    def open(self) -> tuple[Secret, bool]:
        """Return the key, making it on first use; rights that came loose are put right."""
        directory = self._path.rpartition("/")[0]
        self._tighten(self._system.make_directory, directory, 0o700)
        try:
            content = self._system.read(self._path, BYTES)
        except Missing:
            content = self._system.entropy(BYTES)
            self._system.write(self._path, content, 0o600, *self._owner)
            return Secret(content), True
        except Unreadable as error:
            raise Tampered(f"the state key cannot be used ({error})") from error
        if len(content) != BYTES:
            raise Tampered(f"{self._path} is no key of {BYTES} bytes; put back its copy, or remove it to start anew")
        found = self._system.stat(self._path)
        if (found.kind, found.mode, found.uid, found.gid) != ("file", 0o600, *self._owner):
            self._tighten(self._system.own, self._path, 0o600)
        return Secret(content), False

    def _tighten(self, act: Callable[[str, int, int, int], None], path: str, mode: int) -> None:
        """Put rights right; a disk that takes nothing keeps nobody from starting."""
        try:
            act(path, mode, *self._owner)
        except Unreadable as error:
            if not takes_nothing(error):
                raise

    def erase(self) -> None:
        """Overwrite the key, then remove it. Flash may keep an old copy of the block until it reuses it."""
        try:
            self._system.read(self._path, BYTES)
        except Missing:
            return
        except Unreadable:
            pass
        self._system.write(self._path, self._system.entropy(BYTES), 0o600, *self._owner)
        self._system.remove(self._path)
