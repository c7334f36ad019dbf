"""Somebody switches units on or off that we do not: Privet's own, and remote login."""

from agent.core.record import Params, Value
from agent.system.seen import there
from agent.system.simulated import SimulatedSystem

PLACE, WANTS = "/usr/lib/systemd/system", "/etc/systemd/system/multi-user.target.wants"


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Enable and start or disable and stop those that are there; Privet is installed for it."""
    units = params["units"]
    for unit in units if isinstance(units, tuple) else (str(units),):
        if unit.startswith("privet"):
            device.edit(f"{PLACE}/{unit}", b"[Service]\nExecStart=/usr/lib/privet/%s\n" % unit.split(".")[0].encode())
        if not there(device, f"{PLACE}/{unit}"):
            continue
        if value == "on":
            device.hand.link(f"{WANTS}/{unit}", f"{PLACE}/{unit}")
        else:
            device.hand.discard(f"{WANTS}/{unit}")
        device.run(("systemctl", "daemon-reload"))
        assert device.run(("systemctl", "start" if value == "on" else "stop", unit)).code == 0
