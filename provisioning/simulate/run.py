"""A simulated fleet at work: cards are flashed, devices start and enrol, measure, get policies, drift and are loosened.

The devices live in a few processes (`apart.py`), one for each processor; broker, enrolment server and collector are the
real ones. What is counted is what the devices say, and what arrived.
"""

import os
import secrets
import selectors
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.errors import Failed
from provisioning.broker.mosquitto import free_port
from provisioning.fleet.push import Steward, push
from provisioning.fleet.rollout import DONE, Plan, Rollout
from provisioning.profile.issue import Issued, issue_policy
from provisioning.simulate.child import Child
from provisioning.simulate.office import Office, spread
from provisioning.simulate.stage import HOST, Stage

EACH = 8  # devices for which another process is worth its start
ABREAST = 200  # devices that measure once a second; more measure more seldom: one machine is all of them
SETTLED = 120.0  # seconds for what is still on its way at the end
STUCK = 300.0  # seconds in which something has to change while all come up
STAGES = Plan(stages=(5, 25, 100), failures=0, enough=90)


class Count(NamedTuple):
    """Where a fleet stands, in numbers: of devices, of readings, of outages; the last ones in seconds.

    `drifted` were loosened by somebody's hand, `loosened` by their owner; `taken` have the newest policy. `started` is
    how long it took until all were enrolled and connected, `back` the longest until all were again after an outage.
    """

    devices: int
    booted: int
    rotated: int
    enrolled: int
    connected: int
    measured: int
    accepted: int
    received: int
    acknowledged: int
    drifted: int
    warned: int
    loosened: int
    allowed: int
    taken: int
    outages: int
    started: float
    back: float
    seconds: float


