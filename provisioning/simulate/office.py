"""The fleet's enrolment server as a process, `privet-fleet serve`, and the cards that lead devices to it."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cbor2

from agent.core.errors import Failed
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry
from provisioning.fleet.safe import whole_file
from provisioning.fleet.slots import places_of, slots
from provisioning.profile.issue import Issued
from provisioning.simulate.apart import CARDS, IMAGE

ENDING = 20.0  # seconds to end in


class Office:
    """One fleet's registry and its enrolment server on this machine; `registry` is a database's URL, "" for a file."""

    def __init__(self, folder: Path, fleet: Fleet, place: tuple[str, int], registry: str) -> None:
        self.folder, self.fleet, self.place = folder, fleet, place
        fleet.safe.seal(enrol_host=place[0], enrol_port=str(place[1]), registry=registry)
        self.registry = Registry(fleet)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server; Failed with its last words when it does not."""
        host, port = self.place
        words = ["serve", "--fleet", str(self.fleet.safe.directory), "--listen", host, "--port", str(port), "--json"]
        log = self.folder / "serve.log"
        argv = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "provisioning.cli", *words]
        with log.open("ab") as told:
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=told)
        first = self.process.stdout.readline() if self.process.stdout is not None else b""
        try:
            json.loads(first)
        except ValueError:
            raise Failed(f"the enrolment server did not start: {log.read_text(errors='replace')[-1000:]}") from None

    def flash(self, policy: Issued, count: int) -> list[str]:
        """Plan devices; lay down what an image gives them all, and a card for each. Return their names."""
        floor = int(time.time())
        facts = {
            "fleet": self.fleet.name, "class": policy.model, "policy_keys": [self.fleet.policy_key()], "floor": floor,
        }  # fmt: skip
        image = {"fleet.cbor": cbor2.dumps(facts, canonical=True), "policy.cbor": policy.signed}
        for name, content in {**image, "ca.pem": self.fleet.trust_anchor()}.items():
            whole_file(self.folder / IMAGE / name, content)
        _, planned = self.registry.batch(count)
        places = places_of(self.fleet, policy.signed, policy.sequence, floor, self.place)
        (self.folder / CARDS).mkdir(mode=0o700)
        for one, slot in zip(planned, slots(self.fleet, places, planned), strict=True):
            whole_file(self.folder / CARDS / one.device, slot)
        return [one.device for one in planned]

    def counted(self) -> dict[str, int]:
        """Return how many devices the registry has in each state."""
        return self.registry.counted()

    def close(self) -> None:
        """End the server."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.communicate(timeout=ENDING)
            self.process.kill()
            self.process = None
        self.registry.close()


def spread(names: Sequence[str], parts: int) -> list[list[str]]:
    """Deal names out to so many parts."""
    return [list(names[number::parts]) for number in range(parts)]
