"""Password hashes by the system's own libcrypt: does this password belong to this hash, is this scheme a weak one?

A shim over four functions of libcrypt.so.1 (libxcrypt), since Python 3.13 has none of its own and no package knows
yescrypt. Nothing here is kept, logged or shown; the memory libcrypt worked in is wiped before it is given back.
"""

import ctypes
import hmac
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TypeVar

from agent.core.errors import BadInput, Failed, Unreachable

LIBRARY = "libcrypt.so.1"
LONGEST = 511  # bytes of a password; libcrypt takes no more (CRYPT_MAX_PASSPHRASE_SIZE, with its closing zero)

# What crypt_checksalt says about a hash or its beginning.
STRONG = "strong"
INVALID = "invalid"
DISABLED = "disabled"
LEGACY = "legacy"
CHEAP = "cheap"
STRENGTHS = (STRONG, INVALID, DISABLED, LEGACY, CHEAP)

ROOM = 1 << 18  # bytes for the state of its block cipher, more than any version's `struct crypt_data`
VERSIONS = (b"GLIBC_2.2.5", b"GLIBC_2.17", b"GLIBC_2.4", b"GLIBC_2.27")  # of x86-64, arm64, armhf, riscv

# Schemes made to take long for each try: yescrypt, gost-yescrypt, scrypt, bcrypt, sunmd5, PBKDF1 of sha1.
COSTLY = ("$y$", "$gy$", "$7$", "$2", "$md5", "$sha1$")
PATIENCE = 10  # how many steps of niceness a long search takes on

T = TypeVar("T")


@cache
def library() -> ctypes.CDLL:
    """Load libcrypt once; Unreachable when it is not installed."""
    try:
        made = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise Unreachable(f"{LIBRARY} is not there; install the package libcrypt1") from error
    pointer, size = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_int)
    made.crypt_ra.argtypes = (ctypes.c_char_p, ctypes.c_char_p, pointer, size)
    made.crypt_ra.restype = ctypes.c_void_p
    made.crypt_checksalt.argtypes = (ctypes.c_char_p,)
    made.crypt_checksalt.restype = ctypes.c_int
    made.crypt_gensalt_ra.argtypes = (ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int)
    made.crypt_gensalt_ra.restype = ctypes.c_void_p
    return made


@cache
def allocator() -> ctypes.CDLL:
    """Return the C library, whose free() belongs to what libcrypt allocates."""
    made = ctypes.CDLL(None)
    made.free.argtypes = (ctypes.c_void_p,)
    made.free.restype = None
    return made


def compute(password: bytes, setting: bytes) -> bytes | None:
    """Hash a password as `setting` (a salt, or a whole hash) says; None when it names no scheme."""
    if b"\0" in password or len(password) > LONGEST:
        return None
    room, size = ctypes.c_void_p(), ctypes.c_int(0)
    made = library().crypt_ra(password, setting, ctypes.byref(room), ctypes.byref(size))
    try:
        return ctypes.string_at(made) if made else None
    finally:
        if room.value:
            ctypes.memset(room.value, 0, size.value)
            allocator().free(room.value)


def matches(password: str, hashed: str) -> bool:
    """Say whether the password belongs to the hash, in time that tells nothing about where they differ.

    A hash of no known scheme (`!`, `*`, damaged) belongs to no password, and so does an empty one: whoever holds an
    empty hash needs no password at all, which is for the caller to see.
    """
    setting = hashed.encode("utf-8", "surrogateescape")
    if not setting or b"\0" in setting:
        return False
    made = compute(password.encode("utf-8", "surrogateescape"), setting)
    return made is not None and hmac.compare_digest(made, setting)


@cache
def block_cipher() -> tuple[Callable[..., object], Callable[..., object]]:
    """Find setkey_r and encrypt_r of libcrypt: single DES, kept for old programs under its oldest names."""
    handle = library()._handle  # noqa: SLF001 — ctypes has no other name for it
    find = ctypes.CDLL(None).dlvsym
    find.argtypes, find.restype = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p), ctypes.c_void_p
    for version in VERSIONS:
        places = [find(handle, name, version) for name in (b"setkey_r", b"encrypt_r")]
        if all(places):
            return (
                ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)(places[0]),
                ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(places[1]),
            )
    raise Unreachable(f"{LIBRARY} has no DES on this device; remove the product that needs it (VNC passwords)")


def des(key: bytes, block: bytes, back: bool = False) -> bytes:
    """Encrypt (or decrypt) 8 bytes by single DES. It protects nothing today; VNC is what still needs it."""
    if len(key) != 8 or len(block) != 8:
        raise BadInput("DES takes a key and a block of 8 bytes; give both")
    set_key, encrypt = block_cipher()
    room = ctypes.create_string_buffer(ROOM)
    bits = ctypes.create_string_buffer(spread(block), 64)
    set_key(spread(key), room)
    encrypt(bits, int(back), room)
    made = bits.raw
    ctypes.memset(room, 0, ROOM)
    return bytes(sum(made[place + bit] << (7 - bit) for bit in range(8)) for place in range(0, 64, 8))


def spread(block: bytes) -> bytes:
    """Return the bits of a block, one a byte, the highest first."""
    return bytes(byte >> (7 - bit) & 1 for byte in block for bit in range(8))


def strength(hashed: str) -> str:
    """Classify a hash or its beginning without hashing; invalid is also what is locked or damaged."""
    setting = hashed.encode("utf-8", "surrogateescape")
    if b"\0" in setting:
        return INVALID
    number = library().crypt_checksalt(setting)
    return STRENGTHS[number] if 0 <= number < len(STRENGTHS) else INVALID


def costly(hashed: str) -> bool:
    """Say whether one try at this hash takes long on purpose."""
    return hashed.startswith(COSTLY)


def salt(scheme: str, entropy: bytes, cost: int = 0) -> str:
    """Make a salt for a scheme ("$y$", "$6$", …; "" is DES), cost (0: its default) and at least 16 bytes of entropy."""
    if len(entropy) < 16:
        raise BadInput("a salt needs 16 bytes of entropy; give more")
    made = library().crypt_gensalt_ra(scheme.encode(), cost, entropy, len(entropy))
    if not made:
        raise BadInput(f"libcrypt makes no salt for {scheme!r} at cost {cost}; choose another scheme or cost")
    try:
        return ctypes.string_at(made).decode()
    finally:
        allocator().free(made)


def hashed(password: str, setting: str) -> str:
    """Hash a password with a salt from `salt`."""
    made = compute(password.encode("utf-8", "surrogateescape"), setting.encode())
    if made is None:
        raise Failed("libcrypt would not hash with this salt; make a new one")
    return made.decode()


def patiently(work: Callable[[], T]) -> T:
    """Do long work at low priority: in a thread of its own, since Linux gives each thread its niceness.

    The caller waits, and its own priority stays what it was. Where the system refuses, the work is done all the same.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        """Lower this thread, work, keep what came of it."""
        with suppress(OSError):  # a sandbox may forbid it; then the search is merely less polite
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PATIENCE)
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that asked
            failed.append(error)

    thread = threading.Thread(target=run, name="patient")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
