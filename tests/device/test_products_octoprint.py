"""OctoPrint's settings with the real OctoPrint: who gets in, who reaches it, what it reports."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device
from tests.house import ROOT

RECIPE = tree.PRODUCTS  # devices with products; what OctoPrint needs of Debian is there

LIST = ROOT / "requirements/octoprint.txt"
CONFIG = "/home/pi/.octoprint/config.yaml"
# As OctoPi has it, less the words about nice and its webcam.
UNIT = """[Unit]
Description=The snappy web interface for your 3D printer
[Service]
User=pi
Environment="HOST=0.0.0.0"
Environment="PORT=5000"
ExecStart=/opt/octoprint/bin/octoprint serve --host=${HOST} --port=${PORT}
"""
# As a unit starts it: what it is given, and the note systemd leaves about each start.
START = """
set -a; HOST=0.0.0.0 PORT=5000
for file in /etc/systemd/system/octoprint.service.d/*.env; do if [ -f "$file" ]; then . "$file"; fi; done
mkdir -p /run/systemd/units; ln -sfn now /run/systemd/units/invocation:octoprint.service
HOME=/home/pi; PYTHONPATH=/opt/octoprint
exec setpriv --reuid pi --regid pi --clear-groups python3 /opt/octoprint/bin/octoprint serve $MORE >/dev/null 2>&1
"""
STOP = "pkill -f bin/[o]ctoprint; while pgrep -f bin/[o]ctoprint >/dev/null; do sleep 0.1; done"
ASK = """
import http.client, json, sys, urllib.error, urllib.request
asked = urllib.request.Request(sys.argv[1], headers=json.loads(sys.argv[2]))
try:
    with urllib.request.urlopen(asked) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, ""]))
except (OSError, http.client.HTTPException):
    print(json.dumps([0, ""]))
"""
BROWSE = """
import http.cookiejar, json, urllib.request
jar = http.cookiejar.CookieJar()
web = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
base = "http://127.0.0.1:5000"
web.open(base + "/login/").read()
token = next(one.value for one in jar if one.name.startswith("csrf_token"))
sent = {"Content-Type": "application/json", "X-CSRF-Token": token}
with web.open(urllib.request.Request(base + "/api/login", b'{"passive": true}', sent)) as answer:
    print(json.dumps(json.load(answer).get("name") or ""))
"""
PUT = ["env", "PYTHONPATH=/opt/octoprint", "python3", "-c"]
PUT += [
    """
import json, sys, yaml
table = yaml.safe_load(open("/home/pi/.octoprint/config.yaml"))
for place, value in json.loads(sys.argv[1]).items():
    *path, last = place.split("__")
    here = table
    for word in path:
        here = here.setdefault(word, {})
    here[last] = value
open("/home/pi/.octoprint/config.yaml", "w").write(yaml.safe_dump(table, default_flow_style=False))
"""
]
OWNER = ["setpriv", "--reuid", "pi", "--regid", "pi", "--clear-groups", "env", "HOME=/home/pi"]
OWNER += ["PYTHONPATH=/opt/octoprint", "python3", "/opt/octoprint/bin/octoprint"]
OWNER += ["user", "add", "owner", "--password", "correct horse", "--admin"]


@pytest.fixture(scope="module")
def octoprint() -> Path:
    """Give a folder with OctoPrint in it, fetched once by pip; the test is skipped, loudly, where pip cannot."""
    pinned = LIST.read_text().partition("\noctoprint==")[2].split(" ", 1)[0]
    place = tree.cache() / f"octoprint@{pinned}"
    if not place.is_dir():
        half = Path(tempfile.mkdtemp(prefix="half-", dir=tree.cache()))
        argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
        argv += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", str(half), "-r", str(LIST)]
        fetched = subprocess.run(argv, capture_output=True, check=False, timeout=300)
        if fetched.returncode != 0:
            shutil.rmtree(half)
            pytest.skip("OCTOPRINT IS NOT TESTED: pip cannot fetch it from its registry")
        half.chmod(0o755)
        half.rename(place)
    return place


def ask(device: Device, page: str, host: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    """Return the status of a page and its text, as somebody sees it who does not sign in; 0 when nobody answers."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    status, text = device.ask(ASK, f"http://{host}:5000{page}", json.dumps(named))
    return status, text


def again(device: Device, more: str = "--host=${HOST} --port=${PORT}") -> None:
    """Start OctoPrint, in place of one that runs; wait until it says who asks."""
    device.must(
        ["sh", "-c", "pkill -f bin/[o]ctoprint; while pgrep -f bin/[o]ctoprint >/dev/null; do :; done"], seconds=60
    )
    device.spawn(["sh", "-c", START.replace("$MORE", more)])
    device.listener(5000, seconds=120)
    while ask(device, "/api/currentuser")[0] != 200:
        pass


def said(device: Device) -> tuple[str, ...]:
    """Return what is said of it, live and kept, which must be the same."""
    found = [look(device, f"octoprint.{what}") for what in ("bind", "access", "tracking", "online_check")]
    assert [one["live"] for one in found] == [one["kept"] for one in found], found
    return tuple(one["live"] for one in found)


def signed_in(device: Device) -> str:
    """Open its page as a browser does; return who one is then without a password."""
    name: str = device.ask(BROWSE)
    return name


def put(device: Device, **values: str | bool) -> None:
    """Change its file as OctoPrint itself writes it; two underscores part the words of a place."""
    device.must(["setpriv", "--reuid", "pi", "--regid", "pi", "--clear-groups", *PUT, json.dumps(values)])


def test_octoprint(device: Device, octoprint: Path) -> None:
    """Anybody's until it has an account, then open by its own switches; shut by our steps, as its own answers show."""
    packed = subprocess.run(["tar", "-C", str(octoprint), "-c", "."], capture_output=True, check=True).stdout
    assert look(device, "octoprint.bind")["absent"]
    device.must(["mkdir", "-p", "/opt/octoprint"])
    device.must(["tar", "-C", "/opt/octoprint", "-x", "--no-same-owner"], packed, seconds=120)
    device.write("/etc/systemd/system/octoprint.service", UNIT)
    device.address("192.0.2.7/32")
    again(device)
    assert ask(device, "/api/setup/wizard", "192.0.2.7")[0] == 200, "whoever comes first makes the first account"
    assert look(device, "octoprint.access")["live"] == look(device, "octoprint.access")["kept"] == "open"
    assert "has no account yet" in enforce(device, "octoprint.access", "closed")
    device.must(OWNER, seconds=120)
    put(device, server__firstRun=False, server__onlineCheck__enabled=True, plugins__tracking__enabled=True)
    put(device, accessControl__autologinLocal=True, accessControl__autologinAs="owner")
    put(device, accessControl__trustRemoteUser=True)
    again(device)
    assert signed_in(device) == "owner" and ask(device, "/api/currentuser", "192.0.2.7")[0] == 200
    assert '"owner"' in ask(device, "/api/currentuser", REMOTE_USER="owner")[1], "any header is believed"
    assert said(device) == ("network", "open", "on", "on")
    for what, strict in (("bind", "loopback"), ("access", "closed"), ("tracking", "off"), ("online_check", "off")):
        assert enforce(device, f"octoprint.{what}", strict) == ""
    assert signed_in(device) == "owner", "one that was not started again is no other"
    assert look(device, "octoprint.access")["live"] is look(device, "octoprint.tracking")["live"] is None
    again(device)
    assert (ask(device, "/api/setup/wizard")[0], ask(device, "/api/currentuser", "192.0.2.7")[0]) == (403, 0)
    assert signed_in(device) == "" and '"owner"' not in ask(device, "/api/currentuser", REMOTE_USER="owner")[1]
    assert said(device) == ("loopback", "closed", "off", "off")
    for what, loose in (("bind", "network"), ("access", "open"), ("tracking", "on"), ("online_check", "on")):
        assert enforce(device, f"octoprint.{what}", loose) == ""
        assert look(device, f"octoprint.{what}")["kept"] == loose


def test_the_words_of_its_command_line_win(device: Device, octoprint: Path) -> None:
    """`-4` is every address whatever its file says, and another directory holds another file."""
    packed = subprocess.run(["tar", "-C", str(octoprint), "-c", "."], capture_output=True, check=True).stdout
    device.must(["mkdir", "-p", "/opt/octoprint", "/srv/o"])
    device.must(["tar", "-C", "/opt/octoprint", "-x", "--no-same-owner"], packed, seconds=120)
    device.write(CONFIG, "server:\n  host: 127.0.0.1\n")
    device.write("/srv/o/config.yaml", "server:\n  host: 127.0.0.1\nplugins:\n  errortracking:\n    enabled: true\n")
    device.must(["chown", "-R", "pi:", "/home/pi/.octoprint", "/srv/o"])
    device.address("192.0.2.7/32")
    for more, bind, reports in (("-4", "network", "off"), ("-b /srv/o", "loopback", "on")):
        device.write("/etc/systemd/system/octoprint.service", UNIT.replace("--host=${HOST} --port=${PORT}", more))
        again(device, more)
        assert bool(ask(device, "/api/currentuser", "192.0.2.7")[0]) == (bind == "network")
        assert look(device, "octoprint.bind")["live"] == look(device, "octoprint.bind")["kept"] == bind
        assert look(device, "octoprint.tracking")["kept"] == reports
