"""busctl and the bluetoothd behind it: one adapter, of which it notes what it was told, as the real one does.

Of D-Bus it knows what Bluetooth needs: all objects, and one property set. An adapter that may be seen for good is so
again after a start; all else begins anew. main.conf's `AlwaysPairable` is taken up at each start.
"""

import json
from typing import TYPE_CHECKING, Any

from agent.system import conf
from agent.system.door import Outcome
from agent.system.seen import text

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

PATH, ADAPTER = "/org/bluez/hci0", "org.bluez.Adapter1"
NOTE = "/var/lib/bluetooth/B8:27:EB:12:34:56/settings"
MAIN = "/etc/bluetooth/main.conf"
KINDS = {"Powered": "b", "Discoverable": "b", "DiscoverableTimeout": "u", "Pairable": "b"}


def lay(device: "SimulatedSystem") -> None:
    """Lay down BlueZ, and what it noted before: the adapter may be seen, and for good."""
    device.edit("/usr/libexec/bluetooth/bluetoothd", b"\x7fELF", mode=0o755)
    device.edit(NOTE, b"[General]\nDiscoverable=true\nDiscoverableTimeout=0\n", mode=0o600)
    device.edit(MAIN, b"[General]\n#DiscoverableTimeout = 0\n#AlwaysPairable = false\n\n[Policy]\n#AutoEnable=true\n")


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Tell of all objects, or set one property."""
    daemons = device.running("bluetoothd")
    if not daemons:
        return Outcome(code=1, out=b"", err=b'Call failed: Name "org.bluez" does not exist\n')
    process = daemons[0]
    if not isinstance(process.state, dict):
        process.state = taken_up(device)
    adapter: dict[str, Any] = process.state
    words = [word for word in argv[1:] if not word.startswith("--")]
    if words[0] == "call":
        told = {name: {"type": KINDS[name], "data": value} for name, value in adapter.items()}
        out = {"type": "a{oa{sa{sv}}}", "data": [{"/org/bluez": {}, PATH: {ADAPTER: told}}]}
        return Outcome(code=0, out=json.dumps(out).encode() + b"\n", err=b"")
    if words[:4] != ["set-property", "org.bluez", PATH, ADAPTER] or words[4] not in KINDS:
        return Outcome(code=1, out=b"", err=b"Failed to set property: Unknown object or property.\n")
    adapter[words[4]] = int(words[6]) if KINDS[words[4]] == "u" else words[6] == "true"
    lasting = adapter["Discoverable"] and not adapter["DiscoverableTimeout"]
    note = f"[General]\nDiscoverable={str(lasting).lower()}\nDiscoverableTimeout={adapter['DiscoverableTimeout']}\n"
    device.edit(NOTE, note.encode(), mode=0o600)
    return Outcome(code=0, out=b"", err=b"")


def taken_up(device: "SimulatedSystem") -> dict[str, Any]:
    """Return how an adapter begins."""
    note, main = text(device, NOTE), text(device, MAIN)
    limit = int(conf.value(note, "General", "DiscoverableTimeout") or 180)
    seen = conf.value(note, "General", "Discoverable") == "true" and not limit
    pairable = conf.value(main, "General", "AlwaysPairable") == "true"
    return {"Powered": True, "Discoverable": seen, "DiscoverableTimeout": limit, "Pairable": pairable or seen}
