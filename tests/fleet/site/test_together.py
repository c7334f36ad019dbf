"""Two servers, two operators, one registry in either database: one wins, the other hears why, nothing is doubled."""

import base64
import hashlib
import multiprocessing
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, update

from agent.core.errors import PrivetError, Refused, Unreachable
from provisioning.fleet import desk
from provisioning.fleet.authority import PEM, plain
from provisioning.fleet.est import TIME
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Planned, Registry
from provisioning.fleet.safe import alone, new_file, whole_file
from provisioning.fleet.tables import batches, certificates, devices, tokens
from provisioning.profile.issue import add_recipient
from tests.fleet import enrolling
from tests.fleet.enrolling import DAY, KIND, Office, asked, key
from tests.fleet.site.together import at_once, claims, commands, posted, servers
from tests.fleet.test_handover import receipt
from tests.fleet_cli.test_verbs import BASE

ROUNDS = 4


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> str:
    """Give the registry's place: a file in the fleet's directory, or an empty database."""
    return request.getfixturevalue("postgres").fresh() if request.param == "postgresql" else ""


@pytest.fixture
def office(tmp_path: Path, place: str) -> Iterator[Office]:
    """Give a fleet with its registry, and a profile beside it."""
    made = Office(tmp_path, place)
    made.fleet.safe.seal(registry=place, enrol_host="127.0.0.1", enrol_port="8444")
    made.fleet.safe.seal(broker_host="broker.example", broker_port="8883")
    add_recipient(made.fleet, "collector")
    whole_file(tmp_path / "profiles/base.toml", BASE.encode())
    yield made
    made.registry.close()


def events(office: Office, device: str) -> list[str]:
    """Return what the ledger tells of a device."""
    return [row.event for row in office.registry.shown(device)[2]]


def test_one_token_at_two_servers_is_used_once(office: Office):
    """With two keys: one certificate, and the device is shut. With one key: the same certificate from both."""
    with servers(office) as ports:
        for _ in range(ROUNDS):
            one = office.planned()[0]
            got = claims(office, ports, one, key(), key())
            assert sorted(status for status, _ in got) == [200, 403]
            assert desk.COPY.encode() in next(said for status, said in got if status == 403)
            assert events(office, one.device) == ["claimed", "quarantined"]
            two, mine = office.planned()[0], key()
            same = claims(office, ports, two, mine, mine)
            assert [status for status, _ in same] == [200, 200] and same[0] == same[1]
            assert events(office, two.device) == ["claimed", "given again"]
            assert len(office.registry.shown(two.device)[1]) == 1
    assert office.registry.verify() == ROUNDS * 6


def test_one_renewal_at_two_servers_is_one(office: Office, tmp_path: Path):
    """The same question at both: one new certificate, given twice, and one row that says so."""
    with servers(office) as ports:
        for number in range(ROUNDS):
            one, mine, new = office.planned()[0], key(), key()
            old = office.claim(one, asked(mine)).certificate
            with office.registry.act() as (connection, _book):
                early = {name: certificates.c[name] - 70 * DAY for name in ("begins", "ends")}
                connection.execute(update(certificates).where(certificates.c.device == one.device).values(**early))
            home = at_home(office, tmp_path / str(number), old, mine)
            body = base64.b64encode(enrolling.request(new))
            got = at_once([posted(office, port, "simplereenroll", body, KIND, home) for port in ports])
            assert [status for status, _ in got] == [200, 200] and got[0] == got[1]
            assert events(office, one.device).count("renewed") == 1
            assert len(office.registry.shown(one.device)[1]) == 2
    assert office.registry.verify() >= 1


def test_one_voucher_is_used_once(office: Office):
    """A receipt at both servers: one end, one voucher, the same bytes; its token then opens one claim."""
    with servers(office) as ports:
        for _ in range(ROUNDS):
            one, mine = office.planned()[0], key()
            office.claim(one, asked(mine))
            office.registry.transfer(one.device, "ada")
            drawn = hashlib.sha256(one.token).digest()  # by the device itself
            signed = receipt(mine, one.device, drawn)
            head = {"Content-Type": TIME}
            got = at_once([posted(office, port, "erased", signed, head) for port in ports])
            assert [status for status, _ in got] == [200, 200] and got[0] == got[1]
            assert events(office, one.device) == ["claimed", "transfer", "erased", "vouched"]
            owner = Planned(device=one.device, token=drawn)
            assert sorted(status for status, _ in claims(office, ports, owner, key(), key())) == [200, 403]
            assert events(office, one.device)[4:] == ["claimed", "quarantined"]
    assert office.registry.verify() >= 1


def at_home(office: Office, folder: Path, der: bytes, mine: ec.EllipticCurvePrivateKey) -> Path:
    """Lay a certificate and its key into files."""
    pem = x509.load_der_x509_certificate(der).public_bytes(PEM)
    whole_file(folder / "cert.pem", pem + office.fleet.safe.read("device-ca.pem"))
    whole_file(folder / "key.pem", plain(mine))
    return folder


