"""`privet board-key` on a device: root's alone, the same each time, and what is sealed to it opens there."""

import base64

from agent.system.boardkey import BOARD_KEY
from provisioning.fleet.boardseal import public_key, sealed
from tests.device.lab import Device

OPEN = """
import sys
from agent.core.secret import Secret
from agent.core.seed import SealedSeed
from agent.system import boardkey
from agent.system.real import RealSystem
from agent.system.vault import WorkerVault
system = RealSystem()
vault = WorkerVault(Secret(bytes(32)))
board, floor, content = sys.argv[1:]
seed = SealedSeed(board=bytes.fromhex(board), floor=int(floor), sealed=bytes.fromhex(content))
print(boardkey.unseal(system, vault, seed).decode())
vault.close()
"""


def test_a_board_prints_its_key_and_opens_what_is_sealed_to_it(device: Device):
    """The command, the file's rights, another user's refusal; a station's seal opens in the vault's own child."""
    printed = [device.module("agent", "board-key").stdout.decode().strip() for _ in range(2)]
    public = base64.b64decode(printed[0], validate=True)
    public_key(public)
    assert printed[0] == printed[1]
    assert device.must(["stat", "-c", "%U %a", BOARD_KEY]).split() == ["root", "600"]
    made = sealed(b"only here", 5, public)
    assert device.agent(OPEN, made.board.hex(), "5", made.sealed.hex()).stdout == b"only here\n"
    wrong = device.agent(OPEN, made.board.hex(), "6", made.sealed.hex())
    assert wrong.returncode != 0 and wrong.stdout == b"" and b"does not open" in wrong.stderr
    nobody = ["setpriv", "--reuid", "pi", "--regid", "pi", "--clear-groups"]
    refused = device.run([*nobody, *device.python("-m", "agent", "board-key")])
    assert refused.returncode == 77 and b"only root" in refused.stderr
