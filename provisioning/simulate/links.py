"""Very many devices as a broker sees them: the agent's own link, a certificate each, and nothing behind it.

A whole guard for each would be a thousand devices' work; what a broker has to bear after a restart are their links.
"""

import contextlib
import resource
import secrets
import selectors
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.core.errors import Failed
from agent.courier import trust
from agent.courier.link import PACE, Link
from agent.courier.session import Place
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file

TURN = 0.02  # seconds between looks at whose time has come
SECOND = 1.0
AT_ONCE = 8  # calls in one turn


class Back(NamedTuple):
    """How a crowd came back: how many, seconds until the last, most and mean in one second, tries that failed."""

    links: int
    seconds: float
    peak: int
    mean: float
    failed: int


class One:
    """One device's link, and when it was connected last."""

    def __init__(self, fleet: Fleet, folder: Path, place: tuple[str, int]) -> None:
        name = f"d-{secrets.token_hex(6)}"
        self.home = folder / name
        self.at = 0.0
        self.failed = 0
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        whole_file(self.home / "key.pem", key.private_bytes(pem, form, serialization.NoEncryption()))
        whole_file(self.home / "cert.pem", fleet.sign_csr(request.public_bytes(pem), name, 2))
        whole_file(self.home / "ca.pem", fleet.trust_anchor())
        host, port = place
        self.link = Link(Place(host=host, port=port, fleet=fleet.name, device=name), self._trusted, self, PACE)

    def _trusted(self) -> ssl.SSLContext:
        return trust.verified(self.home / "ca.pem", self.home / "cert.pem", self.home / "key.pem")

    def sent(self, message: int, cause: str) -> None:
        """Nothing is sent."""

    def received(self, kind: str, payload: bytes) -> None:
        """Nothing is waited for."""

    def state(self, word: str, cause: str) -> None:
        """Note when the link came up, or that it did not."""
        if word == "connected" and self.link.session is not None:
            self.at = self.link.session.since  # when it came to the broker; we hear of it when our loop gets there
        else:
            self.at = 0.0
            self.failed += 1


class Links:
    """So many links in one loop; their pace is that of real devices."""

    def __init__(self, fleet: Fleet, folder: Path, place: tuple[str, int], number: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < number + 100:
            raise Failed(f"{number} links need more open files than the {hard} this machine allows; take fewer")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * number + 100)), hard))
        self.all = [One(fleet, folder, place) for _ in range(number)]
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
            if one in ready or one.link.timeout() <= 0:
                if one.link.session is None:
                    calling.append(one)
                else:
                    one.link.step()
        # A call blocks until TLS has greeted: those who are through already must not starve meanwhile.
        for one in calling[:AT_ONCE]:
            one.link.step()
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
        times = sorted(one.at - begins for one in self.all)
        buckets: dict[int, int] = {}
        for at in times:
            buckets[int(at / SECOND)] = buckets.get(int(at / SECOND), 0) + 1
        span = max(times[-1] - times[0], SECOND)
        failed = sum(one.failed for one in self.all) - before
        return Back(len(times), round(times[-1], 1), max(buckets.values()), round(len(times) / span, 1), failed)

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
