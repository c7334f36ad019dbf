"""At the other end of the cable: the fleet's enrolment server and its broker, until this process is ended.

python -m tests.boot.desk FLEET FOLDER ADDRESS
"""

import asyncio
import sys
from pathlib import Path

from provisioning.broker.mosquitto import Broker, Setup
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry
from provisioning.fleet.server import Enrolment
from provisioning.fleet.serving import Serving, serve

ENROL, BROKER = 443, 8883  # both are among the flows of every profile


async def desk(fleet: Fleet, address: str) -> None:
    """Serve enrolment, and say when that has begun."""
    serving = Serving(Enrolment(Registry(fleet), told), [address], address, ENROL)
    await serve(serving, asyncio.Event(), lambda: told("ready"))


def told(sentence: str) -> None:
    """Say something to whoever started this."""
    print(sentence, flush=True)


def main(words: list[str]) -> None:
    """Run both."""
    fleet = Fleet.open(Path(words[0]))
    setup = Setup(fleet=fleet.name, address=words[2], port=BROKER, collectors=("collector",), durable=False)
    with Broker(Path(words[1]), setup, fleet.server([words[2]]), fleet.client_anchors()):
        asyncio.run(desk(fleet, words[2]))


if __name__ == "__main__":
    main(sys.argv[1:])
