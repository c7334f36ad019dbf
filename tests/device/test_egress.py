"""What the courier sends, by the kernel's own count, beside what the guard gave it: real nft, courier, broker, loss."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.device.lab import Lab
from tests.device.whole import HOST, Whole

THEIRS, MINE = "192.168.78.3", "192.168.78.2"
LOSS = """
add table inet weather
add chain inet weather bad { type filter hook input priority -200; policy accept; }
add rule inet weather bad tcp dport 8883 numgen random mod 100 < 20 counter drop
add rule inet weather bad tcp sport 8883 numgen random mod 100 < 5 counter drop
"""
# A program under an account connects, sends so many bytes and closes at once: most leave when nobody owns the socket.
SENDER = """
import os, socket, sys
uid, host, port, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
with socket.socket() as wire:
    wire.connect((host, port))
    wire.sendall(bytes(count))
"""
SINK = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as door:
    print("ready", flush=True)
    while True:
        wire, _ = door.accept()
        while wire.recv(1 << 16):
            pass
        wire.close()
"""

# Many connections to one that does not read yet; each takes what it is given, and is closed before anything of it left.
LEAVER = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
total = 0
for _ in range(60):
    wire = socket.socket()
    wire.connect(("127.0.0.1", 7071))
    wire.setblocking(False)
    try:
        while True:
            total += wire.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    wire.close()
print(total)
"""
LATE = """
import os, socket, time
with socket.socket() as door:
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    door.bind(("127.0.0.1", 7071))
    door.listen(64)
    print("ready", flush=True)
    while not os.path.exists("/run/go"):
        time.sleep(0.05)
    total = 0
    for _ in range(60):
        wire, _ = door.accept()
        while part := wire.recv(1 << 16):
            total += len(part)
    print(total, flush=True)
"""


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A device through its first boot, with broker and courier, whose loopback has packets of a common size."""
    with lab.device() as device:
        device.must(["ip", "link", "set", "lo", "mtu", "1500"])
        device.sshd()
        made = Whole(device, tmp_path_factory.mktemp("egress"))
        made.broker()
        made.start()
        made.deliver()
        online(made)
        assert made.privet("consent", "give", "climate", "--yes").returncode == 0
        yield made


def online(whole: Whole) -> None:
    """Wait for the courier's session."""
    whole.until(lambda: whole.ask("status")["link"]["state"] == "connected", 60, "the courier to connect")


def stands(whole: Whole) -> dict[str, Any]:
    """Let the guard look at everything once more; return how the count stands then."""
    assert whole.ask("enforce")["ok"]
    return dict(whole.ask("egress", counted=True)["counted"])


def warned(whole: Whole) -> list[str]:
    """Return what the owner was told about it."""
    return [w["text"] for w in whole.ask("status")["warnings"] if w["kind"] == "egress"]


def measure(whole: Whole, requests: int = 5) -> None:
    """Hand in readings, several thousand of them."""
    rows = [{"temperature": str(n % 80), "humidity": str(n % 100)} for n in range(500)]
    for _ in range(requests):
        assert whole.speak("/run/privet/telemetry.sock", json.dumps({"send": rows}) + "\n")["ok"]


def again(whole: Whole) -> None:
    """Kill the broker with -9, and whoever watches over it; then start it anew."""
    broker = whole.device.listener(whole.port)
    keeper = whole.pid("provisioning.cli")
    whole.device.must(["kill", "-KILL", str(broker)])
    whole.device.run(["kill", "-KILL", str(keeper)])
    whole.until(lambda: whole.ask("status")["link"]["state"] == "offline", 30, "the courier to notice")
    whole.device.spawn(whole.device.python("-m", "provisioning.cli", "broker", "up", "--fleet", f"{HOST}/fleet"))
    whole.device.listener(whole.port, seconds=20)
    online(whole)


def send(whole: Whole, host: str, port: int, count: int, account: str = "privet") -> None:
    """Send bytes under an account, to the end of the connection."""
    uid = whole.device.must(["id", "-u", account]).strip()
    done = whole.device.agent(SENDER, uid, host, str(port), str(count))
    assert done.returncode == 0, done.stderr


def test_the_kernel_counts_the_courier_and_all_of_it_is_explained(whole: Whole):
    """Connected, a thousand messages given out and answered: the kernel counted at least that, and no byte too many."""
    assert stands(whole)["state"] == "explained"
    measure(whole)
    whole.until(lambda: stands(whole)["sent"] > 20_000, 30, "the messages to leave")
    seen = stands(whole)
    assert seen["state"] == "explained", seen
    assert seen["parts"]["messages"] > 10_000 and seen["excess"] == 0
    shown = whole.privet("journal", "--egress").stdout.decode()
    assert "What left: all of it can be explained" in shown and "keep-alive" in shown


