"""TLS as it is spoken here, with no way to speak it weaker, and a plain sentence for every way it can fail."""

import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.core.enrol import valid
from agent.core.errors import BadInput, Missing, Refused, Unreadable

LIMIT = 328 * 1024  # bytes of one MQTT packet: the largest policy (256 KiB) or frame (320 KiB), and its topic
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: ephemeral keys and authenticated encryption only

NAME = "the broker's certificate is for another name; check the broker's address in the policy, or who answers there"
ADDRESS = "the broker's certificate does not name its address; name the broker by host name, or have the address added"
NOT_OURS = "the broker's certificate was made by an authority that is not this fleet's; check who answers there"
SELF_SIGNED = "the broker signed its certificate itself; give it one made by this fleet"
EXPIRED = "the broker's certificate has expired; renew it, or check the clock of this device"
EARLY = "the broker's certificate is not yet valid; check the clock of this device, then the broker's certificate"
PURPOSE = "the broker's certificate was not made for a server; give it one made with `privet-fleet`"
NO_TLS = "what answers there does not speak TLS; check the port in the policy"
CLOSED = "the connection was closed during the TLS greeting; check that the port in the policy is the broker's TLS port"
WEAK = "the broker speaks no TLS newer than 1.1; let it speak TLS 1.3"
CIPHER = "the broker offers no safe cipher; let it speak TLS 1.3"
NO_CERTIFICATE = "the broker wants a certificate of this device and got none; enrol the device"
UNKNOWN_CERTIFICATE = (
    "the broker does not know the authority of this device's certificate; enrol the device with this fleet"
)
OLD_CERTIFICATE = "the broker says this device's certificate has expired; renew it"
BAD_CERTIFICATE = "the broker refused this device's certificate; enrol the device again"
TOO_LARGE = "the broker sent a message larger than any this device takes; check who runs the broker"
SLOW = "the broker does not answer; check that it runs and that the network lets it through"
NOBODY = "nothing listens at the broker's address and port; check that the broker runs"
NO_NAME = "the broker's name cannot be resolved; check the network and the name in the policy"
NO_NETWORK = "there is no way to the broker's network; check this device's connection"
NOT_YET = "the broker's certificate is not valid yet; check the clock of whoever made it"
OVER = "the broker's certificate has expired; renew it"
NO_CHAIN = "this Python does not show the certificates it verified, so their dates cannot be judged; use 3.10 or newer"
CHANGED = "the broker's certificate is not as it was signed; check who answers there, then give it a new one"
UNFIT = "the broker's certificate was signed by somebody who may not do that; check who answers there"
DEMAND = "the broker's certificate demands what this device does not know; give it one made by this fleet"
FEEBLE = "the broker's certificate is too weak to be believed; give it one made by this fleet"
UNASKED = "what answers there chose what this device did not offer; check who answers there"
WEAKENED = "somebody on the way to the broker weakens the encryption; connect this device to another network"
BROKEN = "what answers there does not keep to the rules of TLS; check the port in the policy, or who answers there"
BLOATED = "the broker's certificates are larger than any this device takes; check who answers there"
STUMBLED = "the broker failed while it greeted; look into the broker's log"
CUT = "the broker ended the connection; it is tried again"

BY_VERIFICATION = {
    2: NOT_OURS,
    7: CHANGED,
    9: EARLY,
    10: EXPIRED,
    18: SELF_SIGNED,
    19: NOT_OURS,
    20: NOT_OURS,
    21: NOT_OURS,
    24: UNFIT,
    25: UNFIT,
    26: PURPOSE,
    32: UNFIT,
    34: DEMAND,
    47: UNFIT,
    48: UNFIT,
    62: NAME,
    64: ADDRESS,
    66: FEEBLE,
    67: FEEBLE,
    68: FEEBLE,
    79: UNFIT,
}  # the X509_V_ERR_ numbers of OpenSSL
BY_REASON = {
    "WRONG_VERSION_NUMBER": NO_TLS,
    "HTTP_REQUEST": NO_TLS,
    "PACKET_LENGTH_TOO_LONG": NO_TLS,
    "RECORD_LAYER_FAILURE": NO_TLS,
    "UNEXPECTED_EOF_WHILE_READING": CLOSED,
    "UNKNOWN_CIPHER_RETURNED": UNASKED,
    "WRONG_CIPHER_RETURNED": UNASKED,
    "COMPRESSION_DISABLED": UNASKED,
    "UNSUPPORTED_COMPRESSION_ALGORITHM": UNASKED,
    "UNSOLICITED_EXTENSION": UNASKED,
    "WRONG_CURVE": UNASKED,
    "INAPPROPRIATE_FALLBACK": WEAKENED,
    "UNEXPECTED_MESSAGE": BROKEN,
    "EXCESSIVE_MESSAGE_SIZE": BLOATED,
    "TLSV1_ALERT_INTERNAL_ERROR": STUMBLED,
    "TLSV1_UNRECOGNIZED_NAME": NAME,
    "TLSV1_ALERT_PROTOCOL_VERSION": WEAK,
    "UNSUPPORTED_PROTOCOL": WEAK,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": CIPHER,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": CIPHER,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": NO_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": UNKNOWN_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": OLD_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": BAD_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": BAD_CERTIFICATE,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": BAD_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": BAD_CERTIFICATE,
    "TLSV1_ALERT_ACCESS_DENIED": BAD_CERTIFICATE,
    "TLSV1_ALERT_DECRYPT_ERROR": BAD_CERTIFICATE,
}  # OpenSSL's own words; what begins with SSLV3_ALERT or TLS..ALERT was said by the broker
BY_NUMBER = {
    errno.EMSGSIZE: TOO_LARGE,
    errno.ECONNREFUSED: NOBODY,
    errno.ENETUNREACH: NO_NETWORK,
    errno.EHOSTUNREACH: NO_NETWORK,
    errno.ENETDOWN: NO_NETWORK,
    errno.ECONNRESET: CLOSED,
    errno.EPIPE: CUT,
}


