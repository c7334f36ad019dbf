"""Readings per second, sealed, durable on this machine's disk and received, beside paho and mosquitto_pub."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.core.secret import Secret
from agent.system.vault import DirectVault
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.fleet.identity import Credential, Fleet
from provisioning.fleet.safe import whole_file
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from tests.bench.figures import Figures
from tests.house import ROOT

READINGS = 200_000
REQUEST = 1000  # readings in one request of the application
AHEAD = 8  # requests sent before the first answer is waited for
PLAIN = 20_000  # messages of the peers
NOBODY = 65534
BODY = b"temperature 21.5 Cel 1700000000 d1 climate............"


class Place:
    """A fleet, its broker, and a folder on disk for one device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755, exist_ok=True)
        self.port = free_port("127.0.0.1")
        self.fleet = Fleet.create(folder / "fleet", "home")
        add_recipient(self.fleet, "collector")
        self.fleet.safe.seal(broker_host="127.0.0.1", broker_port=str(self.port))
        setup = Setup(fleet="home", address="127.0.0.1", port=self.port, collectors=("collector",), durable=True)
        self.broker = Broker(folder / "broker", setup, self.fleet.server(["127.0.0.1"]), self.fleet.client_anchors())
        self.device = folder / "device"
        self.lay()

    def lay(self) -> None:
        """Lay down the device's seeds, the courier's identity and the collector's."""
        issued = issue_policy(self.fleet, ROOT / "device_profiles" / "base.toml")
        for name, content in seed_files(self.fleet, issued, "d1").items():
            whole_file(self.device / "etc/privet" / name, content)
        for home, credential in (("courier", self.courier()), ("collector", self.fleet.service("collector"))):
            whole_file(self.folder / home / "ca.pem", self.fleet.trust_anchor())
            whole_file(self.folder / home / "cert.pem", credential.certificate)
            whole_file(self.folder / home / "key.pem", credential.key)
        for path in [self.folder / "courier", *(self.folder / "courier").iterdir()]:
            os.chown(path, NOBODY, NOBODY)
        self.folder.chmod(0o755)
        self.device.chmod(0o755)

    def courier(self) -> Credential:
        """Make the courier's key and certificate."""
        made = DirectVault(Secret(b"k" * 32)).new_identity("d1")
        return Credential(certificate=self.fleet.sign_csr(made.request, "d1", 30), key=made.key.reveal())

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        """Start one of our modules as a process of its own."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([sys.executable, "-m", *words], env=environment, stdout=subprocess.PIPE, text=True)


@contextmanager
def running(place: Place) -> Iterator[subprocess.Popen[str]]:
    """Run broker, sender, courier and keeper; give the keeper, whose lines count what it has."""
    place.broker.start()
    started = []
    try:
        sender = place.spawn("tests.bench.sender", str(place.device))
        started.append(sender)
        assert sender.stdout is not None
        sender.stdout.readline()
        words = ["--socket", str(place.device / "courier.sock"), "--home", str(place.folder / "courier")]
        started.append(place.spawn("agent.courier", *words, "--user", str(NOBODY)))
        keeper = place.spawn("tests.bench.keeper", str(place.folder), str(place.port), str(READINGS))
        started.append(keeper)
        yield keeper
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        place.broker.stop()


def flow(figures: Figures) -> None:
    """Send readings through everything and count them where they arrive."""
    figures.heading(f"Telemetry: {READINGS} readings, sealed, durable, received and acknowledged")
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache" if (ROOT / ".cache").is_dir() else None) as folder:
        place = Place(Path(folder))
        with running(place) as keeper:
            begun = time.monotonic()
            send(place.device / "telemetry.sock")
            durable = time.monotonic() - begun
            assert keeper.stdout is not None
            counted = int(keeper.stdout.readline())
            received = time.monotonic() - begun
        if counted != READINGS:
            figures.missed.append(f"flow: {counted} of {READINGS} readings arrived")
        figures.line("sealed and durable on the device", READINGS / durable, "/s")
        ours = READINGS / received
        figures.line("sealed, durable, received, stored, acknowledged", ours, "/s", 20_000, more=True)
        # Peers get a broker of the same configuration that has never met a collector: nothing is queued for anybody.
        place = Place(Path(folder) / "peers")
        place.broker.start()
        try:
            peer = paho(place)
            figures.line(
                "raw paho (with TCP_NODELAY), plain QoS 1 messages",
                peer,
                "/s",
                None,
                f"ours is {ours / peer:.1f} x that",
            )
            if shutil.which("mosquitto_pub"):
                peer = mosquitto_pub(place)
                figures.line(
                    "mosquitto_pub -l, plain QoS 1 messages", peer, "/s", None, f"ours is {ours / peer:.1f} x that"
                )
            else:
                print("  mosquitto_pub is not installed: the comparison was not run (Debian package mosquitto-clients)")
        finally:
            place.broker.stop()


def send(path: Path) -> None:
    """Hand in all readings as an application does, a few requests ahead of the answers."""
    row = {"send": [{"temperature": f"{15 + n % 100 / 10:.1f}", "at": 1_700_000_000 + n} for n in range(REQUEST)]}
    line = json.dumps(row).encode() + b"\n"
    if len(line) > 64 * 1024:
        raise ValueError("the request does not fit a line")
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(path))
        answers = wire.makefile()
        owed = 0
        for _ in range(READINGS // REQUEST):
            wire.sendall(line)
            owed += 1
            if owed >= AHEAD:
                owed -= taken(answers.readline())
        while owed:
            owed -= taken(answers.readline())


def taken(answer: str) -> int:
    """Check one answer."""
    if json.loads(answer).get("accepted") != REQUEST:
        raise RuntimeError(answer)
    return 1


def paho(place: Place) -> float:
    """Publish plain messages with paho, QoS 1, until the broker has acknowledged each."""
    home = place.folder / "courier"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(home / "ca.pem")
    context.load_cert_chain(home / "cert.pem", home / "key.pem")
    client = Client(CallbackAPIVersion.VERSION2, "d1", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_queued_messages_set(PLAIN)
    client.tls_set_context(context)
    client.on_socket_open = quick
    answered: list[int] = []
    client.on_publish = lambda _client, _user, number, _reason, _facts: answered.append(number)
    client.connect("127.0.0.1", place.port)
    while not client.is_connected():
        client.loop(0.1)
    begun = time.monotonic()
    for _ in range(PLAIN):
        client.publish("privet/1/home/d1/up/climate", BODY, 1)
    while len(answered) < PLAIN:
        client.loop(0.1)
    took = time.monotonic() - begun
    client.disconnect()
    return PLAIN / took


def quick(_client: Client, _user: object, opened: Any) -> None:
    """Switch Nagle's delay off, as our own link does."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def mosquitto_pub(place: Place) -> float:
    """Publish plain messages with mosquitto_pub, one a line."""
    home = place.folder / "courier"
    argv = ["mosquitto_pub", "-l", "-q", "1", "-h", "127.0.0.1", "-p", str(place.port), "-i", "d1", "-V", "5"]
    argv += ["-t", "privet/1/home/d1/up/climate", "--cafile", str(home / "ca.pem")]
    argv += ["--cert", str(home / "cert.pem"), "--key", str(home / "key.pem")]
    lines = (BODY + b"\n") * PLAIN
    begun = time.monotonic()
    subprocess.run(argv, input=lines, check=True, capture_output=True, timeout=120)
    return PLAIN / (time.monotonic() - begun)
