"""Brokers that let in by name follow the registry: enrolment, quarantine, release, erasure and retirement, live."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import update

from agent.core.errors import Failed, PrivetError
from provisioning.broker import nats, rabbitmq
from provisioning.broker.admission import Admission, admitted
from provisioning.broker.audit.party import Party
from provisioning.broker.audit.seat import Identity, Seat, Target
from provisioning.broker.child import Setup, free_port
from provisioning.fleet.authority import PEM, plain
from provisioning.fleet.registry import Planned
from provisioning.fleet.revocation import revoke
from provisioning.fleet.safe import whole_file
from provisioning.fleet.tables import certificates
from tests.fleet.enrolling import DAY, Office, asked, key
from tests.fleet.site.test_engines import until
from tests.fleet.test_handover import TOKEN, handed, receipt
from tests.house import ROOT

HOST = "127.0.0.1"


class Grange:
    """A fleet with its registry, and a broker of one kind beside it."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.office = Office(folder)
        fleet = self.office.fleet
        setup = Setup(fleet=fleet.name, address=HOST, port=free_port(), collectors=("one",), durable=True)
        engine = {"nats": nats, "rabbitmq": rabbitmq}[kind]
        credential, anchors = fleet.server([HOST, "localhost"]), fleet.client_anchors()
        self.broker: nats.Broker | rabbitmq.Broker = engine.Broker(folder / kind, setup, credential, anchors, ())
        self.told: list[str] = []
        self.admission = Admission(self.office.registry, self.broker, (), say=self.told.append)
        self.target = Target(host=HOST, port=setup.port, fleet=fleet.name, plain=(), web=())

    def enrolled(self) -> tuple[Planned, ec.EllipticCurvePrivateKey, Identity]:
        """Let a device come with its token."""
        one, mine = self.office.planned()[0], key()
        made = x509.load_der_x509_certificate(self.office.claim(one, asked(mine)).certificate)
        home = self.folder / one.device
        whole_file(home / "ca.pem", self.office.fleet.trust_anchor())
        whole_file(
            home / "cert.pem", made.public_bytes(PEM) + self.office.fleet.issuer("device-ca")[0].public_bytes(PEM)
        )
        whole_file(home / "key.pem", plain(mine))
        return one, mine, Identity(name=one.device, home=home)


@pytest.fixture(params=["nats", "rabbitmq"])
def grange(request: pytest.FixtureRequest) -> Iterator[Grange]:
    """Give a fleet with each of the two, running."""
    with tempfile.TemporaryDirectory(prefix="privet-grange-") as held:
        Path(held).chmod(0o711)
        made = Grange(Path(held), request.param)
        with made.broker:
            yield made


def comes_in(seat: Seat, who: Identity) -> bool:
    """Say whether a device is let in now."""
    try:
        with Party(seat, who) as party:
            until(lambda: party.up, lambda: party.turn(lambda: False, 0.1), 3)
            return bool(party.up and party.alive())
    except (OSError, PrivetError):
        return False


def eventually(seat: Seat, who: Identity) -> bool:
    """Say whether a device is let in soon: NATS reads its list a moment after it was told to."""
    return until(lambda: comes_in(seat, who), lambda: None)


def test_what_the_registry_says_counts_at_once(grange: Grange):
    """Nobody before the registry says so; who is shut out loses a live session, its neighbour's stays; no restart."""
    office, turn = grange.office, grange.admission.turn
    (one, mine, anna), (two, _, bert) = grange.enrolled(), grange.enrolled()
    pid = grange.broker.pid
    with Seat(grange.target, anna, bert) as seat:
        seat.five, seat.patience = False, 1.0
        assert not comes_in(seat, anna), "the known bad: enrolled, and the broker was not told yet"
        turn()
        assert eventually(seat, anna) and eventually(seat, bert)
        with Party(seat, anna) as live, Party(seat, bert) as other:
            assert live.up and other.up
            office.registry.quarantine(one.device, "seen at a market", "ada")
            assert live.alive(), "the known bad: without a turn nothing ends"
            turn()
            assert until(lambda: not live.up, lambda: live.turn(lambda: False, 0.1), 30)
            assert other.alive()
        assert not comes_in(seat, anna) and comes_in(seat, bert)
        office.registry.release(one.device, "it was my own", "ada")
        turn()
        assert eventually(seat, anna)
        with Party(seat, anna) as live:
            assert live.up
            assert handed(office, receipt(mine, one.device)).status == 202
            turn()
            assert until(lambda: not live.up, lambda: live.turn(lambda: False, 0.1), 30)
        assert not comes_in(seat, anna)
        office.registry.retire(two.device, by="ada")
        three, _, cleo = grange.enrolled()
        turn()
        assert eventually(seat, cleo) and not comes_in(seat, bert)
    assert grange.broker.pid == pid and grange.told[-2:] == [
        f"{three.device} is let in.", f"{two.device} is let in no more.",
    ]  # fmt: skip
    count = len(grange.told)
    turn()
    assert len(grange.told) == count, "what has not changed is not told again"


