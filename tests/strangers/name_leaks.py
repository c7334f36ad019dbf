"""Somebody gives the device a name."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem

PASSWD = b"root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000:Anna Muster,,,:/home/anna:/bin/bash\n"
HOSTS = {"default": "homeassistant", "model": "my-rpi", "person": "annas-box", "serial": "box-beef"}


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Name the device so that exactly this is given away; it takes the name at once."""
    wanted = value if isinstance(value, tuple) else ()
    device.edit("/etc/passwd", PASSWD)
    device.hand.produced("/proc/device-tree/serial-number", lambda: b"100000001234beef\0")
    hosts = [HOSTS[word.partition(":")[2]] for word in wanted if word.startswith("host:")]
    name = hosts[0] if hosts else "quiet-otter"
    device.edit("/etc/hostname", f"{name}\n".encode())
    device.edit("/etc/hostapd/hostapd.conf", b"ssid=%s\n" % (b"Muster home" if "wifi:person" in wanted else b"hedge"))
    device.run(("sysctl", "-q", "-p", "-"), f"kernel/hostname = {name}\n".encode())
