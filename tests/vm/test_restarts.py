"""What a restart must not change: what somebody loosened while the guard was off is set back."""

from pathlib import Path

from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.qemu import Machine
from tests.vm.saved import Saved

GUARD = "privet-guard.service"
# Sorts behind Privet's own files, as somebody who knows them would name it.
FOREIGN = "/etc/sysctl.d/zzz-foreign.conf"
LOOSE = {"kernel/dmesg_restrict": "0", "kernel/kptr_restrict": "0", "kernel/yama/ptrace_scope": "0"}
STRICT = {"kernel/dmesg_restrict": "1", "kernel/kptr_restrict": "2", "kernel/yama/ptrace_scope": "2"}
SEEN = """[Unit]
Description=What stands when the kernel settings of the files are loaded, before the guard
DefaultDependencies=no
After=systemd-sysctl.service
Before=privet-guard.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cd /proc/sys && grep . {} >/run/seen'
[Install]
WantedBy=sysinit.target
"""


def values(text: str) -> dict[str, str]:
    """Read what grep printed of several files."""
    return dict(line.split(":", 1) for line in text.splitlines())


def live(guest: Guest) -> dict[str, str]:
    """Return what the kernel uses now."""
    return values(guest.must(["sh", "-c", f"cd /proc/sys && grep . {' '.join(LOOSE)}"]))


def up(guest: Guest) -> float:
    """Return the seconds since the kernel started."""
    return float(guest.read("/proc/uptime").split()[0])


def test_settings_loosened_while_it_was_off_are_set_back(settled: Saved, tmp_path: Path):
    """A foreign file for the kernel's settings, laid down while no guard ran, is loaded at the start, then set back."""
    disk = tmp_path / "disk"
    with settled.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        assert live(guest) == STRICT
        guest.must(["systemctl", "stop", GUARD])
        guest.write(FOREIGN, "".join(f"{name} = {value}\n" for name, value in LOOSE.items()))
        guest.write("/etc/systemd/system/test-seen.service", SEEN.format(" ".join(LOOSE)))
        guest.must(["systemctl", "--quiet", "enable", "test-seen.service"])
        guest.must(["sync"])
        machine.cut()
    with Machine("pc", settled.disk.start, disk, form="qcow2") as cold:
        guest = Guest(cold)
        guest.until_active(GUARD)
        active = up(guest)
        assert values(guest.read("/run/seen")) == LOOSE, "the foreign file was not loaded, so nothing is shown"
        took = cold.until(lambda: live(guest) == STRICT, "the settings to be back", 120, 0.5)
        tell(f"kernel settings loosened while off: guard active after {active:.0f} s, all back {took:.0f} s later")
        told = {row["setting"] for row in guest.status()["warnings"]}
        assert {"kernel.dmesg", "kernel.pointers", "kernel.ptrace"} <= told
