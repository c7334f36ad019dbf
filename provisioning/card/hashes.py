"""Whether a password hash in an image belongs to a password that everybody knows; by this machine's own libcrypt."""

import ctypes
from pathlib import Path

from agent.core.credential import candidates, read_pairs, recognise
from agent.core.errors import Unreachable

LIBRARY = "libcrypt.so.1"
LIST = Path(__file__).parents[2] / "agent/credentials/factory_passwords.txt"  # the one the agent ships


def known(user: str, hashed: str) -> bool:
    """Say whether the hash of a user belongs to a password of the agent's list, to the user's name, or to none."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise Unreachable(f"{LIBRARY} is not there; install the package libcrypt1") from None
    library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    library.crypt.restype = ctypes.c_char_p

    def fits(password: str, setting: str) -> bool:
        found = library.crypt(password.encode(), setting.encode())
        return bool(found) and found == setting.encode()

    pairs = read_pairs(LIST.read_text(encoding="utf-8"))
    return recognise(hashed, candidates(user, pairs), fits) is not None
