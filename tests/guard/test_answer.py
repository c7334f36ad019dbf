"""What the fleet hears of its policies: number, digest, how much waits for the owner, what was refused; once each."""

import hashlib
from typing import Any

import pytest

from agent.core import cbor
from agent.core.errors import BadPolicy, OldPolicy, UnknownSetting
from provisioning.fleet.rollout import Said, read_answer
from tests.guard.conftest import Kept


@pytest.fixture
def kept(kept: Kept) -> Kept:
    """Give a device whose guard runs."""
    if kept.built is None:
        kept.start()
    return kept


class Ear:
    """Hears what the courier is told, and lets it be sent at once."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.words: list[Said] = []
        kept.house.outbox.connected(self.publish)

    def publish(self, number: int, suffix: str, payload: bytes) -> None:
        """Take one message."""
        if suffix == "state":
            self.words.append(read_answer(payload))
        self.kept.house.outbox.sent(number)

    def link(self, word: str) -> None:
        """Let the courier say how the link is."""
        self.kept.house.heard(["state", word, ""])


def newer(sequence: int, **baseline: Any) -> Any:
    """Return what makes a policy newer, and asks for other values."""

    def change(table: dict[str, Any]) -> None:
        table["sequence"] = sequence
        for name, value in baseline.items():
            setting = name.replace("__", ".")
            table["baseline"][setting] = value
            table["reasons"][setting] = "A test."

    return change


def short(signed: bytes) -> bytes:
    """Return the digest by which a policy is called."""
    return hashlib.sha256(signed).digest()[:16]


def test_a_connection_is_told_what_is_in_force(kept: Kept) -> None:
    """At each connection, once; without a link nothing is said."""
    ear = Ear(kept)
    assert ear.words == []
    ear.link("connected")
    seed = kept.system.read("/etc/privet/policy.cbor")
    assert ear.words == [Said(sequence=1, digest=short(seed), waiting=0, refused=b"", why=0)]
    kept.house.answer.tell()
    assert len(ear.words) == 1
    ear.link("offline")
    ear.link("connected")
    assert len(ear.words) == 2
    assert ear.words[0] == ear.words[1]


def test_a_looser_policy_waits_until_the_owner_says_yes(kept: Kept) -> None:
    """How many settings wait is told; the owner's yes is told as one fewer, and not which."""
    ear = Ear(kept)
    ear.link("connected")
    signed = kept.signed(newer(2, ssh__password="yes", ssh__root="yes"))
    kept.house.heard(["received", "policy", signed])
    assert (ear.words[-1].sequence, ear.words[-1].digest, ear.words[-1].waiting) == (2, short(signed), 2)
    assert kept.house.rules.baseline()["ssh.password"] == "no"
    kept.loosen("ssh.password", "yes")
    kept.house.answer.tell()  # as it does after every request on its socket
    assert ear.words[-1].waiting == 1
    kept.ask("tighten", setting="ssh.password")
    kept.house.answer.tell()
    assert ear.words[-1].waiting == 2


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (newer(2, no__such="x"), UnknownSetting),
        (newer(1), OldPolicy),
        (newer(2, ssh__password="perhaps"), BadPolicy),
    ],
)
def test_a_refused_policy_is_told_with_its_reason(kept: Kept, change: Any, kind: type[BadPolicy]) -> None:
    """The digest of what was refused and the kind of reason; what is in force stays, and is said beside it."""
    ear = Ear(kept)
    ear.link("connected")

    def other(table: dict[str, Any]) -> None:
        change(table)
        table["issued"] += 1  # other bytes than those in force

    signed = kept.signed(other)
    kept.house.heard(["received", "policy", signed])
    assert ear.words[-1].refused == short(signed)
    assert ear.words[-1].why == kind.exit_code
    assert ear.words[-1].sequence == 1
    good = kept.signed(newer(3))
    kept.house.heard(["received", "policy", good])
    assert (ear.words[-1].sequence, ear.words[-1].refused, ear.words[-1].why) == (3, b"", 0)


def test_the_policy_in_force_sent_again_is_no_refusal(kept: Kept) -> None:
    """The fleet did not hear the answer: it is given again, as a yes."""
    ear = Ear(kept)
    ear.link("connected")
    signed = kept.signed(newer(2))
    for _ in range(2):
        kept.house.heard(["received", "policy", signed])
    assert [word.why for word in ear.words] == [0, 0, 0]
    assert ear.words[1] == ear.words[2]


def test_no_more_is_unanswered_than_the_courier_takes(kept: Kept) -> None:
    """With twenty unanswered the word waits, and only the newest is said."""
    said: list[bytes] = []
    kept.house.outbox.connected(lambda number, suffix, payload: said.append(payload))
    kept.house.outbox.unsent = dict.fromkeys(range(1000, 1020), "climate")
    kept.house.heard(["state", "connected", ""])
    kept.house.heard(["received", "policy", kept.signed(newer(2))])
    assert said == []
    kept.house.outbox.sent(1000)
    kept.house.outbox.pump()
    assert [cbor.decode(payload)[1] for payload in said] == [2]
