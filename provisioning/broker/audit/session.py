"""Doors to the sessions of others, and what a broker takes from one who does not keep to the rules."""

import contextlib
import secrets
import ssl

from provisioning.broker.audit import raw
from provisioning.broker.audit.found import Door, Found, opened, shut, unclear
from provisioning.broker.audit.party import Party
from provisioning.broker.audit.seat import Seat
from provisioning.broker.audit.topics import ALONE, spoken

LARGE = 2 << 20  # bytes: six times the largest message of ours
ANNOUNCED = 128 << 20  # bytes that are announced in a message, and of which HELD are sent
HELD = 4 << 20


def takeover(seat: Seat) -> Found:
    """Connect under the other device's client name: does it lose its connection, or its session?"""
    if seat.other is None:
        return unclear(ALONE)
    with Party(seat, seat.other) as other:
        if not other.up:
            return unclear(f"the other device is not let in ({other.refusal})")
        with Party(seat, seat.one, seat.other.name) as one:
            one.settle()
            other.settle()
        if not other.alive():
            return opened("the other device lost its connection to one who used its name")
    with Party(seat, seat.other, clean=False) as other:
        other.hears(seat.topic(seat.other.name, "policy"))
    with Party(seat, seat.one, seat.other.name, clean=False) as one:
        found = one.up and one.present
    with Party(seat, seat.other):  # a clean one: what was kept for it is thrown away
        pass
    return opened("the session kept for the other device was handed to one who used its name") if found else shut(
        "the other device kept its connection and its session"
    )  # fmt: skip


def posing(seat: Seat) -> Found:
    """Call ourselves by the other device's name, as client and as user, and speak in its place."""
    if seat.other is None:
        return unclear(ALONE)
    return spoken(seat, seat.other.name, seat.other.name)


def large(seat: Seat) -> Found:
    """Send a message six times as large as any of ours; then announce a huge one and go on sending."""
    with Party(seat, seat.one) as one:
        if one.up and not one.says(seat.topic(seat.one.name, "up/audit"), bytes(LARGE)):
            return opened(f"a message of {LARGE >> 20} MiB was taken")
    with raw.secured(seat, seat.context(seat.one)) as tls:
        if raw.greeted(tls, raw.connect_packet(seat.one.name)) != 0:
            return unclear("MQTT 3.1.1 is not let in, so only one large message was tried; it was refused")
        tls.settimeout(raw.PATIENCE)
        taken = 0
        with contextlib.suppress(OSError):
            tls.sendall(b"\x30\x80\x80\x80\x40")  # PUBLISH, 128 MiB to come
            while taken < HELD:
                tls.sendall(bytes(64 * 1024))
                taken += 64 * 1024
        if taken >= HELD and raw.said_after(tls) == b"":
            return opened(f"a message of {ANNOUNCED >> 20} MiB was announced, and it went on taking it")
    return shut("messages larger than any of ours were refused")


def nonsense(seat: Seat) -> Found:
    """Send bytes that are no MQTT, before and after the greeting; the other device must not notice."""
    with Party(seat, seat.other or seat.one) as witness:
        if not witness.up:
            return unclear(f"the device itself is not let in ({witness.refusal})")
        welcome = raw.connect_packet(seat.one.name if seat.other else f"audit-{secrets.token_hex(4)}")
        for packet in raw.NONSENSE:
            with contextlib.suppress(OSError), raw.secured(seat, seat.context(seat.one)) as tls:
                raw.said_after(tls, packet)
            if seat.other is None:
                continue
            with contextlib.suppress(OSError), raw.secured(seat, seat.context(seat.one)) as tls:
                if raw.greeted(tls, welcome) == 0:
                    raw.said_after(tls, packet)
        with contextlib.suppress(OSError), raw.secured(seat, seat.context(seat.one)) as tls:
            answer = raw.said_after(tls, raw.SUBSCRIBE_FIRST)
            if answer and answer[0] == 0x90:  # SUBACK
                return opened("a subscription was granted before any greeting")
        if not witness.alive():
            return opened("nonsense of one client cost another one its connection")
    try:
        with Party(seat, seat.one) as one:
            well = one.up
    except (ssl.SSLError, OSError):
        well = False
    return shut(f"{len(raw.NONSENSE)} kinds of nonsense did it no harm") if well else opened(
        "after nonsense it lets nobody in any more"
    )  # fmt: skip


DOORS = (
    (Door(
        name="takeover", title="Taking over the session of another",
        risk="One device can throw another one out again and again, and take what was kept for it.",
        mend="Let the certificate decide the client's name (mosquitto: use_username_as_clientid true).",
    ), takeover),
    (Door(
        name="pose", title="Calling oneself by another's name",
        risk="One device can send as another.",
        mend="Take the name from the certificate (mosquitto: use_identity_as_username true), in access lists too.",
    ), posing),
    (Door(
        name="large", title="Messages of any size",
        risk="One device can fill the broker's memory, and that of whoever listens.",
        mend="Limit the size of packets (mosquitto: max_packet_size; RabbitMQ: max_message_size; NATS: max_payload).",
    ), large),
    (Door(
        name="nonsense", title="Bytes that are no MQTT",
        risk="One device can stop the broker for all.",
        mend="Update the broker; put one in front of it that refuses such bytes.",
    ), nonsense),
)  # fmt: skip
