"""journalctl, as far as it lets go of old entries; the simulated journal holds none."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Accept `--rotate` and `--vacuum-time=`."""
    if all(word == "--rotate" or word.startswith("--vacuum-time=") for word in argv[1:]):
        return Outcome(code=0, out=b"", err=b"Vacuuming done, freed 0B of archived journals.\n")
    return Outcome(code=1, out=b"", err=b"journalctl: unrecognized option\n")
