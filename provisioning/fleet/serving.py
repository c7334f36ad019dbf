"""Serving: TLS that asks for a device's certificate, and what is due each hour."""

import asyncio
import resource
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar

from aiohttp import web

from agent.core.errors import Failed, PrivetError
from provisioning.fleet.entrance import Bounds, Entrance
from provisioning.fleet.identity import Credential, Fleet
from provisioning.fleet.keeping import forget, publish
from provisioning.fleet.safe import alone, whole_file
from provisioning.fleet.server import Enrolment

# TLS 1.3, and of 1.2 what has ephemeral keys and authenticated encryption. Our keys are P-256.
CIPHERS = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the desk judges dates, by its own clock and grace
IDLE = 10.0  # seconds between two questions
FILES = 4096  # what the most connections need, and the database
SPARE = 100  # files that are no connections
SERVER_DAYS = 30
HOUR = 3600.0
T = TypeVar("T")


class Serving:
    """The enrolment server on an address. `async with Serving(…)`: it listens, and at the end it does not."""

    def __init__(self, enrolment: Enrolment, names: Sequence[str], address: str, port: int) -> None:
        self._enrolment = enrolment
        self._names = names
        self._place = address, port
        self._runner = web.AppRunner(
            enrolment.application(), access_log=None, keepalive_timeout=IDLE, lingering_time=1.0, handle_signals=False
        )
        self._context = context(enrolment.fleet, names)
        self._house: asyncio.Task[None] | None = None
        self.bounds, self.hour = Bounds(), HOUR
        self.door: type[Entrance] = Entrance
        self.port = port

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        made = self._runner.server
        if made is None:
            raise Failed("the enrolment server did not begin; start it again")
        self.bounds.fit(max(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE))
        self.entrance = self.door(self.bounds, self._context, made)
        self._enrolment.answering = self.entrance.answering
        self.port = self.entrance.listen(*self._place)
        self._house = asyncio.create_task(self._keep_house())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.entrance.close()
        if self._house is not None:
            self._house.cancel()
        await self._runner.cleanup()
        self._enrolment.close()

    async def _keep_house(self) -> None:
        """Every hour: a fresh certificate, what is over is forgotten, the list of the revoked is written."""
        fleet = self._enrolment.fleet
        while True:
            await asyncio.to_thread(self.keep_house)
            await asyncio.sleep(self.hour)
            made = await asyncio.to_thread(self._done, lambda: fleet.server(self._names, SERVER_DAYS))
            if made is not None:
                # Here, where handshakes are made too: none of them may meet the new certificate with the old key.
                self._done(partial(shown, self._context, fleet, made))

    def keep_house(self) -> None:
        """Do what is due; what cannot be done now keeps nothing else from being done, and is tried again."""
        registry = self._enrolment.registry
        for work in (self._enrolment.warn_of_ends, lambda: forget(registry), lambda: publish(registry)):
            self._done(work)
        self._done(registry.remember)

    def _done(self, work: Callable[[], T]) -> T | None:
        """Do one thing; None where it failed, and a person is told."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a full disk now must not end what keeps certificates in force
            why = str(error) if isinstance(error, PrivetError) else type(error).__name__
            self._enrolment.tell(f"the hourly work of the enrolment server failed ({why}); it is tried again")
            return None


def context(fleet: Fleet, names: Sequence[str]) -> ssl.SSLContext:
    """Return the server's TLS: its own certificate, and devices' certificates where they show one."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    made.num_tickets = 0
    made.verify_mode = ssl.CERT_OPTIONAL
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    anchors = fleet.safe.read("device-ca.pem") + fleet.trust_anchor()
    made.load_verify_locations(cadata=anchors.decode())
    shown(made, fleet, fleet.server(names, SERVER_DAYS))
    return made


def shown(context: ssl.SSLContext, fleet: Fleet, credential: Credential) -> None:
    """Let the server show a certificate. One process at a time: two may serve one fleet, and the pair is two files."""
    folder = fleet.safe.directory / "serve"
    folder.mkdir(mode=0o700, exist_ok=True)
    with alone(folder):
        whole_file(folder / "server.pem", credential.certificate)
        whole_file(folder / "server.key", credential.key)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")


async def serve(serving: Serving, over: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until it is over."""
    async with serving:
        ready()
        await over.wait()
