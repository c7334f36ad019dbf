"""Many devices at once, each with a connection of its own: for the bench, and for a thousand in parallel."""

import asyncio
import base64
import ssl
from collections.abc import Sequence

from provisioning.fleet.registry import Planned
from tests.fleet.enrolling import KIND, key, login, request

HOST = "127.0.0.1"
Question = tuple[Planned, bytes]


def questions(cards: Sequence[Planned]) -> list[Question]:
    """Make a key and a request for each device, before any clock runs."""
    return [(one, base64.b64encode(request(key()))) for one in cards]


def trusting(anchor: str) -> ssl.SSLContext:
    """Return the TLS of a device that has no certificate yet."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=anchor)
    return made


async def answered(question: Question, links: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int:
    """Ask on an open connection; return the status once the whole answer is there."""
    (one, body), (reader, writer) = question, links
    head = "".join(f"{name}: {value}\r\n" for name, value in {**KIND, **login(one), "Connection": "close"}.items())
    top = f"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    writer.write(top.encode() + body)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


async def enrolled(port: int, anchor: str, work: Sequence[Question], together: int) -> list[int]:
    """Let devices enrol, so many at any time; return the statuses."""
    context, room = trusting(anchor), asyncio.Semaphore(together)

    async def one(question: Question) -> int:
        async with room:
            return await answered(question, await asyncio.open_connection(HOST, port, ssl=context))

    return list(await asyncio.gather(*(one(question) for question in work)))


async def all_at_once(port: int, anchor: str, work: Sequence[Question]) -> list[int]:
    """Let every device connect first; when all are there, all ask."""
    context = trusting(anchor)
    opening = (asyncio.open_connection(HOST, port, ssl=context, ssl_handshake_timeout=120) for _ in work)
    links = await asyncio.gather(*opening)
    return list(await asyncio.gather(*(answered(question, link) for question, link in zip(work, links, strict=True))))
