"""The owner's own command, `privet`, run against a simulated device as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.errors import Failed
from provisioning.simulate.device import Device

PATIENCE = 20.0
# All that a command keeps of the session around it: where Python lies, language and time zone. No colours, no settings.
KEPT = ("PATH", "LANG", "TZ", "VIRTUAL_ENV", "PYTHONPATH")


class Said(NamedTuple):
    """What a command did: its words, exit code and output."""

    words: tuple[str, ...]
    code: int
    text: str

    def facts(self) -> dict[str, Any]:
        """Return it as plain facts, the words as they are typed."""
        shown = " ".join(f'"{word}"' if " " in word else word for word in self.words)
        return {"command": f"privet {shown}", "exit": self.code, "output": self.text}


class Command:
    """Starts `privet` on a device that listens; `over()` once it ended, then `said()`."""

    def __init__(self, device: Device, *words: str, stdin: str = "") -> None:
        self.words = words
        # Isolated from this session: no colours, no settings of the person who runs it, and the device's own sockets.
        kept = {
            name: os.environ[name] for name in ("PATH", "LANG", "TZ", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agent", *words],
            cwd=Path(__file__).parents[2],
            env={**kept, "PRIVET_RUN": str(device.folder / "run"), "PYTHONUTF8": "1", "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if self._process.stdin is not None:
            self._process.stdin.write(stdin)
            self._process.stdin.close()

    def over(self) -> bool:
        """Say whether it ended."""
        return self._process.poll() is not None

    def said(self) -> Said:
        """Return what it did."""
        if self._process.stdout is None:
            raise Failed("the command has no output; this is a defect, please report it")
        with self._process.stdout as stream:
            text = stream.read()
        return Said(self.words, self._process.wait(PATIENCE), text.rstrip())

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
