"""A policy on its way through a fleet: by stages, with a halt when devices refuse it; a record that outlives us.

All of it is decided here and nothing is sent: `due` says who is to get the policy now, `hear` takes what a device said,
`verdict` says where it stands. The devices of a stage are drawn by digest: neither by name nor by age.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cbor2

from agent.core.errors import BadInput, Missing, Unreadable
from agent.core.record import Record, as_map, replace
from provisioning.fleet.identity import Fleet, checked
from provisioning.fleet.safe import whole_file

ROLLOUTS = "rollouts"
SHORT = 16  # bytes of a digest in a device's answer
MOST_ANSWER = 256  # bytes
STAGES = (5, 25, 100)
OPEN, SENT, HAS, REFUSED, LEFT = "open", "sent", "has", "refused", "left"
RUNNING, HALTED, DONE = "running", "halted", "done"


class Standing(Record):
    """Where one device stands: open (not its turn yet), sent, has, refused, or left (it had it, and went back).

    `waiting` settings of it stand stricter than asked until the owner says yes; `why` is an exit code of ours.
    """

    __slots__ = ("at", "state", "waiting", "why")
    state: str
    at: int
    waiting: int
    why: int


class Said(Record):
    """What a device answered: the number and digest in force, how many settings wait, and what it refused last."""

    __slots__ = ("digest", "refused", "sequence", "waiting", "why")
    sequence: int
    digest: bytes
    waiting: int
    refused: bytes
    why: int


class Plan(Record):
    """How a policy goes out: percentages, how many refusals halt it, how many percent of a stage open the next."""

    __slots__ = ("enough", "failures", "stages")
    stages: tuple[int, ...]
    failures: int
    enough: int


class Rollout:
    """One policy and the devices it is for. `path` is its record; `save` writes it whole."""

    def __init__(self, path: Path, model: str, sequence: int, digest: bytes, plan: Plan) -> None:
        self.path = path
        self.model, self.sequence, self.digest = model, sequence, digest
        self.plan = plan
        self.devices: dict[str, Standing] = {}
        self.behind: set[str] = set()  # they were sent it, and say that they have an older one: it did not reach them

    @classmethod
    def begin(cls, path: Path, model: str, sequence: int, signed: bytes, plan: Plan) -> "Rollout":
        """Begin one; BadInput for stages that do not rise to 100."""
        rising = all(low < high for low, high in zip(plan.stages, plan.stages[1:], strict=False))
        if not plan.stages or not rising or plan.stages[0] < 1 or plan.stages[-1] != 100:
            raise BadInput("the stages are rising percentages that end with 100, as 5,25,100; correct them")
        return cls(path, model, sequence, hashlib.sha256(signed).digest()[:SHORT], plan)

    @classmethod
    def load(cls, path: Path) -> "Rollout":
        """Read a record; Missing or BadInput."""
        try:
            table = json.loads(path.read_bytes())
            plan = Plan(stages=tuple(table["stages"]), failures=table["failures"], enough=table["enough"])
            made = cls(path, str(table["class"]), int(table["sequence"]), bytes.fromhex(table["digest"]), plan)
            made.devices = {str(name): Standing(**row) for name, row in table["devices"].items()}
        except FileNotFoundError:
            raise Missing(f"{path} is not there: no policy of this class was pushed yet") from None
        except OSError as error:
            raise Unreadable(f"{path} cannot be read ({error.strerror}); check its rights") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadInput(f"{path} is damaged; restore it, or push the next policy") from None
        return made

    def save(self) -> None:
        """Write the record."""
        table = {
            "class": self.model, "sequence": self.sequence, "digest": self.digest.hex(),
            "stages": list(self.plan.stages), "failures": self.plan.failures, "enough": self.plan.enough,
            "devices": {name: as_map(one) for name, one in sorted(self.devices.items())},
        }  # fmt: skip
        whole_file(self.path, json.dumps(table, indent=1).encode() + b"\n")

    def aim(self, devices: Iterable[str]) -> None:
        """Take devices in; who is in already stays as it stands."""
        for name in devices:
            self.devices.setdefault(name, Standing(state=OPEN, at=0, waiting=0, why=0))

    def order(self) -> list[str]:
        """Return the devices in the order of their turn."""
        return sorted(self.devices, key=lambda name: hashlib.sha256(self.digest + name.encode()).digest())

    def stage(self) -> int:
        """Return the number of the stage it is in: the first that has not got enough answers."""
        for number in range(len(self.plan.stages)):
            names = self.upto(number)
            if sum(self.devices[name].state == HAS for name in names) * 100 < self.plan.enough * len(names):
                return number
        return len(self.plan.stages) - 1

    def upto(self, number: int) -> list[str]:
        """Return whose turn it is up to a stage: at least one in each."""
        share = -(-len(self.devices) * self.plan.stages[number] // 100)
        return self.order()[:share]

    def verdict(self) -> str:
        """Say whether it is running, halted by devices that refused it or went back, or done."""
        states = [one.state for one in self.devices.values()]
        if states.count(REFUSED) + states.count(LEFT) > self.plan.failures:
            return HALTED
        return DONE if states and OPEN not in states and SENT not in states else RUNNING

    def due(self) -> list[str]:
        """Return who is to get the policy now, again if it has not answered."""
        if self.verdict() == HALTED:
            return []
        return [name for name in self.upto(self.stage()) if self.devices[name].state in {OPEN, SENT}]

    def sent(self, name: str, now: int) -> None:
        """Note that a device was sent the policy."""
        self.devices[name] = replace(self.devices[name], state=SENT, at=now)

    def hear(self, name: str, said: Said, now: int) -> bool:
        """Take what a device said; say whether that changed where it stands."""
        old = self.devices.get(name)
        if old is None:
            return False
        if said.digest == self.digest:
            new = replace(old, state=HAS, waiting=said.waiting, why=0)
        elif said.refused == self.digest:
            new = replace(old, state=REFUSED, waiting=0, why=said.why)
        elif old.state == HAS and said.sequence < self.sequence:
            new = replace(old, state=LEFT, waiting=0)
        else:
            if old.state == SENT and said.sequence < self.sequence:
                self.behind.add(name)
            return False
        self.behind.discard(name)
        self.devices[name] = old if new == old else replace(new, at=now)
        return new != old

    def count(self) -> dict[str, int]:
        """Return how many stand where, and how many wait for their owner."""
        states = [one.state for one in self.devices.values()]
        waiting = sum(one.waiting > 0 for one in self.devices.values())
        return {state: states.count(state) for state in (OPEN, SENT, HAS, REFUSED, LEFT)} | {"waiting": waiting}


def record(fleet: Fleet, model: str) -> Path:
    """Return where the rollout of a class is kept."""
    return fleet.safe.directory / ROLLOUTS / f"{checked(model.replace('_', '-'), 'class')}.json"


def read_answer(payload: bytes) -> Said:
    """Read what a device published on its topic `state` (FORMAT.md, section 9); BadInput for anything else."""
    odd = BadInput("what a device said about its policy cannot be read; update privet-fleet")
    if len(payload) > MOST_ANSWER:
        raise odd
    try:
        row: Any = cbor2.loads(payload)
    except Exception:  # noqa: BLE001 - cbor2 raises many kinds for bytes of others
        raise odd from None
    kinds = (int, int, bytes, int, bytes, int)
    if type(row) is not list or [type(value) for value in row] != list(kinds):
        raise odd
    version, sequence, digest, waiting, refused, why = row
    if version != 1 or min(sequence, waiting, why) < 0 or {len(digest), len(refused)} - {0, SHORT}:
        raise odd
    return Said(sequence=sequence, digest=digest, waiting=waiting, refused=refused, why=why)
