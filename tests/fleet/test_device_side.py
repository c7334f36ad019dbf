"""The device's own side against the real server: its time, its token, its renewal, and a broker that goes along."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import load_pem_x509_certificates

from agent.core.cose import split_sign1
from agent.core.secret import Secret
from agent.courier import est
from agent.system import identity
from agent.system.vault import DirectVault
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.broker.watch import Watch
from provisioning.fleet.authority import plain
from provisioning.fleet.keeping import publish
from provisioning.fleet.registry import Planned
from provisioning.fleet.revocation import crl
from provisioning.fleet.safe import whole_file
from tests.broker.party import let_in
from tests.fleet.enrolling import DAY, Office, Served, key


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give a running server."""
    with Served(Office(tmp_path_factory.mktemp("office"))) as made:
        yield made


class Device:
    """What a device does with its own code: asks, judges what came, keeps it."""

    def __init__(self, served: Served, folder: Path, card: Planned) -> None:
        self.served, self.home, self.card = served, folder, card
        self.vault = DirectVault(Secret(bytes(32)))
        self.key = plain(key())
        whole_file(folder / "ca.pem", served.office.fleet.trust_anchor())

    def asked(self, what: str, made: bytes, now: int, nonce: bytes = bytes(32), boot: str = "") -> est.Answer:
        """Ask the server once."""
        request = identity.request(self.vault, Secret(made), self.card.device)
        return est.ask(
            est.Question(
                what=what, host="127.0.0.1", port=self.served.port, device=self.card.device, token=self.card.token,
                request=request, nonce=nonce, now=now, boot=boot,
            ),
            self.home,
        )  # fmt: skip

    def judged(self, made: bytes, answer: est.Answer, now: int) -> bytes:
        """Judge a certificate as the device does; return its chain."""
        assert answer.outcome == est.GRANTED, answer.why
        name = (self.card.device, "meadow")
        anchors = self.served.office.fleet.trust_anchor()
        return identity.certified(self.vault, Secret(made), answer.body, name, anchors, now).chain

    def keep(self, made: bytes, chain: bytes) -> None:
        """Let this be the identity in force."""
        whole_file(self.home / "key.pem", made)
        whole_file(self.home / "cert.pem", chain)


def test_a_device_enrols_and_renews_with_its_own_code(served: Served, tmp_path: Path):
    """Signed time first, then the token, then two thirds later the next certificate by the one in force."""
    office = served.office
    device = Device(served, tmp_path / "home", office.planned()[0])
    told = device.asked(est.TIME, device.key, 0, b"\x07" * 32)
    signed = split_sign1(told.body, 1024)
    Ed25519PublicKey.from_public_bytes(office.fleet.policy_key()).verify(signed.signature, signed.signed)
    _, nonce, now = cbor2.loads(signed.payload)
    assert nonce == b"\x07" * 32 and told.begins <= now <= told.ends
    first = device.asked(est.TOKEN, device.key, now, boot="1." + "a" * 32)
    device.keep(device.key, device.judged(device.key, first, now))
    assert device.asked(est.TOKEN, device.key, now, boot="2." + "b" * 32).body == first.body
    following = plain(key())
    early = device.asked(est.RENEW, following, now)
    assert (early.outcome, 0 < early.wait <= DAY) == (est.BUSY, True)
    office.clock.ahead = 61 * DAY
    second = device.asked(est.RENEW, following, now)
    device.keep(following, device.judged(following, second, now))
    assert [r.state for r in office.registry.shown(device.card.device)[1]].count("offered") == 1
    device.asked(est.TIME, following, 0)
    assert office.registry.verify() > 3
    office.clock.ahead = 0


def test_a_clock_of_1970_or_far_ahead_is_the_servers_to_judge(served: Served, tmp_path: Path):
    """The device's believed time is wrong by decades: it says so about the server and never asks with its token."""
    device = Device(served, tmp_path / "home", served.office.planned()[0])
    for now in (86400, int(time.time()) + 50 * 365 * DAY):
        answer = device.asked(est.TOKEN, device.key, now)
        assert answer.outcome == est.WRONG
    assert served.office.state(device.card.device) == "planned"
    assert device.asked(est.TIME, device.key, 0).outcome == est.GRANTED


def test_refusals_reach_the_device_as_one_sentence(served: Served, tmp_path: Path):
    """A copied card and a wrong token are told as what they are."""
    card = served.office.planned()[0]
    device, copy = Device(served, tmp_path / "one", card), Device(served, tmp_path / "two", card)
    now = int(time.time())
    assert device.asked(est.TOKEN, device.key, now).outcome == est.GRANTED
    answer = copy.asked(est.TOKEN, copy.key, now)
    assert (answer.outcome, "copy of the card" in answer.why) == (est.REFUSED, True)
    wrong = Device(served, tmp_path / "three", Planned(device=card.device, token=bytes(32)))
    assert "does not take this card's token" in wrong.asked(est.TOKEN, wrong.key, now).why


def test_a_broker_refuses_whom_the_server_shut_out(served: Served, tmp_path: Path):
    """From the desk to a real mosquitto: a device that was copied is let in before, and not any more afterwards."""
    office, now = served.office, int(time.time())
    device = Device(served, tmp_path / "home", office.planned()[0])
    device.keep(device.key, device.judged(device.key, device.asked(est.TOKEN, device.key, now), now))
    setup = Setup(fleet="meadow", address="127.0.0.1", port=free_port(), collectors=("one",), durable=False)
    credential = office.fleet.server(["127.0.0.1"])
    lists, begins = crl(office.fleet)
    with Broker(tmp_path / "broker", setup, credential, office.fleet.client_anchors(), lists) as broker:
        watch = Watch(office.fleet, broker, "127.0.0.1", begins)
        assert let_in(broker, device.home)
        copy = Device(served, tmp_path / "copy", device.card)
        assert copy.asked(est.TOKEN, copy.key, now).outcome == est.REFUSED
        until(watch, lambda: not let_in(broker, device.home))
        office.registry.release(device.card.device, "the copy is here", "ada")
        assert publish(office.registry)
        until(watch, lambda: let_in(broker, device.home))
    leaf = load_pem_x509_certificates((device.home / "cert.pem").read_bytes())[0]
    assert leaf.subject.rfc4514_string() == f"CN={device.card.device}"


def until(watch: Watch, so: Callable[[], bool]) -> None:
    """Let the broker's watch turn until something is so."""
    end = time.monotonic() + 60
    while not so():
        watch.turn()
        assert time.monotonic() < end
        time.sleep(0.05)
