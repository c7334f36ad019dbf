"""Asking the fleet's enrolment server: for its signed time, for a certificate by token, for the next one by the old.

And for a voucher, by the receipt of an erasure.

A subset of EST (RFC 7030) over HTTPS. One question, one connection, one answer, all bounds on: the fleet's own
authority alone, the name checked, one deadline for everything, a small answer, no redirect, no proxy.

TLS here never asks this device's clock, which may say 1970: every certificate of the chain is judged by `now`, the time
the guard believes. Only the question for the time itself has no `now`; what is answered to it is signed over a nonce,
and whoever asked judges it by the life of the certificate that was shown.
"""

import binascii
import errno
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agent.core.errors import BadInput, PrivetError
from agent.core.record import Record
from agent.courier import trust

if TYPE_CHECKING:
    from http.client import HTTPResponse

WHOLE = 20.0  # seconds from the connection to the last byte of the answer
LONGEST = 64 * 1024  # bytes of an answer: a chain has 2
GREETING = 64 * 1024  # bytes beside it: TLS is below this, and a head is
EST = "/.well-known/est/"
TIME, TOKEN, RENEW, ERASED = "time", "token", "renew", "erased"
GRANTED, ABSENT, REFUSED, BUSY, WRONG, UNREACHABLE = "granted", "absent", "refused", "busy", "wrong", "unreachable"
TAKEN, ENDED = "taken", "ended"  # a receipt of erasure is on record: a voucher may come later, or nothing more

BY_STATUS = {
    400: (REFUSED, "the enrolment server does not take this device's request; look into the server's log"),
    401: (REFUSED, "the fleet does not take this card's token; write a new seed with privet-fleet inject"),
    403: (REFUSED, "the card's token was used with another key; look for a copy of the card, then write a new seed"),
    404: (ABSENT, "the enrolment server does not have what was asked for; check the address it was flashed with"),
    429: (BUSY, "the enrolment server is busy; it is asked again"),
    202: (BUSY, "the enrolment server says that it is too early; it is asked again"),
    503: (BUSY, "the enrolment server is busy; it is asked again"),
}
OF_RECEIPTS = {
    202: (TAKEN, "the fleet has this device's receipt; its operator has not let the next owner claim it yet"),
    204: (ENDED, "the fleet has this device's receipt; the next owner needs a seed"),
    400: (REFUSED, "the fleet cannot read this device's receipt of erasure; give it the receipt by file"),
    403: (REFUSED, "the fleet does not take this device's receipt of erasure; ask its operator"),
    404: (ABSENT, "the enrolment server takes no receipts of erasure yet; give it to the operator by file"),
    405: (ABSENT, "the enrolment server takes no receipts of erasure yet; give it to the operator by file"),
}
RENEWAL_REFUSED = "the fleet does not renew this device's certificate; ask its operator, or write a new seed"
ELSEWHERE = "the enrolment server points elsewhere, and this device follows nobody; check who answers there"
NOT_HTTP = "what answers there is no enrolment server; check the address this device was flashed with"
LARGE = "the enrolment server answered with more than a certificate needs; check who answers there"
SLOW = "the enrolment server took too long; it is asked again"
SHORT = "the enrolment server broke off in the middle of its answer; it is asked again"
NO_TYPE = "the enrolment server answered with something that is no certificate; check who answers there"
COSE = "application/cose"
TYPES = {TIME: COSE, TOKEN: "application/pkcs7-mime", RENEW: "application/pkcs7-mime", ERASED: COSE}
CLOCKLESS = (TIME, ERASED)  # what is signed for itself, both ways, may be asked before the time is known


class Question(Record):
    """What is asked, of whom; `request` is a PKCS #10 (DER), `now` the time that counts (0: not known).

    `boot` counts the starts of this device and has a random for each (`17.<hex>`): boards with one key differ in it.
    """

    __slots__ = ("boot", "device", "host", "nonce", "now", "port", "request", "token", "what")
    what: str
    host: str
    port: int
    device: str
    token: bytes
    request: bytes
    nonce: bytes
    now: int
    boot: str


