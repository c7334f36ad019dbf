"""Doors on the way to the broker: what it is, whom it lets in, how well the way is covered."""

import base64
import contextlib
import secrets
import socket
import ssl
import time
from collections.abc import Callable

from provisioning.broker.audit import raw
from provisioning.broker.audit.found import OPEN, Door, Found, opened, shut, unclear
from provisioning.broker.audit.seat import Identity, Seat

# Accounts that brokers, their images and their handbooks are delivered with.
FACTORY = (("admin", "public"), ("admin", "admin"), ("guest", "guest"), ("mqtt", "mqtt"), ("test", "test"),
           ("user", "password"), ("mosquitto", "mosquitto"))  # fmt: skip
HEARS = 5.0  # seconds in which a broker that is told hears of a revocation
WEAK = (
    ("without encryption or without a name", "NULL:ADH:AECDH:EXPORT:LOW:RC4:3DES"),
    ("without forward secrecy, so that a key stolen later opens what was recorded", "kRSA"),
    (
        "with CBC, whose padding has been broken again and again",
        "ECDHE+AES:DHE+AES:ECDHE+CAMELLIA:!AESGCM:!AESCCM",
    ),
)


def server(seat: Seat) -> Found:
    """Greet it as a device does: our authority, its name, its time."""
    try:
        with raw.secured(seat, seat.context(seat.one)) as tls:
            return shut(f"it proved with {tls.version()} to be {seat.target.host}, certified by this fleet")
    except ssl.SSLCertVerificationError as error:
        return opened(f"its certificate is not the right one: {error.verify_message}")
    except ssl.SSLError as error:
        return unclear(f"the greeting failed ({_reason(error)}), so who it is was not seen")


def plain(seat: Seat) -> Found:
    """Speak MQTT without TLS: at the TLS port, and at the ports where that is usual."""
    tried = []
    for port in dict.fromkeys((seat.target.port, *seat.target.plain)):
        try:
            with raw.plain(seat, port) as link:
                code = raw.greeted(link, raw.connect_packet(f"audit-{secrets.token_hex(4)}"))
        except OSError:
            tried.append(port)
            continue
        if code is not None:
            welcome = "and lets a stranger in" if code == 0 else f"and asks for a password there (answer {code})"
            return opened(f"port {port} speaks MQTT without TLS {welcome}")
        tried.append(port)
    return shut(f"no MQTT without TLS on port {_listed(tried)}")


