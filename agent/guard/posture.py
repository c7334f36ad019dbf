"""Look at settings through their providers, and know which directory moves which setting."""

from agent import registry
from agent.core.assess import ABSENT, LOOSENED, UNKNOWN, Finding, Reading, assess, unread
from agent.core.errors import PrivetError
from agent.core.record import Value
from agent.core.setting import Setting
from agent.core.waiver import Parts, Waiver, spared
from agent.guard.awaited import Awaited
from agent.system.door import System
from agent.system.parts import Step

HANDS = "privet-hand-"  # units that come because we look, and must not make us look again


class Posture:
    """The settings of one policy on one device."""

    def __init__(self, system: System, settings: dict[str, Setting], baseline: dict[str, Value]) -> None:
        self.system = system
        self.settings = settings
        self.baseline = baseline
        self.waivers: tuple[Waiver, ...] = ()  # those of the last look
        self.findings: dict[str, Finding] = {}
        self.looked: dict[str, int] = {}
        self.places: dict[str, tuple[str, ...]] = {}
        self.awaited = Awaited(system)
        self.rebase(baseline)

    def rebase(self, baseline: dict[str, Value]) -> None:
        """Take up another baseline."""
        self.baseline = baseline
        self.places = {}
        for name in sorted(baseline):
            self.place(name)

    def place(self, name: str) -> None:
        """Note the directories that move a setting; a probe may have found more of them (an Include, say)."""
        setting = self.settings[name]
        for place in registry.provider(setting.provider).watches(setting.params):
            if name not in self.places.get(place, ()):
                self.places[place] = (*self.places.get(place, ()), name)

    def directories(self, name: str) -> tuple[str, ...]:
        """Return where a setting is changed by whoever changes it, the directories a probe has found among them.

        Not /run itself: daemons keep the numbers of their processes there, and write them anew when we restart them.
        """
        return tuple(sorted(place for place, names in self.places.items() if name in names and place != "/run"))

    def names(self) -> tuple[str, ...]:
        """Return every setting the policy covers."""
        return tuple(sorted(self.baseline))

    def touched(self, events: set[tuple[str, str]]) -> tuple[str, ...]:
        """Return the settings that changes of these names in these directories may move; ("", "") means anything.

        A place is one directory: what happens further down is for whoever names that. Further up it has to be of the
        next name on the way, or of no name.
        """
        if any(not directory for directory, _ in events):
            return self.names()
        events = {(directory, name) for directory, name in events if HANDS not in name}
        found: set[str] = set()
        for place, names in self.places.items():
            if any(moves(place.rstrip("/") + "/", directory.rstrip("/") + "/", name) for directory, name in events):
                found.update(names)
        return tuple(sorted(found))

    def look(self, names: tuple[str, ...], waivers: tuple[Waiver, ...]) -> tuple[Finding, ...]:
        """Probe and judge these settings now, and remember the findings."""
        clock = self.system.clock()
        self.waivers = waivers
        made = []
        for name in names:
            setting, reading = self.settings[name], self.probe(self.settings[name])
            parts = self.parts(name) if spared(setting, waivers, clock) else ()
            finding = assess(setting, self.baseline[name], reading, waivers, clock, parts)
            self.findings[name] = finding
            self.looked[name] = clock.uptime
            self.awaited.note(setting, clock.uptime)
            self.place(name)
            made.append(finding)
        return tuple(made)

    def answered(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Leave out what is unknown only because its answer is on its way: nothing to do or to tell about it yet."""
        waits = self.awaited.names(self.system.clock().uptime)
        return tuple(f for f in findings if f.status != UNKNOWN or f.setting not in waits)

    def coverage(self) -> dict[str, int]:
        """Count what was judged, in two places for each setting that is here: what runs now, what outlives a restart.

        No score: how many places could not be read is said beside how many could.
        """
        here = [finding for finding in self.findings.values() if finding.status != ABSENT]
        places = [place for finding in here for place in (finding.live, finding.kept)]
        return {
            "catalogue": len(self.settings),
            "covered": len(self.baseline),
            "here": len(here),
            "absent": len(self.findings) - len(here),
            "places": len(places),
            "judged": sum(place is not None for place in places),
            "unknown": sum(place is None for place in places),
        }

    def probe(self, setting: Setting) -> Reading:
        """Take one reading; whatever goes wrong is a reading too, and never a pass."""
        try:
            return registry.provider(setting.provider).probe(self.system, setting.params)
        except PrivetError as error:
            return unread(str(error))
        except Exception as error:  # noqa: BLE001 - a defect in one probe must not blind the guard to the others
            return unread(f"the probe of {setting.id} broke ({type(error).__name__}); please report it")

    def parts(self, name: str) -> Parts:
        """Return what is found in each context of a setting; none where its kind knows none, or could not tell."""
        setting = self.settings[name]
        contexts = getattr(registry.provider(setting.provider), "contexts", None)
        try:
            return contexts(self.system, setting.params) if contexts is not None else ()
        except PrivetError:
            return ()

    def waits(self, name: str) -> bool:
        """Say whether a setting is set already, and holds from the next start of the device on."""
        finding, setting = self.findings[name], self.settings[name]
        late = getattr(registry.provider(setting.provider), "RESTART", False)
        return late and finding.kept is not None and setting.lattice().allows(finding.wanted, finding.kept)

    def waits_for(self, name: str) -> str:
        """Name what settles a finding that is not fine: "answer" comes by itself, "restart" is the owner's; else ""."""
        finding = self.findings[name]
        if not self.answered((finding,)):
            return "answer"
        return "restart" if finding.status in (LOOSENED, UNKNOWN) and self.waits(name) else ""

    def late(self) -> tuple[str, ...]:
        """Return the titles of what is private from the next start of the device on."""
        return tuple(self.settings[n].title for n in sorted(self.findings) if self.waits_for(n) == "restart")

    def steps(self, name: str, value: Value) -> tuple[Step, ...]:
        """Say what would make the value hold, but for the contexts that there is leave for."""
        setting = self.settings[name]
        provider = registry.provider(setting.provider)
        prepare = getattr(provider, "prepare", None)
        params = prepare(self.system, setting.params) if prepare is not None else setting.params
        apart = spared(setting, self.waivers, self.system.clock())
        rows = tuple(f"{context}\t{','.join(up) if isinstance(up, tuple) else up!s}" for context, up in apart)
        return provider.steps({**params, "spared": rows} if rows else params, value)


def moves(place: str, directory: str, name: str) -> bool:
    """Say whether a change of a name in a directory may move what lies in a place; both end with a slash."""
    return place == directory or place.startswith(directory + name + "/" if name else directory)
