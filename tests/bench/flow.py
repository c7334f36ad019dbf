"""Readings per second, sealed, durable on this machine's disk and received, beside paho and mosquitto_pub."""

import json
import os
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
from provisioning.collector.store import PACK, Store
from provisioning.fleet.identity import Credential, Fleet
from provisioning.fleet.safe import whole_file
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from tests.bench.cost import Meter, cpu
from tests.bench.figures import Figures, three
from tests.house import ROOT

CORES = 2
READINGS = 200_000
SINGLE = 500
EACH = 200  # readings in a record, when there are so many
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


class Run:
    """Broker, sender, courier and keeper at work on one place."""

    def __init__(self, place: Place, count: int, each: int) -> None:
        self.place = place
        self.started: list[subprocess.Popen[str]] = []
        place.broker.start()
        self.sender = self.start("tests.bench.sender", str(place.device))
        assert self.sender.stdout is not None
        self.sender.stdout.readline()
        words = ["--socket", str(place.device / "courier.sock"), "--home", str(place.folder / "courier")]
        self.keeper = self.start("tests.bench.keeper", str(place.folder), str(place.port), str(count), str(each))
        assert self.keeper.stdout is not None
        self.keeper.stdout.readline()  # the broker delivers to it: what is sent is not sent to nobody
        self.courier = self.start("agent.courier", *words, "--user", str(NOBODY))
        device, collector = [self.sender.pid, self.courier.pid], [self.keeper.pid]
        pids = {"device": device, "collector": collector, "broker": [place.broker.pid]}
        self.meter = Meter({**pids, "guard and vault": device[:1], "courier": device[1:]})

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start one process."""
        self.started.append(self.place.spawn(*words))
        return self.started[-1]

    def said(self) -> float:
        """Return what the keeper says next."""
        assert self.keeper.stdout is not None
        return float(self.keeper.stdout.readline())

    def committed(self) -> list[float]:
        """Return when each record was committed."""
        return [float(line) for line in (self.place.folder / "committed").read_text().split()]

    def close(self) -> None:
        """End all."""
        for process in reversed(self.started):
            process.terminate()
            process.wait()
        self.place.broker.stop()


@contextmanager
def running(place: Place, count: int, each: int = EACH) -> Iterator[Run]:
    """Run broker, sender, courier and keeper."""
    run = Run(place, count, each)
    try:
        yield run
    finally:
        run.close()


@contextmanager
def on_disk() -> Iterator[Path]:
    """Give a folder on the disk of this checkout."""
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache" if (ROOT / ".cache").is_dir() else None) as folder:
        yield Path(folder)


def flow(figures: Figures) -> None:
    """Send readings through everything and count them where they arrive, beside peers over the same kind of broker."""
    figures.heading(f"Telemetry: {READINGS} readings, sealed, durable, received and acknowledged")
    with on_disk() as folder:
        place = Place(folder)
        with running(place, READINGS) as run:
            ours, each = flooded(figures, run)
        # Peers get a broker of the same configuration that has never met a collector: nothing is queued for anybody.
        place = Place(folder / "peers")
        place.broker.start()
        try:
            for name, send in (("raw paho (with TCP_NODELAY)", paho), ("mosquitto_pub -l", mosquitto_pub)):
                broker, own = cpu(place.broker.pid), cpu(os.getpid())
                rate = send(place)
                used = cpu(place.broker.pid) - broker + cpu(os.getpid()) - own
                figures.line(f"{name}, plain QoS 1", rate, "/s", None, f"ours is {ours / rate:.1f} x that")
                cost = used / PLAIN * 1e6
                figures.line("  CPU of sender and broker", cost, "us each", None, f"ours is {each / cost:.2f} x that")
        finally:
            place.broker.stop()


def flooded(figures: Figures, run: Run) -> tuple[float, float]:
    """Send all as fast as it goes; return readings a second, and CPU microseconds of device and broker for each."""
    begun = time.monotonic()
    accepted = send(run.place.device / "telemetry.sock")
    durable = time.monotonic() - begun
    received = run.said() - begun
    used, written = run.meter.cpu(), run.meter.written()
    counted = int(run.said())
    if counted != READINGS:
        figures.missed.append(f"flow: {counted} of {READINGS} readings arrived")
    figures.line("sealed and durable on the device", READINGS / durable, "/s")
    figures.line("sealed, durable, received, committed", READINGS / received, "/s", 20_000, more=True)
    for name, seconds in used.items():
        figures.line(f"  CPU of the {name}", seconds / READINGS * 1e6, "us each")
    parts = [used[name] for name in ("guard and vault", "courier", "broker", "collector")]
    able = READINGS / max(*parts, sum(parts) / CORES)
    figures.line(
        "  what two idle cores could do, by the CPU used", able, "/s", None, f"the whole is {sum(parts):.1f} s"
    )
    payload = sealed_bytes(run.place)
    figures.line("  written to the card, x the sealed payload", written["device"] / payload, "x", 3)
    figures.line("  sealed payload of a reading", payload / READINGS, "bytes")
    waits = late(accepted, run.committed(), REQUEST // EACH)
    middle, most, _ = three(waits)
    figures.line("  accepted to committed at full load, p50", middle * 1000, "ms", None, f"p95 {most * 1000:.0f} ms")
    return READINGS / received, (used["device"] + used["broker"]) / READINGS * 1e6


def late(accepted: list[float], committed: list[float], records: int) -> list[float]:
    """Return how long after its acceptance the last record of each request was committed; never before it."""
    ends = committed[records - 1 :: records]
    return [max(0.0, end - taken) for taken, end in zip(accepted, ends, strict=True)]


def sealed_bytes(place: Place) -> int:
    """Return the bytes of the records that the collector keeps, as they were sealed."""
    store = Store(place.folder / "collector" / "store.db")
    try:
        return sum(len(record.body) for record in store.records(0, PACK))
    finally:
        store.close()


def latency(figures: Figures) -> None:
    """Send single readings, each when the one before was accepted and a while has passed: nobody waits for a batch."""
    figures.heading(f"Latency at low load: {SINGLE} single readings")
    with on_disk() as folder, running(Place(folder), SINGLE, 1) as run:
        line = json.dumps({"send": {"temperature": "21.5", "at": 1_700_000_000}}).encode() + b"\n"
        accepted = []
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(run.place.device / "telemetry.sock"))
            answers = wire.makefile()
            for _ in range(SINGLE):
                wire.sendall(line)
                if json.loads(answers.readline()).get("accepted") != 1:
                    raise RuntimeError("a single reading was not accepted")
                accepted.append(time.monotonic())
                time.sleep(0.02)  # the load itself
        run.said()
        if int(run.said()) != SINGLE:
            figures.missed.append("latency: not all single readings arrived")
        middle, most, worst = three(late(accepted, run.committed(), 1))
        figures.line("accepted to committed, p50", middle * 1000, "ms")
        figures.line("accepted to committed, p95", most * 1000, "ms", None, f"p99 {worst * 1000:.1f} ms")


def send(path: Path) -> list[float]:
    """Hand in all readings as an application does, a few requests ahead of the answers; return when each was taken."""
    row = {"send": [{"temperature": f"{15 + n % 100 / 10:.1f}", "at": 1_700_000_000 + n} for n in range(REQUEST)]}
    line = json.dumps(row).encode() + b"\n"
    if len(line) > 64 * 1024:
        raise ValueError("the request does not fit a line")
    taken: list[float] = []
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(path))
        answers = wire.makefile()
        for n in range(READINGS // REQUEST):
            wire.sendall(line)
            if n + 1 - len(taken) >= AHEAD:
                taken.append(answered(answers.readline()))
        while len(taken) < READINGS // REQUEST:
            taken.append(answered(answers.readline()))
    return taken


def answered(answer: str) -> float:
    """Check one answer; return the moment."""
    if json.loads(answer).get("accepted") != REQUEST:
        raise RuntimeError(answer)
    return time.monotonic()


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
