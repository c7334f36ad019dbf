"""A bad line as a process: `proxy.py SEED PORT TO PATTERN...` delays, trickles, stalls and cuts what goes through it.

Each connection draws its own fate. A line on its input ends the bad weather; then it only carries on. It searches all
that goes by for the patterns (hex). What it did is said at its end: when the input ends.
"""

import asyncio
import json
import sys
from contextlib import suppress

from tests.storm.chance import Chance
from tests.storm.marks import Search

CHUNK = 16384


class Proxy:
    """All connections."""

    def __init__(self, chance: Chance, to: int, search: Search) -> None:
        self.chance, self.to, self.search = chance, to, search
        self.calm = False
        self.did = {"connections": 0, "delayed": 0, "trickled": 0, "stalled": 0, "cut": 0, "bytes": 0}

    def fair(self) -> bool:
        """Say whether the weather is fair by now."""
        return self.calm

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end, or to the one it draws."""
        self.did["connections"] += 1
        try:
            there, out = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        ways = [asyncio.create_task(self.way(reader, out)), asyncio.create_task(self.way(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, out):
            end.transport.abort()

    async def way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction; ends when it is over."""
        delay = self.chance.between(0.005, 0.15) if self.chance.holds(50) else 0.0
        limit = self.chance.whole(40_000) if self.chance.holds(40) else 0
        kept, carried = b"", 0
        with suppress(OSError):
            while piece := await reader.read(CHUNK):
                carried += len(piece)
                self.did["bytes"] += len(piece)
                kept = self.search.flow("the line", kept, piece)
                if limit and carried > limit and not self.calm:
                    self.did["cut"] += 1
                    return
                await self.bear(piece, writer, delay)

    async def bear(self, piece: bytes, writer: asyncio.StreamWriter, delay: float) -> None:
        """Pass one piece on, however badly."""
        if delay and not self.calm:
            self.did["delayed"] += 1
            await asyncio.sleep(delay)
        if not self.calm and self.chance.whole(120) == 0:
            self.did["stalled"] += 1
            for _ in range(self.chance.whole(60)):  # a quarter of a second each
                await asyncio.sleep(0.0 if self.fair() else 0.25)
        if not self.calm and self.chance.holds(2):
            self.did["trickled"] += 1
            while piece and not self.fair():
                size = 1 + self.chance.whole(200)
                writer.write(piece[:size])
                await writer.drain()
                await asyncio.sleep(0.002)
                piece = piece[size:]
        writer.write(piece)
        await writer.drain()


async def main(seed: str, port: int, to: int, patterns: list[str]) -> None:
    """Carry until the input ends."""
    search = Search({pattern: bytes.fromhex(pattern) for pattern in patterns})
    proxy = Proxy(Chance(seed, "proxy"), to, search)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", port, backlog=1024)
    typed = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(typed), sys.stdin)
    print(json.dumps({"ready": 1}), flush=True)
    while await typed.readline():
        proxy.calm = True
    print(json.dumps({"did": proxy.did, "found": search.found, "looked": search.looked}), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
