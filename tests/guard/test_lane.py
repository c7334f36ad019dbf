"""The way out on a simulated device: refused, kept, acknowledged, let go, owned up to."""

import hashlib
import hmac

import pytest

from agent.core import cbor, cose
from agent.core.errors import BadInput, NotConsented, PrivetError, UnknownField
from agent.core.telemetry import Sample
from tests.guard.conftest import Kept


def send(kept: Kept, name: str = "temperature", number: str = "21.5") -> list[PrivetError | None]:
    """Hand in one reading; return what the application is told."""
    said: list[PrivetError | None] = []
    kept.house.outbox.take([Sample(name=name, number=number, at=kept.system.wall)], said.append)
    kept.house.outbox.flush()
    return said


def published(kept: Kept) -> list[tuple[int, str, bytes]]:
    """Let the outbox publish into a list."""
    out: list[tuple[int, str, bytes]] = []
    kept.house.outbox.connected(lambda number, topic, payload: out.append((number, topic, payload)))
    kept.house.outbox.pump()
    return out


def ack(kept: Kept, boot: int, seq: int, recipient: str = "collector") -> bytes:
    """Make the acknowledgement a recipient would send, with its ack key of that boot."""
    assert kept.store is not None
    key = kept.store.get("acks/climate")[boot][recipient][0]
    plain = cose.ack_plain("d1", "climate", recipient, boot, seq)
    return cose.join_ack("climate", recipient, boot, seq, hmac.digest(key, plain, hashlib.sha256))


def test_undeclared_and_unconsented_are_refused(kept: Kept) -> None:
    """Neither is kept; the error says what to do."""
    with pytest.raises(UnknownField):
        send(kept, "colour")
    with pytest.raises(NotConsented, match="privet consent give climate"):
        send(kept)
    assert kept.house.outbox.lanes["climate"].queue.size == 0
    kept.agree("climate")
    assert send(kept) == [None]
    kept.ask("consent", purpose="climate", state="withdrawn")
    with pytest.raises(NotConsented):
        send(kept)


def test_a_broker_without_recipient_frees_nothing(kept: Kept) -> None:
    """PUBACK makes room for more, and nothing is let go; what was not acknowledged comes again."""
    kept.agree("climate")
    send(kept)
    first = published(kept)
    size = kept.house.outbox.lanes["climate"].queue.size
    for number, _, _ in first:
        kept.house.outbox.sent(number)
    assert kept.house.outbox.lanes["climate"].queue.size == size > 0
    assert [p for _, _, p in published(kept)] == [p for _, _, p in first]
    kept.system.tick(6)
    again: list[bytes] = []
    kept.house.outbox.publish = lambda number, topic, payload: again.append(payload)
    kept.house.outbox.unsent = {}
    kept.house.outbox.pump()
    assert again == [p for _, _, p in first]


def test_a_reconnection_sends_again_at_once_and_once(kept: Kept) -> None:
    """The courier's word that it is connected begins anew; said again without a break in between, it does nothing."""
    kept.agree("climate")
    for _ in range(30):
        send(kept)
    out: list[bytes] = []

    def answered() -> list[bytes]:
        kept.house.outbox.pump()
        for number in list(kept.house.outbox.unsent):
            kept.house.heard(["sent", number])
        return [out.pop(0) for _ in range(len(out))]

    kept.house.outbox.connected(lambda number, topic, payload: out.append(payload) if topic != "state" else None)
    kept.house.heard(["state", "connected", ""])
    first, rest = answered(), answered()
    assert len(first) == 19  # and one word about the policy: twenty are unanswered at a time
    assert len(rest) == 12
    for _ in range(5):
        kept.house.heard(["state", "connected", "again"])
        assert answered() == []
    kept.house.heard(["state", "offline", "the broker is gone"])
    kept.house.heard(["state", "offline", "it is still gone"])
    assert answered() == []
    kept.house.heard(["state", "connected", ""])
    assert answered() == first
    assert answered() == rest


def test_withdrawn_and_given_again_goes_on_under_a_number_of_its_own(kept: Kept) -> None:
    """What was destroyed leaves no hole that a recipient would wait behind, and no ack key is used on."""
    kept.agree("climate")
    send(kept)
    assert kept.store is not None
    old = kept.store.get("acks/climate")
    kept.ask("consent", purpose="climate", state="withdrawn")
    assert kept.store.get("acks/climate") is None
    kept.agree("climate")
    send(kept)
    assert [cbor.decode(payload)[1:3] for _, _, payload in published(kept)] == [
        [kept.system.boot + 1, n] for n in (1, 2)
    ]
    new = kept.store.get("acks/climate")
    assert new[kept.system.boot + 1]["collector"][0] != old[kept.system.boot]["collector"][0]


