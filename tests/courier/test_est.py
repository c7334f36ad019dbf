"""Enrolment over a real TLS connection: what a right server gives, and every way in which one can be wrong."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core import cbor
from agent.core.errors import BadInput
from agent.core.secret import Secret
from agent.courier import est
from agent.system import identity
from agent.system.vault import DirectVault
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file
from tests.courier.peer import HOST, Peer

VAULT = DirectVault(Secret(b"k" * 32))
TOKEN = bytes(range(32))
NOW = int(time.time())
YEARS = 5 * 366 * 86400


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet."""
    return Fleet.create(tmp_path_factory.mktemp("fleet") / "fleet", "meadow")


@pytest.fixture
def peer(fleet: Fleet, tmp_path: Path) -> Iterator[Peer]:
    """Its enrolment server, which knows the token of d1."""
    made = Peer(tmp_path / "server", fleet)
    made.admit("d1", TOKEN)
    yield made
    made.close()


@pytest.fixture
def home(fleet: Fleet, tmp_path: Path) -> Path:
    """A device that has nothing but its fleet's root."""
    whole_file(tmp_path / "home" / "ca.pem", fleet.trust_anchor())
    return tmp_path / "home"


@pytest.fixture(scope="module")
def key() -> Secret:
    """The device's own key."""
    return VAULT.new_identity("d1").key


def asking(peer: Peer, key: Secret, **changes: object) -> est.Question:
    """Return the question of a first enrolment, with changes."""
    fields = {
        "what": est.TOKEN, "host": HOST, "port": peer.port, "device": "d1", "token": TOKEN,
        "request": identity.request(VAULT, key, "d1"), "nonce": b"n" * 32, "now": NOW, "boot": "", **changes,
    }  # fmt: skip
    return est.question(fields)


def judged(answer: est.Answer, key: Secret, home: Path, now: int = NOW) -> identity.Certified:
    """Judge an answer as the guard does."""
    return identity.certified(VAULT, key, answer.body, ("d1", "meadow"), (home / "ca.pem").read_bytes(), now)


def test_a_certificate_comes_for_a_token_and_again_for_the_same_key(peer: Peer, home: Path, key: Secret):
    """The same token and key give the same certificate; another key is refused and rings the server's alarm."""
    first = est.ask(asking(peer, key), home)
    assert (first.outcome, first.why) == (est.GRANTED, "")
    made = judged(first, key, home)
    assert made.begins <= NOW < made.ends and made.chain.count(b"BEGIN CERTIFICATE") == 2
    assert identity.standing(VAULT, key, made.chain) == made
    assert judged(est.ask(asking(peer, key), home), key, home) == made
    other = VAULT.new_identity("d1").key
    refused = est.ask(asking(peer, other, request=identity.request(VAULT, other, "d1")), home)
    assert refused.outcome == est.REFUSED and "used with another key" in refused.why
    assert peer.alarms == 1


def test_it_renews_with_the_old_certificate_and_not_without(peer: Peer, home: Path, key: Secret):
    """The next key's request goes over mutual TLS, the server sees the old certificate's name."""
    whole_file(home / "key.pem", key.reveal())
    whole_file(home / "cert.pem", judged(est.ask(asking(peer, key), home), key, home).chain)
    follows = VAULT.new_identity("d1").key
    wanted = asking(
        peer, key, what=est.RENEW, port=peer.mutual, token=b"", request=identity.request(VAULT, follows, "d1")
    )
    made = judged(est.ask(wanted, home), follows, home)
    assert made.begins <= NOW < made.ends
    assert peer.asked[-1] == ("/.well-known/est/simplereenroll", "d1")
    with pytest.raises(BadInput, match="for another key"):
        judged(est.ask(wanted, home), key, home)


def refusal(answer: est.Answer, key: Secret, home: Path) -> str:
    """Return the sentence with which the courier, or else the guard, refuses an answer."""
    if answer.outcome != est.GRANTED:
        return answer.why
    with pytest.raises(BadInput) as refused:
        judged(answer, key, home)
    return str(refused.value)


REFUSALS = [
    ("garbage", est.GRANTED, "holds no certificate"),
    ("no base64", est.WRONG, "something that is no certificate"),
    ("html", est.WRONG, "something that is no certificate"),
    ("other key", est.GRANTED, "a certificate for another key"),
    ("other name", est.GRANTED, "a certificate for another device"),
    ("server use", est.GRANTED, "a certificate for another key"),
    ("redirect", est.WRONG, "points elsewhere"),
    ("not http", est.WRONG, "no enrolment server"),
    ("endless head", est.WRONG, "no enrolment server|more than a certificate needs"),
    ("announced", est.WRONG, "more than a certificate needs"),
    ("large", est.WRONG, "more than a certificate needs"),
    ("short", est.UNREACHABLE, "broke off"),
    ("drip", est.UNREACHABLE, "took too long"),
    ("mute", est.UNREACHABLE, "took too long|does not answer"),
    ("no tls", est.WRONG, "does not speak TLS"),
    ("status", est.BUSY, "is busy"),
]


