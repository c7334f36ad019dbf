"""What a running broker needs from its fleet: fresh CRLs, and an end to the sessions of those who count no more."""

import time
from collections.abc import Callable
from datetime import datetime

from agent.core.errors import Failed, Unreachable
from provisioning.broker.evict import evict
from provisioning.broker.mosquitto import Broker
from provisioning.fleet.identity import Fleet
from provisioning.fleet.revocation import LIST, crl, revoked

RENEW = 3600.0  # seconds; a CRL lives for days, so a fleet's machine may sleep for days as well
AGAIN = 10.0  # seconds after which a session that could not be ended is tried again


class Watch:
    """Call `turn` about once a second. `host` is a name in the broker's certificate at which it can be reached."""

    def __init__(
        self, fleet: Fleet, broker: Broker, host: str, begins: datetime, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.fleet, self.broker, self.host = fleet, broker, host
        self._begins, self._say = begins, say
        self._renewed = time.monotonic()
        self._looked = self._look()
        self._known = {(one.issuer, one.serial) for one in revoked(fleet)}
        self._live: dict[str, float] = {}  # names whose session is still to be ended, and when to try (again)

    def turn(self) -> None:
        """Renew what is due, end what has to end; Failed when the broker has died."""
        if not self.broker.alive:
            raise Failed(f"the broker has died; look into {self.broker.directory}/broker.log and start it again")
        looked = self._look()
        if looked != self._looked or time.monotonic() - self._renewed > RENEW:
            self._looked = looked
            self._renew()
        for name in [name for name, due in self._live.items() if due <= time.monotonic()]:
            self._end(name)

    def _renew(self) -> None:
        listed = revoked(self.fleet)
        fresh = [one for one in listed if (one.issuer, one.serial) not in self._known]
        made, self._begins = crl(self.fleet, self._begins)
        self.broker.revoke(made)  # first, so that nobody who is thrown out comes back
        self._renewed = time.monotonic()
        self._known = {(one.issuer, one.serial) for one in listed}  # who was let in meanwhile can be shut out again
        self._live = {name: due for name, due in self._live.items() if name in {one.name for one in listed}}
        self._live.update(dict.fromkeys([one.name for one in fresh], 0.0))

    def _end(self, name: str) -> None:
        try:
            evict(self.fleet, name, self.host, self.broker.setup.port)
        except Unreachable as error:
            self._say(str(error))
            self._live[name] = time.monotonic() + AGAIN
        else:
            self._say(f"{name} counts no more: its certificate is refused and its session has ended.")
            del self._live[name]

    def _look(self) -> tuple[int, int, int]:
        try:
            found = (self.fleet.safe.directory / LIST).stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return found.st_ino, found.st_mtime_ns, found.st_size
