"""`privet-fleet batch`, `devices`, `ledger` and `serve`, as an operator types them."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import sqlite3
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from agent.core.cose import split_sign1
from agent.core.errors import WrongDevice
from agent.core.secret import Secret
from agent.core.seed import SealedSeed
from agent.core.slot import choose
from agent.system import unsealing
from provisioning.broker.mosquitto import free_port
from provisioning.cli.main import cli
from provisioning.fleet import handover
from provisioning.fleet.desk import Desk as Counter
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Planned, Registry
from provisioning.fleet.revocation import revoked
from provisioning.fleet.tables import tokens
from tests.fleet.enrolling import KIND, asked, key, login, request
from tests.fleet.test_handover import receipt
from tests.fleet_cli.test_verbs import BASE


class Desk:
    """A fleet and its profile, asked through the command."""

    def __init__(self, folder: Path) -> None:
        self.fleet = folder / "fleet"
        self.folder = folder
        (folder / "profiles").mkdir()
        (folder / "profiles/base.toml").write_text(BASE)
        self.told("init", "--no-passphrase", "--name", "garden", "--broker", "broker.example")

    def told(self, *words: str) -> dict[str, Any]:
        """Run the command with --json and return its answer."""
        environment = {"PRIVET_FLEET": str(self.fleet), "PRIVET_PROFILES": str(self.folder / "profiles")}
        result = CliRunner().invoke(cli, [*words, "--json"], env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        answer: dict[str, Any] = json.loads(result.stdout)
        assert answer["ok"] == (result.exit_code == 0), result.stderr
        return answer

    def said(self, *words: str) -> str:
        """Run the command for people; return what it prints."""
        result = CliRunner().invoke(cli, words, env={"PRIVET_FLEET": str(self.fleet)})
        assert result.exit_code == 0, result.output
        return result.stdout

    def seed(self, path: Path) -> Planned:
        """Read a seed as a device does."""
        seed = choose(path.read_bytes(), self.verified)
        assert (seed.enrol_host, seed.enrol_port, seed.broker_host) == ("127.0.0.1", 8444, "broker.example")
        return Planned(device=seed.device, token=seed.token.reveal())

    def verified(self, message: bytes) -> bytes:
        """Return what the fleet signed."""
        signed = split_sign1(message, len(message))
        Fleet.open(self.fleet).signing_key().public_key().verify(signed.signature, signed.signed)
        return signed.payload


@pytest.fixture
def house(tmp_path: Path) -> Desk:
    """Give a fleet."""
    return Desk(tmp_path)


def test_a_batch_lies_ready_for_the_station(house: Desk):
    """One closed file for each device, with a seed that a device reads; the registry has no token."""
    told = house.told("batch", "create", "--count", "3", "--enrol", "127.0.0.1:8444")
    folder = Path(told["directory"])
    assert sorted(path.stem for path in folder.iterdir()) == sorted(told["devices"])
    assert all(path.stat().st_mode & 0o077 == 0 and path.stat().st_size == 8192 for path in folder.iterdir())
    cards = [house.seed(path) for path in folder.iterdir()]
    assert len({one.token for one in cards}) == 3
    content = (house.fleet / "registry.db").read_bytes()
    assert all(one.token not in content and one.token.hex().encode() not in content for one in cards)
    assert house.told("batch", "create", "--count", "1")["batch"] == 2, "where devices enrol was kept"
    assert house.told("devices", "list")["counted"] == {"planned": 4}
    assert "4 planned" in house.said("devices", "list")
    assert house.told("ledger", "verify")["rows"] == 2


def test_a_batch_for_boards(house: Desk):
    """Each seed is bound to its board; --dry-run makes nothing; a second batch for the same board is refused."""
    boards = house.folder / "boards.csv"
    boards.write_text("serial,place\n10000000aaaa0001,porch\n10000000aaaa0002,roof\n")
    words = ("batch", "create", "--serials", str(boards), "--enrol", "127.0.0.1:8444")
    assert house.told(*words, "--dry-run") == {"ok": True, "count": 2, "changed": False}
    assert not (house.fleet / "batches").exists() and not (house.fleet / "policies").exists()
    told = house.told(*words)
    assert house.told("devices", "show", told["devices"][0])["bound"]
    again = house.told(*words)
    assert (again["code"], any(one in again["error"] for one in told["devices"])) == (77, True)
    assert house.told("batch", "create", "--count", "3", "--serials", str(boards))["code"] == 65
    assert house.told("batch", "create")["code"] == 65


def test_a_seed_is_sealed_where_the_board_is_known(house: Desk):
    """Of a list with keys, and of one device: the token lies in no file of the station; its board alone reads it."""
    secret = Secret(b"b" * 32)
    text = base64.b64encode(unsealing.public(secret)).decode()
    boards, key = house.folder / "boards.csv", house.folder / "key.txt"
    boards.write_text(f"serial,key\n10000000aaaa0001,{text}\n10000000aaaa0002,\n")
    key.write_text(f"10000000aaaa0001,{text}\n")
    told = house.told("batch", "create", "--serials", str(boards), "--enrol", "127.0.0.1:8444")
    assert (told["count"], told["sealed"]) == (2, 1)
    shut, open_one = (Path(told["directory"]) / f"{one}.slot" for one in told["devices"])
    assert house.seed(open_one).device == told["devices"][1]
    with pytest.raises(WrongDevice):
        house.seed(shut)
    assert house.told("devices", "reseed", told["devices"][0], "--board-key", str(key), "--by", "ada")["ok"]
    again = house.fleet / "devices" / told["devices"][0] / f"{told['devices'][0]}.slot"

    def unsealed(sealed: SealedSeed) -> bytes:
        return unsealing.unseal(secret, sealed.board, sealed.context, sealed.sealed)

    seeds = [choose(one.read_bytes(), house.verified, unsealed) for one in (shut, again)]
    assert {one.device for one in seeds} == {told["devices"][0]} and len({one.token.reveal() for one in seeds}) == 2
    key.write_text("nonsense\n")
    assert house.told("devices", "reseed", told["devices"][0], "--board-key", str(key))["code"] == 65


def test_a_wrong_list_makes_nothing(house: Desk):
    """The command tells the line, and neither batch nor registry is there afterwards."""
    boards = house.folder / "boards.csv"
    boards.write_text("serial\nA1\n\u202e2B\n")
    told = house.told("batch", "create", "--serials", str(boards), "--enrol", "127.0.0.1")
    assert (told["code"], "line 3" in told["error"]) == (65, True)
    assert not (house.fleet / "registry.db").exists() and not (house.fleet / "batches").exists()


def test_a_device_from_quarantine_to_its_end(house: Desk):
    """Each act says what it did and is in the ledger with a name; what cannot be is refused."""
    one, two = house.told("batch", "create", "--count", "2", "--enrol", "127.0.0.1")["devices"]
    shut = ("devices", "quarantine", one, "--why", "seen at a market", "--by", "ada")
    assert house.told(*shut, "--dry-run")["state"] == "planned"
    assert house.told(*shut)["state"] == "quarantined"
    assert one in house.said("devices", "list", "--state", "quarantined")
    free = ("devices", "release", one, "--why", "found", "--by", "ada")
    assert house.told(*free, "--dry-run")["state"] == "quarantined"
    assert "was planned and not flashed yet" in house.said(*free)
    claimed(house, one)
    house.told(*shut)
    assert house.told(*free)["state"] == "claimed"
    assert house.told("devices", "transfer", one, "--by", "ada")["state"] == "transferring"
    assert house.told("devices", "transfer", one)["code"] == 77, "neither receipt nor name"
    assert house.told("devices", "transfer", one, "--without-receipt", "--by", "ada")["state"] == "reset"
    assert house.seed(house.fleet / "devices" / one / f"{one}.slot").device == one
    before = house.seed(house.fleet / "devices" / one / f"{one}.slot").token
    assert house.told("devices", "reseed", one)["state"] == "reset"
    assert house.seed(house.fleet / "devices" / one / f"{one}.slot").token != before
    assert house.told("devices", "retire", two)["code"] == 77
    assert house.told("devices", "retire", two, "--by", "ada")["state"] == "retired"
    over = house.told("devices", "release", two, "--why", "please")
    assert (over["code"], "retired for good" in over["error"]) == (77, True)
    assert house.told("devices", "show", "d-none")["code"] == 66
    events = [row["event"] for row in house.told("devices", "show", one)["ledger"]]
    twice = ["quarantined", "released"]
    assert events == [*twice, "flash", "claimed", *twice, "transfer", "erased", "flash"]
    text = house.said("devices", "show", one)
    assert "seen at a market ada" in text and "waits to be claimed by its new owner" in text


def claimed(house: Desk, device: str) -> bytes:
    """Write a device's seed and let it come with the token; return its certificate (DER)."""
    house.told("devices", "reseed", device, "--enrol", "127.0.0.1")
    token = house.seed(house.fleet / "devices" / device / f"{device}.slot").token
    fleet = Fleet.open(house.fleet)
    with contextlib.closing(Registry(fleet)) as registry, registry.act() as (connection, book):
        desk = Counter(fleet, connection, book, registry.now())
        return desk.claim(device, hashlib.sha256(token).digest(), asked(key())).certificate


