"""The known-bad twin of the enrolment server's door: the same paths and TLS on a server as asyncio makes one.

python -m tests.fleet.stock FLEET PORT
"""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry
from provisioning.fleet.server import Enrolment
from provisioning.fleet.serving import context


async def serve(fleet: Fleet, port: int) -> None:
    """Serve until this process is ended; whoever has not finished TLS is not counted."""
    runner = web.AppRunner(Enrolment(Registry(fleet), print).application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context(fleet, ["127.0.0.1"])).start()
    print('{"ok": true}', flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Fleet.open(Path(sys.argv[1])), int(sys.argv[2])))
