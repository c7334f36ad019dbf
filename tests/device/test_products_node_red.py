"""Node-RED's settings with the real Node-RED: who gets in, who reaches it, what our command line words make of it."""

import subprocess
from pathlib import Path

from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device
from tests.device.test_credentials_node_red import node_red

RECIPE = tree.PRODUCTS  # devices with products; Node.js is one

__all__ = ["node_red"]

UNIT = """[Unit]
Description=Node-RED
[Service]
User=pi
Environment="NODE_RED_OPTIONS=-v"
ExecStart=/usr/bin/env node-red-pi $NODE_OPTIONS $NODE_RED_OPTIONS
"""
# As a unit starts it: what it is given, and the note systemd leaves about each start.
START = """
set -a; NODE_RED_OPTIONS=-v
for file in /etc/systemd/system/nodered.service.d/*.env; do if [ -f "$file" ]; then . "$file"; fi; done
mkdir -p /run/systemd/units; ln -sfn now /run/systemd/units/invocation:nodered.service; HOME=/home/pi
exec setpriv --reuid pi --regid pi --clear-groups node /usr/lib/node_modules/node-red/red.js $NODE_RED_OPTIONS
"""
OPEN = """module.exports = {
    flowFile: 'flows.json',
    //adminAuth: { type: "credentials" },
    uiPort: process.env.PORT || 1880,
    /** The address
     * uiHost: "127.0.0.1"
     */
    telemetry: {
        // enabled: true,
        updateNotification: true
    },
}
"""
SHUT = """module.exports = {
    uiHost: "127.0.0.1",
    adminAuth: { type: "credentials", users: [{ username: "admin", password: "$2a$08$x", permissions: "*" }] },
    httpNodeAuth: { user: "user", pass: "$2a$08$x" },
}
"""


def again(device: Device, doors: bool = True) -> None:
    """Start Node-RED, in place of one that runs; wait until it listens, or says that it runs."""
    device.must(["sh", "-c", "pkill -x node-red; while pgrep -x node-red >/dev/null; do :; done"], seconds=60)
    running = device.spawn(["sh", "-c", START])
    if doors:
        device.listener(1880, seconds=120)
        return
    assert running.stdout is not None
    for line in running.stdout:
        if b"Started flows" in line:
            return


def status(device: Device, page: str, host: str = "127.0.0.1") -> int:
    """Return the status of a page, asked by Node.js itself; 0 when nobody answers."""
    source = "const [u] = process.argv.slice(1); fetch(u).then(r => console.log(r.status)).catch(() => console.log(0))"
    return int(device.must(["node", "-e", source, f"http://{host}:1880{page}"], seconds=60))


def said(device: Device) -> tuple[str, ...]:
    """Return what is said of it, live and kept, which must be the same."""
    found = [look(device, f"node_red.{what}") for what in ("bind", "editor", "pages", "tls", "telemetry")]
    assert [one["live"] for one in found] == [one["kept"] for one in found], found
    return tuple(one["live"] for one in found)


def test_node_red(device: Device, node_red: Path) -> None:
    """Open as it comes, shut by our words on its command line, open again without them, shut by its own settings."""
    packed = subprocess.run(["tar", "-C", str(node_red), "-c", "node_modules"], capture_output=True, check=True).stdout
    assert look(device, "node_red.bind")["absent"]
    device.must(["mkdir", "-p", "/usr/lib"])
    device.must(["tar", "-C", "/usr/lib", "-x"], packed, seconds=120)
    device.write("/etc/systemd/system/nodered.service", UNIT)
    device.write("/home/pi/.node-red/settings.js", OPEN)
    device.must(["chown", "-R", "pi:", "/home/pi/.node-red"])
    device.address("192.0.2.7/32")
    again(device)
    assert (status(device, "/settings"), status(device, "/flows", "192.0.2.7")) == (200, 200)
    assert said(device) == ("network", "open", "open", "no", "off")
    for what, strict in (("editor", "closed"), ("bind", "loopback"), ("tls", "yes")):
        assert enforce(device, f"node_red.{what}", strict) == ""
    assert enforce(device, "node_red.telemetry", "off") == ""
    assert look(device, "node_red.editor")["live"] == "open", "a Node-RED that was not started again is no other"
    again(device)
    assert (status(device, "/settings"), status(device, "/", "192.0.2.7")) == (404, 0)
    assert said(device) == ("loopback", "closed", "open", "yes", "off")
    assert enforce(device, "node_red.pages", "closed") == ""
    again(device, doors=False)
    assert said(device) == ("loopback", "closed", "closed", "yes", "off"), "with neither there is no door at all"
    for what, loose in (("editor", "open"), ("pages", "open"), ("bind", "network"), ("tls", "no")):
        assert enforce(device, f"node_red.{what}", loose) == ""
    again(device)
    assert said(device) == ("network", "open", "open", "no", "off")
    device.write("/home/pi/.node-red/settings.js", SHUT)
    assert look(device, "node_red.editor")["kept"] is None, "a program is not guessed at"
    again(device)
    assert (status(device, "/settings"), status(device, "/x", "192.0.2.7"), status(device, "/x")) == (401, 0, 401)
    assert said(device) == ("loopback", "closed", "closed", "yes", "off")
