"""Switching Wi-Fi off and on by hand."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Block or unblock, as the owner does."""
    verb = "block" if value == str(params["words"]).split()[0] else "unblock"
    assert device.run(("rfkill", verb, str(params["kind"]))).code == 0
