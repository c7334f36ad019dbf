"""A real Node-RED reads what an opener hands on; npm fetches it once, as for the devices' own tests."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.broker.child import free_port
from tests.courier.rig import FLEET
from tests.device.test_credentials_node_red import node_red
from tests.opener.conftest import House, house, site

__all__ = ["house", "node_red", "site"]

SETTINGS = "module.exports = {{ uiPort: {port}, uiHost: '127.0.0.1', flowFile: 'flows.json', httpAdminRoot: false }}\n"


def flows(port: int, out: Path) -> str:
    """Return a flow as somebody at home would draw it: an MQTT node that parses JSON, a limit, a line in a file."""
    nodes = [
        {"id": "t1", "type": "tab", "label": "Porch"},
        {"id": "b1", "type": "mqtt-broker", "name": "", "broker": "127.0.0.1", "port": str(port), "clientid": "",
         "autoConnect": True, "usetls": False, "protocolVersion": "5", "keepalive": "60", "cleansession": True},
        {"id": "m1", "type": "mqtt in", "z": "t1", "topic": f"privet-open/node-red/{FLEET}/+/+/#", "qos": "1",
         "datatype": "json", "broker": "b1", "wires": [["f1"]]},
        {"id": "f1", "type": "function", "z": "t1", "outputs": 1, "noerr": 0, "wires": [["o1"]], "func":
         "msg.payload = [msg.payload.device, msg.payload.name, msg.payload.value + 1, msg.payload.unit]; return msg;"},
        {"id": "o1", "type": "file", "z": "t1", "filename": str(out), "filenameType": "str", "appendNewline": True,
         "createDir": False, "overwriteFile": "false", "encoding": "utf8", "wires": [[]]},
    ]  # fmt: skip
    return json.dumps(nodes)


@pytest.fixture
def read(house: House, node_red: Path, tmp_path: Path) -> Iterator[Path]:
    """Give the file that a running Node-RED writes; its flow has connected to the owner's broker."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("NODE-RED IS NOT TESTED: node is not installed")
    home, out = tmp_path / "node-red", tmp_path / "read.txt"
    home.mkdir()
    (home / "settings.js").write_text(SETTINGS.format(port=free_port()))
    (home / "flows.json").write_text(flows(house.own.port, out))
    words = (node, str(node_red / "node_modules/node-red/red.js"), "--userDir", str(home), "flows.json")
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "HOME": str(home)})
    try:
        ends = time.monotonic() + 120
        while b"Connected to broker" not in (home / "log").read_bytes():
            assert running.poll() is None and time.monotonic() < ends, (home / "log").read_text()
            time.sleep(0.05)
        yield out
    finally:
        running.terminate()
        running.wait(20)


def test_node_red_reads_figures(house: House, read: Path):
    """What a device sealed arrives in a flow as numbers that it counts with, in their order."""
    opener = house.open("node_red")
    house.sends(house.sender.epoch(), house.sender.send(215, -70))
    house.turns(lambda: opener.handed == 2)
    ends = time.monotonic() + 30
    while not read.exists() or read.read_text().count("\n") < 2:
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert [json.loads(line) for line in read.read_text().splitlines()] == [
        ["r7k2", "temperature", 22.5, "Cel"],
        ["r7k2", "temperature", -6, "Cel"],
    ]