def web(seat: Seat) -> Found:
    """Ask for MQTT in a WebSocket without TLS, as a page in a browser would."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    for port in seat.target.web:
        for path in ("/mqtt", "/ws", "/"):
            ask = (
                f"GET {path} HTTP/1.1\r\nHost: {seat.target.host}:{port}\r\n"
                f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
            )
            with contextlib.suppress(OSError), raw.plain(seat, port) as link:
                link.sendall(ask.encode())
                if link.recv(64).startswith(b"HTTP/1.1 101"):
                    return opened(f"port {port} offers MQTT in a WebSocket without TLS")
    return shut(f"no MQTT in a WebSocket without TLS on port {_listed(seat.target.web)}")


def anonymous(seat: Seat) -> Found:
    """Come without a certificate."""
    return _coming(seat, None, "no certificate", "")


def stranger(seat: Seat) -> Found:
    """Come with a certificate of the right name from an authority that is not ours."""
    return _coming(seat, seat.stranger(), "a certificate of another authority", "")


def gone(seat: Seat) -> Found:
    """Come with a certificate that was revoked."""
    if seat.gone is None:
        return unclear("there was no revoked certificate to try; give one with --revoked")
    ends = time.monotonic() + HEARS
    found = _coming(seat, seat.gone, "a revoked certificate", seat.gone.name)
    while found.verdict == OPEN and time.monotonic() < ends:
        time.sleep(0.25)
        found = _coming(seat, seat.gone, "a revoked certificate", seat.gone.name)
    return found


def password(seat: Seat) -> Found:
    """Try the passwords that brokers are delivered with, without a certificate."""
    kept_out = 0
    for user, word in FACTORY:
        packet = raw.connect_packet(f"audit-{secrets.token_hex(4)}", user, word)
        ways: list[Callable[[], contextlib.AbstractContextManager[socket.socket]]] = [
            lambda: raw.secured(seat, seat.context(None))
        ]
        ways += [lambda port=port: raw.plain(seat, port) for port in seat.target.plain]  # type: ignore[misc]
        for way in ways:
            with contextlib.suppress(OSError), way() as link:
                if raw.greeted(link, packet) == 0:
                    return opened(f'the user "{user}" is let in with the password it was delivered with')
        kept_out += 1
    return shut(f"none of {kept_out} passwords that brokers are delivered with lets anybody in")


def old(seat: Seat) -> Found:
    """Offer TLS 1.0 and 1.1 alone."""
    context = raw.old(seat.context(seat.one))
    try:
        with raw.secured(seat, context) as tls:
            return opened(f"it agreed to {tls.version()}")
    except ssl.SSLCertVerificationError:
        return opened("it agreed to TLS 1.1 or older")
    except ssl.SSLError as error:
        if (error.reason or "") == "NO_PROTOCOLS_AVAILABLE":
            return unclear("this machine's own OpenSSL cannot speak TLS 1.1, so it was not tried")
        return shut(f"it refused TLS 1.1 and older ({_reason(error)})")
    except ConnectionError:
        return shut("it hung up on TLS 1.1 and older")


def suites(seat: Seat) -> Found:
    """Offer, one after another, kinds of encryption that nobody should agree to."""
    missing = []
    for what, ciphers in WEAK:
        context = raw.only(seat.context(seat.one), ciphers)
        if context is None:
            missing.append(what)
            continue
        try:
            with raw.secured(seat, context) as tls:
                cipher = tls.cipher()
                return opened(f"it agreed to {cipher[0] if cipher else 'a suite'}: {what}")
        except ssl.SSLCertVerificationError:
            return opened(f"it agreed to a suite {what}")
        except (ssl.SSLError, ConnectionError):
            continue
    if missing:
        return unclear(f"this machine's own OpenSSL has no suite {missing[0]}, so that was not tried")
    return shut("it refused every suite without encryption, without forward secrecy and with CBC")


def _coming(seat: Seat, who: Identity | None, what: str, name: str) -> Found:
    context = seat.context(None)
    if who is not None:
        context.load_cert_chain(str(who.home / "cert.pem"), str(who.home / "key.pem"))
    try:
        with raw.secured(seat, context) as tls:
            code = raw.greeted(tls, raw.connect_packet(name or f"audit-{secrets.token_hex(4)}"))
    except ssl.SSLCertVerificationError:
        raise
    except (ssl.SSLError, ConnectionError) as error:
        return shut(f"{what} ended the TLS greeting ({_reason(error)})")
    if code == 0:
        return opened(f"with {what} one is let in")
    if code is None:
        return shut(f"{what} got no answer")
    return shut(f"{what} was let through TLS and refused by MQTT (answer {code}); it should not come so far")


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return str(reason).lower().replace("_", " ")


def _listed(ports: tuple[int, ...] | list[int]) -> str:
    return ", ".join(str(port) for port in ports) or "any"


DOORS = (
    (Door(
        name="server", title="The broker is who it says",
        risk="Anybody on the way can pose as the broker and read topics, sizes and times.",
        mend="Give the broker a certificate of this fleet for the name devices use, and renew it in time.",
    ), server),
    (Door(
        name="plain", title="MQTT without TLS",
        risk="Whoever is on the network reads along and can write.",
        mend="Remove the listener without TLS (mosquitto: every `listener` needs certfile and require_certificate).",
    ), plain),
    (Door(
        name="web", title="MQTT in a WebSocket without TLS",
        risk="Any page a person opens in a browser, and whoever is on the network, can speak to the broker.",
        mend="Remove the WebSocket listener, or give it the same TLS as the other.",
    ), web),
    (Door(
        name="anonymous", title="No certificate",
        risk="Anybody can connect; who speaks is not known.",
        mend="Demand client certificates (mosquitto: require_certificate true, allow_anonymous false).",
    ), anonymous),
    (Door(
        name="stranger", title="A certificate of another authority",
        risk="Anybody can make themselves the certificate of any device.",
        mend="Let the broker know this fleet's authorities alone (mosquitto: cafile; no capath of the system).",
    ), stranger),
    (Door(
        name="revoked", title="A certificate that was revoked",
        risk="A stolen or retired device stays in for as long as its certificate lives.",
        mend="Give the broker the fleet's CRL and have it read anew (mosquitto: crlfile, SIGHUP; `broker up` does it).",
    ), gone),
    (Door(
        name="password", title="Passwords that brokers are delivered with",
        risk="The passwords stand in handbooks: anybody can connect.",
        mend="Delete the accounts the broker came with; let certificates alone count.",
    ), password),
    (Door(
        name="old-tls", title="TLS 1.1 and older",
        risk="What was broken there can be forced upon devices and read.",
        mend="Set the lowest version to TLS 1.2 (mosquitto: tls_version; RabbitMQ: ssl_options.versions).",
    ), old),
    (Door(
        name="suites", title="Weak suites of TLS 1.2",
        risk="What is recorded today can be opened one day.",
        mend="Allow ECDHE with AES-GCM or ChaCha20-Poly1305 alone (mosquitto: ciphers).",
    ), suites),
)  # fmt: skip
