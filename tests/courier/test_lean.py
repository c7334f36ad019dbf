"""What paho loads and the courier has no use for stays out, and is as it was for everybody else."""

import subprocess
import sys
from pathlib import Path

from tests.house import ROOT

HEAVY = ("email", "http.client", "logging", "platform", "tempfile", "urllib.request")
LOADED = """
import sys
__import__(sys.argv[1])
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""
AFTERWARDS = """
import sys
if sys.argv[1:] == ["lean"]:
    import agent.courier.lean
import paho.mqtt.client as paho
client = paho.Client(paho.CallbackAPIVersion.VERSION2)
client._host = "broker.example"
print((client._get_proxy() or {}).get("proxy_addr"))
import urllib.request, logging, platform
print(urllib.request.getproxies()["mqtt"], logging.getLogger("x").name, bool(platform.machine()))
"""


def said(*argv: str, more: str = "") -> str:
    """Return what a fresh Python prints, which has a proxy in its environment."""
    environment = {"PYTHONPATH": f"{ROOT}:{more}", "mqtt_proxy": "socks://127.0.0.1:1080"}
    argv = (sys.executable, "-c", *argv)
    return subprocess.run(argv, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_none_of_it_is_loaded():
    """The courier's process has none of these modules; the twin, paho by itself, loads every one of them."""
    assert said(LOADED, "agent.courier.__main__", *HEAVY).split() == []
    assert said(LOADED, "paho.mqtt.client", *HEAVY).split() == list(HEAVY)


def test_a_proxy_of_the_environment_is_never_taken(tmp_path: Path):
    """Not even where somebody installed what paho would use for it, while the twin takes it; the rest works on."""
    (tmp_path / "socks.py").write_text("HTTP, SOCKS4, SOCKS5 = 3, 1, 2\n")
    lean = said(AFTERWARDS, "lean", more=str(tmp_path)).splitlines()
    plain = said(AFTERWARDS, "plain", more=str(tmp_path)).splitlines()
    assert [lean[0], plain[0]] == ["None", "127.0.0.1"]
    assert lean[1] == plain[1] == "socks://127.0.0.1:1080 x True"
