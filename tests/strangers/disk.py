"""Somebody makes the card of a device anew, with its own disk encrypted or not."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem, volume


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Let the root lie on dm-crypt or on the card itself, from now on and at every start."""
    device.disk.encrypted = value == "yes"
    volume.show(device)
