"""Consent taken back, to its end: each recipient is asked to delete until it has said that it did."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.core.deletion import split_receipt
from agent.core.record import as_map
from agent.guard.pair import HOME
from provisioning.collector.receive import Collector
from provisioning.fleet.identity import Fleet
from tests.chaos.test_consents import House
from tests.chaos.test_recipients import Receiver

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
Sent = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet; its authorities are made once."""
    return Fleet.create(tmp_path_factory.mktemp("fleet") / "fleet", "home")


class Asking(House):
    """A device with its own key and certificate, and two recipients that know the fleet's root."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        super().__init__(folder)
        self.fleet = fleet
        for receiver in (self.home, self.maker):
            old = receiver.collector
            receiver.collector = Collector("home", receiver.name, old._key, receiver.store, print, fleet.trust_anchor())
        self.say("given")

    def certify(self) -> None:
        """Give the device a key and the fleet's certificate for it."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "d1")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        pem = key.private_bytes(PEM, PKCS8, serialization.NoEncryption())
        self.kept.system.edit(f"{HOME}/key.pem", pem, mode=0o600)
        self.kept.system.edit(f"{HOME}/cert.pem", self.fleet.sign_csr(request.public_bytes(PEM), "d1", 30), mode=0o600)

    def arrive(self, *values: str) -> None:
        """Have readings of a device with a certificate arrive at both recipients."""
        self.certify()
        self.measure(*values)
        self.talk(self.home, self.maker)
        assert (self.home.read(), self.maker.read()) == (list(values), list(values))

    def connect(self) -> Sent:
        """Let the courier say that it is connected; return what it is given from now on."""
        out: Sent = []
        house = self.kept.house
        house.outbox.connected(lambda number, topic, payload: out.append((f"privet/1/home/d1/{topic}", payload)))
        house.heard(["state", "offline", ""])
        house.heard(["state", "connected", ""])
        return out

    def turn(self, out: Sent) -> Sent:
        """Let the guard work once; return what it sent on topics of telemetry."""
        self.kept.turn()
        self.kept.house.outbox.unsent.clear()
        sent = [one for one in out if "/up/" in one[0]]
        out.clear()
        return sent

    def deliver(self, sent: Sent, *receivers: Receiver) -> list[bytes]:
        """Let receivers take what was sent and answer; return the answers."""
        answers = [payload for one in receivers for _, payload in one.collector.receive(sent)]
        for payload in answers:
            self.kept.house.heard(["received", "ack", payload])
        return answers

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the journal's entries of a kind."""
        assert self.kept.store is not None
        return [dict(as_map(e)["body"]) for e in self.kept.store.entries(0, 5000) if e.kind == kind]

    def deletion(self, recipient: str) -> dict[str, Any] | None:
        """Return how the request to a recipient stands, as people are told."""
        row = self.kept.ask("notice", purpose="climate")["purposes"][0]
        told: dict[str, Any] | None = next(one["deletion"] for one in row["recipients"] if one["id"] == recipient)
        return told


@pytest.fixture
def asking(tmp_path: Path, fleet: Fleet) -> Iterator[Asking]:
    """A device that is set up, with readings that both recipients have."""
    made = Asking(tmp_path, fleet)
    made.arrive("18", "19")
    yield made
    made.kept.stop()


def test_one_is_asked_deletes_and_confirms(asking: Asking):
    """The maker has nothing any more, the other keeps what it has; journal, status and export show both papers."""
    out = asking.connect()
    asking.say("withdrawn", "maker")
    told = asking.deletion("maker")
    assert told is not None and (told["confirmed"], asking.deletion("collector")) == (0, None)
    sent = asking.turn(out)
    assert len(sent) == 1
    (answer,) = asking.deliver(sent, asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read()) == (["18", "19"], [])
    told = asking.deletion("maker")
    assert told is not None and (told["deleted"], told["kept"]) == (2, 0) and told["confirmed"] >= told["asked"] > 0
    assert asking.turn(out) == []
    asking.kept.system.tick(100_000)
    assert asking.turn(out) == [], "who has confirmed is not asked again"
    (asked,), (confirmed,) = asking.entries("deletion_asked"), asking.entries("deletion_confirmed")
    assert (asked["recipient"], confirmed["receipt"], confirmed["deleted"]) == ("maker", answer, 2)
    (paper,) = asking.kept.ask("export", part="consents")["deletions"]
    assert (paper["request"], paper["receipt"]) == (asked["request"].hex(), answer.hex())
    assert asking.kept.ask("status")["deletions"] == []
    assert asking.kept.store is not None and asking.kept.store.verify().damage == ""


def test_offline_it_waits_and_outlasts_power_cuts(asking: Asking):
    """Asked while there is no link: after a restart and a power cut it is sent, the same one, until it is answered."""
    asking.say("withdrawn")
    assert asking.turn([]) == []
    asking.kept.reboot()
    asking.kept.stop()
    asking.kept.system.crash("all")
    asking.kept.start()
    assert [row["recipient"] for row in asking.kept.ask("status")["deletions"]] == ["collector", "maker"]
    first = asking.turn(asking.connect())
    assert len(first) == 2
    asking.kept.reboot()
    out = asking.connect()
    assert asking.turn(out) == first, "signed once"
    waits = []
    for _ in range(4):
        seconds = 0
        while not (sent := asking.turn(out)):
            asking.kept.system.tick(10)
            seconds += 10
        assert sent == first
        waits.append(seconds)
    assert waits == [30, 60, 120, 240]
    asking.deliver(first, asking.maker)
    assert [row["recipient"] for row in asking.kept.ask("status")["deletions"]] == ["collector"]
    asking.deliver(first, asking.home)
    assert (asking.home.read(), asking.maker.read()) == ([], [])
    assert asking.kept.ask("status")["deletions"] == []


