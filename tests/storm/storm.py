"""One run from fair weather through the storm to fair weather again, and what there is to say about it afterwards."""

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.core.record import Record
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.simulate.child import Child
from tests.storm.apps import Apps
from tests.storm.marks import Search, drawn
from tests.storm.site import NAME, Shape, Site
from tests.storm.weather import Weather

TOLD = 5.0  # seconds between lines of progress
DRAINED = 300.0  # seconds at most until all is where it belongs


class Plan(Record):
    """One run: its seed, how many readings, who lives where, seconds of storm at least, faults, which twin.

    `saved`: seconds after which the broker keeps its store. The storm goes on until each fault fired as often as
    `least` says, so that a slow machine has seen them all too.
    """

    __slots__ = ("faults", "least", "readings", "saved", "seconds", "seed", "shape", "twin")
    seed: str
    readings: int
    shape: Shape
    seconds: float
    saved: int
    faults: tuple[str, ...]
    least: dict[str, int]
    twin: str


class History(Record):
    """What a run left; the lists name device and number."""

    __slots__ = (
        "accepted",
        "doubled",
        "fired",
        "found",
        "looked",
        "lost",
        "odd",
        "read",
        "repeated",
        "texts",
        "waiting",
    )
    accepted: int
    read: int
    lost: tuple[tuple[str, int], ...]
    doubled: tuple[tuple[str, int], ...]
    odd: tuple[tuple[str, int], ...]
    repeated: int
    texts: int
    waiting: int
    fired: dict[str, int]
    found: dict[str, int]
    looked: dict[str, int]

    def __str__(self) -> str:
        counts = {name: len(getattr(self, name)) for name in ("lost", "doubled", "odd")}
        rest = {name: getattr(self, name) for name in ("accepted", "read", "repeated", "texts", "waiting")}
        return f"{rest | counts}\n  fired {self.fired}\n  found {self.found}\n  looked at {self.looked} bytes"


