"""A guest to talk to: commands go over the wire of its machine, not over its network."""

import json
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tests.vm.qemu import SECONDS, Machine, MachineError


class Guest:
    """The running system inside a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.number = 0
        self.line = socket.socket(socket.AF_UNIX)
        machine.until(lambda: self.line.connect_ex(str(machine.wire)) == 0, "the wire", 60, 0.01)
        self.talk = self.line.makefile("rwb")
        machine.closing.append(self.close)

    def run(
        self, argv: Sequence[str], stdin: bytes = b"", seconds: float = SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end as root; a failure is the caller's to judge."""
        self.number += 1
        order = {"id": self.number, "argv": list(argv), "stdin": stdin.decode("latin-1"), "seconds": seconds}
        self.line.settimeout(seconds + SECONDS)
        try:
            self.talk.write(json.dumps(order).encode() + b"\n")
            self.talk.flush()
            answer = json.loads(self.talk.readline() or b"{}")
        except OSError as error:
            raise MachineError(f"the guest is gone: {self.machine.last_words()}") from error
        if answer.get("id") != self.number:
            raise MachineError(f"the guest did not answer: {self.machine.last_words()}")
        out, err = answer["out"].encode("latin-1"), answer["err"].encode("latin-1")
        return subprocess.CompletedProcess(list(argv), answer["code"], out, err)

    def must(self, argv: Sequence[str], stdin: bytes = b"", seconds: float = SECONDS) -> str:
        """Run a program that has to succeed; return its output as text."""
        done = self.run(argv, stdin, seconds)
        if done.returncode != 0:
            raise MachineError(f"{list(argv)} ended with {done.returncode} in the guest: {done.stderr.decode()[-800:]}")
        return done.stdout.decode()

    def close(self) -> None:
        """Let go of the wire, so that another may take it."""
        with suppress(OSError):
            self.talk.close()
        self.line.close()

    def await_path(self, path: str, seconds: float = SECONDS) -> None:
        """Return at once when a path has appeared in the guest."""
        self.must(["test-await", path], seconds=seconds)

    def release(self) -> None:
        """Let a machine go on that is held before its first boot."""
        self.must(["touch", "/run/test-go"])

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return self.must(["cat", path])

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file, as an editor would; parent directories appear."""
        blob = content.encode() if isinstance(content, str) else content
        self.must(["sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1" && chmod "$2" "$1"', "sh", path, f"{mode:o}"], blob)

    def privet(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run the installed command as root."""
        return self.run(["privet", *words])

    def status(self) -> dict[str, Any]:
        """Return what `privet status --json` says, empty while the guard does not answer."""
        done = self.privet("status", "--json")
        return dict(json.loads(done.stdout)) if done.returncode in {0, 3} and done.stdout else {}

    def statuses(self) -> dict[str, str]:
        """Return the status of every setting, once no answer is awaited; empty while the guard does not answer."""
        rows: list[dict[str, Any]] = []

        def answered() -> bool:
            rows[:] = self.status().get("findings", [])
            return all(row["waits_for"] != "answer" for row in rows)

        self.machine.until(answered, "every answer to be there", SECONDS, 1)
        return {row["setting"]: row["status"] for row in rows}

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit as systemd sees it."""
        shown = self.must(["systemctl", "show", unit, *[f"--property={name}" for name in names]])
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def stamp(self, unit: str, edge: str = "ActiveEnter") -> float:
        """Return when, in seconds since the kernel started, a unit came to be active (or began to start)."""
        name = f"{edge}TimestampMonotonic"
        return int(self.properties(unit, name)[name]) / 1e6

    def until_active(self, unit: str, seconds: float = SECONDS) -> float:
        """Wait until systemd says that a unit is active; return how long it took."""
        return self.machine.until(
            lambda: self.run(["systemctl", "is-active", "--quiet", unit]).returncode == 0, unit, seconds, 0.2
        )

    def opens(self, user: str, password: str) -> bool:
        """Try a password at the system's own door, the program that PAM itself asks."""
        done = self.run(["unix_chkpwd", user, "nullok"], password.encode() + b"\0")
        assert done.returncode in {0, 7}, done  # PAM_SUCCESS, PAM_AUTH_ERR
        return done.returncode == 0

    def memory(self, unit: str) -> int:
        """Return the bytes of memory that the main process of a unit answers for (PSS)."""
        pid = self.properties(unit, "MainPID")["MainPID"]
        rows = self.read(f"/proc/{pid}/smaps_rollup").splitlines()
        return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))

    def set_clock(self, wall: float | None = None) -> None:
        """Set the guest's wall clock, to this machine's time when nothing else is said."""
        self.must(["date", "-s", f"@{time.time() if wall is None else wall:.0f}"])
