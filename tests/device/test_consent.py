"""Consent on a whole device, seen on the wire: no byte of telemetry before it is given and after it is taken back."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from agent.core.errors import NotConsented
from tests.device.lab import Lab
from tests.device.whole import ACCOUNT, HOST, Whole

# Counts what one account sends to a port over TCP, without headers; answers each line on its input with the sum.
SNIFF = """
import pwd, select, socket, sys
uid, port = str(pwd.getpwnam(sys.argv[1]).pw_uid), int(sys.argv[2])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
wire.bind(("lo", 0x0800))
wire.setblocking(False)
owners, count = {}, 0
def owner(source):
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(":%04X" % source) and fields[2].endswith(":%04X" % port):
            return fields[7]
def drain():
    global count
    while True:
        try:
            packet = wire.recv(1 << 17)
        except BlockingIOError:
            return
        head = (packet[0] & 15) * 4
        if packet[9] != 6:
            continue
        source, target = int.from_bytes(packet[head:head + 2], "big"), int.from_bytes(packet[head + 2:head + 4], "big")
        if target != port:
            continue
        if owners.get(source) is None or packet[head + 13] & 2:
            owners[source] = owner(source)
        if owners[source] == uid:
            count += len(packet) - head - (packet[head + 12] >> 4) * 4
print("ready", flush=True)
while True:
    if sys.stdin in select.select([wire, sys.stdin], [], [])[0]:
        sys.stdin.readline()
        drain()
        print(count, flush=True)
    drain()
"""
BODIES = """
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("SELECT body FROM record").fetchall()
print(json.dumps([body[-40:].hex() for (body,) in rows if body]))
"""
SEEK = """
import glob, json, sys
raw = b"".join(open(path, "rb").read() for path in glob.glob(sys.argv[1] + "*"))
print(json.dumps([piece for piece in sys.argv[2:] if bytes.fromhex(piece) in raw]))
"""
STORE = f"{HOST}/fleet/collector-collector/store.db"
PING = 64  # bytes: a ping of MQTT in TLS, and more; a sealed reading is longer


class Wire:
    """The courier's way to its broker, listened to since before there was any."""

    def __init__(self, whole: Whole) -> None:
        self.whole = whole
        self.ear = whole.device.spawn(whole.device.python("-c", SNIFF, ACCOUNT, str(whole.port)))
        assert self.ear.stdout is not None and self.ear.stdout.readline() == b"ready\n"

    def count(self) -> int:
        """Return how many bytes the courier has sent so far."""
        assert self.ear.stdin is not None and self.ear.stdout is not None
        self.ear.stdin.write(b"\n")
        self.ear.stdin.flush()
        return int(self.ear.stdout.readline())

    def still(self) -> int:
        """Wait until nothing was sent through ten questions to the guard; return the count."""
        seen: list[int] = []

        def quiet() -> bool:
            assert self.whole.ask("status")["ok"]
            seen.append(self.count())
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        self.whole.until(quiet, 60, "the wire to be still")
        return seen[-1]

    def offered(self, times: int) -> list[int]:
        """Offer readings as an application does; return the codes with which they were refused, 0 when accepted."""
        line = json.dumps({"send": {"temperature": "11.0"}}) + "\n"
        return [self.whole.speak("/run/privet/telemetry.sock", line).get("code", 0) for _ in range(times)]


@pytest.fixture(scope="module")
def wire(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One device for the module, with broker and courier, and an ear at its loopback from the first packet on."""
    with lab.device() as device:
        whole = Whole(device, tmp_path_factory.mktemp("whole"))
        whole.broker()
        made = Wire(whole)
        whole.start()
        whole.deliver()
        whole.until(lambda: whole.ask("status")["link"]["state"] == "connected", 40, "the courier to connect")
        yield made


@pytest.fixture(scope="module")
def keeper(wire: Wire) -> subprocess.Popen[bytes]:
    """A collector that hears everything from before consent on."""
    made = wire.whole.collect("--seconds", "300")
    wire.whole.until(lambda: wire.whole.device.run(["test", "-e", STORE]).returncode == 0, 30, "the collector")
    return made


def readings(keeper: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the next reading that the collector shows."""
    assert keeper.stdout is not None
    return dict(json.loads(keeper.stdout.readline()))


def test_nothing_leaves_before_consent(wire: Wire, keeper: subprocess.Popen[bytes]) -> None:
    """Connected, and readings are offered again and again: each is refused, and the courier sends nothing about it."""
    before = wire.still()
    assert before > 0, "the ear hears the courier"
    assert wire.offered(20) == [NotConsented.exit_code] * 20
    assert wire.still() - before < PING


def test_twin_the_same_ear_hears_telemetry_once_it_is_agreed_to(wire: Wire, keeper: subprocess.Popen[bytes]) -> None:
    """Known bad, as it were: the same offer after consent is on the wire and at the recipient, nothing of before is."""
    assert wire.whole.privet("consent", "give", "climate", "--to", "collector", "--yes").returncode == 0
    before = wire.still()
    assert wire.offered(1) == [0]
    first = readings(keeper)
    assert (first["name"], first["value"], first["boot"], first["seq"]) == ("temperature", "11.0", first["boot"], 2)
    assert wire.still() - before > 4 * PING


def test_taken_back_it_is_deleted_at_the_recipient_and_nothing_leaves_any_more(
    wire: Wire, keeper: subprocess.Popen[bytes]
) -> None:
    """Through the real broker: asked, gone from the collector's raw file, confirmed in plain words; then silence."""
    whole = wire.whole
    planted = whole.device.ask(BODIES, STORE)
    assert len(planted) == 2 and whole.device.ask(SEEK, STORE, *planted) == planted
    done = whole.privet("consent", "withdraw", "climate")
    assert done.returncode == 0 and b"Asked to delete what they have: collector" in done.stdout, done.stderr
    whole.until(lambda: whole.ask("status")["deletions"] == [], 30, "the recipient to confirm")
    assert whole.device.ask(SEEK, STORE, *planted) == []
    shown = whole.privet("consent").stdout.decode()
    assert "you took it back on" in shown and "asked to delete on" in shown and "1 record deleted" in shown
    journal = whole.privet("journal").stdout.decode()
    assert "deletion_asked" in journal and "deletion_confirmed" in journal
    before = wire.still()
    assert wire.offered(20) == [NotConsented.exit_code] * 20
    assert wire.still() - before < PING
