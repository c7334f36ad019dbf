"""A street: one device, and one neighbour on the same cable with many addresses, near (our own network) and far."""

from tests.device.enforced import enforce
from tests.device.lab import Device

MINE, MINE6 = "192.168.77.2", "fd77::2"
NEAR = tuple(f"192.168.77.{last}" for last in range(3, 40))
NEAR6 = ("fd77::3", "fd77::4", "fd77:0:0:1::3")  # the first two are of one /64
FAR, FAR6 = "203.0.113.9", "2001:db8::9"

# Tries connections `source|host|port` one after the other, each with one packet; prints which were answered.
KNOCK = """
import json, socket, sys
found = []
for target in sys.argv[2:]:
    source, host, port = target.split("|")
    try:
        with socket.create_connection((host, int(port)), float(sys.argv[1]), (source, 0) if source else None):
            found.append(True)
    except OSError:
        found.append(False)
print(json.dumps(found))
"""


class Street:
    """Both ends of a cable; every address of the neighbour reaches the device and is reached by it."""

    def __init__(self, device: Device, neighbour: Device) -> None:
        self.device = device
        self.neighbour = neighbour
        device.link(neighbour, MINE, NEAR[0])
        self.mine, self.theirs = (
            next(name for name in one.must(["ls", "/sys/class/net"]).split() if name.startswith("lan"))
            for one in (device, neighbour)
        )
        for address in (*(f"{one}/24" for one in NEAR[1:]), f"{FAR}/24"):
            neighbour.must(["ip", "address", "add", address, "dev", self.theirs])
        for address in (*(f"{one}/64" for one in NEAR6), f"{FAR6}/64"):
            neighbour.must(["ip", "address", "add", address, "dev", self.theirs, "nodad"])
        device.must(["ip", "address", "add", f"{MINE6}/64", "dev", self.mine, "nodad"])
        for block in ("203.0.113.0/24", "fd77:0:0:1::/64", "2001:db8::/64"):
            device.must(["ip", "route", "add", block, "dev", self.mine])

    def knock(self, *targets: str, seconds: float = 0.4) -> list[bool]:
        """Try connections `source|host|port` from the neighbour; say which were answered."""
        found: list[bool] = self.neighbour.ask(KNOCK, str(seconds), *targets)
        return found

    def enforce(self, inbound: list[str]) -> None:
        """Let in these flows and nothing else."""
        assert enforce(self.device, "firewall.inbound", inbound) == ""
