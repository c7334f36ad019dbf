"""Whole machines under QEMU: a kernel of their own, a clock of their own, real reboots and real power cuts.

`Machine` starts one. Nothing of it outlives the test process, no port is open but on this machine's loopback, and the
guest reaches nothing beyond its own network card. Root is not needed. Machines are:

    pc    amd64, virtio              virt   arm64, virtio              pi3   arm64, a Raspberry Pi 3 Model B

`pc` and `virt` have a wire beside the network (a virtio serial port, `Machine.wire`) and can be saved and resumed;
`pi3` cannot: QEMU 7.2 brings its card reader and timers back wrongly.
"""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

EMULATED = ("-accel", "tcg,thread=multi,tb-size=256")
KVM = ("-accel", "kvm", "-cpu", "host,-arch-capabilities")
BANNER = b"Linux version"  # the first line of every kernel
WIRE = "privet.wire"  # the guest finds it as /dev/virtio-ports/privet.wire
SECONDS = 600.0  # ten times what a quiet machine needs


class MachineError(RuntimeError):
    """The machine did not do what a test asked; the text says what it showed last."""


@dataclass(frozen=True)
class Kind:
    """One machine: QEMU's program and words for it."""

    program: str
    board: tuple[str, ...]
    processor: tuple[str, ...]
    console: str
    drive: tuple[str, ...]
    network: str
    wired: bool


VIRTIO_DRIVE = ("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci")
VIRTIO_NETWORK = "virtio-net-pci,netdev=net,mac=52:54:00:12:34:56,romfile="
KINDS = {
    "pc": Kind(
        program="qemu-system-x86_64",
        board=("-M", "q35", "-smp", "2", "-m", "384"),
        processor=("-cpu", "qemu64"),
        console="ttyS0",
        drive=VIRTIO_DRIVE,
        network=VIRTIO_NETWORK,
        wired=True,
    ),
    "virt": Kind(
        program="qemu-system-aarch64",
        board=("-M", "virt", "-smp", "2", "-m", "512"),
        processor=("-cpu", "cortex-a53"),
        console="ttyAMA0",
        drive=VIRTIO_DRIVE,
        network=VIRTIO_NETWORK,
        wired=True,
    ),
    # Its first serial port belongs to Bluetooth: the console is the second. Its processor, memory and card are fixed.
    "pi3": Kind(
        program="qemu-system-aarch64",
        board=("-M", "raspi3b", "-serial", "null"),
        processor=(),
        console="ttyS1,115200",
        drive=(),
        network="usb-net,netdev=net,mac=52:54:00:12:34:57",
        wired=False,
    ),
}


@dataclass(frozen=True)
class Start:
    """What a boot loader would hand over; `words` is the kernel's command line without the console."""

    kernel: Path
    initrd: Path
    words: str
    device_tree: Path | None = None


def kvm_runs(kernel: Path, note: Path) -> bool:
    """Say whether a kernel gets as far as its first line under KVM; that /dev/kvm exists proves nothing.

    `note` keeps the answer for as long as this machine stays booted.
    """
    if platform.machine() != "x86_64" or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    answer, _, seen = note.read_text(encoding="ascii").partition(" ") if note.exists() else ("", "", "")
    if seen != boot:
        argv = ["qemu-system-x86_64", "-M", "q35", *KVM, "-m", "128", "-nodefaults", "-display", "none", "-no-reboot"]
        argv += ["-serial", "stdio", "-kernel", str(kernel), "-append", "earlyprintk=serial console=ttyS0 panic=-1"]
        try:
            shown = subprocess.run(argv, capture_output=True, timeout=5, check=False).stdout
        except subprocess.TimeoutExpired as late:
            shown = late.stdout or b""
        answer = "yes" if BANNER in shown else "no"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{answer} {boot}", encoding="ascii")
    return answer == "yes"


