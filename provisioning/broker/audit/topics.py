"""Doors between clients: what one hears of others, says in their place, and what the broker keeps and tells."""

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from provisioning.broker.audit.found import Door, Found, opened, shut, unclear
from provisioning.broker.audit.party import Party
from provisioning.broker.audit.seat import Seat

ALONE = "there is no second device to notice; give its directory with --other"
LEAVES = ("up/audit", "warning", "state")  # what a device may say
TAKEN, ECHOED = "taken", "heard by the one who said it"
ARRIVES = 1.0  # seconds


def own(seat: Seat) -> Found:
    """Say something on our own topic: without that, silence elsewhere would prove nothing."""
    with Party(seat, seat.one) as one:
        if not one.up:
            return unclear(f"the device itself is not let in ({one.refusal})")
        refusal = one.says(seat.topic(seat.one.name, "up/audit"))
    if refusal:
        return unclear(f"the device's own topic is refused ({refusal}); check the fleet's and the device's name")
    return shut("the device is let in, and its own topic is taken")


def listening(seat: Seat) -> Found:
    """Ask for everything, in ten ways, while the other device says something on its own topics."""
    return _overheard(seat, wide(seat))


def neighbour(seat: Seat) -> Found:
    """Ask for the other device's topics by name."""
    if seat.other is None:
        return unclear(ALONE)
    leaves = ("up/audit", "up/+", "up/#", "warning", "state", "#", "+")
    return _overheard(seat, [seat.topic(seat.other.name, leaf) for leaf in leaves])


def sharing(seat: Seat) -> Found:
    """Ask for a share of everything: what a group of receivers gets is missing for the others."""
    return _overheard(seat, [f"$share/audit/{topic}" for topic in wide(seat)], "a shared subscription")


def speaking(seat: Seat) -> Found:
    """Say something on the topics of the other device, of another fleet, and on none of ours."""
    return spoken(seat, None, "")


def kept(seat: Seat) -> Found:
    """Ask for all that others left behind; then try to leave something behind for good."""
    with Party(seat, seat.one) as one:
        for topic in wide(seat):
            one.hears(topic)
        one.settle()
        left = [topic for topic, _, retained in one.heard if retained and not topic.startswith("$SYS/")]
        if left:
            return opened(f"it handed over {len(left)} kept messages, of the topic {left[0]} first")
        if seat.five and getattr(one.facts, "RetainAvailable", 1) == 0:
            return shut("nothing was left behind, and it says that it keeps nothing")
    topic = seat.topic(seat.one.name, "state")
    with Party(seat, seat.one) as one:
        refusal = one.says(topic, b"audit", retain=True)
        if refusal:
            return shut(f"nothing was left behind, and keeping is refused ({refusal})")
        one.says(topic, b"", retain=True)  # an empty one removes it
    return opened("a message to be kept for good was taken")


def telling(seat: Seat) -> Found:
    """Ask what the broker tells about itself and who is connected."""
    with Party(seat, seat.one) as one:
        for topic in ("$SYS/#", "$SYS/broker/clients/connected", "$queue/#", "$events/#", "$CONTROL/#"):
            one.hears(topic)
        one.turn(lambda: any(topic.startswith("$") for topic, _, _ in one.heard), seat.patience)
        told = [topic for topic, _, _ in one.heard if topic.startswith("$")]
    return opened(f"it told {told[0]}, and more") if told else shut("it told nothing about itself")


def last_will(seat: Seat) -> Found:
    """Leave a last word for the other device's topics and vanish."""
    if seat.other is None:
        return unclear(ALONE)
    token = secrets.token_hex(8).encode()
    with Party(seat, seat.other) as other, _reading(seat) as reader:
        other.hears(seat.topic(seat.other.name, "policy"))
        for leaf in ("policy", "up/audit"):
            one = Party(seat, seat.one)
            one.client.will_set(seat.topic(seat.other.name, leaf), token, 1)
            one.open()
            one.cut()
        heard = _arrived(token, other, reader)
    return opened("the last word came through on a topic of the other device") if heard else shut(
        "the last word for a topic of the other device did not come through"
    )  # fmt: skip


def wide(seat: Seat) -> list[str]:
    """Return filters that catch everything, or all of a fleet."""
    fleet = seat.target.fleet
    whole = ["#", "+/#", "/#", "+/+/+/+/#", "$MQTT/#", "$MQTT/sub/#", "privet/#", "privet/1/#"]
    return [*whole, *(f"privet/1/{fleet}/{leaf}" for leaf in ("#", "+/up/+", "+/warning", "+/state"))]


