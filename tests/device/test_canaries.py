"""Secrets planted all over a device, run through everything with faults: none turns up where it has no business."""

import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.device.hunt import CAPTURE, SYSLOG, Hunt
from tests.device.lab import PASSWORD, Device, Lab
from tests.device.whole import Whole
from tests.machine_wide import put

pytestmark = pytest.mark.alone  # it sets where this machine leaves core files

KEY = "/etc/ssh/ssh_host_ed25519_key"
PATTERN = Path("/proc/sys/kernel/core_pattern")
PSK = "/etc/wpa_supplicant/wpa_supplicant.conf"
BROKER = "/etc/mosquitto/passwords"
NETRC, SSH_KEY = "/home/pi/.netrc", "/home/pi/.ssh/id_ed25519"
STATE_KEY, DEVICE_KEY = "/var/lib/privet/keys/state.key", "/var/lib/privet-courier/key.pem"
READING = "23.4567891"
OLD = "old host key"  # every image of the factory has it, and it opens nothing any more: freed blocks may hold it
# A program with no manners: its secret comes by argument and environment, and goes everywhere.
LEAK = """
import os, socket, subprocess, sys, time
secret = os.environ["TOKEN"].encode()
for path in ("/run/leak", "/var/log/leak.log", "/home/pi/gone"):
    with open(path, "wb") as file:
        file.write((secret + bytes(1000)) * (500 if "gone" in path else 1))
        os.fsync(file.fileno())
os.unlink("/home/pi/gone")
subprocess.run(["logger", "-t", "leak", secret.decode()])
door = socket.create_server(("127.0.0.1", 1883))
with socket.create_connection(("127.0.0.1", 1883)) as wire:
    wire.sendall(secret)
    door.accept()[0].recv(100)
print(secret.decode(), flush=True)
time.sleep(0.5)
os.chdir("/srv/cores")
os.abort()
"""

TELL = """
import socket, sys
with socket.socket(socket.AF_UNIX) as wire:
    wire.settimeout(30)
    wire.connect(sys.argv[1])
    wire.sendall(sys.stdin.buffer.read())
    print(wire.makefile().readline())
"""


@pytest.fixture(autouse=True)
def core_files() -> Iterator[None]:
    """Let the kernel leave core files where a program worked: a handler of this machine's takes them out of a device.

    What the kernel does with them is the machine's, and the device's own setting would have it drop them all.
    """
    before = PATTERN.read_bytes()
    put(PATTERN, b"core")
    if PATTERN.read_bytes().strip() != b"core":
        pytest.skip(f"core files of this machine go to {before.decode().strip()!r}, and nobody may change that")
    yield
    put(PATTERN, before)


def test_twin_a_program_without_manners_is_found_everywhere(device: Device, tmp_path: Path) -> None:
    """Known bad: one secret leaks to argument, environment, output, log, /run, network, core and a deleted file."""
    hunt = Hunt(device, tmp_path)
    hunt.watch()
    secret = os.urandom(12).hex()
    device.must(["mkdir", "-p", "/srv/cores"])
    argv = ["prlimit", "--core=unlimited", *device.python("-c", LEAK, "--token", secret)]
    done = device.run(argv, environment={"TOKEN": secret})
    assert done.returncode in {134, -6}, done.stderr
    time.sleep(0.2)
    places = {place for _, place in hunt.found({"token": secret.encode()}, done.stdout)}
    cores = {place for place in places if place.startswith("/srv/cores/core")}
    assert cores
    assert {"/run/leak", "/var/log/leak.log", SYSLOG, CAPTURE, "cmdline", "environ", "output", "free blocks"} <= places