def test_without_a_certificate_it_waits_for_one_and_a_new_one_signs_anew(asking: Asking):
    """The papers come when there is a key to sign with; the request stays the same one through a renewal."""
    for name in ("key.pem", "cert.pem"):
        asking.kept.system.remove(f"{HOME}/{name}")
    asking.say("withdrawn", "maker")
    out = asking.connect()
    assert asking.turn(out) == []
    assert asking.deletion("maker") is not None
    asking.certify()
    asking.kept.system.tick(301)
    (first,) = asking.turn(out)
    asking.certify()
    asking.kept.system.tick(301)
    (second,) = asking.turn(out)
    assert first != second
    one, other = asking.deliver([first], asking.maker), asking.deliver([second], asking.maker)
    assert one == other
    told = asking.deletion("maker")
    assert told is not None and told["deleted"] == 2


def test_only_the_recipient_can_confirm(asking: Asking):
    """Another recipient's word, a changed one, one of another request: ignored, journaled, and it is asked again."""
    out = asking.connect()
    asking.say("withdrawn")
    sent = asking.turn(out)
    answers = [payload for one in (asking.home, asking.maker) for _, payload in one.collector.receive(sent)]
    for payload in answers:
        receipt = split_receipt(payload)
        assert receipt is not None
        swapped = payload.replace(b"maker", b"nobdy").replace(b"collector", b"maker")
        for bad in (payload[:-1] + bytes([payload[-1] ^ 1]), swapped):
            asking.kept.house.heard(["received", "ack", bad])
    assert len(asking.kept.ask("status")["deletions"]) == 2
    assert len(asking.entries("refused")) >= 3
    for payload in answers * 2:
        asking.kept.house.heard(["received", "ack", payload])
    assert asking.kept.ask("status")["deletions"] == []
    assert len(asking.entries("deletion_confirmed")) == 2, "the same word again is nothing new"


def test_agreed_again_meanwhile_what_is_new_stays(asking: Asking):
    """The request that is still on its way reaches only what was before it."""
    asking.say("withdrawn", "maker")
    late = asking.turn(asking.connect())
    asking.say("given", "maker")
    asking.measure("20")
    asking.talk(asking.home, asking.maker)
    assert asking.maker.read() in (["18", "19", "20"], ["20"])
    asking.deliver(late, asking.maker)
    assert asking.maker.read() == ["20"]
    told = asking.deletion("maker")
    assert told is not None and told["confirmed"]


def test_who_never_got_anything_is_not_asked(asking: Asking):
    """Neither for a purpose that was never agreed to, nor twice for what was confirmed."""
    out = asking.connect()
    asking.kept.ask("consent", purpose="warnings", state="withdrawn")
    assert asking.turn(out) == []
    asking.say("withdrawn", "maker")
    asking.deliver(asking.turn(out), asking.maker)
    asking.say("withdrawn", "maker")
    assert asking.turn(out) == []


def test_what_the_courier_holds_is_taken_back(asking: Asking):
    """Records the broker did not answer yet: the courier begins anew, and what is given to it then has none of them."""
    told: list[list[Any]] = []

    class Deaf:
        """A courier that is told things and sends nothing on."""

        def tell(self, message: list[Any]) -> None:
            """Note it."""
            told.append(message)

    house = asking.kept.house
    asking.measure("20")
    house.port = type("Port", (), {"courier": Deaf(), "close": lambda self: None})()  # type: ignore[assignment]
    house.courier_changed(house.port.courier)  # type: ignore[union-attr]
    house.heard(["state", "connected", ""])
    house.outbox.pump()
    doomed = [message[3] for message in told if message[0] == "publish" and message[2] == "up/climate"]
    assert doomed
    told.clear()
    house.control(Root(), {"op": "consent", "purpose": "climate", "to": ["maker"], "state": "withdrawn"})
    assert told[0][0] == "link"
    house.heard(["state", "connected", ""])
    asking.measure("21")
    asking.kept.turn()
    published = [message[3] for message in told if message[0] == "publish"]
    assert published
    assert not set(doomed) & set(published)


class Root:
    """The owner at the control socket, as far as the guard asks."""

    uid, gid, pid = 0, 0, 1

    @property
    def peer(self) -> "Root":
        """Who is at the other end."""
        return self


def test_taken_back_and_given_again_before_anything_was_sealed(asking: Asking):
    """In a start that sealed nothing yet: what comes after it stands under a number that the request does not reach."""
    asking.kept.reboot()
    asking.say("withdrawn", "maker")
    asking.say("given", "maker")
    asking.measure("20")
    out = asking.connect()
    sent = asking.turn(out)
    asking.deliver(sent, asking.home, asking.maker)
    asking.talk(asking.home, asking.maker)
    assert asking.maker.read() == ["20"]
