"""ssh-keyscan: asks the running SSH servers of the simulated device which host keys they answer with."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome
from agent.system.simulated.programs.sshd import Loaded

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Print one line for each key of the wanted types at the wanted port."""
    values = dict(zip(argv[1:], (*argv[2:], ""), strict=False))
    kinds = values.get("-t", "rsa,ecdsa,ed25519").split(",")
    lines = []
    for process in device.processes:
        state = process.state
        if not isinstance(state, Loaded) or int(values.get("-p", "22")) not in [port for _, port in state.sockets]:
            continue
        for key in state.keys:
            word = key.split()[0].decode()
            if any(kind == word.removeprefix("ssh-") or word.startswith(kind + "-") for kind in kinds):
                lines.append(argv[-1].encode() + b" " + key + b"\n")
    return Outcome(code=0, out=b"".join(lines), err=b"")