def test_two_operators_about_one_device(office: Office):
    """Quarantine and release at once, from both states: one order of the two happened, and the loser hears why."""
    one = office.planned()[0]
    office.claim(one, asked(key()))
    quarantine = ("devices", "quarantine", one.device, "--why", "seen at a market", "--by", "ada")
    release = ("devices", "release", one.device, "--why", "it was my own", "--by", "bert")
    for _ in range(3):
        before = events(office, one.device)
        shut, free = commands(office, quarantine, release)
        fresh, state = events(office, one.device)[len(before) :], office.state(one.device)
        assert shut.code == 0
        if free.code:
            assert free.code == Refused.exit_code and free.said["error"].count("; ") <= 1
            assert "release is not possible" in free.said["error"]
        assert sorted(fresh) == sorted(["quarantined"] + ["released"] * (free.code == 0))
        assert state == ("quarantined" if fresh[-1] == "quarantined" else "claimed")
    twice = commands(office, release, release) if office.state(one.device) == "quarantined" else []
    assert sorted(one.code for one in twice) in ([], [0, Refused.exit_code])
    assert office.registry.verify() >= 1


def test_two_operators_with_one_list_of_boards(office: Office, tmp_path: Path):
    """One makes the batch; the other hears of the devices that have these boards, and leaves nothing behind."""
    boards = tmp_path / "boards.csv"
    boards.write_text("serial\n" + "".join(f"10000000abcd{number:04x}\n" for number in range(50)))
    create = ("batch", "create", "--serials", str(boards))
    won, lost = sorted(commands(office, create, create), key=lambda one: one.code)
    assert (won.code, lost.code) == (0, Refused.exit_code), (won.said, lost.said)
    assert "belongs to the device" in lost.said["error"]
    folder = office.fleet.safe.directory / "batches"
    assert [path.name for path in folder.iterdir()] == [str(won.said["batch"])]
    assert sorted(path.stem for path in (folder / str(won.said["batch"])).iterdir()) == sorted(won.said["devices"])
    with office.registry.engine.connect() as connection:
        counted = [len(connection.execute(select(table)).all()) for table in (batches, devices, tokens)]
    assert counted == [1, 50, 50]
    both = commands(office, ("batch", "create", "--count", "5"), ("batch", "create", "--count", "7"))
    assert sorted(one.said["batch"] for one in both) == [2, 3]
    assert len(office.registry.listing()) == 62 and office.registry.verify() == 3


def test_a_batch_that_cannot_be_laid_leaves_nothing(office: Office, tmp_path: Path):
    """Where there is no room for the seeds no board is taken: the same list works once there is."""
    boards, folder = tmp_path / "boards.csv", office.fleet.safe.directory / "batches"
    boards.write_text("serial\n10000000abcd0001\n")
    folder.write_text("in the way")
    create = ("batch", "create", "--serials", str(boards))
    (told,) = commands(office, create)
    assert told.code and "do it again" in told.said["error"] and office.registry.listing() == []
    folder.unlink()
    (told,) = commands(office, create)
    assert told.code == 0 and len(office.registry.listing()) == 1


def test_two_operators_with_one_policy(office: Office):
    """Who pushes while another does is sent away at once and changes nothing; a status then says what is known."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a broker that takes the call and never says a word
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        push = ("policy", "push", "base", "--device", "d-1", "--broker", at, "--wait", "0")
        both = sorted(commands(office, push, push), key=lambda one: one.code)
    assert [one.code for one in both] == [Unreachable.exit_code, Refused.exit_code], [one.said for one in both]
    assert "another privet-fleet hands out a policy" in both[1].said["error"]
    assert len(list(office.fleet.safe.directory.glob("policies/*/*/*.cbor"))) == 1
    with alone(office.fleet.safe.directory, "busy; wait"):
        (told,) = commands(office, ("policy", "status", "--broker", at))
    assert told.code and "another privet-fleet" in told.said["cause"] and len(told.said["rollouts"]) == 1


def opened_at_once(fleet: str, place: str, start: Any, ended: Any) -> None:
    """Open a registry at the same moment as others, and do one act."""
    opened = Fleet.open(Path(fleet))
    start.wait(60)
    try:
        registry = Registry(opened, place)
        registry.batch(1)
        registry.close()
        ended.put("")
    except PrivetError as error:
        ended.put(str(error))


def test_a_registry_is_made_once(tmp_path: Path, place: str):
    """Six processes open one that is not there yet: each finds it, and each one's act is in the chain."""
    fleet = Fleet.create(tmp_path / "fleet", "meadow")
    context = multiprocessing.get_context("spawn")
    start, ended = context.Barrier(6), context.Queue()
    words = (str(fleet.safe.directory), place, start, ended)
    crowd = [context.Process(target=opened_at_once, args=words) for _ in range(6)]
    for one in crowd:
        one.start()
    assert [ended.get(timeout=120) for _ in crowd] == [""] * 6
    for one in crowd:
        one.join()
    registry = Registry(fleet, place)
    assert registry.verify() == 6 and len(registry.listing()) == 6
    registry.close()


def test_a_number_is_given_once(tmp_path: Path):
    """Of two who put a file under one name the second is told; the first one's stays, and nothing lies beside it."""
    assert [new_file(tmp_path / "1.cbor", content) for content in (b"first", b"second")] == [True, False]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("1.cbor", b"first")]


def test_who_has_to_wait_hears_it(tmp_path: Path):
    """A lock that another holds: refused with the sentence; free again when it was let go."""
    with alone(tmp_path), pytest.raises(Refused, match="busy"), alone(tmp_path, "busy; wait"):
        pass
    with alone(tmp_path, "busy; wait"):
        pass
