"""Files of mosquitto by the dozen: whoever the real broker lets in without a name, our look at the same files names."""

import json

from tests.device.differing import Draw
from tests.device.lab import Device

FOLDER = "/etc/mosquitto/conf.d"
NAMES = ("a.conf", "b.conf", "Z.conf", ".h.conf", "c.conf~", "c", "default.conf")
LINES = (
    "allow_anonymous true", "allow_anonymous true", "allow_anonymous true", "allow_anonymous false",
    "allow_anonymous false", "allow_anonymous true # a note", "allow_anonymous  TRUE", " allow_anonymous true",
    "allow_anonymous 1", "allow_anonymous true \t", "allow_anonymous true\r", "allow_anonymous false # not true",
    "allow_anonymous true false", "#allow_anonymous true", " # allow_anonymous true", "allow_anonymous true\f",
    "listener 1883", "listener 1884 127.0.0.1", "listener 1885 0.0.0.0", "listener 1884", "listener  1885  127.0.0.1",
    "listener 1883 localhost", "listener 1884 ::1", "listener 1885 ::", "listener 1884 127.0.0.1 # a note",
    "listener 1885 192.0.2.7", "bind_interface lo", "bind_address 127.0.0.1", "port 1886", "per_listener_settings true",
    "per_listener_settings false", "include_dir /etc/mosquitto/more", "password_file /etc/mosquitto/none",
    "acl_file /etc/mosquitto/some.acl", "listener 1887 127.0.0.2", "bind_address 192.0.2.7", "max_connections 5",
    "max_connections -1", "max_qos 1", "cafile /etc/mosquitto/none", "require_certificate false", "socket_domain ipv4",
    "use_identity_as_username true", "ciphers DEFAULT", "port 1883", "tls_keyform pem",
)  # fmt: skip
# Seen to matter with the real one, each by itself.
ODD = (
    "", "max_connections 5\nallow_anonymous false\n", "max_connections 5\nmax_connections -1\n", "cafile /none\n",
    "certfile /none\n", "require_certificate true\n", "require_certificate false\n", "port 1883\n", "tls_keyform pem\n",
    "max_connections 5\nport 1883\n", "max_connections 5\nlistener 1884 127.0.0.1\n", "bind_address 192.0.2.7\n",
    "per_listener_settings true\nport 1883\n", "per_listener_settings true\nlistener 1884 192.0.2.7\n",
    "per_listener_settings true\nlistener 1884 127.0.0.1\nport 1883\n",
    "per_listener_settings true\nbind_interface lo\n", "bind_interface lo\nlistener 1884 127.0.0.1\n",
    "per_listener_settings true\nallow_anonymous false\n", "max_qos 1\nper_listener_settings true\n",
    "per_listener_settings true\nallow_anonymous false\nbind_interface lo\n",
)  # fmt: skip
TRY = """
import json, socket, subprocess, sys, time, os, shutil
from agent import registry
from agent.providers.linux.product.known import mosquitto
from agent.system.real import RealSystem
CONNECT = b"\\x10\\x0c\\0\\4MQTT\\4\\2\\0\\x0a\\0\\0"
PORTS = (1883, 1884, 1885, 1886, 1887)

def lets_in(host, port):
    try:
        with socket.create_connection((host, port), 0.3) as door:
            door.settimeout(2)
            door.sendall(CONNECT)
            return door.recv(4)[3:4] == b"\\0"
    except OSError:
        return False

def up(broker, log):
    for _ in range(400):
        if broker.poll() is not None:
            return False
        if "running" in open(log).read():
            return True
        time.sleep(0.01)
    return False

def tried():
    with open("/tmp/log", "w") as log:
        broker = subprocess.Popen(("mosquitto", "-v", "-c", "/etc/mosquitto/mosquitto.conf"), stdout=log, stderr=log)
    try:
        if not up(broker, "/tmp/log"):
            return None
        for _ in range(3):  # that nobody is let in is believed the third time
            if any(lets_in(host, port) for host in ("192.0.2.7", "2001:db8::7") for port in PORTS):
                return "yes"
            if any(lets_in(host, port) for host in ("127.0.0.1", "127.0.0.2", "::1") for port in PORTS):
                return "here"
        return "no"
    finally:
        broker.kill()
        broker.wait()

told = []
for files in json.loads(sys.argv[1]):
    for folder in ("/etc/mosquitto/conf.d", "/etc/mosquitto/more"):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    for path, text in files.items():
        with open(path, "w", newline="") as file:
            file.write(text)
    real = tried()
    found = registry.settings()["mosquitto.anonymous"]
    kept = registry.provider("product").probe(RealSystem(), found.params).kept
    after = "no"
    if real in ("yes", "here"):
        edits = mosquitto.edits(RealSystem(), "anonymous", "no")
        after = "left" if all(open(path, newline="").read() == text for path, text in edits.items()) else ""
        for path, text in edits.items():
            with open(path, "w", newline="") as file:
                file.write(text)
        after = after or tried()
    told.append([real, kept, after])
print(json.dumps(told))
"""
CASES = 30


def drawn(draw: Draw) -> dict[str, str]:
    """Draw the files of one broker."""

    def text(most: int) -> str:
        return "".join(draw.one(LINES) + "\n" for _ in range(draw.below(most + 1)))

    made = {"/etc/mosquitto/mosquitto.conf": f"user root\n{text(3)}include_dir {FOLDER}\n{text(1)}"}
    for _ in range(draw.below(3)):
        made[f"{FOLDER}/{draw.one(NAMES)}"] = text(4)
    made["/etc/mosquitto/more/m.conf"] = text(2)
    made["/etc/mosquitto/some.acl"] = "topic read #\n"
    return made


def naive(made: dict[str, str]) -> bool:
    """Say what one would say who takes the last line of all files in plain order for what holds."""
    said = [line for path in sorted(made) for line in made[path].split("\n") if line.startswith("allow_anonymous")]
    return bool(said) and said[-1] in {"allow_anonymous true", "allow_anonymous 1"}


def test_whom_the_broker_lets_in_is_named(device: Device) -> None:
    """None that lets others in without a name passes for shut, or for open to this device alone; shut by us, it is."""
    draw = Draw("mosquitto")
    cases = [{"/etc/mosquitto/mosquitto.conf": f"user root\n{text}"} for text in ODD]
    cases += [drawn(draw) for _ in range(CASES)]
    device.address("127.0.0.2/8")
    far = "ip link add far0 type veth peer name far1; ip link set far0 up; ip link set far1 up"
    device.must(["sh", "-ec", f"{far}; ip addr add 192.0.2.7/24 dev far0; ip addr add 2001:db8::7/64 dev far0 nodad"])
    told = device.ask(TRY, json.dumps(cases))
    ran = [(made, *row) for made, row in zip(cases, told, strict=True) if row[0] is not None]
    for made, real, ours, after in ran:
        assert real == ours and after in {"no", "left"}, "\n".join(f"{path} {text!r}" for path, text in made.items())
    assert len(ran) > len(ODD) + CASES // 4
    assert sum(after == "left" for *_, after in ran) < 3  # no place for a line that would be heard
    assert [one for one in ran if naive(one[0]) != (one[1] != "no")], "the naive reader was never wrong"
