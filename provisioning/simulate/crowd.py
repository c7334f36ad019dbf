"""Many simulated devices in one loop: whoever has something to do gets a turn."""

import selectors
import time

from provisioning.simulate.device import Device

BEAT = 0.25  # seconds between turns that are due by time alone
EACH = 0.001  # the same for each device: so many thousands leave their processor time for what happens


class Crowd:
    """Turns guards and couriers; clocks of the devices follow this machine's, `speed` times as fast."""

    def __init__(self) -> None:
        self.devices: list[Device] = []
        self.speed = 1
        self._beat = 0.0
        self._clock = time.monotonic()
        self._owed = 0.0

    def join(self, device: Device) -> None:
        """Take a started device in."""
        self.devices.append(device)

    def turn(self, limit: float = 0.05) -> None:
        """Wait at most `limit` seconds for the first thing to do, and do what there is."""
        self._pass_time()
        patience = min([limit, *(d.messenger.timeout() for d in self.devices if d.messenger is not None)])
        ready = self._ready(patience)
        now = time.monotonic()
        everyone = now - self._beat >= max(BEAT, EACH * len(self.devices))
        if everyone:
            self._beat = now
        for device in self.devices:
            due = device.messenger is not None and device.messenger.timeout() <= 0
            if everyone or due or id(device) in ready:
                self._give(device)

    def close(self) -> None:
        """End every device."""
        for device in self.devices:
            device.stop()
        self.devices.clear()

    @staticmethod
    def _give(device: Device) -> None:
        """Give one device its turn: guard, courier, and the guard again for what the courier brought."""
        device.running.turn(0.0)
        if device.messenger is not None:
            device.messenger.turn()
            device.running.turn(0.0)

    def _pass_time(self) -> None:
        """Let the devices' clocks, which count whole seconds, follow ours."""
        now = time.monotonic()
        self._owed += (now - self._clock) * self.speed
        self._clock = now
        whole = int(self._owed)
        if whole:
            self._owed -= whole
            for device in self.devices:
                device.system.tick(whole)

    def _ready(self, patience: float) -> set[int]:
        """Wait; return the ids of the devices that have something to do.

        The table of descriptors is made anew each time: links come and go, and their numbers are given again.
        """
        with selectors.PollSelector() as selector:
            for device in self.devices:
                selector.register(device.running.selector.fileno(), selectors.EVENT_READ, device)
                if device.messenger is not None:
                    for number, events in device.messenger.watched().items():
                        selector.register(number, events, device)
            return {id(key.data) for key, _ in selector.select(max(0.0, patience))}
