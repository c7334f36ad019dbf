"""A whole device in the lab: seeds of a real fleet, sshd, the guard as root, the courier as its own account."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from tests.device.lab import Device
from tests.house import ROOT

NAME = "d1"
ACCOUNT = "privet"
HOST = "/srv/host"
REQUEST = """
import os, sys
from agent.core.secret import Secret
from agent.system.vault import DirectVault
made = DirectVault(Secret(b"k" * 32)).new_identity(sys.argv[1])
with open(os.open("/var/lib/privet-courier/key.pem", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
    file.write(made.key.reveal())
sys.stdout.buffer.write(made.request)
"""


class Whole:
    """One device with everything on it. `start` and `stop` are the guard's; the courier comes when asked for."""

    def __init__(self, device: Device, folder: Path, port: int = 8883) -> None:
        self.device = device
        self.folder = folder
        self.port = port
        self.guard: subprocess.Popen[bytes] | None = None
        self.courier: subprocess.Popen[bytes] | None = None
        self.fleet = Fleet.create(folder / "fleet", "home")
        add_recipient(self.fleet, "collector")
        self.fleet.safe.seal(broker_host="127.0.0.1", broker_port=str(port))
        self.flash()

    def flash(self) -> None:
        """Lay the seeds down, and the courier's identity, whose key is made on the device."""
        device = self.device
        device.must(
            ["useradd", "--system", "--home-dir", "/var/lib/privet-courier", "--shell", "/usr/sbin/nologin", ACCOUNT]
        )
        device.must(["install", "-d", "-m", "700", "/etc/privet", "/var/lib/privet-courier"])
        issued = issue_policy(self.fleet, ROOT / "device_profiles" / "base.toml")
        for name, content in seed_files(self.fleet, issued, NAME).items():
            device.write(f"/etc/privet/{name}", content, 0o600)
        request = device.agent(REQUEST, NAME).stdout
        device.write("/var/lib/privet-courier/cert.pem", self.fleet.sign_csr(request, NAME, 30), 0o600)
        device.write("/var/lib/privet-courier/ca.pem", self.fleet.trust_anchor(), 0o600)
        device.must(["chown", "-R", f"{ACCOUNT}:", "/var/lib/privet-courier"])

    def start(self) -> None:
        """Start the guard and wait until it answers."""
        self.guard = self.device.spawn(self.device.python("-m", "agent.guard"))
        self.until(lambda: self.ask("version")["ok"], 40, "the guard to answer")

    def stop(self) -> str:
        """Stop the guard in order; return what it said on standard error."""
        assert self.guard is not None
        pid = self.pid("agent.guard")
        self.device.run(["kill", "-TERM", str(pid)])
        _, err = self.guard.communicate(timeout=20)
        self.guard = None
        return err.decode()

    def deliver(self) -> None:
        """Start the courier as its own account."""
        self.courier = self.device.spawn(self.device.python("-m", "agent.courier", "--user", ACCOUNT))

    def pid(self, module: str) -> int:
        """Return the pid, inside the device, of one of our processes."""
        return int(self.device.must(["pgrep", "-o", "-f", f"python3 -m {module}"]).split()[0])

    def broker(self) -> None:
        """Start our mosquitto on the device's loopback, as an operator does, with the fleet laid beside it."""
        packed = subprocess.run(["tar", "-C", str(self.folder), "-c", "fleet"], capture_output=True, check=True).stdout
        self.device.must(["mkdir", "-p", HOST])
        self.device.must(["tar", "-C", HOST, "-x"], stdin=packed)
        self.device.spawn(self.device.python("-m", "provisioning.cli", "broker", "up", "--fleet", f"{HOST}/fleet"))
        self.device.listener(self.port, seconds=15)

    def collect(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a collector beside the broker; it prints readings as JSON lines."""
        argv = ["-m", "provisioning.cli", "collect", "--fleet", f"{HOST}/fleet", "--json", *words]
        return self.device.spawn(self.device.python(*argv))

    def privet(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run the `privet` command as root on the device."""
        return self.device.run(self.device.python("-m", "agent", *words), seconds=seconds)

    def ask(self, op: str, **request: object) -> dict[str, Any]:
        """Ask the guard over its control socket; {"ok": False} when nobody is there."""
        line = json.dumps({"op": op, **request}) + "\n"
        return self.speak("/run/privet/control.sock", line)

    def speak(self, path: str, line: str) -> dict[str, Any]:
        """Send one line to a socket of the device; return the answer."""
        done = self.device.agent(SPEAK, path, line)
        return dict(json.loads(done.stdout)) if done.returncode == 0 and done.stdout else {"ok": False}

    def statuses(self) -> dict[str, str]:
        """Return the status of every setting, once no answer is awaited any more."""
        rows: list[dict[str, Any]] = []

        def answered() -> bool:
            rows[:] = self.ask("status")["findings"]
            return all(row["waits_for"] != "answer" for row in rows)

        self.until(answered, 60, "every answer to be there")
        return {row["setting"]: row["status"] for row in rows}

    def until(self, done: Callable[[], object], seconds: float, what: str) -> float:
        """Wait for something; return how long it took."""
        begun = time.monotonic()
        while not done():
            if time.monotonic() - begun > seconds:
                raise AssertionError(f"waited {seconds} s for {what}; the guard said: {self.last_words()}")
            time.sleep(0.05)
        return time.monotonic() - begun

    def last_words(self) -> str:
        """Return what a guard that has ended said on standard error."""
        if self.guard is None or self.guard.poll() is None or self.guard.stderr is None:
            return "nothing, it runs"
        return self.guard.stderr.read().decode()[-1500:]


SPEAK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as wire:
    wire.settimeout(30)
    wire.connect(sys.argv[1])
    wire.sendall(sys.argv[2].encode())
    print(wire.makefile().readline())
"""
