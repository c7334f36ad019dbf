"""Serving: TLS that asks for a device's certificate, and bounds on how many connections there are and how long."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from agent.core.errors import Failed
from provisioning.fleet.identity import Fleet
from provisioning.fleet.keeping import forget, publish
from provisioning.fleet.safe import whole_file
from provisioning.fleet.server import Enrolment

# TLS 1.3, and of 1.2 what has ephemeral keys and authenticated encryption. Our keys are P-256.
CIPHERS = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the desk judges dates, by its own clock and grace
HANDSHAKE = 30.0  # seconds: a thousand at once wait for each other
LIFE = 60.0  # seconds of a connection, whatever happens on it
IDLE = 10.0  # seconds between two questions
MOST = 2000  # connections
FILES = 4096  # what that many need, and the database
SERVER_DAYS = 30
HOUR = 3600.0


class Turned(asyncio.Protocol):
    """What a connection gets that is one too many: its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        transport.close()


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
        self._server: asyncio.Server | None = None
        self._house: asyncio.Task[None] | None = None
        self.turned = 0
        self.most, self.life = MOST, LIFE
        self.port = port

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._connected, *self._place, ssl=self._context, ssl_handshake_timeout=HANDSHAKE, backlog=1024
            )
        except OSError as error:
            address, port = self._place
            raise Failed(f"nobody can listen on {address} port {port} ({error.strerror}); choose another") from None
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._house = asyncio.create_task(self._keep_house())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._server is not None:
            self._server.close()
        if self._house is not None:
            self._house.cancel()
        await self._runner.cleanup()
        self._enrolment.close()

    def _connected(self) -> asyncio.Protocol:
        if self._runner.server is None or self.open() >= self.most:
            self.turned += 1
            return Turned()
        made = self._runner.server()
        asyncio.get_running_loop().call_later(self.life, self._end, made)
        return made

    def open(self) -> int:
        """Return how many connections are open."""
        return 0 if self._runner.server is None else len(self._runner.server.connections)

    @staticmethod
    def _end(protocol: Any) -> None:
        if protocol.transport is not None:
            protocol.transport.abort()

    async def _keep_house(self) -> None:
        """Every hour: a fresh certificate, what is over is forgotten, the list of the revoked is written."""
        while True:
            await asyncio.to_thread(self.keep_house)
            await asyncio.sleep(HOUR)
            pair = await asyncio.to_thread(fresh, self._enrolment.fleet, self._names)
            # Here, where handshakes are made too: none of them may meet the new certificate with the old key.
            self._context.load_cert_chain(*pair)

    def keep_house(self) -> None:
        """Do what is due."""
        self._enrolment.warn_of_ends()
        forget(self._enrolment.registry)
        publish(self._enrolment.registry)
        self._enrolment.registry.remember()


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
    made.load_cert_chain(*fresh(fleet, names))
    return made


def fresh(fleet: Fleet, names: Sequence[str]) -> tuple[Path, Path]:
    """Make a fresh certificate for the server; return its file and that of its key."""
    credential = fleet.server(names, SERVER_DAYS)
    folder = fleet.safe.directory / "serve"
    whole_file(folder / "server.pem", credential.certificate)
    whole_file(folder / "server.key", credential.key)
    return folder / "server.pem", folder / "server.key"


async def serve(serving: Serving, over: asyncio.Event, ready: Callable[[], None]) -> None:
    """Serve until it is over."""
    async with serving:
        ready()
        await over.wait()
