"""Programs that wait for connections from outside this device, against those that its profile declares.

Param: `what`: ports (TCP and UDP), or raw (programs that read along beneath them). A word is
`protocol/port@scope:program` (`agent/system/listening`). Found, told, and not undone: the firewall keeps shut what is
not declared, and whether a program belongs on the device only its owner knows. A socket is what runs now; whether it
comes back after a restart its unit decides, so live is kept.
"""

from agent.core.assess import Reading, unread
from agent.core.errors import PrivetError
from agent.core.order import words
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.listening import listeners
from agent.system.parts import Step

PARAMS = ("what",)
RAW = ("packet", "raw")


def probe(system: System, params: Params) -> Reading:
    """Name everything that waits; the cause says which unit or process each belongs to."""
    try:
        raw = params["what"] == "raw"
        found = [one for one in listeners(system) if (one.protocol in RAW) == raw]
    except PrivetError as error:
        return unread(str(error))
    value = words([one.word for one in found])
    whose = "; ".join(f"{one.word} is of {one.unit or 'process ' + str(one.pid)}" for one in found if one.pid)
    return Reading(live=value, kept=value, cause=whose, absent=False)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Change nothing."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where systemd notes that a unit has started; the kernel sends no news of sockets."""
    return ("/run/systemd/units",)
