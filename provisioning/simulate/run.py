"""A simulated fleet at work: devices are flashed, start, enrol, measure, and now and then one is loosened by hand."""

import secrets
import time
from pathlib import Path
from typing import NamedTuple

from agent.core.errors import Failed
from provisioning.profile.issue import Issued, issue_policy, seed_files
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.doors import opens
from provisioning.simulate.pi import CHEAP, PASSWORD, USER, raspberry_pi
from provisioning.simulate.stage import Stage

PURPOSE, FIELD = "climate", "temperature"
LOOSENED_BY_HAND = ("/etc/ssh/sshd_config.d/00-mine.conf", b"Match all\n    PermitRootLogin yes\n")
EVERY = 1.0  # seconds between the readings of a device
SETTLED = 60.0  # seconds for what is still on its way at the end


class Count(NamedTuple):
    """Where a fleet stands, in numbers: of devices, of readings, of broker outages."""

    devices: int
    booted: int
    rotated: int
    connected: int
    measured: int
    accepted: int
    received: int
    acknowledged: int
    loosened: int
    warned: int
    outages: int
    seconds: float


class Run:
    """One run; call `begin` once for each device, then `work` until it is over, then `settle`."""

    def __init__(self, folder: Path, profile: Path, devices: int) -> None:
        self.folder = folder
        self.profile = profile
        self.wanted = devices
        self.stage = Stage.build(folder, f"sim-{secrets.token_hex(3)}")
        self.crowd = Crowd()
        self.policy: Issued | None = None
        self.rotated = 0
        self.measured = 0
        self.received = 0
        self.outages = 0
        self.loosened: set[str] = set()
        self._measure_at = 0.0
        self._began = time.monotonic()

    def start(self) -> None:
        """Issue the policy and start the broker."""
        self.policy = issue_policy(self.stage.fleet, self.profile)
        self.stage.start()

    def begin(self) -> None:
        """Flash and start one device: first boot, enrolment, consent."""
        if self.policy is None:
            raise Failed("the run was not started; call start first")
        name = f"d-{secrets.token_hex(6)}"
        seeds = seed_files(self.stage.fleet, self.policy, name)
        device = Device(name, self.folder / "devices" / name, raspberry_pi(CHEAP), seeds)
        device.boot()
        self.rotated += not opens(device, USER, PASSWORD)
        device.enrol(self.stage.fleet)
        device.agree(PURPOSE)
        self.crowd.join(device)

    def work(self, limit: float = 0.05) -> None:
        """Let everyone work a little; each device measures once a second."""
        now = time.monotonic()
        if now >= self._measure_at:
            self._measure_at = now + EVERY
            for device in self.crowd.devices:
                self.measured += 1
                device.measure(**{FIELD: f"{18 + secrets.randbelow(80) / 10:.1f}"})
        self.crowd.turn(limit)
        self.received += len(self.stage.receiving.take())

    def loosen_one(self) -> None:
        """Let somebody loosen a device by hand that was not touched yet."""
        left = [device for device in self.crowd.devices if device.name not in self.loosened]
        if left:
            device = left[secrets.randbelow(len(left))]
            self.loosened.add(device.name)
            path, content = LOOSENED_BY_HAND
            device.system.edit(path, content)

    def cut_broker(self) -> None:
        """Kill the broker as a power cut would, and start it again."""
        self.outages += 1
        self.stage.broker.kill()
        self.stage.broker.start()

    def settle(self) -> None:
        """Measure no more, and wait until every reading was received and acknowledged; Failed when one was lost."""
        self._measure_at = float("inf")
        ends = time.monotonic() + SETTLED
        while not self.settled():
            if time.monotonic() > ends:
                count = self.count()
                raise Failed(
                    f"{count.accepted} readings were accepted and {count.received} arrived; look into {self.folder}"
                )
            self.work()

    def settled(self) -> bool:
        """Say whether all that was accepted has arrived, was acknowledged, and every loosening was warned about."""
        count = self.count()
        done = count.received == count.accepted and count.warned >= count.loosened
        return done and all(device.confirmed() for device in self.crowd.devices)

    def count(self) -> Count:
        """Return where the fleet stands."""
        devices = self.crowd.devices
        return Count(
            devices=self.wanted,
            booted=len(devices),
            rotated=self.rotated,
            connected=sum(d.messenger is not None and d.messenger.state_word == "connected" for d in devices),
            measured=self.measured,
            accepted=sum(device.accepted for device in devices),
            received=self.received,
            acknowledged=sum(device.confirmed() for device in devices),
            loosened=len(self.loosened),
            warned=sum(any(w.setting == "ssh.root" for w in d.running.books.warnings) for d in devices),
            outages=self.outages,
            seconds=round(time.monotonic() - self._began, 1),
        )

    def close(self) -> None:
        """End everything that was started."""
        self.crowd.close()
        self.stage.close()
