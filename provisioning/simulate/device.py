"""One simulated device: a system in memory, the real guard on it, and a courier of its own."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import registry
from agent.core.assess import Finding
from agent.core.errors import PrivetError
from agent.core.role import OWNER, YEAR
from agent.core.telemetry import Sample
from agent.guard.gate import first_boot
from agent.guard.house import House
from agent.guard.pair import HOME, NEXT
from agent.guard.parts import Parts
from agent.guard.posture import Posture
from agent.guard.rules import read_anchor
from agent.guard.seeds import establish
from agent.system.keys import FileSlot
from agent.system.queue import Queue
from agent.system.seen import names
from agent.system.simulated import SimulatedSystem
from agent.system.store import Store
from agent.system.vault import DirectVault
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file
from provisioning.simulate.messenger import Messenger
from provisioning.simulate.pi import BOOT, COURIER

Image = Callable[[SimulatedSystem], None]
SLOT = f"{BOOT}/privet.slot"


class Device:
    """A device from its flashing to its end. `folder` is where its memory card's state lies on this machine.

    `seeds` are files of /etc/privet, or anywhere by their whole path. With a `slot` it is a card as a station leaves
    it: who the device is stands in the seed, and it gets its certificate from the fleet's enrolment server by itself.
    """

    def __init__(self, name: str, folder: Path, image: Image, seeds: Mapping[str, bytes], slot: bytes = b"") -> None:
        self.name = name
        self.folder = folder
        self.house: House | None = None
        self.messenger: Messenger | None = None
        self.accepted = 0
        self.refused = ""
        self.said: list[str] = []
        self.flashed = bool(slot)

        def flashed(system: SimulatedSystem) -> None:
            image(system)
            for path, content in seeds.items():
                system.edit(str(Path("/etc/privet") / path), content, mode=0o600)
            if slot:
                system.edit(SLOT, slot, in_place=True)

        self.system = SimulatedSystem(image=flashed)
        self.system.wall = int(time.time())

    @property
    def running(self) -> House:
        """The guard, which must have been built."""
        if self.house is None:
            raise PrivetError(f"{self.name} has not been started; call boot first")
        return self.house

    def look(self) -> tuple[Finding, ...]:
        """Probe every setting without a guard: what a factory left."""
        settings = registry.settings()
        strictest = {name: setting.strictest() for name, setting in settings.items()}
        posture = Posture(self.system, settings, strictest)
        return posture.look(posture.names(), ())

    def boot(self, listen: bool = False) -> None:
        """Build the guard and let it run its first boot, or take up where it was; `listen` opens its real sockets."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key, _ = FileSlot(self.system).open()
        vault = DirectVault(key)
        if self.flashed:
            establish(self.system, vault)
        store = Store(str(self.folder / "state.db"), vault, self.system.clock)
        if os.getuid() != 0 and not store.get("grants"):
            review = self.system.wall + YEAR - 1
            store.put({"grants": [{"principal": f"uid:{os.getuid()}", "role": OWNER, "review_by": review}]})

        def open_queue(purpose: str, budget: int) -> Queue:
            return Queue(self.system, f"/var/lib/privet/queue/{purpose}", budget)

        self.house = House(
            Parts(
                system=self.system,
                store=store,
                vault=vault,
                settings=registry.settings(),
                anchor=read_anchor(self.system),
                open_queue=open_queue,
                first_boot=first_boot,
            )
        )
        self.house.say = self.said.append  # what its console shows
        if listen:
            (self.folder / "run").mkdir(mode=0o700, exist_ok=True)
            self.house.listen(str(self.folder / "run"), os.getuid(), -1)
        if self.flashed:
            self.house.enrol((COURIER, COURIER))
        self.house.start()

    def connect(self) -> None:
        """Start the courier of a flashed device: it carries the questions for a certificate, and then the link."""
        self.messenger = Messenger(self.folder / "courier", laid=self.lay)
        self.running.attach(self.messenger.guard)

    def lay(self) -> None:
        """Give the courier, which reads real files, what the guard keeps for it on the simulated card."""
        home = self.folder / "courier"
        for folder, place in ((HOME, home), (NEXT, home / "next")):
            there = [one for one in names(self.system, folder) if one.endswith(".pem")]
            for name in there:
                whole_file(place / name, self.system.read(f"{folder}/{name}"))
            for gone in {one.name for one in place.glob("*.pem")} - set(there):
                (place / gone).unlink()

    def enrol(self, fleet: Fleet, days: int = 2) -> None:
        """Make the courier's own key and let the fleet sign its request, then start the courier."""
        home = self.folder / "courier"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        whole_file(home / "key.pem", key.private_bytes(pem, form, serialization.NoEncryption()))
        whole_file(home / "cert.pem", fleet.sign_csr(request.public_bytes(pem), self.name, days))
        for part in ("key.pem", "cert.pem"):  # the guard signs with it what is the owner's word to recipients
            self.system.edit(f"/var/lib/privet-courier/{part}", (home / part).read_bytes(), mode=0o600)
        whole_file(home / "ca.pem", fleet.trust_anchor())
        self.messenger = Messenger(home)
        self.running.attach(self.messenger.guard)

    def agree(self, purpose: str) -> None:
        """Agree to a purpose as the owner does: with the notice shown first."""
        from agent.guard.callers import Caller  # noqa: PLC0415

        owner = Caller(name="owner", role=OWNER)
        acts = self.running.acts
        rows = [row for row in acts.perform(owner, {"op": "notice"})["purposes"] if row["purpose"] == purpose]
        acts.perform(owner, {"op": "consent", "purpose": purpose, "state": "given", "seen": rows[0]["seen"]})

    def measure(self, **readings: str) -> None:
        """Hand readings to the guard as an application does; refusals are remembered as one sentence."""
        now = self.system.clock().wall

        def done(failure: PrivetError | None) -> None:
            self.accepted += 0 if failure else len(readings)
            self.refused = str(failure) if failure else ""

        try:
            self.running.outbox.take([Sample(name=name, number=text, at=now) for name, text in readings.items()], done)
        except PrivetError as error:
            self.refused = str(error)

    def confirmed(self) -> bool:
        """Say whether every recipient has said that it keeps all that was queued since this start."""
        for lane in self.running.outbox.lanes.values():
            boot = lane.mine.boot
            if any(lane.confirmed.get((boot, name), 0) < lane.seq for name, _ in lane.keys):
                return False
        return True

    def stop(self) -> None:
        """End guard and courier; what was kept stays kept."""
        if self.messenger is not None:
            self.messenger.close()
            self.messenger = None
        if self.house is not None:
            self.house.stop()
            self.house.books.store.close()  # type: ignore[attr-defined]
            self.house = None
