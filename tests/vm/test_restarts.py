"""What a restart must not change: what was loosened while the guard was off is set back, on a full disk as well."""

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

FULL = """[Unit]
Description=No block is left on this disk when the first of Privet's units starts
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service
Before=privet-early.service
[Service]
Type=oneshot
ExecStart=-/bin/sh -c 'fallocate -l 2G /fill; cat /dev/zero >>/fill; sync'
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


def full(settled: Saved, disk: Path, more: str = "") -> Machine:
    """Make a machine that finds its disk full when it starts; `more` is added to the unit that shuts it."""
    with settled.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        guest.write("/etc/systemd/system/test-fill.service", FULL)
        if more:
            guest.write("/etc/systemd/system/privet-early.service.d/more.conf", more)
        guest.must(["systemctl", "--quiet", "enable", "test-fill.service"])
        guest.must(["sync"])
        machine.cut()
    return Machine("pc", settled.disk.start, disk, form="qcow2")


def test_a_start_on_a_full_disk_is_shut_and_guarded(settled: Saved, tmp_path: Path):
    """Not one block is left when it starts: the firewall stands before the network; the guard comes up and looks."""
    with full(settled, tmp_path / "disk") as cold:
        guest = Guest(cold)
        assert guest.run(["sh", "-c", "echo more than nothing >/more"]).returncode != 0, "the disk is not full"
        guest.until_active(GUARD)
        assert guest.properties("privet-early.service", "Result") == {"Result": "success"}
        assert guest.stamp("privet-early.service") < guest.stamp("systemd-networkd.service")
        cold.until(lambda: guest.statuses().get("firewall.inbound") == "ok", "the firewall to be looked at", 120, 1)
        guest.must(["sysctl", "-q", "-w", "kernel.dmesg_restrict=0"])
        guest.privet("enforce")
        assert guest.read("/proc/sys/kernel/dmesg_restrict").strip() == "1"


def test_twin_devices_of_its_own_need_room(settled: Saved, tmp_path: Path):
    """Known bad: the same start with PrivateDevices= in the unit that shuts it: systemd cannot begin it at all."""
    with full(settled, tmp_path / "disk", "[Service]\nPrivateDevices=yes\n") as cold:
        guest = Guest(cold)
        guest.until_active("systemd-networkd.service")
        assert guest.properties("privet-early.service", "Result") == {"Result": "exit-code"}
