"""Our mosquitto: who may say and hear what, what it writes down, and that it dies with us."""

import os
import pwd
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.core.errors import BadInput, Failed
from provisioning.broker.mosquitto import Broker, Setup, access, configuration, free_port
from tests.broker.party import Party
from tests.courier.rig import FLEET, Site

ROOT = Path(__file__).resolve().parents[2]
TOP = f"privet/1/{FLEET}"
SETUP = Setup(fleet=FLEET, address="127.0.0.1", port=8883, collectors=("one",), durable=True)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Give a fleet."""
    made = Site()
    yield made
    assert made.held is not None
    made.held.cleanup()


@pytest.fixture(scope="module")
def broker(site: Site) -> Iterator[Broker]:
    """Give its running broker."""
    with site.broker("broker") as running:
        yield running


def test_a_device_speaks_on_its_own_topics_only(site: Site, broker: Broker):
    """Up, warning and state of its own are taken; those of others, its own ack and policy, and all else are not."""
    party = Party(broker, site.device("anna"))
    allowed = [f"{TOP}/anna/{leaf}" for leaf in ("up/comfort", "warning", "state")]
    refused = [f"{TOP}/bert/{leaf}" for leaf in ("up/comfort", "warning", "state", "ack", "policy")]
    refused += [f"{TOP}/anna/{leaf}" for leaf in ("ack", "policy", "up", "up/a/b")]
    refused += ["privet/1/other/anna/up/comfort", "anything", "$SYS/broker/uptime"]
    assert [topic for topic in allowed + refused if party.says(topic)] == allowed
    party.close()


def test_a_device_hears_its_own_topics_only(site: Site, broker: Broker):
    """However widely it asks, a device gets its own ack and policy, and no word to or from any other."""
    curious, bert = Party(broker, site.device("anna")), Party(broker, site.device("bert"))
    collector = Party(broker, site.service("one"))
    for topic in ("#", f"{TOP}/+/up/#", f"{TOP}/bert/ack", "$SYS/#"):
        curious.hears(topic)
    assert bert.says(f"{TOP}/bert/up/comfort", b"secret")
    assert collector.says(f"{TOP}/bert/policy", b"for bert")
    assert collector.says(f"{TOP}/anna/policy", b"for anna")
    curious.until(lambda: bool(curious.heard))
    curious.turn()
    assert set(curious.heard) == {(f"{TOP}/anna/policy", b"for anna")}
    for party in (curious, bert, collector):
        party.close()


def test_a_collector_hears_all_and_says_little(site: Site, broker: Broker):
    """A collector hears every device and may answer; it cannot pose as a device, nor can an unlisted service hear."""
    one, stranger, bert = (
        Party(broker, home) for home in (site.service("one"), site.service("other"), site.device("bert"))
    )
    for party in (one, stranger):
        party.hears(f"{TOP}/+/up/+")
    assert bert.says(f"{TOP}/bert/up/comfort", b"sealed")
    one.until(lambda: bool(one.heard))
    stranger.turn()
    assert one.heard == [(f"{TOP}/bert/up/comfort", b"sealed")]
    assert stranger.heard == []
    assert not one.says(f"{TOP}/bert/up/comfort")
    assert not stranger.says(f"{TOP}/bert/ack")
    for party in (one, stranger, bert):
        party.close()


def test_nobody_takes_over_the_session_of_another(site: Site, broker: Broker):
    """A client that calls itself by another's name is known by its certificate: the other stays connected."""
    victim = Party(broker, site.device("bert"), "bert")
    victim.hears(f"{TOP}/bert/ack")
    thief = Party(broker, site.device("anna"), "bert")
    assert thief.arrives()
    assert not victim.ended(0.3)
    assert thief.client.is_connected()
    for party in (victim, thief):
        party.close()


