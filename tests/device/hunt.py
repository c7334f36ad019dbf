"""The hunt for secrets on a device: planted, then searched for wherever one could have leaked to.

`Hunt` gives a device an ext4 card of its own for what changes, a log, a capture of its loopback, and a watcher that
takes the arguments and environment of every process again and again. `found()` says where each secret was seen.
"""

import base64
import json
import subprocess
from pathlib import Path

from tests.device.lab import Device

CARD, PLACE, CAPTURE, SYSLOG = "/run/card.img", "/mnt", "/run/capture.pcap", "/var/log/syslog"
ON_CARD = ("/etc", "/home", "/var/lib/privet", "/var/lib/privet-courier", "/var/lib/mosquitto", "/var/log")
LOGGER = """
import os, socket
door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
door.bind("/dev/log")
os.chmod("/dev/log", 0o666)
print("ready", flush=True)
with open("/var/log/syslog", "ab", buffering=0) as log:
    while True:
        log.write(door.recv(65536) + b"\\n")
"""
WATCHER = """
import json, os, select, sys
seen = set()
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.004)[0]:
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            for name in ("cmdline", "environ"):
                try:
                    with open("/proc/%s/%s" % (pid, name), "rb") as file:
                        seen.add((name, file.read()))
                except OSError:
                    pass
print(json.dumps([[name, text.hex()] for name, text in seen]))
"""
# Walks what is there, reads the raw card, and prints [secret, place] for each sight of any form of a secret.
SEEK = """
import json, os, stat, sys
forms = {name: [bytes.fromhex(one) for one in some] for name, some in json.load(sys.stdin).items()}
card, on_card = sys.argv[1], sys.argv[2:]
sights, live = [], dict.fromkeys(forms, 0)
for root in (*on_card, "/run", "/root", "/tmp", "/dev/shm", "/boot", "/srv/cores", "/"):
    for folder, below, names in os.walk(root):
        below[:] = [] if root == "/" else below
        for name in names:
            path = os.path.join(folder, name)
            if path == card or not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            with open(path, "rb") as file:
                text = file.read()
            for secret, some in forms.items():
                number = sum(text.count(one) for one in some)
                if number:
                    sights.append([secret, path])
                    live[secret] += number if path.startswith(tuple(on_card)) else 0
with open(card, "rb") as file:
    text = file.read()
for secret, some in forms.items():
    if sum(text.count(one) for one in some) > live[secret]:
        sights.append([secret, "free blocks"])
print(json.dumps(sights))
"""


class Hunt:
    """Everything that watches one device."""

    def __init__(self, device: Device, folder: Path, megabytes: int = 48) -> None:
        self.device = device
        self.watcher: subprocess.Popen[bytes] | None = None
        image = folder / "card"
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(("mkfs.ext4", "-q", "-m", "0", str(image)), check=True)
        device.must(["sh", "-c", f"cat >{CARD}"], image.read_bytes())
        device.must(["mknod", "-m", "600", "/dev/loop-control", "c", "10", "237"])
        for number in range(32):
            device.must(["mknod", "-m", "660", f"/dev/loop{number}", "b", "7", str(number)])
        device.must(["mount", "-o", "loop", CARD, PLACE])
        for path in ON_CARD:
            device.must(["mkdir", "-p", path, PLACE + path])
            device.must(["cp", "-aT", path, PLACE + path])
            device.must(["mount", "--bind", PLACE + path, path])
        self.start(device.python("-c", LOGGER))
        capture = device.spawn(["tcpdump", "-i", "lo", "-U", "--immediate-mode", "-Z", "root", "-w", CAPTURE])
        assert capture.stderr is not None and b"listening on lo" in capture.stderr.readline()

    def start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        """Start a helper program and wait until it is ready."""
        child = self.device.spawn(argv)
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        return child

    def watch(self) -> None:
        """Begin to take arguments and environments."""
        self.watcher = self.start(self.device.python("-c", WATCHER))

    def found(self, secrets: dict[str, bytes], said: bytes = b"") -> set[tuple[str, str]]:
        """Return (secret, place) for every sight of a secret; `said` is what our processes printed."""
        forms = {name: forms_of(secret) for name, secret in secrets.items()}
        given = json.dumps({name: [one.hex() for one in some] for name, some in forms.items()}).encode()
        self.device.must(["sync", "-f", PLACE])
        done = self.device.run(self.device.python("-c", SEEK, CARD, *ON_CARD), given, seconds=120)
        assert done.returncode == 0, done.stderr.decode()
        sights = {(name, place) for name, place in json.loads(done.stdout)}
        blobs = [("output", said)]
        if self.watcher is not None:
            out, _ = self.watcher.communicate(b"\n", timeout=60)
            self.watcher = None
            blobs += [(kind, bytes.fromhex(text)) for kind, text in json.loads(out)]
        for kind, text in blobs:
            # The lab itself hands a password that it types to ssh in the environment; that is no doing of the device's.
            sights |= {(n, kind) for n, some in forms.items() if b"LAB_SECRET" not in text for f in some if f in text}
        return sights


def forms_of(secret: bytes) -> tuple[bytes, ...]:
    """Return how a secret may be written: as it is, in hex, in base64 at each offset, without its spaces."""
    coded = [base64.b64encode(b"\0" * shift + secret)[shift + 1 + (shift > 0) : -4] for shift in range(3)]
    return tuple({secret, secret.replace(b" ", b""), secret.hex().encode(), *(one for one in coded if len(one) > 7)})