class Run:
    """One run: `start`, `work` until it is over, then `settle`; `close` ends all that was started."""

    def __init__(self, folder: Path, profile: Path, devices: int, registry: str = "") -> None:
        self.folder, self.profile, self.wanted = folder, profile, devices
        self.stage = Stage.build(folder, f"sim-{secrets.token_hex(3)}")
        self.office = Office(folder, self.stage.fleet, (HOST, free_port(HOST)), registry)
        parts = max(1, min(os.cpu_count() or 1, devices // EACH))
        words = "provisioning.simulate.apart", folder
        self.parts = [Child(f"part{n}", folder / f"part{n}.log", *words) for n in range(parts)]
        self.home: dict[str, Child] = {}  # where each device lives
        self.policy: Issued | None = None
        self.drifted: list[str] = []
        self.loosened: list[str] = []
        self.received = self.outages = self._order = 0
        self.started = self.back = self._cut = 0.0
        self._began = time.monotonic()

    # -- what happens to it

    def start(self) -> None:
        """Issue the policy, start broker, server and collector, flash all cards, and start the devices."""
        self.policy = issue_policy(self.stage.fleet, self.profile)
        self.stage.start()
        self.office.start()
        names = self.office.flash(self.policy, self.wanted)
        for part, share in zip(self.parts, spread(names, len(self.parts)), strict=True):
            part.start()
            self.home.update(dict.fromkeys(share, part))
            self.tell(part, begin=share)

    def measure(self) -> None:
        """Let all measure."""
        for part in self.parts:
            self.tell(part, every=max(1.0, self.wanted / ABREAST))

    def drift_one(self) -> None:
        """Let somebody loosen a device by hand that was not touched yet."""
        self.touch(self.drifted, "drift")

    def loosen_one(self) -> None:
        """Let the owner of a device that was not touched yet allow something."""
        self.touch(self.loosened, "loosen")

    def touch(self, noted: list[str], what: str) -> None:
        """Choose a device, and let it happen there."""
        left = sorted(set(self.home) - {*self.drifted, *self.loosened})
        if left:
            name = left[secrets.randbelow(len(left))]
            noted.append(name)
            self.tell(self.home[name], **{what: name})

    def cut_broker(self) -> None:
        """Kill the broker as a power cut would, and start it again."""
        self.outages += 1
        self.stage.broker.kill()
        self.stage.broker.start()
        self._cut = time.monotonic()

    def push(self, told: Callable[[], None]) -> None:
        """Hand out the next policy by stages; Failed when it halts or somebody does not answer."""
        self.policy = issue_policy(self.stage.fleet, self.profile)
        made = self.policy
        rollout = Rollout.begin(self.folder / "rollout.json", made.model, made.sequence, made.signed, STAGES)
        rollout.aim(self.home)

        def turned(_rollout: Rollout) -> None:
            self.work(0.0)
            told()

        with Steward(self.stage.fleet, HOST, self.stage.port) as steward:
            push(rollout, steward, made.signed, SETTLED, turned)
        if rollout.verdict() != DONE:
            raise Failed(f"not every device took the policy ({rollout.count()}); look into {self.folder}")

    # -- its course

    def work(self, limit: float = 0.05) -> None:
        """Wait at most `limit` seconds for a word of the devices, and take what came; Failed when a part broke."""
        with selectors.DefaultSelector() as selector:
            for part in self.parts:
                part.must_live()
                if part.process is not None and part.process.stdout is not None:
                    selector.register(part.process.stdout, selectors.EVENT_READ)
            selector.select(limit)
        for part in self.parts:
            part.listen()
        self.received += len(self.stage.receiving.take())
        if self._cut and self.everyone("connected") and all(one.said["at"] > self._cut for one in self.parts):
            self.back, self._cut = max(self.back, time.monotonic() - self._cut), 0.0

    def come_up(self, told: Callable[[], None]) -> None:
        """Wait until every device is enrolled and connected; Failed when nothing moves any more."""
        moved, stood = time.monotonic(), (0, 0, 0)
        while not self.everyone("connected"):
            stands = self.sum("booted"), self.sum("enrolled"), self.sum("connected")
            if stands != stood:
                moved, stood = time.monotonic(), stands
            if time.monotonic() - moved > STUCK:
                raise Failed(f"{stands[2]} of {self.wanted} devices came up; look into {self.folder}")
            self.work()
            told()
        self.started = round(time.monotonic() - self._began, 1)

    def settle(self, told: Callable[[], None]) -> None:
        """Measure no more, and wait until all that was accepted has arrived and is known to; Failed when not."""
        for part in self.parts:
            self.tell(part, every=0.0)
        ends = time.monotonic() + SETTLED
        while not self.settled():
            if time.monotonic() > ends:
                raise Failed(f"not all came to rest ({self.count()}); look into {self.folder}")
            self.work()
            told()

    def settled(self) -> bool:
        """Say whether nothing is on its way, every hand was warned about, and what was allowed is."""
        if any(part.said.get("order") != self._order for part in self.parts) or self._cut:
            return False
        count = self.count()
        arrived = count.received == count.accepted and count.acknowledged == count.devices
        return arrived and (count.warned, count.allowed) == (count.drifted, count.loosened)

    # -- how it stands

    def tell(self, part: Child, **command: Any) -> None:
        """Give a command to one part; all parts hear its number, so that none is behind for long."""
        self._order += 1
        for one in self.parts:
            one.tell({"order": self._order, **(command if one is part else {})})

    def sum(self, what: str) -> int:
        """Add up what the parts said."""
        return sum(int(part.said.get(what, 0)) for part in self.parts)

    def everyone(self, what: str) -> bool:
        """Say whether it is so for all devices."""
        return self.sum(what) == self.wanted

    def count(self) -> Count:
        """Return where the fleet stands."""
        newest = str(self.policy.sequence) if self.policy is not None else ""
        said = {name: self.sum(name) for name in Count._fields if name in self.parts[0].said}
        own = {
            "devices": self.wanted, "received": self.received, "drifted": len(self.drifted),
            "loosened": len(self.loosened), "outages": self.outages, "started": self.started,
            "back": round(self.back, 1), "seconds": round(time.monotonic() - self._began, 1),
            "taken": sum(part.said.get("policies", {}).get(newest, 0) for part in self.parts),
        }  # fmt: skip
        return Count(**{**dict.fromkeys(Count._fields, 0), **said, **own})

    def close(self) -> None:
        """End everything that was started."""
        for part in self.parts:
            part.close()
        self.office.close()
        self.stage.close()