class Storm:
    """One run."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.marks = drawn()
        self.search = Search(self.marks.patterns())
        kind = plan.twin if plan.twin in {"puback", "plain"} else ""
        # What PUBACK is worth shows where the broker keeps nothing.
        self.site = Site(folder, plan.shape, self.marks, kind, 0 if plan.twin == "puback" else plan.saved)
        self.arrivals = folder / "arrivals" if plan.twin == "forgetful" else None
        words: list[str | Path] = [] if self.arrivals is None else [self.arrivals]
        home = folder / "collector"
        logs, port, hexed = self.site.logs, self.site.port, [p.hex() for p in self.search.patterns.values()]
        self.keeper = Child(
            "collector", logs / "collector", "tests.storm.keeper", folder / "fleet", home, str(port), *words
        )
        line = [plan.seed, str(self.site.line_port), str(port)]
        self.proxy = Child("proxy", logs / "proxy", "tests.storm.proxy", *line, *hexed)
        self.sniffer = Child("sniffer", logs / "sniffer", "tests.storm.sniffer", "lo", *hexed)
        self.apps = Apps(self.site.devices, plan.seed, self.marks, plan.readings)
        self.weather = Weather(self.site, self.keeper, self.search, plan.seed)
        self.weather.refused = self.refused
        self.read: Counter[tuple[str, int]] = Counter()
        self.texts = 0
        self.repeated = 0
        self._told = 0.0
        self._began = time.monotonic()

    def run(self) -> History:
        """Run it."""
        self.say(f"storm: {self.plan.readings} readings, {self.plan.shape.devices} devices, seed {self.plan.seed}")
        try:
            self.site.broker.start()
            self.site.look_on()
            for child in (self.keeper, self.proxy, self.sniffer, *self.site.all):
                child.start()
            self.until("all are up", lambda: all(c.ready for c in (self.proxy, self.sniffer, *self.site.crowds)), 120)
            self.blow()
            self.until("the storm is over", self.weather.end, 60)
            self.proxy.tell("calm")
            self.until("all is accepted", lambda: self.apps.done, DRAINED)
            # A device that nobody answered for a while waits up to five minutes before it sends again; a broker that is
            # new to it ends that. All begins with the oldest record that was not let go of.
            self.site.broker.restart()
            self.post()  # once more, in fair weather
            drained = self.drain()
            self.site.look_away()
            if self.plan.twin == "plain":
                self.hoard()
            return self.judge(drained)
        finally:
            for child in (self.keeper, self.proxy, self.sniffer):
                child.close()
            self.apps.close()
            self.site.close()

    def blow(self) -> None:
        """Let the storm last as long as it is to, and as there is anything left to accept."""
        self.weather.begin(self.plan.faults)
        ends = time.monotonic() + self.plan.seconds
        while time.monotonic() < ends:
            half = time.monotonic() + self.plan.seconds / 2
            while time.monotonic() < min(half, ends):
                self.turn()
            self.post()
        self.until("every fault", self.fired, DRAINED)

    def fired(self) -> bool:
        """Say whether every fault has fired often enough."""
        return all(self.weather.fired.get(name, 0) >= count for name, count in self.plan.least.items())

    def post(self) -> None:
        """Have every device send the text."""
        for child in (*self.site.crowds, *self.site.guards):
            child.tell({"post": self.marks.text})

    def drain(self) -> int:
        """Wait until no device has anything left: the collector told each that it has all; return what is left."""
        ends, waiting = time.monotonic() + DRAINED, -1
        if self.plan.twin == "plain":  # which nobody lets go of
            heard, text = self.folder / "onlooker/heard", self.marks.text.encode()
            self.until("the text is heard", lambda: text in heard.read_bytes(), DRAINED, rest=True)
            return self.waiting()
        while time.monotonic() < ends:
            waiting = self.waiting()
            if waiting == 0:
                self.pause(3 if self.plan.twin == "puback" else 0)  # what is on its way may come yet
                break
            self.pause(1)
        return waiting

    def hoard(self) -> None:
        """Have the broker keep what the twin sends, for an onlooker that it knows and that is away."""
        self.site.broker.restart()  # to a broker that is new to them all send anew
        kept, ends = Search(self.search.patterns), time.monotonic() + DRAINED
        while {f"{mark} in the store" for mark in ("value", "name", "text")} - set(kept.found):
            assert time.monotonic() < ends, f"{kept.found} within {DRAINED:g} seconds"
            time.sleep(self.plan.saved / 2)
            kept.folder("the store", self.folder / "broker")

    def waiting(self) -> int:
        """Ask all devices how many records they have that were not let go of."""
        carrying = [*self.site.crowds, *self.site.guards]
        asked = time.monotonic()
        for child in carrying:
            child.tell({"standing": asked})
        self.until("answers", lambda: all(c.listen().get("standing") == asked for c in carrying), 60, rest=True)
        waiting = {child.name: child.said["standing of"] for child in carrying if child.said["waiting"]}
        if waiting:
            self.say(f"records wait: {waiting}")
        return sum(int(child.said["waiting"]) for child in carrying)

    def pause(self, seconds: float) -> None:
        """Go on so long without new readings."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.turn(rest=True)

    def turn(self, rest: bool = False) -> None:
        """Let everyone do a little."""
        self.apps.turn(0.02, self.plan.readings / self.plan.shape.devices / self.plan.seconds * 1.25, rest)
        self.weather.turn()
        self.site.look_on()
        now = time.monotonic()
        if now - self._told > TOLD:
            self._told = now
            fired = ", ".join(f"{count} {name}" for name, count in sorted(self.weather.fired.items()))
            how = self.keeper.listen().get("how", "not begun")
            self.say(f"{self.apps.count('accepted')} accepted; collector {how}; {fired}")

    def until(self, what: str, done: Callable[[], bool], seconds: float, rest: bool = False) -> None:
        """Go on until something is so."""
        ends = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < ends, f"{what}: not within {seconds:g} seconds\n{self.standing()}"
            self.turn(rest)

    def standing(self) -> str:
        """Say who ended, whose readings are missing, and what was complained of last."""
        dead = [child.name for child in (self.keeper, self.proxy, self.sniffer, *self.site.all) if not child.alive]
        short = [name for name, app in self.apps.all.items() if len(app.accepted) < self.apps.quota]
        logs = [f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in sorted(self.site.logs.iterdir())]
        return f"ended: {dead}\nshort of readings: {short}\n" + "\n".join(log for log in logs if not log.endswith(": "))

    def look(self) -> None:
        """Read what the collector, which has ended, has committed."""
        store = Store(self.folder / "collector" / "store.db")
        key = self.site.fleet.recipient_key("collector")
        collector = Collector(NAME, "collector", key, store, lambda text: None)
        for reading in collector.readings():
            if reading.value == self.marks.text:
                self.texts += 1
            elif reading.name == self.marks.name:
                self.read[reading.place.device, self.marks.count(reading.value)] += 1
        store.close()

    def refused(self, disk: str) -> int:
        """Say how many readings the devices of a disk refused."""
        return sum(len(app.refused) for name, app in self.apps.all.items() if name.startswith(disk))

    def lost(self) -> list[tuple[str, int]]:
        """Return what was accepted and did not come."""
        return [(n, i) for n, app in self.apps.all.items() for i in app.accepted if not self.read[n, i]]

    def judge(self, waiting: int) -> History:
        """Stop all, look everywhere, and compare."""
        fired, found, looked = dict(self.weather.fired), self.search.found, {}
        line, sniffed, kept = self.proxy.stop(), self.sniffer.stop(), self.keeper.stop()
        assert {"did", "found"} <= set(line) and "packets" in sniffed, f"an ear was deaf\n{self.standing()}"
        fired.update({f"line {name}": count for name, count in line.get("did", {}).items()})
        self.look()
        self.site.broker.stop()
        for child in self.site.all:
            child.close()
        self.search_all()
        for said, name in ((line, "line"), (sniffed, "packets")):
            found.update(said.get("found", {}))
            looked[name] = said.get("looked", 0)
        fired.update(packets=sniffed.get("packets", 0), missed=sniffed.get("missed", 0))
        read = self.read if self.arrivals is None else arrived(self.arrivals, self.marks.count)
        apps = self.apps.all
        known = {(n, i) for n, a in apps.items() for i in (*a.accepted, *a.doubtful, *a.refused)}
        return History(
            accepted=self.apps.count("accepted"),
            read=len(read),
            lost=tuple(self.lost()),
            doubled=tuple(key for key, times in read.items() if times > 1),
            odd=tuple(key for key in read if key not in known),
            repeated=kept.get("duplicates", 0),
            texts=self.texts,
            waiting=waiting,
            fired=fired,
            found=found,
            looked={**looked, "disks": self.search.looked, "onlooker": (self.folder / "onlooker/heard").stat().st_size},
        )

    def search_all(self) -> None:
        """Search every disk, the broker's store and log, the collector's store, and what an onlooker was handed."""
        search, folder = self.search, self.folder
        search.folder("the broker's store", folder / "broker")
        for home in self.site.devices.values():
            search.folder("a device's disk", home)
        for name in ("collector", "onlooker", "logs"):
            search.folder(f"the {name}", folder / name)
        for disk in self.site.disks:
            disk.unmount()
            search.file("a raw disk", disk.image, ("name",))  # the policies on it name their fields

    def say(self, text: str) -> None:
        """Tell how it goes."""
        print(f"[{time.monotonic() - self._began:5.0f} s] {text}", flush=True)


def arrived(path: Path, count: Callable[[Any], int]) -> Counter[tuple[str, int]]:
    """Read what the twin without de-duplication handed on."""
    from decimal import Decimal, InvalidOperation

    rows: Counter[tuple[str, int]] = Counter()
    for line in path.read_text().splitlines():
        device, value = json.loads(line)
        with suppress(InvalidOperation):
            rows[device, count(Decimal(value))] += 1
    return rows