class Bounded(ssl.SSLSocket):
    """A TLS socket that refuses, before a byte is reserved for it, a message longer than LIMIT.

    The MQTT library reads a message by asking for as many bytes as the broker announced, up to 256 MiB; this is where
    the announcement is caught. It also remembers what the library swallows: when bytes last came, and what went wrong.
    """

    taken = 0  # bytes received so far
    heard = 0.0  # when the last of them came, seconds of the monotonic clock
    trouble: OSError | None = None  # the error that ended it

    def do_handshake(self, block: bool = False) -> None:
        """Greet; a socket whose greeting failed is closed here, as the library forgets it."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def send(self, content: Any, flags: int = 0) -> int:
        """Send; when the broker hung up meanwhile, what it said last is the cause, not that nobody listens any more."""
        try:
            return super().send(content, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.trouble = error
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, OSError):
                self.recv(1)
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive at most `buflen` bytes; OSError (EMSGSIZE) when more than LIMIT are asked for."""
        if buflen > LIMIT:
            self.trouble = OSError(errno.EMSGSIZE, f"a message of {buflen} bytes was announced")
            raise self.trouble
        try:
            received = super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.trouble = error
            raise
        if received:
            self.taken += len(received)
            self.heard = time.monotonic()
        return received


def verified(ca: Path, certificate: Path, key: Path, now: Callable[[], int] | None = None) -> ssl.SSLContext:
    """Return the context for the broker: our authority, our certificate, names checked, 1.2 or newer.

    `now` stands in for a clock of this device that is wrong. Missing, Unreadable, BadInput (damaged files) or Refused
    (a key that others may read).
    """
    context = authority(ca)
    context.sslsocket_class = Bounded if now is None else timed(context, now)
    identify(context, certificate, key)
    return context


def timed(context: ssl.SSLContext, now: Callable[[], int]) -> type[Bounded]:
    """Let a context judge dates by a given time instead of OpenSSL by the clock; return the sockets that do."""
    context.verify_flags |= NO_CHECK_TIME

    class Timed(Bounded):
        """A socket whose greeting fails when a certificate of the other side is not in force."""

        def do_handshake(self, block: bool = False) -> None:
            """Greet, then judge."""
            super().do_handshake(block)
            try:
                lives(self, now())
            except BadInput:
                self.close()
                raise

    return Timed


def lives(channel: ssl.SSLSocket, now: int) -> tuple[int, int]:
    """Judge every certificate of the verified chain by `now` (0: none of them); return the life of the other side's.

    BadInput with a sentence about a broker, as all here.
    """
    chain = getattr(getattr(channel, "_sslobj", None), "get_verified_chain", lambda: None)()
    if not chain:
        raise BadInput(NO_CHAIN)
    rows = [one.get_info() for one in chain]
    spans = [(ssl.cert_time_to_seconds(r["notBefore"]), ssl.cert_time_to_seconds(r["notAfter"])) for r in rows]
    for begins, ends in spans if now else ():
        word = valid(int(begins), int(ends), now)
        if word:
            raise BadInput(NOT_YET if word == "early" else OVER)
    return int(spans[0][0]), int(spans[0][1])


def authority(ca: Path) -> ssl.SSLContext:
    """Return the only kind of TLS context there is, without a certificate of ours yet."""
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT
    )  # checks names and demands a certificate; no system store is loaded
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False  # a name counts where names belong, not in the subject's free text
    _readable(ca)
    try:
        context.load_verify_locations(cafile=str(ca))
    except ssl.SSLError:
        raise BadInput(f"{ca} holds no certificate; enrol the device again") from None
    return context


def identify(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let a context show this device's certificate."""
    for path in (certificate, key):
        _readable(path)
    if key.stat().st_mode & 0o077:
        raise Refused(f"others may read the key {key}; close it with `chmod 600 {key}`")
    try:
        context.load_cert_chain(str(certificate), str(key), password=_no_password)
    except (ssl.SSLError, ValueError):
        raise BadInput(
            f"{certificate} and {key} are damaged or do not fit each other; enrol the device again"
        ) from None


def cause(error: BaseException) -> str:
    """Return one plain sentence for why a connection failed: what happened; what to do next."""
    if isinstance(error, BadInput):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        other = f"the broker's certificate cannot be verified ({error.verify_message}); give it one made by this fleet"
        return BY_VERIFICATION.get(error.verify_code, other)
    if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
        return CLOSED  # Debian 12's Python gives no reason for it, newer ones do
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return BY_REASON.get(
            reason, f"TLS with the broker failed ({reason.lower().replace('_', ' ')}); check the broker"
        )
    if isinstance(error, TimeoutError):
        return SLOW
    if isinstance(error, socket.gaierror):
        return NO_NAME
    if isinstance(error, OSError):
        number = error.errno or 0
        return BY_NUMBER.get(
            number, f"the connection failed ({error.strerror or type(error).__name__}); it is tried again"
        )
    return f"what the broker sent cannot be understood ({type(error).__name__}); check who runs the broker"


def _no_password() -> bytes:
    """Answer OpenSSL's question for a passphrase, which it would else put to a terminal."""
    raise ValueError


def _readable(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except FileNotFoundError:
        raise Missing(f"{path} is not there; enrol the device") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); give it to the courier's user") from None