class Answer(Record):
    """What came of it: a word, the body, why, the seconds the server wants to be left alone, the life of its leaf."""

    __slots__ = ("begins", "body", "ends", "outcome", "wait", "why")
    outcome: str
    body: bytes
    why: str
    wait: int
    begins: int
    ends: int


class Hurried(ssl.SSLSocket):
    """A TLS socket with one end of patience for all that is read and written, and a bound on what is read."""

    until = 0.0  # seconds of the monotonic clock; 0: none yet
    left = LONGEST + GREETING

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive while there is time and room."""
        self._hurry()
        count = super().recv_into(buffer, nbytes, flags)
        self.left -= count
        if self.left < 0:
            raise OSError(errno.EMSGSIZE, "the answer is too long")
        return count

    def sendall(self, content: Any, flags: int = 0) -> None:
        """Send while there is time."""
        self._hurry()
        super().sendall(content, flags)

    def _hurry(self) -> None:
        if self.until:
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)


def ask(question: Question, home: Path, whole: float = WHOLE) -> Answer:
    """Ask once; whatever happens is an answer with one sentence, never an exception."""
    from http.client import HTTPException

    try:
        return asked(question, home, whole)
    except PrivetError as error:
        return made(WRONG, spoken(str(error)))
    except TimeoutError:
        return made(UNREACHABLE, SLOW)
    except HTTPException:
        return made(WRONG, NOT_HTTP)
    except (OSError, ValueError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else 0
        if number == errno.EMSGSIZE:
            return made(WRONG, LARGE)
        wrong = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
        return made(WRONG if wrong else UNREACHABLE, spoken(trust.cause(error)))


def asked(question: Question, home: Path, whole: float) -> Answer:
    """Connect, judge whom we talk to, ask, and read the answer; raises whatever goes wrong."""
    from http.client import HTTPSConnection

    until = time.monotonic() + whole
    context = trusted(home, question.what)
    connection = HTTPSConnection(question.host, question.port, timeout=whole / 2, context=context)
    try:
        connection.connect()
        channel = cast("Hurried", connection.sock)
        channel.until = until
        begins, ends = trust.lives(channel, question.now)
        method, path, body, head = spelled(question)
        connection.request(method, path, body, head)
        answer = read(question, connection.getresponse())
    finally:
        connection.close()
    return Answer(outcome=answer[0], body=answer[1], why=answer[2], wait=answer[3], begins=begins, ends=ends)


def trusted(home: Path, what: str) -> ssl.SSLContext:
    """Return the context: as for the broker, but for the clock.

    With this device's certificate where it renews; and, where it has one, when it asks for the time: the fleet learns
    by it that the certificate is in use.
    """
    context = trust.authority(home / "ca.pem")
    if what == RENEW:
        trust.identify(context, home / "cert.pem", home / "key.pem")
    elif what == TIME:
        with suppress(PrivetError):
            trust.identify(context, home / "cert.pem", home / "key.pem")
    context.verify_flags |= trust.NO_CHECK_TIME
    context.sslsocket_class = Hurried
    return context


def spelled(question: Question) -> tuple[str, str, bytes | None, dict[str, str]]:
    """Write the question in HTTP: method, path, body, head. The token goes into the head and nowhere else."""
    if question.what == TIME:
        return "GET", f"{EST}time?nonce={question.nonce.hex()}", None, {"Accept": TYPES[TIME]}
    if question.what == ERASED:
        return "POST", f"{EST}erased", question.request, {"Content-Type": COSE, "Accept": COSE}
    body = binascii.b2a_base64(question.request, newline=False)
    head = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64", "Accept": TYPES[TOKEN]}
    if question.boot:
        head["Privet-Boot"] = question.boot
    if question.what == RENEW:
        return "POST", f"{EST}simplereenroll", body, head
    pair = f"{question.device}:{question.token.hex()}".encode()
    head["Authorization"] = "Basic " + binascii.b2a_base64(pair, newline=False).decode()
    return "POST", f"{EST}simpleenroll", body, head


def read(question: Question, answer: "HTTPResponse") -> tuple[str, bytes, str, int]:
    """Take the answer for what it is: outcome, body, why, seconds to wait."""
    wait = answer.getheader("Retry-After") or ""
    seconds = min(int(wait), 86400) if wait.isascii() and wait.isdigit() and len(wait) < 9 else 0
    if 300 <= answer.status < 400:
        return WRONG, b"", ELSEWHERE, 0
    if question.what == ERASED and answer.status in OF_RECEIPTS:
        return (*OF_RECEIPTS[answer.status][:1], b"", OF_RECEIPTS[answer.status][1], seconds)
    if answer.status != 200:
        outcome, why = BY_STATUS.get(answer.status, (BUSY if answer.status >= 500 else WRONG, NOT_HTTP))
        return outcome, b"", RENEWAL_REFUSED if outcome == REFUSED and question.what == RENEW else why, seconds
    length = answer.getheader("Content-Length") or "0"
    if length.isascii() and length.isdigit() and int(length[:12]) > LONGEST:
        return WRONG, b"", LARGE, 0
    body = answer.read(LONGEST + 1)
    if len(body) > LONGEST:
        return WRONG, b"", LARGE, 0
    if length != "0" and len(body) < int(length[:12]):
        return UNREACHABLE, b"", SHORT, 0
    kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    if kind != TYPES[question.what]:
        return WRONG, b"", NO_TYPE, 0
    return GRANTED, body if question.what in CLOCKLESS else unwrapped(body), "", 0


def unwrapped(body: bytes) -> bytes:
    """Return what stands in base64, as RFC 7030 sends certificates; BadInput when it is something else."""
    try:
        return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except ValueError:
        raise BadInput(NO_TYPE) from None


def made(outcome: str, why: str) -> Answer:
    """Return an answer that holds nothing but why."""
    return Answer(outcome=outcome, body=b"", why=why, wait=0, begins=0, ends=0)


def spoken(sentence: str) -> str:
    """Say of the enrolment server what the table of TLS says of a broker."""
    told = sentence.replace("the broker's address in the policy", "the address this device was flashed with")
    told = told.replace("the port in the policy", "the port this device was flashed with")
    return told.replace("a healthy MQTT broker", "healthy").replace("the broker", "the enrolment server")


def question(fields: dict[Any, Any]) -> Question:
    """Read a question from a frame of the guard; BadInput when a part is missing or odd."""
    kinds = {"what": str, "host": str, "port": int, "device": str, "token": bytes, "request": bytes, "nonce": bytes}
    kinds.update({"now": int, "boot": str})
    if set(fields) != set(kinds) or any(type(fields[name]) is not kind for name, kind in kinds.items()):
        raise BadInput("an enrol frame has other fields than it should; both sides must be of the same version")
    sound = fields["what"] in TYPES and 0 < fields["port"] < 1 << 16 and 0 < len(fields["host"]) <= 253
    printable = all(33 <= ord(letter) <= 126 for letter in fields["host"] + fields["device"] + fields["boot"])
    if not sound or not printable or fields["now"] < 0 or (fields["what"] not in CLOCKLESS and not fields["now"]):
        raise BadInput("an enrol frame holds what cannot be asked; both sides must be of the same version")
    return Question(**fields)


def answered(fields: dict[Any, Any], home: Path) -> dict[str, Any]:
    """Answer an enrol frame of the guard: the fields of the frame that goes back."""
    answer = ask(question(fields), home)
    return {"what": fields["what"], **{name: getattr(answer, name) for name in Answer.__slots__}}
