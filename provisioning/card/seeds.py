"""The seeds of a batch, each for one card: a folder of `<device>.slot` files, and a journal of where each went.

A seed that was about to be written is on a card, or may be: after that no other card gets it, whatever ended the run.
Only the same card gets it again. When its card has been read back, the file is overwritten and removed: the station
keeps no token. Cards are remembered by a keyed digest of their number, which says nothing to anybody else.
"""

import fcntl
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

from agent.core.errors import BadInput, Missing, Refused, Unreadable
from agent.core.slot import SIZE

SUFFIX = ".slot"
JOURNAL, KEY = "cards.jsonl", "cards.key"
GIVEN, VERIFIED, FAILED = "given", "verified", "failed"
Tell = Callable[[str, str, str], None]  # device, state, keyed digest of the card's number


class Seed(NamedTuple):
    """What one card gets: who the device is, and the bytes of the slot."""

    device: str
    slot: bytes


class Seeds:
    """A batch that is open for one station at a time; safe to ask from the threads of several cards.

    `tell` hears of each state of a seed once it is in the journal; where it fails, the card is not gone on with.
    """

    def __init__(self, folder: Path, tell: Tell = lambda device, state, card: None) -> None:
        self._folder, self._tell = folder, tell
        self._lock = threading.Lock()
        self._out: set[str] = set()  # taken by a card that is being written
        try:
            self._journal = os.open(folder / JOURNAL, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise Missing(f"{folder} is no batch; make one with privet-fleet batch create") from None
        except OSError as error:
            raise Unreadable(f"{folder} cannot be opened ({error.strerror}); check its rights") from None
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._journal)
            raise Refused(f"another station works with {folder}; give each a batch of its own") from None
        self._key = key(folder / KEY)
        self._told = self._read()
        self._names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob("*" + SUFFIX))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._journal)

    def take(self, serial: str) -> Seed:
        """Return a seed for a card: the one that this very card had, or a fresh one; Missing when none is left."""
        card = self.card(serial)
        with self._lock:
            mine = [one for one in self._names if card and self._told.get(one, ("", ""))[1] == card]
            fresh = [one for one in self._names if one not in self._told]
            for device in (*mine, *fresh):
                if device not in self._out:
                    self._out.add(device)
                    return Seed(device, self._content(device))
        raise Missing(f"no seed is left in {self._folder}; make another batch with privet-fleet batch create")

    def back(self, seed: Seed) -> None:
        """Take a seed back that its card was not given."""
        with self._lock:
            self._out.discard(seed.device)

    def give(self, seed: Seed, serial: str) -> None:
        """Note, durably, that a seed is about to be written."""
        self._note(seed.device, GIVEN, serial)

    def failed(self, seed: Seed, serial: str) -> None:
        """Note that the card of a seed is no good; the seed stays with it."""
        self._note(seed.device, FAILED, serial)

    def verified(self, seed: Seed, serial: str) -> None:
        """Note that a card was read back with its seed, and remove the seed here."""
        self._note(seed.device, VERIFIED, serial)
        path = self._folder / (seed.device + SUFFIX)
        try:
            with path.open("r+b") as file:
                file.write(bytes(SIZE))
                os.fsync(file.fileno())
            path.unlink()
        except OSError as error:
            raise Unreadable(f"{path} cannot be removed ({error.strerror}); remove it, its card has it") from None

    def left(self) -> int:
        """Count the seeds that no card has."""
        with self._lock:
            return sum(1 for one in self._names if one not in self._told and one not in self._out)

    def aside(self) -> list[str]:
        """Name the seeds that may be on a card that was never read back: their tokens should be voided."""
        return [one for one in self._names if self._told.get(one, (VERIFIED, ""))[0] != VERIFIED]

    def card(self, serial: str) -> str:
        """Return the keyed digest of a card's number; empty when the card has none."""
        return hmac.new(self._key, serial.encode(), sha256).hexdigest()[:32] if serial else ""

    def _content(self, device: str) -> bytes:
        path = self._folder / (device + SUFFIX)
        try:
            found = path.read_bytes()
        except OSError as error:
            self._out.discard(device)
            raise Unreadable(f"{path} cannot be read ({error.strerror}); check its rights") from None
        if len(found) != SIZE:
            self._out.discard(device)
            raise BadInput(f"{path} is no seed: it has {len(found)} bytes where {SIZE} belong; make the batch again")
        return found

    def _note(self, device: str, state: str, serial: str) -> None:
        card = self.card(serial)
        line = json.dumps({"device": device, "state": state, "card": card, "time": int(time.time())}) + "\n"
        with self._lock:
            try:
                os.write(self._journal, line.encode())
                os.fsync(self._journal)
            except OSError as error:
                raise Unreadable(f"{self._folder / JOURNAL} cannot be written ({error.strerror}); make room") from None
            self._told[device] = (state, card)
        self._tell(device, state, card)

    def _read(self) -> dict[str, tuple[str, str]]:
        """Read the journal; a last line that a power cut left unfinished is closed and left out."""
        found = dict[str, tuple[str, str]]()
        content = os.pread(self._journal, os.fstat(self._journal).st_size, 0)
        if content and not content.endswith(b"\n"):
            os.write(self._journal, b"\n")
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                found[str(entry["device"])] = (str(entry["state"]), str(entry["card"]))
            except (ValueError, KeyError, TypeError):
                continue
        return found


def key(path: Path) -> bytes:
    """Return the key of a batch's digests, made at first use."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        found = path.read_bytes()
        if len(found) != sha256().digest_size:
            raise BadInput(f"{path} is damaged; make the batch again") from None
        return found
    made = secrets.token_bytes(sha256().digest_size)
    with os.fdopen(file, "wb") as stream:
        stream.write(made)
        stream.flush()
        os.fsync(stream.fileno())
    return made
