"""Our own programs as processes that are killed and started again; they die with us."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.core.errors import Failed

ROOT = Path(__file__).resolve().parents[2]
ENDING = 20.0  # seconds to end in


class Child:
    """One program; what it says is lines of JSON, what it complains of goes to a log."""

    def __init__(self, name: str, log: Path, *words: str | Path) -> None:
        self.name, self.log = name, log
        self.argv = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", *map(str, words)]
        self.process: subprocess.Popen[bytes] | None = None
        self.said: dict[str, Any] = {}
        self.kills = 0
        self._piece = b""

    def start(self) -> None:
        """Start it; `said` has what it says from now on, by key."""
        self.said, self._piece = {}, b""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        if self.process.stdout is None:  # it is a pipe; so says Popen to who reads its types
            raise Failed(f"{self.name} did not start")
        os.set_blocking(self.process.stdout.fileno(), False)

    def listen(self) -> dict[str, Any]:
        """Take what it has said; return all of it."""
        while self.process is not None and self.process.stdout is not None:
            piece = self.process.stdout.read()
            if not piece:
                break
            *lines, self._piece = (self._piece + piece).split(b"\n")
            for line in lines:
                self.said.update(json.loads(line))
        return self.said

    @property
    def ready(self) -> bool:
        """True when it has begun."""
        return "ready" in self.listen()

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self.process is not None and self.process.poll() is None

    def must_live(self) -> None:
        """Failed, with the end of its log, when it ended by itself."""
        if not self.alive:
            raise Failed(f"{self.name} ended by itself: {self.log.read_text(errors='replace')[-2000:]}")

    def tell(self, command: object) -> None:
        """Give it a command; one that is dead hears nothing."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(json.dumps(command).encode() + b"\n")
                self.process.stdin.flush()

    def kill(self) -> None:
        """End it as a power cut would; it must have been alive."""
        self.must_live()
        self.kills += 1
        self._end(signal.SIGKILL)

    def stop(self) -> dict[str, Any]:
        """Let it end in good order; return what it said."""
        if self.process is not None and self.process.stdin is not None and self.process.stdout is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            os.set_blocking(self.process.stdout.fileno(), True)
            for line in (self._piece + self.process.stdout.read()).splitlines():
                self.said.update(json.loads(line))
            self._end(signal.SIGTERM)
        return self.said

    def close(self) -> None:
        """End it however it is."""
        if self.process is not None:
            self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(number)
        process.wait(ENDING)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
