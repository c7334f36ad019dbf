"""The simulated device: programs, processes, clocks, power."""

import os

import pytest

from agent.core.errors import Missing, Unreachable
from agent.system.door import Outcome
from agent.system.simulated import PowerCut, Process, SimulatedSystem


class Echo:
    """A program of one device, with a daemon: it remembers what it was told to say, from its file, until reload."""

    def install(self, device: SimulatedSystem) -> None:
        """Lay down its file."""
        device.edit("/etc/echo.conf", b"factory")

    def boot(self, device: SimulatedSystem) -> None:
        """Start the daemon."""
        device.start(("/usr/sbin/echo-d", "-D"), device.read("/etc/echo.conf"), pidfile="/run/echo.pid")

    def reload(self, device: SimulatedSystem, process: Process) -> None:
        """Read the file again."""
        process.state = device.read("/etc/echo.conf")

    def run(self, device: SimulatedSystem, argv: tuple[str, ...], stdin: bytes) -> Outcome:
        """Write what it hears into a file, and say it."""
        device.edit("/var/log/echo", stdin)
        return Outcome(code=len(argv), out=stdin, err=b"")


def with_echo() -> SimulatedSystem:
    """Return a device that has the program, started anew so that its daemon runs."""
    device = SimulatedSystem()
    device.programs["echo-d"] = echo = Echo()
    echo.install(device)
    device.reboot()
    return device


def state(device: SimulatedSystem) -> object:
    """Return what the daemon goes by."""
    return device.running("echo-d")[0].state


def test_programs_run_by_name() -> None:
    """A program is found by its name, with or without a path."""
    device = with_echo()
    assert device.run(("/usr/sbin/echo-d", "x"), b"hi") == Outcome(code=2, out=b"hi", err=b"")
    assert device.run(("echo-d",), b"ho").code == 1
    assert device.read("/var/log/echo") == b"ho"


def test_a_program_can_be_missing_or_hang() -> None:
    """What is not installed is Unreachable, as is what gets no time."""
    device = with_echo()
    with pytest.raises(Unreachable, match="did not end"):
        device.run(("echo-d",), seconds=0)
    device.absent.add("echo-d")
    with pytest.raises(Unreachable, match="not installed"):
        device.run(("echo-d",))


def test_a_running_daemon_keeps_what_it_loaded() -> None:
    """An edited file changes nothing until the reload; a reboot reads it too."""
    device = with_echo()
    device.edit("/etc/echo.conf", b"edited")
    assert state(device) == b"factory"
    device.reload("echo", "/run/echo.pid")
    assert state(device) == b"edited"
    device.edit("/etc/echo.conf", b"again")
    device.reboot()
    assert state(device) == b"again" and len(device.running("echo-d")) == 1


def test_reload_of_a_daemon_that_takes_none() -> None:
    """A process whose program knows no reload refuses it."""
    device = with_echo()
    device.start(("/bin/sleep",), None, pidfile="/run/sleep.pid")
    with pytest.raises(Unreachable, match="does not take a reload"):
        device.reload("sleep", "/run/sleep.pid")


def test_processes_show_in_proc() -> None:
    """A probe that reads /proc sees the simulated processes, and no longer when they end."""
    device = with_echo()
    process = device.running("echo-d")[0]
    base = "/proc/%d" % process.pid
    assert device.read(base + "/cmdline") == b"/usr/sbin/echo-d\0-D\0"
    assert device.read(base + "/comm") == b"echo-d\n"
    assert b"\nUid:\t0\t0\t0\t0\n" in device.read(base + "/status")
    assert device.process(process.pid) is process
    device.stop(process.pid)
    with pytest.raises(Missing):
        device.read(base + "/comm")
    with pytest.raises(Unreachable):
        device.reload("echo", "/run/echo.pid")


def test_kernel_values_are_produced_and_accepted() -> None:
    """A file in /proc can be made when read, and hand over what is written."""
    device = SimulatedSystem()
    taken: list[bytes] = [b"0\n"]
    device.hand.produced("/proc/sys/kernel/knob", lambda: taken[-1], taken.append, mode=0o644)
    device.kernel("/proc/sys/kernel/knob", b"1\n")
    assert device.read("/proc/sys/kernel/knob") == b"1\n" and taken == [b"0\n", b"1\n"]


