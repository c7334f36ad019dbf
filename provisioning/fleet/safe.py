"""Where the fleet's private keys lie: one directory only its owner enters, each key a PKCS #8 file of mode 0600.

A file appears whole or not at all: written beside its place, synced, renamed, and the directory synced. With a
passphrase every key is encrypted by PKCS #8 (AES-256); as the common PKCS #8 stretches a passphrase only 2,048 times,
it is first stretched by scrypt (64 MiB, a salt of the fleet's own) and the result is what PKCS #8 gets.
"""

import fcntl
import getpass
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.core.errors import BadInput, Missing, Refused, Unreadable

FACTS = "fleet.json"
LOCK = "fleet.lock"  # held while the facts are changed; the directory itself is held for as long as a push takes
LEAST_PASSPHRASE = 12  # characters
MOST_FILE = 64 * 1024  # bytes


class Passphrase:
    """A secret a person knows; never printed, never an argument of a program."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if len(text) < LEAST_PASSPHRASE:
            raise Refused(f"this passphrase is shorter than {LEAST_PASSPHRASE} characters; choose a longer one")
        self._text = text.encode()

    def __repr__(self) -> str:
        return "<passphrase>"

    def stretched(self, salt: bytes) -> bytes:
        """Return 64 hexadecimal digits that cost 64 MiB and a fraction of a second to derive."""
        return Scrypt(salt=salt, length=32, n=1 << 16, r=8, p=1).derive(self._text).hex().encode()


def passphrase_asked(question: str = "Fleet passphrase: ") -> Passphrase:
    """Ask the person at the terminal, without echo; Refused when nobody is there to answer."""
    if not sys.stdin.isatty():
        raise Refused("nobody is at the terminal to type the passphrase; give it through a file descriptor")
    return Passphrase(getpass.getpass(question))


def passphrase_from(descriptor: int) -> Passphrase:
    """Read the first line of an open file descriptor, and close it."""
    try:
        with os.fdopen(descriptor, "rb") as stream:
            line = stream.readline(4096)
        return Passphrase(line.rstrip(b"\r\n").decode())
    except OSError:
        raise BadInput(f"file descriptor {descriptor} cannot be read; pass one that is open for reading") from None
    except ValueError:
        raise BadInput("the passphrase is not UTF-8 text; type it again") from None


class Safe:
    """The directory itself. `passphrase` must be given again each time when it was given at `create`."""

    def __init__(self, directory: Path, key: bytes | None, facts: dict[str, str]) -> None:
        self.directory = directory
        self.facts = facts
        self._key = key

    def __repr__(self) -> str:
        return f"Safe({str(self.directory)!r}, {'encrypted' if self._key else 'not encrypted'})"

    @classmethod
    def create(cls, directory: Path, passphrase: Passphrase | None = None) -> "Safe":
        """Make the directory (mode 0700); Refused when it already holds a fleet. It counts only after `seal`."""
        if (directory / FACTS).exists():
            raise Refused(f"{directory} already holds a fleet; choose another directory")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        except OSError as error:
            raise Unreadable(f"{directory} cannot be made ({error.strerror}); choose another directory") from None
        salt = secrets.token_bytes(16) if passphrase else b""
        return cls(directory, passphrase.stretched(salt) if passphrase else None, {"salt": salt.hex()})

    @classmethod
    def open(cls, directory: Path, passphrase: Passphrase | None = None) -> "Safe":
        """Open an existing safe; Missing, Unreadable, or Refused when others could read it or the passphrase lacks."""
        try:
            mode = directory.stat().st_mode
            facts = _facts(directory)
        except FileNotFoundError:
            raise Missing(f"{directory} holds no fleet; make one with `privet-fleet init`") from None
        salt = bytes.fromhex(facts["salt"])
        if mode & 0o077:
            raise Refused(f"other users may enter {directory}; close it with `chmod 700 {directory}`")
        if bool(salt) != (passphrase is not None):
            hint = "needs its passphrase; give it" if salt else "has no passphrase; open it without one"
            raise Refused(f"this fleet {hint}")
        return cls(directory, passphrase.stretched(salt) if passphrase else None, facts)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Hold a directory in which keys are made; Refused when another command makes some there, or has."""
        with alone(self.directory, f"another command makes a fleet in {self.directory}; choose another directory"):
            if (self.directory / FACTS).exists():
                raise Refused(f"{self.directory} already holds a fleet; choose another directory")
            yield

    def seal(self, **facts: str) -> None:
        """Write the public facts; from now on the directory is a fleet. What others wrote meanwhile stays."""
        with waited(self.directory / LOCK):
            with suppress(FileNotFoundError):
                self.facts |= _facts(self.directory)
            self.facts |= facts
            self.write(FACTS, json.dumps(self.facts, indent=1, sort_keys=True).encode() + b"\n")

    def keep(self, name: str, *keys: PrivateKeyTypes) -> None:
        """Store private keys, one after the other, in the file `name`.key."""
        lock = serialization.BestAvailableEncryption(self._key) if self._key else serialization.NoEncryption()
        pem = [k.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock) for k in keys]
        self.write(f"{name}.key", b"".join(pem))

    def keys(self, name: str) -> tuple[PrivateKeyTypes, ...]:
        """Read the private keys of `name`; Missing when kept elsewhere, Refused when the passphrase is wrong."""
        blob = self.read(f"{name}.key")
        end = b"PRIVATE KEY-----\n"
        blocks = [b"-----BEGIN" + part for part in blob.split(b"-----BEGIN")[1:]]
        try:
            found = tuple(serialization.load_pem_private_key(block, self._key) for block in blocks if end in block)
        except (ValueError, TypeError):
            found = ()
        if not found:
            cause = "the passphrase does not open it, or it is damaged" if self._key else "it is damaged"
            raise Refused(f"{self.directory / name}.key cannot be opened: {cause}; try again")
        return found

    def read(self, name: str, most: int = MOST_FILE) -> bytes:
        """Return a file of the safe; Missing, or Unreadable when it is larger than such a file can be."""
        try:
            return _read(self.directory / name, most)
        except FileNotFoundError:
            raise Missing(f"{self.directory / name} is not there; bring it back from where you keep it") from None

    def write(self, name: str, content: bytes) -> None:
        """Replace a file of the safe durably, mode 0600."""
        whole_file(self.directory / name, content)


