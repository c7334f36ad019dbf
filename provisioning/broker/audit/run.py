"""All doors in order, each tried for real; what breaks on the way is `unknown`, never `shut`."""

import socket
import ssl
from collections.abc import Callable, Iterator

from agent.core.errors import PrivetError, Unreachable
from provisioning.broker.audit import session, topics, way
from provisioning.broker.audit.found import OPEN, SHUT, Door, Found, unclear
from provisioning.broker.audit.party import Party
from provisioning.broker.audit.seat import Seat

DOORS = (*way.DOORS, *topics.DOORS, *session.DOORS)
NAMES = tuple(door.name for door, _ in DOORS)
NEED_WAY_IN = {door.name for door, _ in (*topics.DOORS, *session.DOORS)} - {"own"}


def audit(seat: Seat) -> Iterator[tuple[Door, Found]]:
    """Try every door; Unreachable when nobody is there at all."""
    try:
        with socket.create_connection((seat.target.host, seat.target.port), timeout=5):
            pass
    except OSError as error:
        place = f"{seat.target.host} port {seat.target.port}"
        raise Unreachable(f"nobody answers at {place} ({error.strerror or error}); check the address") from None
    barred = ""
    for door, attempt in DOORS:
        if door.name == "own":
            choose_version(seat)
        if barred and door.name in NEED_WAY_IN:
            yield door, unclear(f"not tried: {barred}")
            continue
        found = tried(seat, attempt)
        if door.name == "server" and found.verdict == OPEN:
            barred = "the broker is not the right one, and a device says nothing to another"
        if door.name == "own" and found.verdict != SHUT:
            barred = barred or f"the device itself gets nowhere ({found.said})"
        yield door, found


def tried(seat: Seat, attempt: Callable[[Seat], Found]) -> Found:
    """Try one door; a surprise is no verdict."""
    try:
        return attempt(seat)
    except ssl.SSLCertVerificationError:
        return unclear("the broker's certificate is not the right one, so nothing was said to it")
    except (PrivetError, OSError, ValueError) as error:
        return unclear(f"it could not be tried ({str(error) or type(error).__name__})")


def choose_version(seat: Seat) -> None:
    """Speak MQTT 5 when the broker does, else 3.1.1."""
    for five in (True, False):
        seat.five = five
        try:
            with Party(seat, seat.one) as one:
                if one.up:
                    return
        except OSError:
            continue
