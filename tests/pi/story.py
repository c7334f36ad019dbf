"""The life of one emulated Pi as its owner lives it; every fact is told with its time."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from provisioning.broker.mosquitto import Broker, Setup, free_port
from tests.house import ROOT
from tests.pi.board import LONG, Board, Keyboard
from tests.pi.card import Card
from tests.pi.factory import BROKER, CANARIES, ENROL, HERE, USER, Factory


class Story:
    """One card, its fleet's broker and enrolment server, one board at a time.

    `say` prints a line at once and keeps it for the transcript. `factory` is given where a kept card goes on.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], factory: Factory | None = None) -> None:
        self.folder = folder
        self.say = say
        self.stack = ExitStack()
        self.factory = factory or Factory.begun(folder)
        self.password = self.code = ""
        self.kept: dict[str, str] = {}
        port = free_port()
        setup = Setup(fleet="home", address="127.0.0.1", port=port, collectors=("collector",), durable=True)
        credential = self.factory.fleet.server([HERE, "127.0.0.1"])
        self.broker = Broker(folder / "broker", setup, credential, self.factory.fleet.client_anchors())
        self.stack.enter_context(self.broker)
        self.enrolment = free_port()
        self.stack.enter_context(self.factory.workshop.serving(self.enrolment, HERE))
        self.card: Card
        self.board: Board

    def make(self, tree: Path, deb: Path) -> None:
        """Make the card; what is searched for in the end is on it now."""
        self.card = self.factory.make(tree, deb, self.say)
        seed = self.factory.seed
        secrets = (self.factory.old_hash, *CANARIES.values(), seed["token"], seed["signature"])
        assert all(self.card.found(*secrets).values()), "the search of a raw card does not find what is on it"

    def power(self, more: str = "") -> None:
        """Put the card in and switch the Pi on."""
        folder = self.folder / "firmware"
        folder.mkdir(exist_ok=True)
        ways = {BROKER: self.broker.setup.port, ENROL: self.enrolment}
        self.board = Board(self.card, folder, self.factory.key, ways, more)
        self.stack.callback(self.board.close)

    def close(self) -> None:
        """Switch everything off."""
        self.stack.close()

    def up(self, what: str) -> float:
        """Wait until the owner's key opens the device; tell and return the seconds since power came on."""
        self.board.until(self.board.open, f"{what}: SSH to answer", LONG, 0.5)
        answered = self.board.age()
        self.board.until(self.board.reached, f"{what}: the owner's key to open the device", LONG, 1.0)
        self.say(
            f"{what}: SSH answers {answered:.0f} s after power on, the owner's key opens at {self.board.age():.0f} s"
        )
        return answered

    def active(self) -> None:
        """Wait until the guard says that it is ready, which is after first boot."""
        seen = "systemctl", "is-active", "--quiet", "privet-guard.service"
        self.board.until(lambda: self.board.ssh(*seen).returncode == 0, "the guard to be ready", LONG, 1.0)
        self.say(f"first boot has ended and the guard is ready {self.board.age():.0f} s after power on")

    def linked(self) -> None:
        """Wait until the device's own broker has let it in."""
        self.board.until(lambda: self.status()["link"]["state"] == "connected", "the broker to let it in", LONG, 2.0)
        self.say(f"linked: the broker takes the device's certificate {self.board.age():.0f} s after power on")

    def root(self, *argv: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program as root on the device, as its owner does: sudo, with the password that first boot made."""
        assert self.password, "the owner never got the password that first boot made"
        return self.board.ssh("sudo", "-S", "-p", "", "--", *argv, stdin=f"{self.password}\n".encode())

    def must(self, *argv: str) -> str:
        """Run a program as root that has to succeed; return what it said."""
        done = self.root(*argv)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, f"{shlex.join(argv)} ended with {done.returncode}: {said[-2000:]}"
        return done.stdout.decode()

    def status(self) -> dict[str, Any]:
        """Return what `privet status --json` says."""
        done = self.root("privet", "status", "--json")
        assert done.returncode in {0, 3, 75}, (done.stdout + done.stderr).decode()[-2000:]
        return dict(json.loads(done.stdout))

    def statuses(self) -> dict[str, str]:
        """Return the status of every setting."""
        return {row["setting"]: row["status"] for row in self.findings()}

    def findings(self) -> list[dict[str, Any]]:
        """Return how every setting stands, once all were looked at and no answer is awaited any more."""
        end = time.monotonic() + LONG
        while True:
            answer = self.status()
            rows: list[dict[str, Any]] = answer["findings"]
            if answer["age"] is not None and all(row["waits_for"] != "answer" for row in rows):
                return rows
            assert time.monotonic() < end, rows
            time.sleep(1)

    def units(self, *names: str) -> dict[str, dict[str, str]]:
        """Return what systemd knows about units."""
        found = {}
        for said in self.board.must("systemctl", "show", *names).split("\n\n"):
            facts = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
            found[facts["Id"]] = facts
        return found

    def password_opens(self, password: str) -> bool:
        """Try to sign in over SSH with a password, whatever the server offers; say whether a command ran."""
        ask = self.folder / "askpass"
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$LAB_SECRET"\n', encoding="ascii")
        ask.chmod(0o700)
        words = ["ssh", "-F", "none", "-p", str(self.board.port), "-o", "StrictHostKeyChecking=no"]
        words += ["-o", "UserKnownHostsFile=/dev/null", "-o", "PubkeyAuthentication=no", "-o", "LogLevel=ERROR"]
        words += ["-o", "NumberOfPasswordPrompts=1", f"{USER}@127.0.0.1", "echo let-in"]
        told = {
            "PATH": "/usr/bin:/bin",
            "SSH_ASKPASS": str(ask),
            "SSH_ASKPASS_REQUIRE": "force",
            "LAB_SECRET": password,
        }
        done = subprocess.run(words, env=told, capture_output=True, timeout=LONG, check=False)
        assert b"onnection refused" not in done.stderr + done.stdout
        return b"let-in" in done.stdout

    def host_key(self) -> bytes:
        """Return the host key that the device shows."""
        words = ["ssh-keyscan", "-T", "60", "-t", "ed25519", "-p", str(self.board.port), "127.0.0.1"]
        said = subprocess.run(words, capture_output=True, timeout=LONG, check=True).stdout
        return said.split()[-1] if said.strip() else b""

    def collect(self) -> subprocess.Popen[bytes]:
        """Start a collector on this machine; it ends after the first reading."""
        words = ["collect", "--fleet", str(self.folder / "fleet"), "--json", "--count", "1", "--seconds", "900"]
        words += ["--host", "127.0.0.1", "--port", str(self.broker.setup.port)]
        return subprocess.Popen(
            [sys.executable, "-m", "provisioning.cli", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, reading: str) -> dict[str, Any]:
        """Send one reading from the device; return what arrives at the collector."""
        collector = self.collect()
        try:
            self.must("privet", "send", reading)
            begun = time.monotonic()
            said, errors = collector.communicate(timeout=LONG)
            assert said, errors.decode()[-2000:]
            took = time.monotonic() - begun
            self.say(f"telemetry: {reading} of {self.factory.device} is with the collector, {took:.1f} s after `send`")
            return dict(json.loads(said.splitlines()[0]))
        finally:
            collector.kill()
            collector.wait()

    def new_password(self, keyboard: Keyboard) -> str:
        """Take what first boot made, password and recovery code, as somebody with access to the console does."""
        assert keyboard.login("root", self.factory.lab_password)
        keyboard.type("privet credentials show --once")
        keyboard.until("Write this down", "Nothing is waiting", "systemctl st")  # start or status: no answer
        found = re.search(rf"linux_account/{USER}: ([^\r\n]+)", keyboard.read)
        assert found is not None, keyboard.read
        code = re.search(r"recovery/code: ([^\r\n]+)", keyboard.read)
        assert code is not None, keyboard.read
        self.code = code[1].strip()
        keyboard.type("exit")
        self.say("serial console: the new password and the recovery code are shown once")
        return found[1]

    def restart(self, boot: str) -> None:
        """Restart the device by its own command, and wait for its owner's key to open it."""
        begun = time.monotonic()
        self.root("systemctl", "reboot")

        def again() -> bool:
            done = self.board.ssh("cat", "/proc/sys/kernel/random/boot_id", seconds=120)
            return done.returncode == 0 and done.stdout.decode() != boot

        self.board.until(again, "the device to come back after its restart", LONG, 1.0)
        self.say(f"restart: the owner's key opens {time.monotonic() - begun:.0f} s after `systemctl reboot`")

    def switch_off(self) -> None:
        """Let the device shut down by its own command, then take its power away."""
        seen = len(self.board.shown())
        self.root("systemctl", "poweroff")
        begun = time.monotonic()
        while self.board.runs() and time.monotonic() - begun < LONG:
            if "Power down" in self.board.shown()[seen:]:
                break
            time.sleep(0.5)
        self.say(f"power off: {'by itself' if not self.board.runs() else 'the kernel says so'}")
        self.board.cut()
