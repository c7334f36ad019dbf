"""A hub joins a fleet: its keys stay where they were made, and nobody can take its place or answer for another."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.errors import BadInput, Missing, Refused
from agent.system import sealing
from provisioning.collector.open import SUITE
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import Passphrase, alone
from provisioning.opener import joining
from provisioning.profile.issue import recipient_keys


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """A fleet that knows no recipient."""
    made = Fleet.create(tmp_path / "fleet", "garden")
    made.safe.seal(broker_host="broker.garden.example", broker_port="8883")
    return made


def answered(fleet: Fleet, request: Path) -> Path:
    """Return the file with the fleet's answer."""
    path = request.with_name("answer.json")
    path.write_bytes(joining.admit(fleet, request)[1])
    return path


@pytest.mark.parametrize("lock", [None, Passphrase("a long passphrase")], ids=["open", "locked"])
def test_the_private_key_never_leaves_the_hub(fleet: Fleet, tmp_path: Path, lock: Passphrase | None):
    """What is sealed to the recipient opens on the hub; the request and the fleet's directory hold no secret of it."""
    request = joining.ask(tmp_path / "hub", "home", lock)
    hub = joining.take(tmp_path / "hub", answered(fleet, request), lock)
    assert (hub.name, hub.safe.facts["broker_host"]) == ("garden", "broker.garden.example")
    assert hub.trust_anchor() == fleet.trust_anchor()
    public = recipient_keys(fleet, ["home"])["home"]
    sealed = SUITE.encrypt(b"warm", sealing.recipient_key(public), info=b"x")
    assert SUITE.decrypt(sealed, hub.recipient_key("home"), info=b"x") == b"warm"
    with pytest.raises(Missing):
        fleet.recipient_key("home")
    secrets = [(tmp_path / "hub" / name).read_bytes() for name in ("recipient-home.key", "service.key")]
    held = [path.read_bytes() for path in (tmp_path / "fleet").rglob("*") if path.is_file()] + [request.read_bytes()]
    lines = {line for secret in secrets for line in secret.splitlines() if len(line) > 40 and b"PRIVATE" not in line}
    assert lines and not [line for line in lines for content in held if line in content]
    given = joining.identity(hub)
    assert given is not None and b"BEGIN CERTIFICATE" in given[0]
    assert joining.identity(fleet) is None


def test_asking_again_is_the_same_request(fleet: Fleet, tmp_path: Path):
    """The keys stay; a further answer renews the certificate alone."""
    first = joining.ask(tmp_path / "hub", "home", None)
    before = json.loads(first.read_bytes())["public"]
    joining.take(tmp_path / "hub", answered(fleet, first), None)
    again = joining.ask(tmp_path / "hub", "home", None)
    assert json.loads(again.read_bytes())["public"] == before
    joining.take(tmp_path / "hub", answered(fleet, again), None)


def test_keys_that_are_being_made_are_left_alone(tmp_path: Path):
    """While one command makes keys in a directory, another one makes none there; afterwards it may."""
    (tmp_path / "hub").mkdir()
    with alone(tmp_path / "hub"), pytest.raises(Refused, match="another command"):
        joining.ask(tmp_path / "hub", "home", None)
    assert not list((tmp_path / "hub").iterdir())
    assert joining.ask(tmp_path / "hub", "home", None).exists()


def test_nobody_takes_the_place_of_a_recipient(fleet: Fleet, tmp_path: Path):
    """A request under a name that has another key, made at the fleet or by another hub, changes nothing."""
    joining.admit(fleet, joining.ask(tmp_path / "hub", "home", None))
    known = recipient_keys(fleet, ["home"])
    with pytest.raises(Refused, match="another key"):
        joining.admit(fleet, joining.ask(tmp_path / "thief", "home", None))
    assert recipient_keys(fleet, ["home"]) == known
    fleet.add_recipient("collector")
    with pytest.raises(Refused, match="another key"):
        joining.admit(fleet, joining.ask(tmp_path / "other", "collector", None))
    with pytest.raises(Refused, match="somebody else"):
        joining.ask(tmp_path / "fleet", "home", None)


CHANGES: dict[str, Callable[[dict[str, str]], object]] = {
    "another recipient": lambda f: f.update(recipient="clinic"),
    "no certificate": lambda f: f.update(certificate=""),
    "the root as certificate": lambda f: f.update(certificate=f["root"]),
    "no root": lambda f: f.update(root=""),
    "a leaf alone": lambda f: f.update(certificate=f["certificate"].split("-----END")[0] + "-----END CERTIFICATE-----"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_answer_for_others_is_refused(fleet: Fleet, tmp_path: Path, change: Callable[[dict[str, str]], object]):
    """Changed, cut or for somebody else: nothing of it is kept. The unchanged one is taken."""
    path = answered(fleet, joining.ask(tmp_path / "hub", "home", None))
    genuine = path.read_bytes()
    facts = json.loads(genuine)
    change(facts)
    path.write_text(json.dumps(facts))
    with pytest.raises(Refused):
        joining.take(tmp_path / "hub", path, None)
    with pytest.raises(Missing, match="not here yet"):
        joining.admitted(tmp_path / "hub")
    path.write_bytes(genuine)
    joining.take(tmp_path / "hub", path, None)
    joining.admitted(tmp_path / "hub")


def test_an_answer_for_another_hub_is_refused(fleet: Fleet, tmp_path: Path):
    """Same name, other keys, or another fleet's answer later: the certificate must be for the keys here."""
    other = Fleet.create(tmp_path / "other", "field")
    path = answered(other, joining.ask(tmp_path / "thief", "home", None))
    request = joining.ask(tmp_path / "hub", "home", None)
    with pytest.raises(Refused, match="not for the keys"):
        joining.take(tmp_path / "hub", path, None)
    joining.take(tmp_path / "hub", answered(fleet, request), None)
    with pytest.raises(Refused, match="belongs to the fleet garden"):
        joining.take(tmp_path / "hub", answered(Fleet.create(tmp_path / "third", "hill"), request), None)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"form": "privet request 1"}', b"x" * 70_000])
def test_garbage_is_one_sentence(fleet: Fleet, tmp_path: Path, content: bytes):
    """As a request and as an answer."""
    joining.ask(tmp_path / "hub", "home", None)
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(BadInput, match="make it again"):
        joining.admit(fleet, tmp_path / "bad.json")
    with pytest.raises(BadInput, match="make it again"):
        joining.take(tmp_path / "hub", tmp_path / "bad.json", None)
    with pytest.raises(Missing):
        joining.admit(fleet, tmp_path / "none.json")


@pytest.mark.parametrize("public", ["", "AAAA", "A" * 1624, "!"])
def test_a_key_that_is_none_is_told(fleet: Fleet, tmp_path: Path, public: str):
    """Before it could come into a policy."""
    request = joining.ask(tmp_path / "hub", "home", None)
    facts = json.loads(request.read_bytes()) | {"public": public}
    request.write_text(json.dumps(facts))
    with pytest.raises(BadInput, match="sealed to"):
        joining.admit(fleet, request)
    assert recipient_keys(fleet, ["home"]) == {}
