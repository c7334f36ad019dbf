"""Devices as a process: `crowd.py KIND FOLDER...`, in which each has its guard and its courier.

With one folder and `apart` as the first word there is a guard alone, whose courier is a process of its own, as on a
real device. Reads commands, one JSON object a line: {"jump": seconds}, {"post": text}, {"standing": n}.
"""

import json
import os
import resource
import selectors
import sys
import time
from pathlib import Path
from typing import Any

from agent.courier.link import Pace
from provisioning.simulate.messenger import Messenger
from tests.storm.device import KINDS, Guard

FILES = 12  # descriptors of a device
BEAT = 0.2  # seconds between turns that are due by time alone
PACE = Pace(keepalive=4, slack=2, first=100, most=1500)  # the broker is soon back, and a stall soon over


class Crowd:
    """Guards and couriers in one loop."""

    def __init__(self, guards: list[Guard], homes: list[Path]) -> None:
        self.guards = guards
        self.homes = homes
        self.messengers: list[Messenger | None] = [None] * len(homes)
        self.typed = b""
        self.beat = 0.0

    def turn(self) -> None:
        """Wait for the first thing to do, and do what there is."""
        ready = self.ready()
        everyone = time.monotonic() - self.beat >= BEAT
        if everyone:
            self.beat = time.monotonic()
        for n, guard in enumerate(self.guards):
            messenger = self.messengers[n] if self.messengers else None
            if everyone or n in ready or (messenger is not None and messenger.timeout() <= 0):
                self.give(n, guard)

    def give(self, n: int, guard: Guard) -> None:
        """Give one device its turn; the guard drops a courier that it cannot bear, and gets another one."""
        if self.messengers and guard.port.courier is None:
            before = self.messengers[n]
            if before is not None:
                before.close()
            self.messengers[n] = made = Messenger(self.homes[n], PACE)
            guard.port.attach(made.guard)
        guard.turn(0.0)
        messenger = self.messengers[n] if self.messengers else None
        if messenger is not None:
            messenger.turn()
            guard.turn(0.0)

    def ready(self) -> set[int]:
        """Wait; return which devices have something to do. The table is made anew: links come and go."""
        patience = min([BEAT, *(m.timeout() for m in self.messengers if m is not None)])
        with selectors.PollSelector() as selector:
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ, -1)
            for n, guard in enumerate(self.guards):
                selector.register(guard.selector.fileno(), selectors.EVENT_READ, n)
                messenger = self.messengers[n] if self.messengers else None
                if messenger is not None:
                    for number, events in messenger.watched().items():
                        if number >= 0:
                            selector.register(number, events, n)
            found = {key.data for key, _ in selector.select(max(0.0, patience))}
        if -1 in found:
            self.listen()
        return found

    def listen(self) -> None:
        """Read commands; when nobody is there to give any, end."""
        piece = os.read(sys.stdin.fileno(), 65536)
        if not piece:
            os._exit(0)
        *lines, self.typed = (self.typed + piece).split(b"\n")
        for line in lines:
            self.obey(json.loads(line))

    def obey(self, command: dict[str, Any]) -> None:
        """Do one command."""
        if "jump" in command:
            for guard in self.guards:
                guard.jump(command["jump"])
        if "post" in command:
            posted = sum(guard.outbox.post("warnings", "warning", command["post"]) for guard in self.guards)
            say({"posted": posted})
        if "standing" in command:
            waiting, dropped = sum(g.waiting for g in self.guards), sum(g.dropped for g in self.guards)
            of = {n: self.standing(n, g) for n, g in enumerate(self.guards) if g.waiting}
            links = sum(m is not None and m.state_word == "connected" for m in self.messengers)
            say(
                {
                    "standing": command["standing"],
                    "waiting": waiting,
                    "dropped": dropped,
                    "connected": links,
                    "standing of": of,
                }
            )

    def standing(self, n: int, guard: Guard) -> str:
        """Say in a line how a device is that has records left."""
        messenger = self.messengers[n] if self.messengers else None
        link = "apart" if messenger is None else f"{messenger.state_word} {messenger.cause}"
        lanes = {name: f"{lane.front} of {lane.seq}" for name, lane in guard.outbox.lanes.items() if lane.queue.count}
        return f"{guard.waiting} wait, {link}, {len(guard.outbox.unsent)} unsent, sent up to {lanes}"


def say(answer: dict[str, Any]) -> None:
    """Write one line."""
    print(json.dumps(answer), flush=True)


def main(kind: str, apart: bool, folders: list[Path]) -> None:
    """Begin, say so, serve."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES * len(folders) + 100)), hard))
    guards = [KINDS[kind](folder, apart) for folder in folders]
    crowd = Crowd(guards, [] if apart else [folder / "courier" for folder in folders])
    if apart:
        guards[0].port.open(str(folders[0] / "courier.sock"), 65534)
    say({"ready": len(guards)})
    while True:
        crowd.turn()


if __name__ == "__main__":
    words = sys.argv[1:]
    main(words[1], words[0] == "apart", [Path(word) for word in words[2:]])
