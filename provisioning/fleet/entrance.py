"""The way in to a TLS server: how many may be on it, how many of one place, and how long they may take.

asyncio's own servers count a connection once its handshake is over. Who opens thousands and never finishes one costs
such a server all its files, and a quarter of a megabyte each. Here a connection counts from its first packet on.

Nor is who finished a handshake anybody yet: a device comes with a token, so a stranger with many addresses can finish
as many as there is room for and ask nothing. So nobody keeps a place for nothing: where there is no room, whoever is
waited for longest goes, in its handshake or after it. A device asks at once, and while it is answered nobody takes its
place.
"""

import asyncio
import errno
import math
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agent.core.errors import Failed
from provisioning.fleet.limits import Porch, neighbourhood

FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE = 0.1  # seconds until accepting is tried again when this machine has no room
BACKLOG = 1024


class Bounds:
    """How many connections there may be, how many of one place, how many unfinished handshakes; and seconds of each."""

    def __init__(self) -> None:
        self.most, self.share = 2000, 1500
        self.handshakes, self.near = 1200, 1000  # a thousand of one place may come at once
        self.handshake = 10.0  # more than three round trips over the worst of links
        self.life = 60.0  # whatever happens on it

    def fit(self, files: int) -> None:
        """Be content with the files this process may open."""
        if files < self.most:
            self.most, self.share = files, files * 3 // 4
            self.handshakes, self.near = files // 2, files // 4


class Coming:
    """A connection whose handshake is not over."""

    def __init__(self, link: socket.socket, place: str, at: float) -> None:
        self.link, self.place, self.at = link, place, at
        self.begun = False
        self.task: asyncio.Task[None] | None = None


class Entrance:
    """Accepts on sockets that listen; `made` gives each connection its protocol once it is let in."""

    def __init__(self, bounds: Bounds, context: ssl.SSLContext, made: Callable[[], asyncio.Protocol]) -> None:
        self.bounds = bounds
        self.turned = 0  # sent away: there was no room
        self.cut = 0  # sent away for others: the handshake was not over, or nothing was asked
        self._context, self._made = context, made
        self._porch = Porch(bounds.handshakes, bounds.near)
        self._within: OrderedDict[Any, tuple[str, float]] = OrderedDict()  # place, and since when nothing is asked
        self._answered: set[Any] = set()
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, address: str, port: int) -> int:
        """Listen; return the port. Failed when that cannot be."""
        try:
            found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, place in dict.fromkeys(found):
                self._listening.append(bound(socket.socket(family, kind, protocol), place))
        except (OSError, UnicodeError) as error:
            self.close()
            why = getattr(error, "strerror", None) or "this is no address"
            raise Failed(f"nobody can listen on {address} port {port} ({why}); choose another") from None
        for listening in self._listening:
            self._accept(listening)
        return int(self._listening[0].getsockname()[1])

    def close(self) -> None:
        """Accept nobody any more, and leave those who are not in yet."""
        for listening in self._listening:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._listening.clear()
        for task in self._tasks:
            task.cancel()

    def open(self) -> int:
        """Return how many connections are there, those with an unfinished handshake too."""
        return len(self._porch) + self._entered()

    def _entered(self, place: str = "") -> int:
        for protocol in [one for one in self._within if one.transport is None]:
            del self._within[protocol]
        return sum(1 for one, _ in self._within.values() if one == place) if place else len(self._within)

    @contextmanager
    def answering(self, protocol: Any) -> Iterator[None]:
        """Let nobody take this one's place while its question is answered."""
        self._answered.add(protocol)
        try:
            yield
        finally:
            self._answered.discard(protocol)
            if protocol in self._within:
                self._within[protocol] = self._within[protocol][0], asyncio.get_running_loop().time()
                self._within.move_to_end(protocol)

    def _accept(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening, self._knocked, listening)

    def _knocked(self, listening: socket.socket) -> None:
        """Accept one; those who are within go on before the next."""
        try:
            link, address = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._cut(self._porch.push())
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening)
            loop.call_later(PAUSE, self._accept, listening)
            return
        link.setblocking(False)
        coming = Coming(link, neighbourhood(str(address[0])), asyncio.get_running_loop().time())
        if not self._room(coming.place):
            self.turned += 1
            link.close()
            return
        self._cut(self._porch.come(coming, coming.place))
        coming.task = asyncio.get_running_loop().create_task(self._enter(coming))
        self._tasks.add(coming.task)
        coming.task.add_done_callback(lambda task: self._over(coming, task))

    def _room(self, place: str) -> bool:
        """Say whether one more may come of a place, after the unfinished have made room where they can."""
        there = self.open()
        full = there >= self.bounds.share and self._entered(place) + self._porch.of(place) >= self.bounds.share
        if not full and there < self.bounds.most:
            return True
        whose = place if full else ""
        coming: Any = self._porch.longest(whose)
        return self._leave(whose, coming.at if coming else math.inf) or self._cut(self._porch.push(whose))

    def _leave(self, place: str, before: float) -> bool:
        """End the connection on which nothing was asked for longest, of one place or of all; say whether there was one.

        Nothing must have been asked on it since before that time.
        """
        for protocol, (its, at) in self._within.items():
            if at > before:
                return False
            if protocol not in self._answered and place in ("", its):
                self.cut += 1
                self._end(protocol)
                return True
        return False

    def _cut(self, coming: Any) -> bool:
        if coming is None:
            return False
        self.cut += 1
        coming.task.cancel()
        return True

    async def _enter(self, coming: Coming) -> None:
        coming.begun = True
        loop = asyncio.get_running_loop()
        _, protocol = await loop.connect_accepted_socket(
            self._made, coming.link, ssl=self._context, ssl_handshake_timeout=self.bounds.handshake
        )
        self._porch.go(coming, coming.place)  # now, or until this task is noticed to be over it counts twice
        self._within[protocol] = coming.place, loop.time()
        loop.call_later(self.bounds.life, self._end, protocol)

    def _over(self, coming: Coming, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._porch.go(coming, coming.place)
        if not coming.begun:
            coming.link.close()
        elif not task.cancelled():
            task.exception()  # a handshake that failed is the other's matter

    def _end(self, protocol: Any) -> None:
        self._within.pop(protocol, None)
        if protocol.transport is not None:
            protocol.transport.abort()


def bound(made: socket.socket, place: Any) -> socket.socket:
    """Return a socket that listens at a place."""
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
