"""One simulated device in a fleet of its own, with a real broker and collector, in this process."""

from pathlib import Path

from provisioning.profile.issue import issue_policy, seed_files
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.pi import CHEAP, raspberry_pi
from provisioning.simulate.stage import Stage
from tests.house import ROOT

PURPOSE, FIELD = "climate", "temperature"


class One:
    """The device is connected and its owner agrees; `work` has it measure until so many readings have arrived."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stage = Stage.build(folder, "meadow")
        self.crowd = Crowd()
        issued = issue_policy(self.stage.fleet, ROOT / "device_profiles/base.toml")
        self.stage.start()
        seeds = seed_files(self.stage.fleet, issued, "anna")
        self.device = Device("anna", folder / "devices/anna", raspberry_pi(CHEAP), seeds)
        self.device.boot()
        self.device.enrol(self.stage.fleet)
        self.device.agree(PURPOSE)
        self.crowd.join(self.device)

    def work(self, readings: int) -> None:
        """Measure so often, each time when the reading before has been received and is known to be."""
        received = 0

        def arrived() -> bool:
            nonlocal received
            received += len(self.stage.receiving.take())
            return received >= number and self.device.confirmed()

        for number in range(1, readings + 1):
            self.device.measure(**{FIELD: f"{18 + number}"})
            self.stage.until(arrived, self.crowd.turn, 60, "the arrival of a reading")

    def close(self) -> None:
        """End everything."""
        self.crowd.close()
        self.stage.close()