def test_who_was_revoked_by_hand_stays_so(house: Desk, tmp_path: Path):
    """`broker revoke` of a device in use: in the ledger with name and reason; no later verb lists it as good again."""
    one, two = house.told("batch", "create", "--count", "2", "--enrol", "127.0.0.1")["devices"]
    cert = x509.load_der_x509_certificate(claimed(house, one))
    (tmp_path / "cert.pem").write_bytes(cert.public_bytes(Encoding.PEM))
    shut = ("broker", "revoke", str(tmp_path / "cert.pem"), "--why", "in a backup", "--by", "ada")
    assert [row["name"] for row in house.told(*shut)["revoked"]] == [one]
    house.told("devices", "quarantine", two, "--why", "lost")
    house.told("devices", "quarantine", one, "--why", "lost")
    assert house.told("devices", "release", one, "--why", "found")["state"] == "revoked"
    assert "write a new seed" in house.said("devices", "show", one)
    assert cert.serial_number in {row.serial for row in revoked(Fleet.open(house.fleet))}
    told = [row for row in house.told("devices", "show", one)["ledger"] if row["event"] == "revoked"]
    assert [(row["why"], row["by"]) for row in told] == [("in a backup", "ada")]
    assert house.told(*shut)["revoked"] == [], "it is revoked already"
    claimed(house, one)
    assert house.told("devices", "show", one)["state"] == "claimed"
    assert cert.serial_number in {row.serial for row in revoked(Fleet.open(house.fleet))}


