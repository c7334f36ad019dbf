"""State machine: whatever happens to a setting, loosening without leave is told, and leave always ends."""

from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.core.assess import LOOSENED, OK, WAIVED, assess, seen
from agent.core.clock import Clock
from agent.core.record import replace
from agent.core.setting import read_setting
from agent.core.waiver import LONGEST, UNSEEN, Waiver, advance, grant
from agent.core.warn import PrivacyWarning, current, edges

SETTING = read_setting(
    {
        "id": "ssh.forwarding", "title": "Tunnels", "provider": "x", "order": "subset", "axis": "extent",
        "satisfies": ["EN303645:5.6-5"], "risk": "A tunnel.",
        "option": [{"value": []}, {"value": ["tcp"], "risk": "tcp"}, {"value": ["x11"], "risk": "x11"}],
    }
)  # fmt: skip
TEN_YEARS = 10 * 366 * 86400
VALUES = st.sampled_from([(), ("tcp",), ("x11",), ("tcp", "x11")])


class Device(RuleBasedStateMachine):
    """A device under hands, clocks and restarts that do as they please."""

    def __init__(self) -> None:
        super().__init__()
        self.value: tuple[str, ...] = ()
        self.clock = Clock(wall=1_700_000_000, boot=1, uptime=100)
        self.waivers: tuple[Waiver, ...] = ()
        self.known: tuple[PrivacyWarning, ...] = ()
        self.told: list[str] = []
        self.on = 0
        self.last = 0

    @rule(value=VALUES)
    def edit(self, value: tuple[str, ...]) -> None:
        """Somebody edits the setting."""
        self.value = value

    @rule(value=st.sampled_from([("tcp",), ("x11",)]), seconds=st.integers(60, 7200))
    def allow(self, value: tuple[str, ...], seconds: int) -> None:
        """The owner gives leave."""
        self.waivers = (grant(SETTING, value, seconds, "why", "anna", "owner", self.clock),)
        self.on, self.last = 0, seconds

    @rule(seconds=st.integers(0, 4000))
    def wait(self, seconds: int) -> None:
        """Time passes, noted every UNSEEN seconds as the guard does."""
        for _ in range(seconds // UNSEEN + 1):
            step = min(UNSEEN, seconds)
            self.clock = replace(self.clock, wall=self.clock.wall + step, uptime=self.clock.uptime + step)
            self.waivers = tuple(advance(w, self.clock) for w in self.waivers)
        self.on += seconds

    @rule(by=st.integers(-TEN_YEARS, TEN_YEARS))
    def set_clock(self, by: int) -> None:
        """Somebody sets the clock, by up to ten years."""
        self.clock = replace(self.clock, wall=max(0, self.clock.wall + by))

    @rule(unseen=st.integers(0, UNSEEN - 1), uptime=st.integers(0, 5000))
    def restart(self, unseen: int, uptime: int) -> None:
        """The device loses power some time after the last note, and its next start takes as long as it likes."""
        self.clock = replace(self.clock, boot=self.clock.boot + 1, uptime=uptime)
        self.waivers = tuple(advance(w, self.clock) for w in self.waivers)
        self.on += unseen + uptime

    @rule(seconds=st.integers(0, 4000))
    def begin_again(self, seconds: int) -> None:
        """The guard alone ends and is begun again some time later; that is charged to the second."""
        self.clock = replace(self.clock, boot=self.clock.boot + 1, uptime=self.clock.uptime + seconds)
        before = self.waivers
        self.waivers = tuple(advance(w, self.clock, same=True) for w in before)
        assert [w.left for w in self.waivers] == [max(0, w.left - seconds) for w in before]
        self.on += seconds

    @invariant()
    def loosening_without_leave_is_told(self) -> None:
        """Look: a loosening that no waiver covers is LOOSENED and has an open warning; a strict one is OK."""
        finding = assess(SETTING, (), seen(self.value, self.value), self.waivers, self.clock)
        fresh, self.known = edges(
            self.known, current((finding,), {SETTING.id: SETTING}, self.waivers, self.clock), self.clock
        )
        self.told += [w.id for w in fresh]
        if self.value == ():
            assert finding.status == OK
        elif finding.status == WAIVED:
            assert self.waivers
            assert self.value == self.waivers[0].ceiling
            assert self.waivers[0].remaining(self.clock) > 0
        else:
            assert finding.status == LOOSENED
        if finding.status != OK:
            assert [w for w in self.known if w.open]

    @invariant()
    def leave_never_outlasts_its_time(self) -> None:
        """No clock and no restart makes a waiver last longer than it was given, counted in time the device was on."""
        for waiver in self.waivers:
            assert waiver.left <= LONGEST
            if self.on >= self.last:
                assert waiver.remaining(self.clock) == 0


Device.TestCase.settings = profile(max_examples=60, stateful_step_count=30, deadline=None)
test_a_device_under_all_hands = Device.TestCase
