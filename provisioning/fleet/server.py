"""The enrolment server: a subset of EST (RFC 7030) over HTTPS, the fleet's time, and the list of who counts no more.

    GET  /.well-known/est/cacerts           the authorities
    POST /.well-known/est/simpleenroll      device id and token by HTTP Basic
    POST /.well-known/est/simplereenroll    TLS with the device's certificate
    GET  /.well-known/est/time?nonce=…      the time, signed
    GET  /.well-known/est/crl               certificates of devices that are revoked or held
    POST /.well-known/est/erased            the receipt of a device that erased itself; the answer is a voucher

Whatever comes, one sentence goes back. A device's clock counts nowhere: TLS judges its certificate without dates, and
the desk then judges it by this server's time, so that one that was away for a while can still renew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from cryptography import x509

from agent.core.errors import BadInput, Missing, PrivetError, Refused
from agent.core.shown import many
from provisioning.fleet import est, handover
from provisioning.fleet.authority import requested_key
from provisioning.fleet.clerk import Clerk
from provisioning.fleet.desk import GIVEN, LATER, RULES, Asked, Desk, Outcome, Rules, token_hash
from provisioning.fleet.keeping import publish, revocation_list
from provisioning.fleet.limits import Bucket, neighbourhood
from provisioning.fleet.registry import DAY, Registry

EST = "/.well-known/est/"
WARN_DAYS = 180
MINUTE = 60.0  # seconds
PATIENCE = 10.0  # seconds for the body of a question
FAILURES = (30, 0.5)  # refused questions of one place at once, and a second
QUESTIONS = (20, 0.2)  # questions of one device
BUSY = "too many questions; ask again later"
LARGE = f"a question has at most {est.MOST_BODY} bytes; send the certificate request alone"
SLOW = "the question came too slowly; ask again"
NOWHERE = "there is nothing here; the paths are cacerts, simpleenroll, simplereenroll, time, crl and erased"
NO_CERTIFICATE = "a renewal needs TLS with the device's certificate; show it"
BROKEN = "the enrolment server failed; its operator has to look into it"
HEADERS = {"Cache-Control": "no-store", "Server": "privet", "X-Content-Type-Options": "nosniff"}
Act = Callable[[web.Request], Awaitable[web.Response]]


class Enrolment:
    """What the paths do. `tell` gets one sentence whenever a person has to look."""

    def __init__(self, registry: Registry, tell: Callable[[str], None], rules: Rules = RULES) -> None:
        self.registry = registry
        self.fleet = registry.fleet
        self.tell = tell
        self.answering: Callable[[object], AbstractContextManager[None]] = lambda _protocol: nullcontext()
        self._clerk = Clerk(registry, self._shut, self._publish, rules)
        self._list = b"", 0.0
        self._failures, self._questions = Bucket(*FAILURES), Bucket(*QUESTIONS)
        self._issuer = self.fleet.issuer("device-ca")[0]
        anchors = b"".join(self.fleet.safe.read(f"{name}.pem") for name in ("root", "device-ca", "service-ca"))
        self._authorities = est.certs_only(x509.load_pem_x509_certificates(anchors))

    def close(self) -> None:
        """Answer who waits, then end."""
        self._clerk.close()
        self.registry.remember()

    def warn_of_ends(self) -> None:
        """Tell a person, well before, that an authority ends: devices' certificates never outlive it."""
        for label in ("device-ca", "server-ca"):
            left = int(self.fleet.issuer(label)[0].not_valid_after_utc.timestamp() - self.registry.now()) // DAY
            if left < WARN_DAYS:
                ends = f"the {label} ends in {many(left, 'day')}"
                self.tell(f"{ends}; renew it with the root: privet-fleet authority renew")

    def application(self) -> web.Application:
        """Return the application, for whoever serves it."""
        made = web.Application(client_max_size=est.MOST_BODY)
        looks = {"cacerts": self.cacerts, "time": self.time, "crl": self.revoked}
        acts = {"simpleenroll": self.enrol, "simplereenroll": self.renew, "erased": self.erased}
        for name, look in looks.items():
            made.router.add_get(EST + name, self._guarded(look), allow_head=False)
        for name, act in acts.items():
            made.router.add_post(EST + name, self._guarded(act), expect_handler=expected)

        async def nowhere(request: web.Request) -> web.Response:
            name = request.path.removeprefix(EST)
            allow = "GET" if name in looks else "POST" if name in acts else ""
            return said(405 if allow else 404, NOWHERE, {"Allow": allow} if allow else {})

        made.router.add_route("*", "/{path:.*}", self._guarded(nowhere))
        return made

    async def cacerts(self, request: web.Request) -> web.Response:
        """Give the fleet's authorities."""
        await self._contact(request)
        return certificates(self._authorities)

    async def time(self, request: web.Request) -> web.Response:
        """Give the time, signed over the nonce; Missing where the policy key is kept elsewhere."""
        await self._contact(request)
        try:
            key = self.fleet.signing_key()
        except Missing:
            raise web.HTTPNotFound(text=NOWHERE) from None
        body = est.signed_time(request.query.get("nonce", ""), self.registry.now(), key)
        return web.Response(body=body, headers={"Content-Type": est.TIME})

    async def revoked(self, request: web.Request) -> web.Response:
        """Give the list of devices' certificates that count no more."""
        if not self._list[0] or time.monotonic() - self._list[1] > MINUTE:
            self._list = await asyncio.to_thread(revocation_list, self.fleet), time.monotonic()
        return web.Response(body=self._list[0], headers={"Content-Type": est.LIST})

    async def enrol(self, request: web.Request) -> web.Response:
        """Give a certificate for a token."""
        try:
            device, token = est.read_login(request.headers.get("Authorization", ""))
        except BadInput as error:
            return said(401, str(error), {"WWW-Authenticate": 'Basic realm="privet"'})
        # By place as well: whoever else calls itself by this id takes nothing from the device.
        wait = self._questions.take(f"{device[:64]} {neighbourhood(request.remote or '')}", time.monotonic())
        if wait:
            return busy(wait)
        asked, hashed = await self._asked(request), token_hash(token)
        return await self._answered(request, lambda desk: desk.claim(device, hashed, asked))

    async def renew(self, request: web.Request) -> web.Response:
        """Give the next certificate for the one in force."""
        shown = certificate_of(request)
        if shown is None:
            return said(401, NO_CERTIFICATE)
        wait = self._questions.take(shown.hex()[-64:], time.monotonic())
        if wait:
            return busy(wait)
        asked = await self._asked(request)
        return await self._answered(request, lambda desk: desk.renew(shown, asked))

    async def erased(self, request: web.Request) -> web.Response:
        """Take the receipt of a device that erased itself; it is signed, so no certificate is asked for."""
        wait = self._questions.take(f"erased {neighbourhood(request.remote or '')}", time.monotonic())
        if wait:
            return busy(wait)
        receipt = est.read_receipt(await self._body(request), request.headers.get("Content-Type", ""))
        outcome = await self._outcome(request, lambda desk: handover.taken(desk, receipt))
        if outcome.status == GIVEN:
            return web.Response(body=outcome.certificate, headers={"Content-Type": est.TIME})
        if outcome.status == handover.ENDED:
            return web.Response(status=outcome.status)
        return said(outcome.status, outcome.sentence, {"Retry-After": str(outcome.wait)} if outcome.wait else {})

    async def _body(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > est.MOST_BODY:
            raise web.HTTPRequestEntityTooLarge(est.MOST_BODY, request.content_length or 0, text=LARGE)
        try:
            return await asyncio.wait_for(request.read(), PATIENCE)
        except TimeoutError:
            raise web.HTTPRequestTimeout(text=SLOW) from None

    async def _asked(self, request: web.Request) -> Asked:
        body = await self._body(request)
        key = requested_key(est.read_request(body, request.headers.get("Content-Type", "")))
        boots, boot = est.read_boot(request.headers.get("Privet-Boot", ""))
        return Asked(key=key, boots=boots, boot=boot)

    async def _outcome(self, request: web.Request, work: Callable[[Desk], Outcome]) -> Outcome:
        """Ask the clerk without keeping anybody else waiting; meanwhile nobody takes the place of who asks."""
        with self.answering(request.protocol):
            return await asyncio.wrap_future(self._clerk.ask(work))

    async def _answered(self, request: web.Request, work: Callable[[Desk], Outcome]) -> web.Response:
        outcome = await self._outcome(request, work)
        if outcome.status == GIVEN:
            leaf = x509.load_der_x509_certificate(outcome.certificate)
            return certificates(est.certs_only([leaf, self._issuer]))
        return said(outcome.status, outcome.sentence, {"Retry-After": str(outcome.wait)} if outcome.wait else {})

    async def _contact(self, request: web.Request) -> None:
        shown = certificate_of(request)
        if shown is not None:  # using a new certificate anywhere proves it
            await self._outcome(request, lambda desk: desk.contact(shown))

    def _shut(self, outcome: Outcome) -> None:
        for device in outcome.shut:
            self.tell(f"{device} is in quarantine: {outcome.sentence}")

    def _publish(self) -> None:
        try:
            publish(self.registry)
        except PrivetError as error:
            self.tell(f"the list of the revoked could not be written ({error}); it is tried again within the hour")
        self._list = b"", 0.0

    def _guarded(self, act: Act) -> Act:
        """Wrap what a path does: bounds on failures, and one sentence for whatever goes wrong."""

        async def guarded(request: web.Request) -> web.Response:
            place, now = neighbourhood(request.remote or ""), time.monotonic()
            wait = self._failures.wait(place, now)
            answer = busy(wait) if wait else await self._tried(act, request)
            if answer.status >= 400 and not wait:
                self._failures.take(place, now)
            answer.headers.update(HEADERS)
            return answer

        return guarded

    async def _tried(self, act: Act, request: web.Request) -> web.Response:
        try:
            return await act(request)
        except web.HTTPException as error:
            return said(error.status, LARGE if error.status == 413 else error.text or BROKEN)
        except PrivetError as error:
            status = 403 if isinstance(error, Refused) else 400 if isinstance(error, BadInput) else 503
            return said(status, str(error))
        except (HttpProcessingError, ValueError):
            return said(400, "this question cannot be read; send it anew")
        except Exception:  # noqa: BLE001 - a traceback is nobody's business but the operator's
            self.tell(BROKEN)
            return said(500, BROKEN)


async def expected(request: web.Request) -> None:
    """Say "go on" only to a body that may come."""
    if (request.content_length or 0) > est.MOST_BODY:
        raise web.HTTPRequestEntityTooLarge(est.MOST_BODY, request.content_length or 0, text=LARGE)
    if request.version >= (1, 1) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def certificate_of(request: web.Request) -> bytes | None:
    """Return the certificate (DER) that the other end of TLS has proven to hold; its dates are not judged yet."""
    channel = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    return channel.getpeercert(binary_form=True) if channel is not None else None


def certificates(body: bytes) -> web.Response:
    """Return an answer that holds certificates."""
    return web.Response(body=body, headers={"Content-Type": est.CERTIFICATES, "Content-Transfer-Encoding": "base64"})


def busy(wait: float) -> web.Response:
    """Return the answer to who asks too often."""
    return said(429, BUSY, {"Retry-After": str(int(wait) + 1)})


def said(status: int, sentence: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer of one sentence."""
    made = web.Response(status=status, text=sentence + "\n", headers=headers)
    if status in {400, 408, 413, 429} and status != LATER:
        made.force_close()  # what else comes on this connection is not read
    return made
