"""A part of a simulated fleet as a process: `python -m provisioning.simulate.apart FOLDER`.

Commands come in as lines of JSON, how its devices stand goes out as such; the end of its input is its own. FOLDER holds
what an image gives every device, and a card for each; what a card held is used once, as on a real one.
"""

import json
import os
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from agent.core.role import OWNER
from agent.guard.callers import Caller
from agent.guard.pair import HOME
from agent.system.seen import there
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.doors import opens
from provisioning.simulate.pi import CHEAP, PASSWORD, USER, raspberry_pi

IMAGE, CARDS, DEVICES = "image", "cards", "devices"
PURPOSE, FIELD = "climate", "temperature"
DRIFT = ("/etc/ssh/sshd_config.d/00-mine.conf", b"Match all\n    PermitRootLogin yes\n")
DRIFTED = "ssh.root"
LOOSENED, LOOSER, SECONDS = "mdns.publish", "addresses", 3600
SAYS = 0.5  # seconds between two words about how they stand
SPREAD = 17  # tenths of a degree between readings


class Apart:
    """Its devices, in one loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        image = folder / IMAGE
        self.facts = {name: (image / name).read_bytes() for name in ("fleet.cbor", "policy.cbor")}
        self.facts[f"{HOME}/ca.pem"] = (image / "ca.pem").read_bytes()
        self.crowd = Crowd()
        self.waiting: deque[str] = deque()  # not started yet
        self.order = 0  # the number of the last command
        self.every = 0.0  # seconds between the readings of a device; 0: it measures nothing
        self.rotated = self.measured = 0
        self.enrolled: set[str] = set()
        self.drifted: set[str] = set()
        self._due = self._says = 0.0

    def obey(self, said: dict[str, Any]) -> None:
        """Do what one command says."""
        self.order = said["order"]
        self.waiting.extend(said.get("begin", ()))
        self.every = said.get("every", self.every)
        for device in self.crowd.devices:
            if device.name == said.get("drift"):
                device.system.edit(*DRIFT)
                self.drifted.add(device.name)
            if device.name == said.get("loosen"):
                loosen(device)

    def turn(self) -> None:
        """Start one that waits, measure when it is time, let everyone work a little, and say how they stand."""
        if self.waiting:
            self.begin(self.waiting.popleft())
        now = time.monotonic()
        if self.every and now >= self._due:
            self._due = now + self.every
            for device in self.crowd.devices:
                self.measured += 1
                device.measure(**{FIELD: f"{18 + self.measured * SPREAD % 80 / 10:.1f}"})
        self.crowd.turn(0.0 if self.waiting else 0.05)
        if now >= self._says:
            self._says = now + SAYS
            say(self.standing())

    def begin(self, name: str) -> None:
        """Start one device: first boot; its certificate it gets when the loop goes on."""
        card = self.folder / CARDS / name
        slot = card.read_bytes()
        card.unlink()
        device = Device(name, self.folder / DEVICES / name, raspberry_pi(CHEAP), self.facts, slot)
        device.boot()
        self.rotated += not opens(device, USER, PASSWORD)
        device.connect()
        device.agree(PURPOSE)
        self.crowd.join(device)

    def standing(self) -> dict[str, Any]:
        """Say how they stand."""
        devices = self.crowd.devices
        fresh = [one for one in devices if one.name not in self.enrolled]
        self.enrolled.update(one.name for one in fresh if there(one.system, f"{HOME}/cert.pem"))
        policies = Counter(one.running.rules.policy.sequence for one in devices if one.running.rules.policy is not None)
        return {
            "at": time.monotonic(),
            "order": self.order,
            "booted": len(devices),
            "rotated": self.rotated,
            "enrolled": len(self.enrolled),
            "connected": sum(d.messenger is not None and d.messenger.state_word == "connected" for d in devices),
            "measured": self.measured,
            "accepted": sum(one.accepted for one in devices),
            "acknowledged": sum(one.confirmed() for one in devices),
            "warned": sum(any(w.setting == DRIFTED for w in one.running.books.warnings) for one in devices),
            "allowed": sum(any(w.setting == LOOSENED for w in one.running.books.waivers) for one in devices),
            "policies": policies,
        }


def say(facts: dict[str, Any]) -> None:
    """Say something in one line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def loosen(device: Device) -> None:
    """Let the owner allow something for an hour, the risk read first."""
    owner = Caller(name="owner", role=OWNER)
    asked = {"setting": LOOSENED, "value": LOOSER}
    seen = device.running.acts.perform(owner, {"op": "explain", **asked})["seen"]
    device.running.acts.perform(
        owner, {"op": "loosen", **asked, "seconds": SECONDS, "reason": "a guest looks for it", "seen": seen}
    )


def main(folder: Path) -> None:
    """Work until the input ends."""
    apart = Apart(folder)
    os.set_blocking(sys.stdin.fileno(), False)
    say({"ready": 1})
    piece = b""
    while True:
        try:
            taken = os.read(sys.stdin.fileno(), 1 << 16)
        except BlockingIOError:
            taken = None
        if taken == b"":
            break
        *lines, piece = (piece + (taken or b"")).split(b"\n")
        for line in lines:
            apart.obey(json.loads(line))
        apart.turn()
    apart.crowd.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
