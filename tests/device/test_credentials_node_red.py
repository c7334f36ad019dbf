"""The node_red kind with the real Node-RED, which is no Debian package: npm fetches it once into the lab's cache."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from agent.system import crypt
from tests.device import tree
from tests.device.lab import Device
from tests.device.test_credentials import ran

RECIPE = tree.PRODUCTS  # devices with the products whose passwords are replaced; Node.js is one


NODE_RED = "node-red@4.1.15"  # the last that runs on Debian 12's Node.js 18
EDITOR = """module.exports = {
    uiPort: 1880, uiHost: "127.0.0.1", flowFile: "flows.json",
    adminAuth: { type: "credentials", users: [{ username: "admin", password: "HASH", permissions: "*" }] },
}
"""


@pytest.fixture(scope="module")
def node_red() -> Path:
    """Give a folder with Node-RED in it, fetched once by npm; the test is skipped, loudly, where npm cannot."""
    place = tree.cache() / NODE_RED
    if not (place / "node_modules").is_dir():
        if shutil.which("npm") is None:
            pytest.skip("NODE-RED IS NOT TESTED: npm is not installed")
        half = Path(tempfile.mkdtemp(prefix="half-", dir=tree.cache()))
        argv = ["npm", "install", "--prefix", str(half), "--no-audit", "--no-fund", "--omit=dev", NODE_RED]
        fetched = subprocess.run(argv, capture_output=True, check=False, timeout=300)
        if fetched.returncode != 0:
            shutil.rmtree(half)
            pytest.skip("NODE-RED IS NOT TESTED: npm cannot fetch it from its registry")
        half.rename(place)
    return place


def start_editor(device: Device) -> Any:
    """Start Node-RED as pi and wait until it listens."""
    script = "/opt/node-red/node_modules/node-red/red.js"
    argv = ["setpriv", "--reuid", "pi", "--regid", "pi", "--clear-groups", "env", "HOME=/home/pi", "node", script]
    running = device.spawn(argv)
    device.listener(1880, seconds=120)
    return running


def token(device: Device, password: str) -> bool:
    """Say whether the editor gives a token, asked by Node.js itself."""
    source = "const [p] = process.argv.slice(1); fetch('http://127.0.0.1:1880/auth/token', {method: 'POST', body: new"
    source += " URLSearchParams({client_id: 'node-red-admin', grant_type: 'password', scope: '*', username: 'admin',"
    source += " password: p})}).then(r => console.log(r.status))"
    return device.must(["node", "-e", source, password], seconds=60).strip() == "200"


def test_node_red(device: Device, node_red: Path):
    """The real Node-RED: running on with the old password it keeps the gate shut; started again it takes the new."""
    packed = subprocess.run(["tar", "-C", str(node_red), "-c", "node_modules"], capture_output=True, check=True).stdout
    device.must(["mkdir", "-p", "/opt/node-red"])
    device.must(["tar", "-C", "/opt/node-red", "-x"], packed, seconds=120)
    hashed = crypt.hashed("raspberry", crypt.salt("$2a$", os.urandom(16), 8))
    device.write("/home/pi/.node-red/settings.js", EDITOR.replace("HASH", hashed))
    device.must(["chown", "-R", "pi:", "/home/pi/.node-red"])
    running = start_editor(device)
    assert token(device, "raspberry")
    answer = ran(device, [["node_red", {}]])
    assert answer["gate"] == "shut" and "Node-RED does not go by the new password" in answer["failed"]
    new = answer["secrets"]["node_red/admin in /home/pi/.node-red/settings.js"]
    device.must(["sh", "-c", "kill $(ss -Hltnp 'sport = :1880' | sed 's/.*pid=//; s/,.*//')"])
    running.wait(timeout=60)
    start_editor(device)
    answer = ran(device, [["node_red", {}]])
    assert (answer["gate"], answer["failed"]) == ("open", "")
    assert not token(device, "raspberry") and token(device, new)
    assert device.must(["stat", "-c", "%U", "/home/pi/.node-red/settings.js"]) == "pi\n"