def whole_file(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Replace a file at once and durably; its directories appear with mode 0700. Unreadable when the disk refuses."""
    beside = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                if owner is not None:
                    os.fchown(descriptor, *owner)
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        names_synced(path.parent)
    except OSError as error:
        raise Unreadable(f"{path} cannot be written ({error.strerror}); check the disk and the rights") from None


def new_file(path: Path, content: bytes) -> bool:
    """Put a file where none is, at once and durably; say whether it was us. Unreadable when the disk refuses."""
    beside = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    whole_file(beside, content)
    try:
        os.link(beside, path)
        names_synced(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise Unreadable(f"{path} cannot be written ({error.strerror}); check the disk and the rights") from None
    finally:
        beside.unlink(missing_ok=True)
    return True


@contextmanager
def alone(folder: Path, busy: str = "") -> Iterator[None]:
    """Hold a folder that one process can hold; wait for it, or with a sentence Refused when another has it.

    The kernel lets go of it when a process ends, however that was.
    """
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"{folder} cannot be read ({error.strerror}); check its rights") from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise Refused(busy) from None
        yield
    finally:
        os.close(held)


@contextmanager
def waited(path: Path) -> Iterator[None]:
    """Hold a file that is there for this alone, as soon as no other process has it."""
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unreadable(f"{path} cannot be written ({error.strerror}); check the disk and the rights") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def owned_file(path: Path, content: bytes) -> None:
    """Replace a file that is there as `whole_file` does, with the owner and the rights that it has."""
    try:
        found = path.lstat()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); check the disk and the rights") from None
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path} is no plain file; put the file there itself")
    owner = (found.st_uid, found.st_gid) if os.geteuid() == 0 else None
    whole_file(path, content, stat.S_IMODE(found.st_mode), owner)


def names_synced(folder: Path) -> None:
    """Make durable which names a folder has; OSError when the disk refuses."""
    names = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(names)
    finally:
        os.close(names)


def _facts(directory: Path) -> dict[str, str]:
    try:
        found = json.loads(_read(directory / FACTS))
        bytes.fromhex(found["salt"])
        return {str(name): str(found[name]) for name in found}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(f"{directory / FACTS} is damaged; restore it from your copy") from None


def _read(path: Path, most: int = MOST_FILE) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); check its rights") from None
    if len(content) > most:
        raise Unreadable(f"{path} is larger than any file of a fleet; restore it from your copy")
    return content