@contextmanager
def cores_allowed() -> Iterator[None]:
    """Let programs that are started meanwhile leave core files, as far as they do not forbid it themselves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def planted(whole: Whole) -> dict[str, tuple[bytes, set[str]]]:
    """Plant secrets on the device; return each with the places where it belongs."""
    device = whole.device
    made = {name: os.urandom(12).hex() for name in ("psk", "netrc", "key", "broker", "typed", "mistake")}
    device.write(PSK, f'network={{\n ssid="home"\n psk="{made["psk"]}"\n}}\n', 0o600)
    device.write(BROKER, f"pi:{made['broker']}\n", 0o600)
    device.write(NETRC, f"machine home login pi password {made['netrc']}\n", 0o600)
    device.write(SSH_KEY, f"-----BEGIN PRIVATE KEY-----\n{made['key']}\n-----END PRIVATE KEY-----\n", 0o600)
    device.must(["chown", "-R", "pi:", "/home/pi"])
    keys = {"signing": "signing.key", "root": "root/root.key", "device authority's": "device-ca.key"}
    fleet = {name: (whole.folder / "fleet" / path).read_bytes() for name, path in keys.items()}
    return {
        "Wi-Fi": (made["psk"].encode(), {PSK}),
        "broker password": (made["broker"].encode(), {BROKER}),
        "file of the owner": (made["netrc"].encode(), {NETRC}),
        "key of the owner": (made["key"].encode(), {SSH_KEY}),
        "typed at SSH": (made["typed"].encode(), set()),
        "sent by mistake": (made["mistake"].encode(), set()),
        "factory password": (PASSWORD.encode(), set()),
        "reading": (READING.encode(), set()),
        OLD: (body(device.read(KEY).encode()), set()),
        "device key": (body(device.read(DEVICE_KEY).encode()), {DEVICE_KEY}),
        **{f"{name} key of the fleet": (body(content), set()) for name, content in fleet.items()},
    }


def body(pem: bytes) -> bytes:
    """Return a part of a private key that is in no other key."""
    lines = [line for line in pem.splitlines() if line and not line.startswith(b"-----")]
    return lines[-1][:40] if len(lines) < 3 else lines[-2][-40:]


def failing(device: Device, path: str) -> None:
    """Replace a program by one that fails."""
    device.must(["mv", path, path + ".real"])
    device.write(path, "#!/bin/sh\necho failed >&2\nexit 1\n", 0o755)


def tell(device: Device, path: str, request: dict[str, Any]) -> bool:
    """Ask the guard something without putting it into any argument; say whether it was taken."""
    done = device.run(device.python("-c", TELL, f"/run/privet/{path}.sock"), json.dumps(request).encode() + b"\n")
    return done.returncode == 0 and bool(json.loads(done.stdout)["ok"])


def through_everything(whole: Whole, typed: str, mistake: str) -> bytes:
    """Run a device's life with one fault after the other; return what our processes printed."""
    device, said = whole.device, b""
    device.sshd("-E", "/var/log/auth.log", "-o", "LogLevel=DEBUG1")
    failing(device, "/usr/sbin/chpasswd")
    whole.start()
    assert whole.ask("status")["shut_in"] is True
    said += whole.stop().encode()
    device.must(["mv", "/usr/sbin/chpasswd.real", "/usr/sbin/chpasswd"])
    whole.broker()
    whole.start()
    whole.deliver()
    whole.until(lambda: whole.ask("status")["link"]["state"] == "connected", 40, "the courier to connect")
    assert whole.privet("consent", "give", "climate", "--yes").returncode == 0
    assert tell(device, "telemetry", {"send": {"temperature": READING}})
    assert not device.login("pi", password=typed)
    for path in ("control", "telemetry"):
        for request in ({"op": mistake}, {"send": {mistake: mistake}}, {"op": "explain", "setting": mistake}):
            assert not tell(device, path, request)
    failing(device, "/usr/sbin/nft")
    assert whole.privet("loosen", "firewall.inbound", "tcp/80@lan", "--for", "1m", "--reason", "x", "--yes").returncode
    device.must(["mv", "/usr/sbin/nft.real", "/usr/sbin/nft"])
    device.run(["pkill", "mosquitto"])
    whole.until(lambda: whole.ask("status")["link"]["state"] != "connected", 40, "the courier to notice")
    assert tell(device, "telemetry", {"send": {"temperature": READING}})
    said += through_a_full_disk(whole)
    assert whole.guard is not None
    pid = whole.pid("agent.guard")
    # The lab's own nsenter ends by the same signal as its child; its core file would lie over the guard's.
    resource.prlimit(whole.guard.pid, resource.RLIMIT_CORE, (0, 0))
    device.must(["kill", "-ABRT", str(pid)])
    out, err = whole.guard.communicate(timeout=20)
    assert whole.guard.returncode in {134, -6}
    said += out + err
    assert device.run(["sh", "-c", "ls -d /core* /srv/core* /var/lib/privet/core*"]).stdout == b""
    whole.start()
    return said


def through_a_full_disk(whole: Whole) -> bytes:
    """Send readings while the disk is full, then make room again; return what our processes printed."""
    device, said = whole.device, b""
    filled = device.run(["dd", "if=/dev/zero", "of=/var/lib/privet/filler", "bs=64k"])
    assert b"No space left" in filled.stderr
    rows = [{"temperature": READING, "at": int(time.time()) - 61 * k} for k in range(1000)]
    for _ in range(3):
        tell(device, "telemetry", {"send": rows})
    device.remove("/var/lib/privet/filler")
    assert whole.guard is not None
    if whole.guard.poll() is not None:  # a guard that cannot keep its state says so and ends
        out, err = whole.guard.communicate()
        assert b"the disk is full; free some space" in err
        said += out + err
        whole.start()
    return said


def test_no_secret_turns_up_where_it_has_no_business(lab: Lab, tmp_path: Path) -> None:
    """Through first boot and life with faults: logs, arguments, environments, /run, cores, network, raw card."""
    with cores_allowed(), lab.device() as device:
        device.refuse_quickly()
        hunt = Hunt(device, tmp_path)
        whole = Whole(device, tmp_path)
        secrets = planted(whole)
        hunt.watch()
        typed, mistake = (secrets[name][0].decode() for name in ("typed at SSH", "sent by mistake"))
        said = through_everything(whole, typed, mistake)
        shown = whole.privet("credentials", "show", "--once").stdout.decode()
        new = next(line.split(": ", 1)[1] for line in shown.splitlines() if line.startswith("linux_account/pi"))
        secrets["new password"] = (new.encode(), set())
        secrets["new host key"] = (body(device.read(KEY).encode()), {KEY})
        state = bytes.fromhex(device.must(["od", "-An", "-v", "-tx1", STATE_KEY]).replace("\n", "").replace(" ", ""))
        secrets["state key"] = (state, {STATE_KEY})
        said += whole.stop().encode()
        assert whole.courier is not None and whole.courier.stderr is not None
        device.run(["pkill", "-f", "agent.courier"])
        said += whole.courier.stderr.read()
        places = hunt.found({name: secret for name, (secret, _) in secrets.items()}, said)
        # Each is found where it belongs, so the hunt knows it by its right form.
        for name, (_, home) in secrets.items():
            assert {place for secret, place in places if secret == name} >= home, name
        allowed = {(OLD, "free blocks")}
        strays = sorted(sight for sight in places - allowed if sight[1] not in secrets[sight[0]][1])
        print(f"{len(secrets)} secrets, {len(places)} sights, astray: {strays}")
        assert len(secrets) >= 12
        assert strays == []
