"""Very many devices as a broker sees them: the agent's own link, a certificate each, and nothing behind it.

A whole guard for each would be a thousand devices' work; what a broker has to bear after a restart are their links.
"""

import contextlib
import resource
import secrets
import selectors
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.core.errors import Failed
from agent.courier import trust
from agent.courier.link import PACE, SETTLED, Link, Pace
from agent.courier.session import Place
from provisioning.broker.mosquitto import Broker
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file

TURN = 0.02  # seconds between looks at whose time has come
SECOND = 1.0
AT_ONCE = 8  # calls in one turn


class Back(NamedTuple):
    """How a crowd came back: how many, seconds until the last, most and mean in one second, tries that failed.

    A second has those whose moment it was. When our loop got to them says more of this machine than of a thousand.
    """

    links: int
    seconds: float
    peak: int
    mean: float
    failed: int

    @property
    def crowding(self) -> float:
        """Return how often the mean the fullest second is."""
        return self.peak / self.mean


class One:
    """One device's link, and when it was connected last."""

    def __init__(self, fleet: Fleet, folder: Path, place: tuple[str, int], pace: Pace) -> None:
        name = f"d-{secrets.token_hex(6)}"
        self.home = folder / name
        self.at = 0.0
        self.wanted = 0.0  # when it is to call next
        self.came = 0.0  # when it was to make the call that got through
        self.failed = 0
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        whole_file(self.home / "key.pem", key.private_bytes(pem, form, serialization.NoEncryption()))
        whole_file(self.home / "cert.pem", fleet.sign_csr(request.public_bytes(pem), name, 2))
        whole_file(self.home / "ca.pem", fleet.trust_anchor())
        host, port = place
        self.link = Link(Place(host=host, port=port, fleet=fleet.name, device=name), self._trusted, self, pace)

    def _trusted(self) -> ssl.SSLContext:
        return trust.verified(self.home / "ca.pem", self.home / "cert.pem", self.home / "key.pem")

    def time_has_come(self) -> bool:
        """Say whether it is to call; note when that is, or was."""
        left, now = self.link.timeout(), time.monotonic()
        if left > 0 or not self.wanted:
            self.wanted = now + left
        return left <= 0

    def call(self) -> None:
        """Call the broker."""
        self.link.step()
        if self.link.session is not None:
            self.came = self.wanted
        self.wanted = 0.0

    def sent(self, message: int, cause: str) -> None:
        """Nothing is sent."""

    def received(self, kind: str, payload: bytes) -> None:
        """Nothing is waited for."""

    def state(self, word: str, cause: str) -> None:
        """Note when the link came up, or that it did not."""
        if word == "connected" and self.link.session is not None:
            self.at = self.link.session.since  # when it came to the broker; we hear of it when our loop gets there
        else:
            self.failed += not self.at  # that it was connected and is no more is no try in vain
            self.at = 0.0


class Links:
    """So many links in one loop; their pace is that of real devices, unless another one is given."""

    def __init__(self, fleet: Fleet, folder: Path, place: tuple[str, int], number: int, pace: Pace = PACE) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < number + 100:
            raise Failed(f"{number} links need more open files than the {hard} this machine allows; take fewer")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * number + 100)), hard))
        self.all = [One(fleet, folder, place, pace) for _ in range(number)]
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, tuple[int, One, int]] = {}

    def up(self) -> int:
        """Say how many are connected."""
        return sum(one.link.connected for one in self.all)

    def turn(self) -> None:
        """Let whoever has something to do have a turn."""
        self._watch()
        ready = {key.data for key, _ in self._selector.select(TURN)} if self._watched else set()
        if not self._watched:
            time.sleep(TURN)
        calling = []
        for one in self.all:
            if one.link.session is None:
                calling.extend([one] if one.time_has_come() else [])
            elif one in ready or one.link.timeout() <= 0:
                one.link.step()
        # A call blocks until TLS has greeted: those who are through already must not starve meanwhile.
        for one in calling[:AT_ONCE]:
            one.call()
        waiting = set(calling)
        self.all = [*(one for one in self.all if one not in waiting), *calling[AT_ONCE:], *calling[:AT_ONCE]]

    def gather(self, seconds: float, told: Callable[[int], None] = lambda _up: None) -> Back:
        """Turn them until all are connected; Failed when that takes longer."""
        begins = time.monotonic()
        before = sum(one.failed for one in self.all)
        while (up := self.up()) < len(self.all):
            if time.monotonic() - begins > seconds:
                raise Failed(f"{up} of {len(self.all)} links were back after {seconds:g} seconds; look into broker.log")
            self.turn()
            told(up)
        moments = sorted(max(0.0, one.came - begins) for one in self.all)
        peak = max(Counter(int(moment / SECOND) for moment in moments).values())
        mean = round(len(moments) / max(moments[-1], SECOND), 1)
        last = round(max(one.at for one in self.all) - begins, 1)
        return Back(len(moments), last, peak, mean, sum(one.failed for one in self.all) - before)

    def outage(
        self, broker: Broker, away: float, seconds: float, told: Callable[[int], None] = lambda _up: None
    ) -> Back:
        """Kill a broker when all have been connected for a while, start it again, and see how they come back.

        They go on trying while it starts, as real ones would.
        """
        self.rest(SETTLED + SECOND)
        broker.kill()
        before = sum(one.failed for one in self.all)
        self.scatter()
        self.rest(away)
        self._catch_up()
        ready = Event()
        with ThreadPoolExecutor(1) as other:  # the broker dies with the thread that starts it: that is this one
            turning = other.submit(self._turn_until, ready)
            try:
                broker.start()
            finally:
                ready.set()
            turning.result()
        back = self.gather(seconds, told)
        return back._replace(failed=sum(one.failed for one in self.all) - before)

    def _catch_up(self) -> None:
        """Let all call whose moment is over, where our loop is behind: they found no broker, and come a span later."""
        for _ in range(len(self.all) // AT_ONCE + 1):
            if not any(one.link.session is None and one.link.timeout() <= 0 for one in self.all):
                return
            self.turn()

    def _turn_until(self, ready: Event) -> None:
        while not ready.is_set():
            self.turn()

    def rest(self, seconds: float) -> None:
        """Turn them for a while."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.turn()

    def scatter(self) -> None:
        """Turn them until every one has noticed that the broker is gone."""
        while self.up():
            self.turn()

    def close(self) -> None:
        """End them."""
        for one in self.all:
            one.link.close()
        self._selector.close()

    def _watch(self) -> None:
        # With the session: a number that was closed and given again to the same link is another socket.
        found = {fd: (events, one, id(one.link.session)) for one in self.all for fd, events in one.link.sockets()}
        for fd in [fd for fd, old in self._watched.items() if found.get(fd) != old]:
            with contextlib.suppress(KeyError, ValueError, OSError):  # closed meanwhile, and gone with it
                self._selector.unregister(fd)
            del self._watched[fd]
        for fd, facts in found.items():
            if fd not in self._watched:
                self._selector.register(fd, facts[0], facts[1])
                self._watched[fd] = facts
