"""A simulated Raspberry Pi with the real guard on it, a signed policy, and an owner."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import registry
from agent.core.record import as_map
from agent.core.secret import Secret
from agent.core.warn import PrivacyWarning
from agent.guard.callers import Caller
from agent.guard.gate import first_boot
from agent.guard.house import House
from agent.guard.parts import Parts
from agent.guard.rules import read_anchor
from agent.system.queue import Queue
from agent.system.simulated import SimulatedSystem
from agent.system.store import Store
from agent.system.vault import DirectVault
from provisioning.fleet.identity import Fleet
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import Issue, policy_map
from provisioning.profile.inherit import load
from provisioning.profile.sign import sign
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.guard.enrolling import Desk
from tests.house import ROOT

WARNINGS = {
    "id": "warnings", "title": "Warnings", "text": "To tell you when a setting is loosened.", "basis": "consent",
    "recipients": ["collector"], "retention_days": 30,
}  # fmt: skip
Policy = dict[str, Any]


class Kept:
    """One device through its restarts."""

    def __init__(self, folder: Path, system: Callable[..., SimulatedSystem] = SimulatedSystem) -> None:
        self.folder = folder
        self.key = Ed25519PrivateKey.generate()
        halves = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self.recipient = b"".join(half.public_key().public_bytes_raw() for half in halves)
        self.system = system(image=raspberry_pi(CHEAP))
        self.now = self.system.wall
        self.table = self.base()
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        anchor = {"fleet": "home", "class": "base", "device": "d1", "policy_keys": [public], "floor": self.now - 10}
        self.system.edit("/etc/privet/device.cbor", cbor2.dumps(anchor, canonical=True), mode=0o600)
        self.system.edit("/etc/privet/policy.cbor", self.signed(), mode=0o600)
        self.system.disk.settle()
        self.settings = registry.settings()  # those of the version that is installed
        self.code = ""
        self.built: House | None = None
        self.said: list[str] = []  # on the console, by first boot
        self.store: Store | None = None
        self.opened: Callable[[Store], object] = lambda _store: None  # what befalls the state before the guard starts

    def base(self) -> Policy:
        """Compile the profile that ships, and add a purpose for warnings."""
        catalogue = shipped()
        keys = {"collector": self.recipient}
        issue = Issue("home", 1, self.now - 5, keys, ("broker.test", 8883), "", self.now + 86400 * 365)
        table: Policy = policy_map(load(ROOT / "device_profiles/base.toml", catalogue).profile, catalogue, issue)
        if all(p["id"] != "warnings" for p in table["purposes"]):
            table["purposes"].append(WARNINGS)
        return table

    def signed(self, change: Callable[[Policy], object] | None = None, key: Ed25519PrivateKey | None = None) -> bytes:
        """Sign the policy, after a change to a copy of it."""
        table = deepcopy(self.table)
        if change:
            change(table)
        return sign(cbor2.dumps(table, canonical=True), key or self.key)

    def system_has_begun(self) -> bool:
        """Say whether the state was begun anew already."""
        store = self.start_store()
        begun = any(e.kind == "reset" for e in store.entries(0, 5))
        store.close()
        return begun

    def start_store(self) -> Store:
        """Open the state alone, while no guard runs."""
        if self.store is not None:
            self.store.close()
            self.store = None
        return Store(str(self.folder / "state.db"), DirectVault(Secret(b"k" * 32)), self.system.clock)

    def prepared(self) -> House:
        """Make the guard that is to start."""
        vault = DirectVault(Secret(b"k" * 32))
        self.store = Store(str(self.folder / "state.db"), vault, self.system.clock)
        self.opened(self.store)

        def open_queue(purpose: str, budget: int) -> Queue:
            return Queue(self.system, f"/var/lib/privet/queue/{purpose}", budget)

        self.built = House(
            Parts(
                system=self.system, store=self.store, vault=vault, settings=self.settings,
                anchor=read_anchor(self.system), open_queue=open_queue, first_boot=first_boot,
            )
        )  # fmt: skip
        self.built.say = self.said.append
        return self.built

    def start(self) -> House:
        """Start the guard."""
        self.prepared().start()
        return self.house

    def stop(self) -> None:
        """Stop the guard."""
        if self.built is not None:
            self.built.stop()
        if self.store is not None:
            self.store.close()
        self.built = self.store = None

    def reboot(self) -> House:
        """Restart the whole device."""
        self.stop()
        self.system.reboot()
        return self.start()

    @property
    def house(self) -> House:
        """The running guard."""
        assert self.built is not None
        return self.built

    def turn(self) -> None:
        """Let the guard take what has happened."""
        self.house.turn(0)
        self.house.turn(0)

    def ask(self, op: str, role: str = "owner", **request: Any) -> dict[str, Any]:
        """Ask the guard as a person."""
        return self.house.acts.perform(Caller(name="anna", role=role), {"op": op, **request})

    def loosen(self, setting: str, value: str, seconds: int = 7200, reason: str = "test") -> dict[str, Any]:
        """Loosen as the command does: the risk first."""
        seen = self.ask("explain", setting=setting, value=value)["seen"]
        return self.ask("loosen", setting=setting, value=value, seconds=seconds, reason=reason, seen=seen)

    def agree(self, purpose: str) -> None:
        """Agree as the command does: the notice first."""
        rows = [r for r in self.ask("notice")["purposes"] if r["purpose"] == purpose]
        self.ask("consent", purpose=purpose, state="given", seen=rows[0]["seen"])

    def status(self, setting: str) -> str:
        """Say how one setting stands."""
        return str(next(r["status"] for r in self.ask("status")["findings"] if r["setting"] == setting))

    def warnings(self, kind: str = "") -> list[PrivacyWarning]:
        """Return what was told."""
        return [w for w in self.house.books.warnings if kind in ("", w.kind)]

    def told(self) -> list[dict[str, Any]]:
        """Return the warnings in the journal: what really went out."""
        assert self.store is not None
        return [dict(as_map(e)["body"]) for e in self.store.entries(0, 5000) if e.kind == "warned"]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Kept]:
    """A factory-fresh device."""
    made = Kept(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def kept(fresh: Kept) -> Kept:
    """The same after its first boot."""
    fresh.start()
    return fresh


@pytest.fixture(scope="module")
def meadow(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet; its authorities are made once."""
    return Fleet.create(tmp_path_factory.mktemp("fleet") / "fleet", "meadow")


@pytest.fixture
def desk(meadow: Fleet) -> Desk:
    """Its enrolment desk."""
    return Desk(meadow)