def test_only_an_authentic_acknowledgement_lets_go(kept: Kept) -> None:
    """Another recipient, another key, a flipped bit, garbage: ignored, journaled, nothing let go."""
    kept.agree("climate")
    send(kept)
    published(kept)
    lane = kept.house.outbox.lanes["climate"]
    boot, good = kept.system.boot, ack(kept, kept.system.boot, 2)
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    others = [
        cose.join_ack(purpose, who, boot, 2, b"m" * 32) for purpose, who in (("climate", "x"), ("x", "collector"))
    ]
    bad = [flipped, b"", b"\xff" * 40, cbor.encode([1, "climate", "collector", boot]), *others]
    for one in bad:
        with pytest.raises(BadInput):
            kept.house.outbox.acknowledge(one)
        kept.house.heard(["received", "ack", one])
    assert lane.queue.count == 2
    kept.house.outbox.acknowledge(good)
    assert lane.queue.count == 0
    assert not lane.waits


def test_a_late_acknowledgement_of_an_early_epoch_counts(kept: Kept) -> None:
    """A recipient that catches up is heard, however many epochs came since: its ack key is one through all of them."""
    kept.agree("climate")
    lane = kept.house.outbox.lanes["climate"]
    for _ in range(7):
        lane.key = None
        send(kept)
    published(kept)
    kept.house.outbox.acknowledge(ack(kept, kept.system.boot, 2))
    assert lane.queue.pending()[0].seq == 3


def test_after_a_restart_the_queue_is_still_there(kept: Kept) -> None:
    """What was accepted before a power cut is sent after it, and the device itself cannot read it."""
    kept.agree("climate")
    send(kept, number="19.5")
    before = published(kept)
    kept.stop()
    kept.system.crash("all")
    kept.start()
    after = published(kept)
    assert [p for _, _, p in after] == [p for _, _, p in before]
    assert kept.house.outbox.lanes["climate"].key is None
    kept.house.outbox.acknowledge(ack(kept, kept.system.boot - 1, 2))


def test_a_batch_that_cannot_be_kept_is_refused_and_owned_up_to(kept: Kept) -> None:
    """The application is told; the lost numbers become a gap record in the next batch, under a fresh key."""
    kept.agree("climate")
    send(kept)
    lane = kept.house.outbox.lanes["climate"]
    append, lane.queue.append = lane.queue.append, refuse  # type: ignore[method-assign]
    said = send(kept)
    assert isinstance(said[0], PrivetError)
    lane.queue.append = append  # type: ignore[method-assign]
    epoch = lane.epoch
    assert send(kept) == [None]
    assert lane.epoch > epoch
    assert lane.dropped == 1
    assert lane.holes == ()


def refuse(rows: object, opening: bool = False) -> None:
    """Fail as a full disk does."""
    raise PrivetError("the disk is full; free some space")


def test_new_recipients_get_a_boot_number_of_their_own(kept: Kept) -> None:
    """They cannot open what was before, so it is not theirs to acknowledge; the old recipient still can."""
    kept.agree("climate")
    send(kept)
    old = kept.system.boot

    def change(table: dict[str, object]) -> None:
        rows = list(table["recipients"])  # type: ignore[call-overload]
        rows[0] = {**rows[0], "key": rows[0]["key"][:-1] + b"\x01"}
        table.update(sequence=2, recipients=rows)

    kept.house.take_policy(kept.signed(change))
    with pytest.raises(NotConsented):
        send(kept)
    kept.agree("climate")
    send(kept)
    boots = {cbor.decode(payload)[1] for _, _, payload in published(kept)}
    assert len(boots) == 2
    assert old in boots
    kept.house.outbox.acknowledge(ack(kept, old, 2))


def test_warnings_travel_sealed_once_agreed(kept: Kept) -> None:
    """The mqtt channel posts nothing before consent, and a sealed record after it."""
    kept.loosen("ssh.password", "yes")
    kept.house.outbox.flush()
    assert kept.house.outbox.lanes["warnings"].queue.size == 0
    kept.ask("tighten", setting="ssh.password")
    kept.agree("warnings")
    kept.loosen("ssh.forwarding", "tcp")
    kept.house.outbox.flush()
    assert kept.house.outbox.lanes["warnings"].queue.size > 0
    assert all(b"tunnel" not in payload for _, _, payload in published(kept))


def test_a_courier_that_goes_while_it_is_told_is_no_crash(kept: Kept) -> None:
    """It is lost in the middle of what it is given; the next one gets everything from the oldest record on."""
    kept.agree("climate")
    for _ in range(3):
        send(kept)

    def gone(number: int, topic: str, payload: bytes) -> None:
        kept.house.outbox.connected(None)

    kept.house.outbox.connected(gone)
    kept.house.outbox.pump()
    assert kept.house.outbox.publish is None
    assert len(published(kept)) == 4