def test_honest_through_restarts_of_the_broker_and_loss(whole: Whole):
    """Packets lost in both directions, the broker killed three times, messages sent anew: nothing is told."""
    before = stands(whole)
    whole.device.must(["nft", "-f", "-"], LOSS.encode())
    for _ in range(3):
        measure(whole, 3)
        again(whole)
    measure(whole, 3)
    weather = json.loads(whole.device.must(["nft", "-j", "list", "table", "inet", "weather"]))
    lost = [
        e["counter"]["packets"] for r in weather["nftables"] if "rule" in r for e in r["rule"]["expr"] if "counter" in e
    ]
    whole.device.must(["nft", "delete", "table", "inet", "weather"])
    seen = stands(whole)
    assert min(lost) > 0 and seen["parts"]["sent again"] > before["parts"]["sent again"]
    assert seen["parts"]["connections"] > before["parts"]["connections"]
    assert (seen["state"], warned(whole)) == ("explained", []), seen


def test_a_restart_of_the_guard_and_a_flushed_firewall(whole: Whole):
    """A restart goes on with the numbers; who flushes the rules of the kernel starts a new count, which is said."""
    before = stands(whole)
    whole.stop()
    whole.start()
    online(whole)
    after = stands(whole)
    assert (after["since"], after["state"]) == (before["since"], "explained")
    assert after["sent"] > before["sent"]
    whole.device.must(["nft", "flush", "ruleset"])
    seen = stands(whole)
    assert (seen["state"], seen["why"]) == ("explained", "the kernel's count was taken away")
    assert seen["sent"] < before["sent"]


def test_another_account_does_not_count(whole: Whole):
    """What other programs of the device send is not the courier's: 20 MB by `nobody` change nothing."""
    sink = whole.device.spawn(whole.device.python("-c", SINK, "127.0.0.1", "7070"))
    assert sink.stdout is not None and sink.stdout.readline()
    before = stands(whole)["sent"]
    send(whole, "127.0.0.1", 7070, 20_000_000, "nobody")
    seen = stands(whole)
    assert seen["state"] == "explained" and seen["sent"] < before + 10_000_000  # what waits goes on being sent
    assert warned(whole) == []


def test_bytes_that_nobody_gave_it_are_told_once(whole: Whole, lab: Lab):
    """3 MB to a stranger on the broker's own port, by the courier's account: told within one sweep, and once."""
    with lab.device() as stranger:
        whole.device.link(stranger, MINE, THEIRS)
        sink = stranger.spawn(stranger.python("-c", SINK, THEIRS, "8883"))
        assert sink.stdout is not None and sink.stdout.readline()
        send(whole, THEIRS, 8883, 3_000_000)
        whole.until(lambda: stands(whole)["sent"] > 3_000_000, 30, "what its process has left behind to leave")
        seen = stands(whole)
        assert seen["state"] == "unexplained" and 2_000_000 < seen["excess"] < 3_500_000, seen
        (text,) = warned(whole)
        assert text.startswith("The part of Privet that talks to the network sent ")
        assert "kB more than can be explained since " in text
        assert stands(whole)["state"] == "unexplained"
        assert len(warned(whole)) == 1
        assert "more than can be explained" in whole.privet("status").stdout.decode()


def test_the_twin_whose_count_stands_still_is_not_called_fine(whole: Whole):
    """Somebody empties the chain that counts: what the broker answered was not counted, so it is unknown."""
    whole.device.must(["nft", "flush", "ruleset"])
    assert stands(whole)["state"] == "explained"
    whole.device.must(["nft", "flush", "chain", "inet", "privet", "count"])
    measure(whole, 2)
    states: list[str] = []

    def told() -> bool:
        """Look until the broker has answered something."""
        states.append(str(stands(whole)["state"]))
        return states[-1] == "unknown"

    whole.until(told, 30, "the missing count to be seen")
    seen = stands(whole)
    assert seen["state"] == "explained", seen


def test_what_a_closed_socket_leaves_behind_is_counted(whole: Whole):
    """Bytes that go out when no process owns the socket any more are the courier's all the same."""
    sink = whole.device.spawn(whole.device.python("-c", LATE))
    assert sink.stdout is not None and sink.stdout.readline()
    uid = whole.device.must(["id", "-u", "privet"]).strip()
    left = int(whole.device.agent(LEAVER, uid).stdout)
    before = stands(whole)["sent"]
    whole.device.write("/run/go", "")
    came = int(sink.stdout.readline())
    assert came == left
    assert stands(whole)["sent"] - before > 500_000, (left, before)