@pytest.mark.parametrize(("fault", "outcome", "said"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_wrong_answer_is_one_sentence(fault: str, outcome: str, said: str, peer: Peer, home: Path, key: Secret):
    """Whatever a server does: one sentence, no certificate, in bounded time and memory; then the same one is right."""
    peer.fault = fault
    answer = est.ask(asking(peer, key), home, whole=1.0)
    assert peer.asked or fault in ("mute", "no tls")  # the fault fired
    assert answer.outcome == outcome
    assert re.search(said, refusal(answer, key, home))
    assert "broker" not in answer.why and "policy" not in answer.why
    assert len(peer.asked) <= 1  # nobody is followed anywhere
    if fault == "status":
        assert answer.wait == 120
    peer.fault = ""
    peer.bound.clear()
    assert judged(est.ask(asking(peer, key), home), key, home).begins <= NOW


def test_a_server_of_another_fleet_or_name_gets_nothing(fleet: Fleet, home: Path, key: Secret, tmp_path: Path):
    """Another authority, and our own for another host: refused in TLS, before the token is said."""
    other = Fleet.create(tmp_path / "other", "meadow")
    for shown, said in ((other.server([HOST]), "not this fleet's"), (fleet.server(["localhost"]), "address")):
        stranger = Peer(tmp_path / said.partition(" ")[0], fleet, shown)
        answer = est.ask(asking(stranger, key), home)
        stranger.close()
        assert answer.outcome == est.WRONG and said in answer.why
        assert stranger.asked == []


@pytest.mark.parametrize(
    ("now", "said"), [(NOW - YEARS, "not valid yet"), (NOW + YEARS, "has expired")], ids=["early", "late"]
)
def test_the_time_that_counts_is_the_one_given(now: int, said: str, peer: Peer, home: Path, key: Secret):
    """A chain that is not in force at `now` is refused before the token is said, whatever this machine's clock says."""
    answer = est.ask(asking(peer, key, now=now), home)
    assert answer.outcome == est.WRONG and said in answer.why and peer.asked == []
    assert est.ask(asking(peer, key), home).outcome == est.GRANTED


def test_the_time_is_asked_without_one_and_signed_over_the_nonce(peer: Peer, home: Path, key: Secret, fleet: Fleet):
    """Signed by the fleet, over our nonce, with the life of the certificate that was shown; a forged one is told."""
    wanted = asking(peer, key, what=est.TIME, token=b"", request=b"", now=0)
    answer = est.ask(wanted, home)
    assert answer.outcome == est.GRANTED and answer.begins < NOW < answer.ends
    said = cbor.decode(VAULT.verify_policy(answer.body, (fleet.policy_key(),)))
    assert said == ["privet time 1", b"n" * 32, peer.time]
    peer.fault = "forged time"
    with pytest.raises(BadInput):
        VAULT.verify_policy(est.ask(wanted, home).body, (fleet.policy_key(),))
    peer.fault = "no time"
    assert est.ask(wanted, home).outcome == est.ABSENT


def test_nobody_there(peer: Peer, home: Path, key: Secret):
    """A closed port and a name that is none are unreachable, each in a sentence."""
    peer.close()
    assert est.ask(asking(peer, key), home).outcome == est.UNREACHABLE
    answer = est.ask(asking(peer, key, host="no-such-host.invalid"), home)
    assert answer.outcome == est.UNREACHABLE and "name" in answer.why


@pytest.mark.parametrize(
    ("field", "value"),
    [("what", "root"), ("port", 0), ("host", "a b"), ("now", -1), ("now", 0), ("token", "text"), ("device", "a\nb")],
)
def test_an_odd_frame_is_refused(field: str, value: object, peer: Peer, key: Secret):
    """The courier asks nothing that the guard cannot have meant."""
    with pytest.raises(BadInput, match="same version"):
        asking(peer, key, **{field: value})


def test_the_token_is_in_no_word(peer: Peer, home: Path, key: Secret):
    """No answer, and no sentence, holds the token, raw or as it is sent."""
    whole = [est.ask(asking(peer, key), home)]
    for fault in ("redirect", "html", "status"):
        peer.fault = fault
        whole.append(est.ask(asking(peer, key), home))
    text = repr(whole)
    assert TOKEN.hex() not in text and repr(TOKEN)[2:-1] not in text
