"""What is made before the storm: fleet, broker, devices' folders and identities, and who lives where."""

import os
import signal
import subprocess
from pathlib import Path

from agent.core.record import Record
from agent.core.secret import Secret
from agent.system.vault import DirectVault
from provisioning.broker.mosquitto import SAVED, Broker, Setup, configuration, free_port
from provisioning.fleet.identity import Credential, Fleet
from provisioning.fleet.safe import whole_file
from provisioning.profile.issue import Issued, add_recipient, issue_policy, seed_files
from provisioning.simulate.child import Child
from tests.house import ROOT
from tests.storm.disks import Disk
from tests.storm.marks import Marks

NAME, NOBODY = "meadow", 65534
SOURCE = ROOT / "device_profiles" / "base.toml"
FIELD = """
[[field]]
name = "{}"
title = "What the storm sends"
unit = "count"
purpose = "climate"
precision = "0.000001"
low = "0"
high = "999999999"
bucket = "1m"
"""


class Shape(Record):
    """How many devices live how: in crowds (so many processes), with processes of their own, on the two bad disks."""

    __slots__ = ("alone", "broken", "crowded", "crowds", "full")
    crowded: int
    crowds: int
    alone: int
    full: int
    broken: int

    @property
    def devices(self) -> int:
        """How many there are."""
        return self.crowded + self.alone + self.full + self.broken


class Site:
    """One fleet below a folder; its broker keeps its store each so many seconds, never when that is 0."""

    def __init__(self, folder: Path, shape: Shape, marks: Marks, kind: str, saved: int, far: bool = True) -> None:
        self.folder, self.shape, self.marks, self.kind = folder, shape, marks, kind
        folder.chmod(0o755)
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.port, self.line_port = free_port(), free_port()
        self.fleet = Fleet.create(folder / "fleet", NAME)
        add_recipient(self.fleet, "collector")
        self.policies = {port: self.policy(port) for port in (self.port, self.line_port)}
        setup = Setup(
            fleet=NAME, address="127.0.0.1", port=self.port, collectors=("collector", "onlooker"), durable=saved > 0
        )
        self.broker = Broker(folder / "broker", setup, self.fleet.server(["127.0.0.1"]), self.fleet.client_anchors())
        ours = configuration(setup)
        assert not saved or f"autosave_interval {SAVED}\n" in ours
        every = ours.replace(f"autosave_interval {SAVED}\n", f"autosave_interval {saved}\n")
        self.broker.lay("mosquitto.conf", every.encode())
        for name in ("collector", "onlooker"):
            self.identify(folder / name, self.fleet.service(name))
        names = ("full", "broken") if shape.full or shape.broken else ()
        self.disks = [Disk(folder / f"{name}.img", folder / name) for name in names]
        self.devices: dict[str, Path] = {}
        self.crowds: list[Child] = []
        self.guards: list[Child] = []
        self.couriers: list[Child] = []
        self.onlooker: subprocess.Popen[bytes] | None = None
        self.settle(far)

    def policy(self, port: int) -> Issued:
        """Issue a policy with the marked field that leads to this port."""
        self.fleet.safe.seal(broker_host="127.0.0.1", broker_port=str(port))
        path = self.folder / "base.toml"
        path.write_text(SOURCE.read_text() + FIELD.format(self.marks.name))
        return issue_policy(self.fleet, path)

    def settle(self, far: bool) -> None:
        """Give every device its folder, its process and its way to the broker: `far`, half go over the bad line."""
        shape, each = self.shape, -(-self.shape.crowded // max(1, self.shape.crowds))
        left = shape.crowded
        for n in range(shape.crowds):
            self.crowd(f"crowd{n}", self.folder / f"c{n}", min(each, left), far and n % 2 == 1)
            left -= min(each, left)
        for disk, count in zip(self.disks, (shape.full, shape.broken), strict=False):
            self.crowd(disk.folder.name, disk.folder, count, False)
        for n in range(shape.alone):
            home = self.device(f"alone{n}", self.folder / f"a{n}", False)
            for path in [home / "courier", *(home / "courier").iterdir()]:
                os.chown(path, NOBODY, NOBODY)
            words = ["--socket", home / "courier.sock", "--home", home / "courier", "--user", str(NOBODY)]
            log = self.logs / f"alone{n}"
            self.guards.append(Child(f"guard{n}", log, "tests.storm.crowd", "apart", self.kind, home))
            self.couriers.append(Child(f"courier{n}", log, "agent.courier", *words))

    def crowd(self, name: str, folder: Path, count: int, far: bool) -> None:
        """Make devices that share a process."""
        if count:
            homes = [self.device(f"{name}-{n}", folder / str(n), far) for n in range(count)]
            self.crowds.append(Child(name, self.logs / name, "tests.storm.crowd", "together", self.kind, *homes))

    def device(self, name: str, home: Path, far: bool) -> Path:
        """Flash one device."""
        issued = self.policies[self.line_port if far else self.port]
        facts = seed_files(self.fleet, issued, name)
        for path, content in facts.items():
            whole_file(home / "etc/privet" / path, content)
        made = DirectVault(Secret(b"k" * 32)).new_identity(name)
        signed = self.fleet.sign_csr(made.request, name, 30)
        self.identify(home / "courier", Credential(certificate=signed, key=made.key.reveal()))
        home.chmod(0o755)
        self.devices[name] = home
        return home

    def identify(self, home: Path, credential: Credential) -> None:
        """Lay down trust anchor, certificate and key."""
        whole_file(home / "ca.pem", self.fleet.trust_anchor())
        whole_file(home / "cert.pem", credential.certificate)
        whole_file(home / "key.pem", credential.key)

    @property
    def all(self) -> list[Child]:
        """Every process with devices."""
        return [*self.crowds, *self.guards, *self.couriers]

    def look_on(self) -> None:
        """Let somebody with a collector's certificate, and no recipient's key, write down all the broker hands on.

        mosquitto_sub ends when its broker dies in the middle of TLS: it is started again then.
        """
        if self.onlooker is not None and self.onlooker.poll() is None:
            return
        home = self.folder / "onlooker"
        argv = ["mosquitto_sub", "-V", "5", "-q", "1", "-h", "127.0.0.1", "-p", str(self.port), "-F", "%t %p"]
        argv += ["-c", "-i", "onlooker", "-x", "3600"]  # what comes while it is away is kept for it
        argv += ["-t", f"privet/1/{NAME}/+/up/+", "-t", f"privet/1/{NAME}/+/warning", "--cafile", str(home / "ca.pem")]
        argv += ["--cert", str(home / "cert.pem"), "--key", str(home / "key.pem")]
        with (home / "heard").open("ab") as heard, (self.logs / "onlooker").open("ab") as log:
            self.onlooker = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], stdout=heard, stderr=log)

    def look_away(self) -> None:
        """End the onlooker."""
        if self.onlooker is not None:
            self.onlooker.terminate()
            self.onlooker.wait()

    def close(self) -> None:
        """End everything."""
        self.look_away()
        for child in self.all:
            child.close()
        self.broker.end(signal.SIGKILL)
        for disk in self.disks:
            disk.unmount()
