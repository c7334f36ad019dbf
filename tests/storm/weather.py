"""What happens to a site, and when: each fault with its recovery, counted where it fired."""

import heapq
import itertools
import subprocess
import time
from collections.abc import Callable

from provisioning.simulate.child import Child
from tests.storm.chance import Chance
from tests.storm.marks import Search
from tests.storm.site import Site

TEN_YEARS = 10 * 365 * 86400
LOSS = 5  # packets of a hundred
RULES = """table inet storm {{
  chain arriving {{
    type filter hook input priority 0; policy accept;
    tcp dport {port} numgen random mod 100 < {loss} counter name lost drop
    tcp sport {port} numgen random mod 100 < {loss} counter name lost drop
  }}
  counter lost {{ }}
}}
"""
Act = Callable[[], None]


class Weather:
    """The faults of one run; `turn` lets happen what is due, `end` makes all whole again."""

    def __init__(self, site: Site, keeper: Child, search: Search, seed: str) -> None:
        self.site, self.keeper, self.search, self.seed = site, keeper, search, seed
        self.fired: dict[str, int] = {}
        self.refused: Callable[[str], int] = lambda disk: 0  # how many requests a disk's devices refused so far
        self.stormy = True
        self._due: list[tuple[float, int, Act]] = []
        self._order = itertools.count()
        self._bad: set[str] = set()  # disks that take nothing now: their processes are not killed meanwhile
        self._chances = {name: Chance(seed, name) for name in self.kinds()}

    def kinds(self) -> dict[str, tuple[float, float, Act]]:
        """Return the faults: seconds between two of a kind, at least and at most."""
        return {
            "broker killed": (10, 16, self.kill_broker),
            "crowd killed": (4, 7, self.kill_crowd),
            "guard killed": (5, 9, self.kill_guard),
            "courier killed": (5, 9, self.kill_courier),
            "collector killed": (14, 22, self.kill_collector),
            "site killed": (16, 24, self.kill_site),
            "clock jumped": (3, 6, self.jump),
            "network lossy": (12, 18, self.lose_packets),
            "disk full": (22, 32, self.fill),
            "disk read-only": (22, 32, self.break_disk),
        }

    def begin(self, of: tuple[str, ...] = ()) -> None:
        """Draw when each fault comes first; `of`: those alone."""
        for name in of or tuple(self.kinds()):
            self.again(name, 0.5)

    def again(self, name: str, share: float = 1.0) -> None:
        """Draw when a fault comes next."""
        least, most, act = self.kinds()[name]
        self.later(share * self._chances[name].between(least, most), lambda: self.happen(name, act))

    def happen(self, name: str, act: Act) -> None:
        """Let one happen."""
        if self.stormy:
            act()
            self.again(name)

    def later(self, seconds: float, act: Act) -> None:
        """Have something done later."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), act))

    def turn(self) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def end(self) -> bool:
        """Begin nothing any more; True when all that began is over."""
        self.stormy = False
        self._due = [entry for entry in self._due if entry[2].__name__ != "<lambda>"]
        heapq.heapify(self._due)
        self.turn()
        return not self._due

    def note(self, name: str) -> None:
        """Count one that fired."""
        self.fired[name] = self.fired.get(name, 0) + 1

    def pick(self, name: str, among: list[Child]) -> Child | None:
        """Choose one that has begun and whose disk is well."""
        fit = [one for one in among if one.alive and one.name not in self._bad and (one.ready or "courier" in one.name)]
        return fit[self._chances[name].whole(len(fit))] if fit else None

    def served(self, again: Act) -> bool:
        """Say whether the collector has come back since it was killed last; where it has not, try again soon.

        Else a slow machine would see faults alone, and nothing for them to hit.
        """
        if self.site.broker.alive and self.keeper.alive and self.keeper.listen().get("how", "").startswith("connected"):
            return True
        if self.stormy:
            self.later(0.5, again)
        return False

    # -- the faults

    def kill_broker(self) -> None:
        """Kill it, look at what it left, start it again."""
        if self.served(self.kill_broker):
            self.end_broker()

    def end_broker(self) -> None:
        """Kill it, whoever is connected."""
        if not self.site.broker.alive:
            return
        self.site.broker.kill()
        self.note("broker killed")
        self.search.folder("the broker's store", self.site.broker.directory)
        self.later(self._chances["broker killed"].between(0.1, 1.5), self.site.broker.start)

    def kill_crowd(self) -> None:
        """Kill a process with many guards and couriers."""
        self.kill("crowd killed", self.site.crowds)

    def kill_guard(self) -> None:
        """Kill a guard that has a process to itself."""
        self.kill("guard killed", self.site.guards)

    def kill_courier(self) -> None:
        """Kill a courier that has a process to itself."""
        self.kill("courier killed", self.site.couriers)

    def kill(self, name: str, among: list[Child]) -> None:
        """Kill one process and start it again at once."""
        child = self.pick(name, among)
        if child is not None:
            child.kill()
            self.note(name)
            child.start()

    def kill_collector(self) -> None:
        """Kill it; it comes back later."""
        if self.served(self.kill_collector):
            self.keeper.kill()
            self.note("collector killed")
            self.later(self._chances["collector killed"].between(0.2, 3), self.keeper.start)

    def kill_site(self) -> None:
        """Kill the collector, and the broker with all it has for it meanwhile; both come back."""
        if self.served(self.kill_site):
            self.keeper.kill()
            self.later(1.5, self.end_broker)
            self.later(3, self.keeper.start)
            self.note("site killed")

    def jump(self) -> None:
        """Set the clocks of a process' devices ten years off, and later right."""
        child = self.pick("clock jumped", [*self.site.crowds, *self.site.guards])
        if child is not None:
            ahead = self._chances["clock jumped"].holds(50)
            child.tell({"jump": TEN_YEARS if ahead else -TEN_YEARS})
            self.note("clock ten years ahead" if ahead else "clock ten years back")

            def back() -> None:
                child.tell({"jump": 0})

            self.later(4, back)

    def lose_packets(self) -> None:
        """Let a part of the packets from and to the broker get lost for a while."""
        rules = RULES.format(port=self.site.port, loss=LOSS)
        subprocess.run(("nft", "-f", "-"), input=rules.encode(), check=True)
        self.note("network lossy")
        self.later(self._chances["network lossy"].between(4, 8), self.lose_none)

    def lose_none(self) -> None:
        """Count what was lost and let nothing more be."""
        said = subprocess.run(
            ("nft", "list", "counter", "inet", "storm", "lost"), capture_output=True, check=True
        ).stdout
        self.fired["packets lost"] = self.fired.get("packets lost", 0) + int(said.split(b"packets ")[1].split()[0])
        subprocess.run(("nft", "delete", "table", "inet", "storm"), check=True)

    def fill(self) -> None:
        """Fill a disk, until its devices have refused something."""
        if self.well("full", self.fill):
            disk = self.site.disks[0]
            self._bad.add("full")
            self.fired["bytes of ballast"] = disk.fill()
            self.until_refused("full", disk.empty)

    def break_disk(self) -> None:
        """Let the kernel make a disk read-only, until its devices have refused something and were killed."""
        if not self.well("broken", self.break_disk):
            return
        disk = self.site.disks[1]
        crowd = self.crowd("broken")
        assert crowd is not None
        self._bad.add("broken")
        disk.fail()

        def repaired() -> None:
            crowd.kill()
            disk.repair()
            crowd.start()

        self.until_refused("broken", repaired)

    def crowd(self, name: str) -> Child | None:
        """Return the process of the devices on a disk."""
        return next((one for one in self.site.crowds if one.name == name), None)

    def well(self, name: str, again: Act) -> bool:
        """Say whether a disk's devices are there and well; where they are just starting, try again soon.

        What a real guard does that starts on such a disk is tried elsewhere (tests/boot, tests/vm).
        """
        crowd = self.crowd(name)
        if crowd is None or name in self._bad or not self.stormy:
            return False
        if not crowd.ready:
            self.later(0.5, again)
            return False
        return True

    def until_refused(self, name: str, over: Act) -> None:
        """Look again and again whether the devices of a disk have refused something; then it is over."""
        before = self.refused(name)

        def look() -> None:
            if self.refused(name) == before and self.stormy:
                self.later(0.2, look)
                return
            if self.refused(name) > before:
                self.note("disk full" if name == "full" else "disk read-only")
            over()
            self._bad.discard(name)

        self.later(0.2, look)