def test_clocks() -> None:
    """Both clocks go on together, the wall clock can be set alone, a start sets uptime and boot to zero."""
    device = SimulatedSystem()
    wall = device.clock().wall
    device.tick(90)
    assert (device.clock().wall, device.clock().uptime) == (wall + 90, 90)
    device.wall = 0
    device.boot = 4
    device.tick(1)
    assert (device.clock().wall, device.clock().uptime, device.clock().boot) == (1, 91, 4)
    device.crash()
    assert (device.clock().wall, device.clock().uptime, device.clock().boot) == (1, 0, 0)


def test_entropy_can_be_fixed() -> None:
    """A test may give the entropy; without, it is the machine's."""
    assert SimulatedSystem(entropy=bytes).entropy(4) == b"\0\0\0\0"
    assert SimulatedSystem().entropy(16) != SimulatedSystem().entropy(16)


def test_kill_at_counts_programs_and_hands_too() -> None:
    """Power can go in the middle of a program that was started, and of an edit."""
    calls = with_echo().count(lambda it: it.run(("echo-d",), b"hi"))
    assert calls > 5
    ends = set()
    for k in range(1, calls + 1):
        device = with_echo()
        assert device.kill_at(k, lambda it: it.run(("echo-d",), b"hi"), "none")
        ends.add("echo" in device.entries("/var/log"))
    assert ends == {True, False}
    assert not with_echo().kill_at(calls + 1, lambda it: it.run(("echo-d",), b"hi"))


def test_nothing_works_after_the_cut() -> None:
    """Work that swallows everything still cannot act after the power went, and the cut counts."""
    device = with_echo()
    acts: list[str] = []

    def stubborn(it: SimulatedSystem) -> None:
        for name in ("one", "two", "three"):
            try:
                it.write("/root/" + name, b"x", 0o600)
                acts.append(name)
            except BaseException as error:  # noqa: BLE001 - that is the point
                acts.append(type(error).__name__)

    assert device.kill_at(3, stubborn)
    assert acts == ["PowerCut"] * 3 and device.entries("/root") == ()


def test_power_cut_cannot_be_handled() -> None:
    """Code that handles every Exception does not handle a power cut."""
    assert not issubclass(PowerCut, Exception)
    with pytest.raises(ValueError, match="counted from 1"):
        SimulatedSystem().kill_at(0, lambda it: None)


def test_errors_of_the_work_pass_through_and_disarm() -> None:
    """When the work fails by itself before its k-th call, its error is seen, and the next work is not cut."""
    device = SimulatedSystem()
    with pytest.raises(Missing):
        device.kill_at(1000, lambda it: it.read("/none"))
    device.write("/root/file", b"x" * 10, 0o600)
    for number in range(200):
        device.write("/root/file%d" % (number % 3), b"x", 0o600)


def test_die_at_ends_only_our_process() -> None:
    """The process dies: daemons, unsynced files and the clock stay."""
    device = with_echo()
    device.edit("/root/theirs", b"unsynced")
    device.tick(10)
    assert device.die_at(5, lambda it: it.write("/root/ours", b"x", 0o600))
    assert device.read("/root/theirs") == b"unsynced" and device.running("echo-d") and device.uptime == 10


def test_image_is_on_the_disk_before_the_first_start() -> None:
    """What the image laid survives an immediate cut."""
    device = SimulatedSystem(image=lambda it: it.edit("/etc/motd", b"made so"))
    device.crash()
    assert device.read("/etc/motd") == b"made so"


def test_fifty_devices_cost_no_descriptors() -> None:
    """Simulated devices with watches hold nothing of the machine's until someone waits on them."""
    held = len(os.listdir("/proc/self/fd"))
    devices = [SimulatedSystem() for _ in range(50)]
    watches = [device.watch(["/etc"]) for device in devices]
    assert len(os.listdir("/proc/self/fd")) == held
    assert watches[0].fileno() >= 0
    watches[0].close()
    assert len(os.listdir("/proc/self/fd")) == held