def _overheard(seat: Seat, filters: Iterable[str], how: str = "") -> Found:
    if seat.other is None:
        return unclear(ALONE)
    token = secrets.token_hex(8).encode()
    with Party(seat, seat.one) as one, Party(seat, seat.other) as other:
        granted = [topic for topic in filters if one.up and one.hears(topic)]
        refused = [
            leaf for leaf in ("up/audit", "warning", "state") if other.says(seat.topic(other.who.name, leaf), token)
        ]
        one.settle()
        heard = [topic for topic, body, _ in one.heard if body == token]
        if heard:
            return opened(f"the other device was heard on {heard[0]}" + (f", by {how}" if how else ""))
        if len(refused) == len(LEAVES):
            return unclear("the other device is not let speak, so there was nothing to hear")
    said = "asking was allowed" if granted else "asking was refused"
    return shut(f"the other device was not heard ({said})")


def spoken(seat: Seat, name: str | None, user: str) -> Found:
    """Speak in the other device's place; a broker that is silent about refusals is judged by what arrives."""
    if seat.other is None:
        return unclear(ALONE)
    token = secrets.token_hex(8).encode()
    mine = [seat.topic(seat.other.name, leaf) for leaf in ("policy", "ack")]
    theirs = [seat.topic(seat.other.name, leaf) for leaf in LEAVES]
    outside = [f"privet/1/not-{seat.target.fleet}/{seat.one.name}/up/audit", "privet/1", f"audit/{token.decode()}"]
    with Party(seat, seat.other) as other, _reading(seat) as reader:
        for topic in mine:
            other.hears(topic)
        answers = [_said(seat, topic, token, name, user) for topic in (*mine, *theirs, *outside)]
        taken = [topic for topic, answer in answers if answer in {TAKEN, ECHOED}]
        if _arrived(token, other, reader):
            return opened(f"{(taken or mine)[0]} was spoken on in the place of the other device")
    echoed = [topic for topic, answer in answers if answer == ECHOED]
    if echoed or (taken and seat.five):
        return opened(f"{echoed[0]} was spoken on and heard" if echoed else f"the broker took a message on {taken[0]}")
    if taken and reader is None:
        return unclear("the broker said yes and let the other device hear nothing; give a collector with --reader")
    return shut("what was said on topics of others was thrown away" if taken else "speaking for others was refused")


def _said(seat: Seat, topic: str, token: bytes, name: str | None, user: str) -> tuple[str, str]:
    """Say something on a topic, each on a connection of its own: some brokers answer a refusal by hanging up."""
    with Party(seat, seat.one, name, user=user) as one:
        if not one.up:
            return topic, one.refusal
        one.hears(topic)
        answer = one.says(topic, token)
        if answer:
            return topic, answer
        one.settle()
        return topic, ECHOED if one.got(token) else TAKEN


@contextmanager
def _reading(seat: Seat) -> Iterator[Party | None]:
    """Let a collector listen to what devices send, where there is one."""
    if seat.reader is None:
        yield None
        return
    with Party(seat, seat.reader) as reader:
        reader.hears(seat.topic("+", "up/+"))
        yield reader


def _arrived(token: bytes, *parties: Party | None) -> bool:
    """Say whether somebody hears it within a second."""
    there = [party for party in parties if party is not None]
    ends = time.monotonic() + ARRIVES
    while time.monotonic() < ends:
        for party in there:
            if party.turn(lambda party=party: party.got(token), 0.05):  # type: ignore[misc]
                return True
    return False


DOORS = (
    (Door(
        name="own", title="The device's own way",
        risk="The doors below cannot be tried.",
        mend="Check that the fleet's name, the device's certificate and the access list belong together.",
    ), own),
    (Door(
        name="listen", title="Listening to everything",
        risk="One device, or whoever stole it, learns of all others when they are awake and how much they send.",
        mend="Let each device read its own ack and policy alone (mosquitto: acl_file with pattern read …/%u/…).",
    ), listening),
    (Door(
        name="neighbour", title="Listening to one other device",
        risk="One device learns when another one is awake and how much it sends.",
        mend="Let each device read its own ack and policy alone; check the access list for names with + or #.",
    ), neighbour),
    (Door(
        name="share", title="Taking a share of what others receive",
        risk="Readings go to a device instead of to the collector, and are lost.",
        mend="Hold shared subscriptions to the same access list, or switch them off.",
    ), sharing),
    (Door(
        name="speak", title="Speaking in the place of others",
        risk="One device can send as another, or send it policies and acknowledgements.",
        mend="Let each device write its own up, warning and state alone (mosquitto: pattern write …/%u/…).",
    ), speaking),
    (Door(
        name="will", title="A last word on topics of others",
        risk="One device can speak as another by vanishing.",
        mend="Use a broker that holds last words to the access list, and such a list.",
    ), last_will),
    (Door(
        name="kept", title="Messages kept for whoever comes later",
        risk="What a device said stays at the broker for the next reader, also after its owner erased it.",
        mend="Keep no message (mosquitto: retain_available false), and delete what is there.",
    ), kept),
    (Door(
        name="system", title="What the broker tells about itself",
        risk="Any device learns how many are connected, and often who and from where.",
        mend="Tell nothing (mosquitto: sys_interval 0), or let administrators alone read $SYS.",
    ), telling),
)  # fmt: skip
