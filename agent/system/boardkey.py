"""The board's own key on the device: who asks for its public half, and what it opens.

It is made when it is first asked for, is root's alone, and goes with everything else when the device is erased.
"""

from agent.core.errors import Missing, Unreadable, WrongDevice
from agent.core.secret import Secret
from agent.core.seed import SealedSeed
from agent.system.door import System
from agent.system.keys import BYTES, FileSlot
from agent.system.vault import Vault

BOARD_KEY = "/var/lib/privet/keys/board.key"


def public(system: System, vault: Vault) -> bytes:
    """Return the public half; the key is made when there is none."""
    return bytes(vault.with_key("board_public", FileSlot(system, BOARD_KEY).open()[0]))


def unseal(system: System, vault: Vault, seed: SealedSeed) -> bytes:
    """Open a seed that a station sealed to this board; WrongDevice when this is not it."""
    try:
        key = system.read(BOARD_KEY, BYTES)
    except (Missing, Unreadable):
        key = b""
    if len(key) != BYTES:
        raise WrongDevice("the seed is sealed to a board, and this one has no key; put the card back into its own")
    return bytes(vault.with_key("unseal_seed", Secret(key), seed.board, seed.context, seed.sealed))