def test_nothing_is_retained(site: Site, broker: Broker):
    """A retained message is not possible: the broker keeps nothing that the next visitor would be handed."""
    party = Party(broker, site.device("anna"))
    assert party.arrives()
    party.client.publish(f"{TOP}/anna/state", b"x", 1, retain=True)
    assert party.ended()
    party.close()


def test_the_log_holds_no_payload_topic_or_visit(site: Site, broker: Broker):
    """After all that traffic the log names no device, no topic, no content and no address."""
    party = Party(broker, site.device("canary"))
    assert party.says(f"{TOP}/canary/up/comfort", b"CANARY")
    assert not party.says(f"{TOP}/bert/ack", b"CANARY")
    party.close()
    trusting_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    end = time.monotonic() + 10
    while "openssl error" not in (
        log := broker.log().lower()
    ):  # it does log; not all: some are gone before it reads why
        assert time.monotonic() < end
        with socket.create_connection(("127.0.0.1", broker.setup.port)) as stranger, pytest.raises(ssl.SSLError):
            trusting_nobody.wrap_socket(stranger, server_hostname="localhost")
        time.sleep(0.02)
    assert not re.search(r"canary|comfort|\d+\.\d+\.\d+\.\d+:\d+|connected", log), log


def test_it_listens_on_the_given_address_alone(broker: Broker):
    """One listening socket, on loopback, and the process is not root."""
    held = set[str]()
    for one in Path(f"/proc/{broker.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            held.add(os.readlink(one))
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    mine = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held]  # 0A: it listens; proc(5)
    assert mine == [f"0100007F:{broker.setup.port:04X}"], "127.0.0.1, and nothing else"
    uid = int(Path(f"/proc/{broker.pid}/status").read_text().split("Uid:\t")[1].split("\t")[0])
    assert uid == (pwd.getpwnam("mosquitto").pw_uid if os.geteuid() == 0 else os.getuid())


def test_private_files_stay_private(broker: Broker):
    """Key, configuration and stored queues are readable by the broker alone."""
    for path in broker.directory.iterdir():
        assert path.stat().st_mode & 0o077 == 0 or path.name == "broker.log", path


def test_it_dies_with_the_one_who_started_it(site: Site, tmp_path: Path):
    """A parent killed with -9 leaves no broker behind."""
    script = (
        "import sys; from pathlib import Path; from tests.courier.rig import Site; import time\n"
        "site = Site(Path(sys.argv[1])); broker = site.broker('b'); broker.start()\n"
        "print(broker.pid, broker.setup.port, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "site")], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid, port = (int(word) for word in parent.stdout.readline().split())
    with socket.create_connection(("127.0.0.1", port), 1):
        pass
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 3
    while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_taken_port_is_told(site: Site):
    """A broker that cannot have its port says so in one sentence, and leaves no process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        setup = Setup(fleet=FLEET, address="127.0.0.1", port=taken.getsockname()[1], collectors=(), durable=False)
        broker = Broker(site.directory / "taken", setup, site.fleet.server(["localhost"]), site.fleet.client_anchors())
        with pytest.raises(Failed, match="in use"):
            broker.start()
        assert broker.pid == 0


@pytest.mark.parametrize(
    "wrong",
    [{"port": 0}, {"port": 70000}, {"address": ""}, {"address": "127.0.0.1\nallow_anonymous true"}, {"fleet": "a/#"}],
)
def test_odd_setups_are_refused(wrong: dict[str, object]):
    """What would break out of a line of the configuration is refused before it is written."""
    setup = Setup(**{name: getattr(SETUP, name) for name in Setup.__slots__} | wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        _ = configuration(setup), access(setup)


def test_it_survives_a_restart_as_itself(site: Site):
    """Stopped, started and killed, it comes back on the same port; stopping twice does no harm."""
    broker = site.broker("restarts")
    broker.start()
    first = broker.pid
    broker.restart()
    assert broker.pid not in {0, first}
    broker.stop()
    broker.stop()
    assert broker.pid == 0
    assert broker.setup.port != free_port()