def test_meddling_ends_with_its_own_exit_code(house: Desk):
    """`ledger verify` names the row and exits with 18; so does a ledger whose end is gone."""
    house.told("batch", "create", "--count", "1", "--enrol", "127.0.0.1")
    house.told("batch", "create", "--count", "1")
    with sqlite3.connect(house.fleet / "registry.db") as meddler:
        meddler.execute("delete from ledger where row = 2")
    meddler.close()
    told = house.told("ledger", "verify")
    assert (told["code"], "row 2 of the ledger is missing" in told["error"]) == (18, True)


def test_serve_runs_until_it_is_told_to_end(house: Desk):
    """The real command: it says where it listens, enrols a device of a batch, tells of a copy, and ends with 0."""
    folder = Path(house.told("batch", "create", "--count", "1", "--enrol", "127.0.0.1:8444")["directory"])
    card = house.seed(next(folder.iterdir()))
    port = free_port()
    argv = [sys.executable, "-m", "provisioning.cli", "serve", "--fleet", str(house.fleet), "--json"]
    server = subprocess.Popen(
        [*argv, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        assert told == {"ok": True, "address": "127.0.0.1", "port": port, "names": ["127.0.0.1"]}
        context = ssl.create_default_context(cadata=Fleet.open(house.fleet).trust_anchor().decode())
        for private, status in ((key(), 200), (key(), 403)):
            link = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
            body = base64.b64encode(request(private))
            link.request("POST", "/.well-known/est/simpleenroll", body, {**KIND, **login(card)})
            assert link.getresponse().status == status
            link.close()
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=30)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 0, err
    assert f"{card.device} is in quarantine" in err and "Traceback" not in err
    registry = Registry(Fleet.open(house.fleet))
    assert registry.verify() >= 3
    registry.close()


def test_an_owner_who_began_by_erasing(house: Desk):
    """A device that handed its receipt in by itself waits for the operator's word; the command is that word."""
    one = house.told("batch", "create", "--count", "1", "--enrol", "127.0.0.1")["devices"][0]
    registry = Registry(Fleet.open(house.fleet))
    mine = key()
    with registry.act() as (connection, book):
        row = connection.execute(select(tokens)).one()
        desk = Counter(registry.fleet, connection, book, registry.now())
        desk.claim(one, row.hash, asked(mine))
        assert handover.taken(desk, receipt(mine, one)).sentence == handover.ASKS
    registry.close()
    assert "its owner erased it" in house.said("devices", "list")
    told = house.told("devices", "transfer", one, "--by", "ada", "--dry-run")
    assert (told["state"], told["changed"]) == ("reset", False)
    assert house.told("devices", "transfer", one, "--by", "ada")["state"] == "reset"
    assert house.told("devices", "show", one)["ledger"][-1]["event"] == "vouched"