class Machine:
    """One running machine. It ends with `cut()`, `close()`, its own power-off, or the test process."""

    def __init__(
        self,
        kind: str,
        start: Start,
        disk: Path,
        *,
        form: str = "raw",
        kvm: bool = False,
        state: Path | None = None,
        more: Sequence[str] = (),
    ) -> None:
        """Start it from its kernel, or where `save` left it (`state`); `disk` is written, so hand over a copy."""
        self.kind = KINDS[kind]
        self.folder = Path(tempfile.mkdtemp(prefix=f"privet-{kind}-"))
        self.console = self.folder / "console"
        self.port = free_port()  # leads to the guest's SSH
        self.closing: list[Callable[[], None]] = []  # what others opened on this machine
        self.begun = time.monotonic()
        argv = ["setpriv", "--pdeathsig", "KILL", *self.words(start, disk, form, kvm), *more]
        if state is not None:
            argv += ["-incoming", f"exec:cat {state}"]
        with (self.folder / "errors").open("wb") as errors:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=errors)
        if state is not None:  # it was stopped to be saved, and comes back stopped
            self.until(lambda: self.monitor("query-status")["status"] == "paused", "the saved machine", pause=0.02)
            self.monitor("cont")

    def words(self, start: Start, disk: Path, form: str, kvm: bool) -> list[str]:
        """Return QEMU's argument vector."""
        kind = self.kind
        words = [kind.program, *kind.board, *(KVM if kvm else (*EMULATED, *kind.processor))]
        words += ["-nodefaults", "-display", "none", "-serial", f"file:{self.console}"]
        words += ["-qmp", f"unix:{self.folder}/monitor,server=on,wait=off"]
        words += ["-kernel", str(start.kernel), "-initrd", str(start.initrd)]
        words += ["-append", f"console={kind.console} {start.words}"]
        if start.device_tree is not None:
            words += ["-dtb", str(start.device_tree)]
        # What the guest flushed is in this machine's page cache, which outlives QEMU: a cut loses what was not flushed.
        drive = "id=disk,if=none" if kind.drive else "if=sd"
        words += ["-drive", f"{drive},file={disk},format={form},cache=unsafe", *kind.drive]
        words += ["-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", kind.network]
        if kind.wired:
            words += ["-chardev", f"socket,id=wire,path={self.folder}/wire,server=on,wait=off"]
            words += ["-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=wire,name={WIRE}"]
        return words

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def wire(self) -> Path:
        """The Unix socket whose other end is the guest's /dev/virtio-ports/privet.wire."""
        return self.folder / "wire"

    def shown(self) -> str:
        """Return what the console has shown so far."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def age(self) -> float:
        """Return the seconds since QEMU was started."""
        return time.monotonic() - self.begun

    def runs(self) -> bool:
        """Say whether the machine still has power."""
        return self.process.poll() is None

    def until(self, ready: Callable[[], object], what: str, seconds: float = SECONDS, pause: float = 0.1) -> float:
        """Wait for a condition while the machine runs; return how long it took."""
        begun = time.monotonic()
        while not ready():
            if not self.runs():
                raise MachineError(f"the machine stopped before {what}: {self.last_words()}")
            if time.monotonic() - begun > seconds:
                raise MachineError(f"waited {seconds:.0f} s for {what}: {self.last_words()}")
            time.sleep(pause)
        return time.monotonic() - begun

    def until_shown(self, text: str, seconds: float = SECONDS) -> float:
        """Wait until the console has shown a text; return how long it took."""
        return self.until(lambda: text in self.shown(), f"the console to show {text!r}", seconds)

    def until_off(self, seconds: float = SECONDS) -> None:
        """Wait until the guest has switched itself off."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise MachineError(f"the machine did not switch itself off: {self.last_words()}") from late

    def last_words(self) -> str:
        """Return the end of QEMU's complaints and of the console."""
        errors = (self.folder / "errors").read_text(errors="replace")
        return f"QEMU said {errors[-500:]!r}, the console {self.shown()[-1500:]!r}"

    def monitor(self, command: str, **arguments: Any) -> Any:
        """Give QEMU one command of its machine protocol; return the answer."""
        with socket.socket(socket.AF_UNIX) as wire:
            self.until(lambda: wire.connect_ex(str(self.folder / "monitor")) == 0, "QEMU's monitor", 60, 0.01)
            wire.settimeout(SECONDS)
            with wire.makefile("rw") as talk:
                talk.readline()
                answer = {}
                for order in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    talk.write(json.dumps(order) + "\n")
                    talk.flush()
                    while "event" in (answer := json.loads(talk.readline() or '{"error": "QEMU is gone"}')):
                        pass
        if "error" in answer:
            raise MachineError(f"QEMU refused {command}: {answer['error']}")
        return answer["return"]

    def save(self, state: Path) -> None:
        """Stop the machine and write all but its disk to a file; then it has ended, and its disk is the file's pair."""
        self.monitor("stop")
        self.monitor("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.monitor("migrate", uri=f"exec:cat > {state}")
        self.until(lambda: self.monitor("query-migrate").get("status") in {"completed", "failed"}, "the state on disk")
        if self.monitor("query-migrate")["status"] != "completed":
            raise MachineError(f"QEMU could not save the machine: {self.last_words()}")
        self.monitor("quit")
        self.process.wait()

    def cut(self) -> None:
        """Pull the plug: what the guest had not flushed to its disk is gone."""
        self.process.kill()
        self.process.wait()

    def freeze(self, disk: Path, path: Path, after: signal.Signals = signal.SIGCONT) -> None:
        """Copy the disk as a cut at this very instant would leave it: the machine stands still meanwhile, then goes on.

        With SIGKILL for `after` it is cut at that instant. What the machine keeps in its memory, and what QEMU has not
        yet given to this machine's kernel, is not in the copy.
        """
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            tasks = Path(f"/proc/{self.process.pid}/task")
            while any(") T " not in (task / "stat").read_text(encoding="ascii") for task in tasks.iterdir()):
                time.sleep(0.001)
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(disk), str(path)], check=True)
        finally:
            os.kill(self.process.pid, after)

    def processor_seconds(self) -> float:
        """Return the seconds of this machine's processors spent so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Pull the plug if there still is power, and forget console and sockets; the disk is the caller's."""
        self.cut()
        for close in self.closing:
            close()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """Return a port of loopback that nobody has just now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