class Lame:
    """A broker that takes a list only when it is told to; it counts what it was asked."""

    directory = Path("lame")
    alive = True
    lame = True
    asked = 0

    def admit(self, devices: Iterable[str]) -> None:
        """Take a list, or fail."""
        self.asked += 1
        if self.lame:
            raise Failed("it does not answer; start it")


def test_a_broker_that_takes_no_list_is_asked_again(tmp_path: Path):
    """Said once, tried at each turn, and over when it takes it; one that died is an error."""
    office, lame, said = Office(tmp_path), Lame(), list[str]()
    admission = Admission(office.registry, lame, (), say=said.append)
    office.claim(office.planned()[0], asked(key()))
    for _ in range(3):
        admission.turn()
    assert lame.asked == 3 and len(said) == 1 and "does not answer" in said[0]
    lame.lame = False
    admission.turn()
    admission.turn()
    assert lame.asked == 4 and len(said) == 2
    lame.alive = False
    with pytest.raises(Failed, match="has died"):
        admission.turn()


def test_the_command_keeps_it_up_to_the_registry(tmp_path: Path):
    """`broker up --engine nats`: who enrols meanwhile is let in, who is shut out is not; Ctrl-C ends it."""
    office = Office(tmp_path)
    argv = ["broker", "up", "--engine", "nats", "--port", str(free_port()), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "provisioning.cli", *argv, "--fleet", str(office.fleet.safe.directory)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["pid"] > 0
        one = office.planned()[0]
        office.claim(one, asked(key()))
        assert process.stderr.readline() == f"{one.device} is let in.\n"
        office.registry.quarantine(one.device, "seen at a market", "ada")
        assert process.stderr.readline() == f"{one.device} is let in no more.\n"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        process.communicate()


def test_who_is_let_in(tmp_path: Path):
    """Planned, lost, revoked by hand, ended: not; renewed, claimed and in transfer: yes."""
    office = Office(tmp_path)
    _planned, claimed, hand, moving = office.planned(4)
    got = {one.device: office.claim(one, asked(key())).certificate for one in (claimed, hand, moving)}
    revoke(office.fleet, [x509.load_der_x509_certificate(got[hand.device]).public_bytes(PEM)])
    office.registry.transfer(moving.device, "ada")
    assert admitted(office.registry) == {claimed.device, moving.device}
    office.clock.ahead = 91 * 86400
    assert admitted(office.registry) == frozenset()


def test_a_former_owner_is_kept_out_with_the_device(tmp_path: Path):
    """Such a broker cannot tell two certificates of one name apart: nobody is let in until the former one has ended."""
    office, said = Office(tmp_path), list[str]()
    one, mine = office.planned()[0], key()
    office.claim(one, asked(mine))
    lame = Lame()
    lame.lame = False
    admission = Admission(office.registry, lame, admitted(office.registry), say=said.append)
    office.registry.transfer(one.device, "ada")
    assert handed(office, receipt(mine, one.device)).status == 200
    with office.registry.act() as (connection, _book):  # the former owner's was made eighty days ago
        connection.execute(update(certificates).values(ends=office.registry.now() + 10 * DAY))
    office.claim(Planned(device=one.device, token=TOKEN), asked(key()))
    admission.turn()
    admission.turn()
    assert admitted(office.registry) == frozenset() and "changed hands" in said[0] and len(said) == 2
    office.clock.ahead = 9 * DAY
    assert admitted(office.registry) == frozenset()
    office.clock.ahead = 11 * DAY
    assert admitted(office.registry) == {one.device}
