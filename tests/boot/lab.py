"""The boot lab: a Debian 12 that systemd really booted, in a container of its own, with a neighbour at its cable.

`Booted` is a `Device` of the device lab whose first process is systemd. Everything of it hangs on one keeper, a process
in mount, pid and network namespaces of its own: the container and its disk, the cable, and at the other end of it the
neighbour, from whose place tests look at the device. The kernel ends the keeper together with the test process however
that one ends, and with the keeper ends all the rest; only an empty control group can stay, which the next lab removes.
Nothing is bound or mounted on this machine.

The disk is a memory-backed overlay over the cached tree and, if given, over what `Lab.prepared` laid on it. It is there
while the device is off too (`disk`, `chroot`), and outlives its reboots.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from tests.boot.keeper import CALLS, CHROOT, GROUP, KEEPER, NETWORK, POWERS, child_of, remove_groups
from tests.device import tree
from tests.device.lab import ENVIRONMENT, Device, LabError, tied

HERE = ("10.88.0.2", "fd88::2")  # the device
THERE = ("10.88.0.1", "fd88::1")  # its neighbour
REBOOT = 133  # how systemd-nspawn says that the device asked for a reboot
POWER_OFF = signal.SIGRTMIN + 4
PATIENCE = 90.0
T = TypeVar("T")


class Booted(Device):
    """One device with systemd, off until `start`; made by `Lab.device()`."""

    def __init__(self, lower: Sequence[Path], name: str) -> None:
        self.name = name
        self.keys = 0
        self.spawned: list[subprocess.Popen[bytes]] = []
        self.group = f"{GROUP}{secrets.token_hex(4)}"
        argv = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        disks = ":".join(map(str, lower))
        argv += ["--propagation", "private", "sh", "-c", KEEPER, "sh", name, self.group, disks, POWERS, CALLS]
        self.keeper = subprocess.Popen(
            tied(argv), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        self.inner = 0  # the first process inside the keeper's namespaces, as this machine numbers it
        end = time.monotonic() + 20
        while not (self.inner and self.story()):
            if self.keeper.poll() is not None or time.monotonic() > end:
                self.keeper.kill()
                assert self.keeper.stderr is not None
                raise LabError(f"{name} did not come to be: {self.keeper.stderr.read().decode()[-800:]}")
            self.inner = self.inner or child_of(self.keeper.pid)
            time.sleep(0.01)
        self.lay("/etc/hostname", f"{name}\n")
        self.lay("/etc/systemd/network/10-lab.network", NETWORK)

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """End every process of the device and forget its files and its control group."""
        super().close()
        remove_groups(self.group)

    # The keeper's side: the disk, the power button, the neighbour.

    @property
    def outside(self) -> Path:
        """Return the root directory as the keeper sees it."""
        return Path(f"/proc/{self.inner}/root")

    @property
    def disk(self) -> Path:
        """Return the folder that holds the device's disk, on or off."""
        return self.outside / "mnt/root"

    def story(self) -> list[str]:
        """Return what happened to the power so far."""
        with suppress(OSError):
            return (self.outside / "mnt/story").read_text().splitlines()
        return []

    def console(self) -> str:
        """Return what the device said on its console, all starts together."""
        return (self.outside / "mnt/console").read_text(errors="replace")

    def lay(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Put a file on the disk from outside, as a card writer would."""
        target = self.disk / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)

    def chroot(self, argv: Sequence[str], seconds: float = 120) -> str:
        """Run a program that has to succeed on the disk of a device that is off; return its output as text."""
        inside = ["unshare", "--mount", "sh", "-ec", CHROOT, "sh", *argv]
        entered = ["nsenter", "-t", str(self.inner), "-m", "-p", "-n", "-w/", "--", *inside]
        done = subprocess.run(entered, capture_output=True, timeout=seconds, env=ENVIRONMENT, check=False)
        if done.returncode != 0:
            raise LabError(f"{list(argv)} ended with {done.returncode} on the disk: {done.stderr.decode()[-800:]}")
        return done.stdout.decode()

    def neighbour(self, argv: Sequence[str], seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run one of this machine's programs at the other end of the cable, to its end."""
        entered = ["nsenter", "-t", str(self.inner), "-n", "--", *argv]
        return subprocess.run(entered, capture_output=True, timeout=seconds, env={**os.environ}, check=False)

    def watcher(self, argv: Sequence[str], folder: Path = Path("/")) -> subprocess.Popen[bytes]:
        """Start one of this machine's programs at the other end of the cable; it ends with the device at the latest."""
        made = subprocess.Popen(
            tied(["nsenter", "-t", str(self.inner), "-n", "--", *argv]),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.spawned.append(made)
        return made

    def configure_link(self) -> None:
        """Give the device's end of the cable its addresses while it is off."""
        for words in ("link set lo up", "link set eth0 up", f"address add {HERE[0]}/24 dev eth0"):
            self.cable(words)
        self.cable(f"address add {HERE[1]}/64 dev eth0 nodad")

    def cable(self, words: str) -> None:
        """Run ip in the network namespace of the device, on or off."""
        entered = ["nsenter", "-t", str(self.inner), "-m", "-n", "--", "ip", "-n", "device", *words.split()]
        subprocess.run(entered, check=True, capture_output=True)

    # The device's side.

    @property
    def pid(self) -> int:  # type: ignore[override]
        """Return the number of the device's first process as this machine sees it; LabError when it is off."""
        with suppress(OSError, IndexError):
            listed = self.outside / f"sys/fs/cgroup/{self.group}/payload/init.scope/cgroup.procs"
            return int(listed.read_text().split()[0])
        raise LabError(f"{self.name} is off; its console ended with: {self.console()[-800:]}")

    def press(self) -> None:
        """Press the power button of a device that is off."""
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(b"press\n")
        self.keeper.stdin.flush()

    def start(self, wait: bool = True) -> float:
        """Boot; when asked to wait, until systemd says that all is up. Return the seconds it took."""
        begun = time.monotonic()
        self.press()
        if wait:
            self.up()
        return time.monotonic() - begun

    def up(self, seconds: float = PATIENCE) -> str:
        """Wait until the start is over, return how systemd finds itself (running, or degraded)."""

        def state() -> str:
            try:
                said = self.run(["systemctl", "is-system-running"]).stdout.decode().strip()
            except (LabError, subprocess.TimeoutExpired):
                return ""
            return said if said in {"running", "degraded", "maintenance"} else ""

        return self.until(state, seconds, "the start to be over")

    def ended(self) -> list[int]:
        """Return the exit codes of all starts that are over."""
        return [int(line.split()[1]) for line in self.story() if line.startswith("ended")]

    def off(self) -> None:
        """Power off in order."""
        before = len(self.ended())
        os.kill(self.pid, POWER_OFF)
        self.until(lambda: len(self.ended()) > before, PATIENCE, "the power to be off")

    def cut(self) -> None:
        """Take the power: every process is gone at once. What was written stays, synced or not."""
        before = len(self.ended())
        with suppress(LabError):
            os.kill(self.pid, signal.SIGKILL)
        self.until(lambda: len(self.ended()) > before, PATIENCE, "the power to be gone")

    def reboot(self) -> float:
        """Reboot as a user does; return the seconds until all is up again."""
        before, begun = len(self.ended()), time.monotonic()
        self.run(["systemctl", "reboot"])
        self.until(lambda: len(self.ended()) > before, PATIENCE, "the reboot to begin")
        assert self.ended()[-1] == REBOOT, self.story()
        self.up()
        return time.monotonic() - begun

    def until(self, done: Callable[[], T], seconds: float, what: str) -> T:
        """Wait for something; return it."""
        end = time.monotonic() + seconds
        while not (found := done()):
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for {what}; console: {self.console()[-1500:]}")
            time.sleep(0.05)
        return found

    def exists(self, path: str) -> bool:
        """Say whether a path exists on a device that may not be up yet."""
        try:
            return self.run(["test", "-e", path]).returncode == 0
        except (LabError, subprocess.TimeoutExpired):
            return False

    def property(self, unit: str, name: str) -> str:
        """Return what systemd knows of a unit."""
        return self.must(["systemctl", "show", "--value", "-p", name, unit]).strip()

    def uptime_of(self, unit: str) -> float:
        """Return the seconds since a unit became active."""
        began = int(self.property(unit, "ActiveEnterTimestampMonotonic") or 0)
        return time.clock_gettime(time.CLOCK_MONOTONIC) - began / 1e6 if began else 0.0

    def journal(self, *words: str) -> str:
        """Return lines of the journal."""
        return self.must(["journalctl", "--no-pager", "--output=short-monotonic", *words])


class Lab:
    """A source of booted devices."""

    def __init__(self, scratch: Path, recipe: tree.Recipe = tree.BOOT, *, clean: bool = True) -> None:
        if os.geteuid() != 0:
            raise LabError("the boot lab needs root: namespaces, overlays and containers are made by it")
        for program in ("unshare", "nsenter", "mmdebstrap", "systemd-nspawn"):
            if shutil.which(program) is None:
                raise LabError(f"the boot lab needs the program {program}; install it")
        if clean:
            remove_groups()
        self.scratch = scratch
        self.tree = tree.built(recipe)
        self.layers: dict[str, Path] = {}
        self.devices: list[Booted] = []

    def device(self, *layers: str, name: str = "") -> Booted:
        """Return a device that is off, its disk as the factory left it with these layers on it, the last one on top."""
        lower = [*(self.layers[layer] for layer in reversed(layers)), self.tree]
        made = Booted(lower, name or f"device{len(self.devices)}")
        self.devices.append(made)
        return made

    def prepared(self, layer: str, work: Callable[[Booted], None], *below: str) -> str:
        """Do some work on a disk once, keep what it changed as a layer for others, and return the layer's name."""
        if layer not in self.layers:
            with self.device(*below) as made:
                work(made)
                kept = self.scratch / layer
                subprocess.run(["cp", "-a", str(made.outside / "mnt/up"), str(kept)], check=True)
            self.layers[layer] = kept
        return layer

    def close(self) -> None:
        """End every device that is still there."""
        for device in self.devices:
            device.close()
