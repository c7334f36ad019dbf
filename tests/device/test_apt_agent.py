"""What a mirror hears of the device that fetches updates."""

from tests.device.enforced import enforce, look
from tests.device.lab import Device

NAME = "pings.apt"
MIRROR = """
import http.server, sys
class Mirror(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.headers["User-Agent"], flush=True)
        self.send_error(404)
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 8000), Mirror)
print("ready", flush=True)
server.handle_request()
"""


def heard(device: Device) -> str:
    """Let the real apt ask a mirror, and return how it calls itself."""
    mirror = device.spawn(["/usr/bin/python3", "-c", MIRROR])
    assert mirror.stdout is not None and mirror.stdout.readline() == b"ready\n"
    device.run(["apt-get", "-q", "-o", "Acquire::Retries=0", "update"])
    return mirror.communicate(timeout=30)[0].decode().strip()


def test_apt_tells_no_version(device: Device) -> None:
    """Its own version before, none after; and again when it is let."""
    device.write("/etc/apt/sources.list", "deb [trusted=yes] http://127.0.0.1:8000/ ./\n")
    version = device.must(["apt-get", "--version"]).split()[1]
    assert look(device, NAME)["live"] == "version" and version in heard(device)
    assert enforce(device, NAME, "little") == ""
    assert look(device, NAME)["live"] == "little"
    assert heard(device) == "Debian APT-HTTP/1.3"
    assert enforce(device, NAME, "version") == ""
    assert look(device, NAME)["live"] == "version" and version in heard(device)
