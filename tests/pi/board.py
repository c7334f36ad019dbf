"""An emulated Raspberry Pi 3: a card in it, a cable to the servers on this machine, a keyboard at its serial port."""

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.pi.card import DEVICE_TREE, INITRD, KERNEL, Card
from tests.pi.factory import HERE, USER
from tests.vm.qemu import Machine, MachineError, Start

RELAY = Path(__file__).resolve().parent / "relay.py"
# Graphics, sound and radio are not emulated; their drivers would only wait for answers.
WITHOUT = "modprobe.blacklist=vc4,snd_bcm2835,hci_uart,bluetooth,cfg80211,bcm2835_v4l2"
LONG = 1800.0  # seconds; a quiet machine needs a tenth
PACE = 0.2  # seconds between two letters at the serial port
CARELESS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "ConnectTimeout=120",
    "LogLevel=ERROR",
    "ServerAliveInterval=20",
)


class Board(Machine):
    """One Raspberry Pi. What the firmware would load is taken from the card itself.

    `ways` are the ports of this machine's loopback that the guest reaches, by the ports under which it sees them.
    """

    def __init__(self, card: Card, folder: Path, key: Path, ways: dict[int, int], more: str = "") -> None:
        self.card = card
        self.key = key
        self.ways = ways
        kernel, initrd, device_tree = card.take(folder, KERNEL, INITRD, DEVICE_TREE)
        start = Start(kernel, initrd, f"{card.words()} quiet {WITHOUT} {more}".strip(), device_tree)
        super().__init__("pi3", start, card.image)

    def words(self, start: Start, disk: Path, form: str, kvm: bool) -> list[str]:
        """Return QEMU's words with a serial port to type on, and one address that leads to this machine's servers."""
        words = super().words(start, disk, form, kvm)
        at = words.index(f"file:{self.console}")
        words[at] = "chardev:typed"
        typed = f"socket,id=typed,path={self.folder}/typed,server=on,wait=off,logfile={self.console},logappend=on"
        at = words.index("-netdev") + 1
        for seen, port in self.ways.items():
            relay = shlex.join((sys.executable, str(RELAY), str(port))).replace(",", ",,")
            words[at] += f",guestfwd=tcp:{HERE}:{seen}-cmd:{relay}"
        return [*words, "-chardev", typed]

    def ssh(
        self, *argv: str, stdin: bytes = b"", seconds: float = LONG, user: str = USER, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program on the device over SSH, as the owner with the owner's key."""
        words = ["ssh", "-F", "none", "-i", str(self.key), "-p", str(self.port)]
        for option in (*options, *CARELESS, "IdentitiesOnly=yes", "BatchMode=yes"):
            words += ["-o", option]
        words += [f"{user}@127.0.0.1", shlex.join(argv)]
        return subprocess.run(words, input=stdin, capture_output=True, timeout=seconds, check=False)

    def must(self, *argv: str, stdin: bytes = b"") -> str:
        """Run a program on the device that has to succeed; return what it said."""
        done = self.ssh(*argv, stdin=stdin)
        if done.returncode != 0:
            raise MachineError(f"{argv} ended with {done.returncode}: {(done.stdout + done.stderr).decode()[-2000:]}")
        return done.stdout.decode()

    def reached(self) -> bool:
        """Say whether the owner's key opens the device."""
        return self.ssh("true", seconds=120).returncode == 0

    def open(self) -> bool:
        """Say whether anything answers on the way to the device's SSH server."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as wire:
                wire.settimeout(20)
                return wire.recv(4) == b"SSH-"
        except OSError:
            return False

    def keyboard(self) -> "Keyboard":
        """Sit down at the serial console."""
        return Keyboard(self)


class Keyboard:
    """Somebody at the serial console: types lines, reads what comes."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.wire = socket.socket(socket.AF_UNIX)
        self.wire.connect(str(board.folder / "typed"))
        self.wire.settimeout(5)
        self.read = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.wire.close()

    def type(self, line: str) -> None:
        """Type a line at a person's pace, the emulated port drops what comes faster; what was read is forgotten."""
        self.read = ""
        for letter in line.encode() + b"\r":
            time.sleep(PACE)
            self.wire.sendall(bytes([letter]))

    def until(self, *wanted: str, seconds: float = LONG) -> str:
        """Read until one of these texts came, and return which."""
        begun = time.monotonic()
        while True:
            for text in wanted:
                if text in self.read:
                    return text
            if time.monotonic() - begun > seconds:
                raise MachineError(f"the console did not show any of {wanted}, but {self.read[-500:]!r}")
            try:
                came = self.wire.recv(4096)
            except TimeoutError:
                continue
            if not came:
                raise MachineError(f"the machine stopped before the console showed any of {wanted}")
            self.read += came.decode("utf-8", "replace")

    def login(self, user: str, password: str) -> bool:
        """Try to sign in; True leaves a shell, which `type("exit")` ends."""
        if not self.read.endswith("login: "):
            self.type("")
            self.until("login: ")
        self.type(user)
        self.until("Password: ")
        self.type(password)
        inside = self.until("Login incorrect", "$ ", "# ") != "Login incorrect"
        if not inside:
            self.until("login: ")
        return inside
