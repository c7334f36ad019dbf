"""Strangers at the door of the enrolment server: thousands of connections that never finish TLS, over real sockets."""

import base64
import contextlib
import http.client
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from provisioning.broker.mosquitto import free_port
from provisioning.fleet.entrance import Entrance
from provisioning.fleet.limits import Porch
from provisioning.fleet.registry import Planned
from tests.fleet.enrolling import HOST, KIND, Office, Served, key, login, request

STRANGER = "127.0.0.9"  # on loopback too, and another place than ours


class Crowd(ABC):
    """Many who come in a thread of their own, which says when all were there, until it is over."""

    def __init__(self, count: int) -> None:
        self._count, self._over, self.all_came = count, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.all_came.wait(300)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None: ...


class Strangers(Crowd):
    """Keeps connections open that never finish TLS, and opens another for each that was cut, until it is over."""

    def __init__(self, port: int, place: str, count: int, wanted: int) -> None:
        super().__init__(count)
        self._to, self._place, self._wanted, self.opened = (HOST, port), place, wanted, 0

    def _run(self) -> None:
        held: dict[int, socket.socket] = {}
        watch = select.epoll()
        with contextlib.closing(watch):
            while not self._over.is_set():
                for descriptor, _ in watch.poll(0.001):
                    watch.unregister(descriptor)
                    held.pop(descriptor).close()
                for _ in range(min(50, self._count - len(held))):
                    link = self._opened()
                    held[link.fileno()] = link
                    watch.register(link, select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)
                if self.opened >= self._wanted:
                    self.all_came.set()
            for link in held.values():
                link.close()

    def _opened(self) -> socket.socket:
        link = socket.socket()
        link.bind((self._place, 0))
        link.setblocking(False)
        link.connect_ex(self._to)  # at once on loopback, or later where the server takes no more
        if self.opened % 2:
            with contextlib.suppress(OSError):  # it was cut already, or is not there yet
                link.send(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a greeting, and never more
        self.opened += 1
        return link


@given(st.integers(1, 6), st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_who_waits_is_counted_and_the_longest_of_the_most_crowded_goes(
    most: int, near: int, acts: list[tuple[str, bool]]
):
    """Held beside a plain list: bounds hold at any time, and nobody goes but the longest waiting of the right place."""
    porch, there = Porch(most, near), list[tuple[int, str]]()
    for number, (place, leaves) in enumerate(acts):
        if leaves and there:
            gone = there.pop(number % len(there))
            porch.go(*gone)
            porch.go(*gone)  # to leave twice is to leave
        before = Counter(name for _, name in there)
        pushed = porch.come(number, place)
        if pushed is not None:
            left = next(one for one in there if one[0] == pushed)
            assert left == next(one for one in there if one[1] == left[1])
            assert before[left[1]] == (near if left[1] == place and before[place] == near else max(before.values()))
            assert before[place] >= near or len(there) == most
            there.remove(left)
        there.append((number, place))
        assert len(porch) == len(there) <= most
        assert {name: porch.of(name) for name in "abc"} == {name: Counter(n for _, n in there)[name] for name in "abc"}
        assert all(porch.of(name) <= near for name in "abc")


def test_a_device_of_the_strangers_own_place_gets_through(tmp_path: Path):
    """Behind one address with all of them it may lose its turn, and asks again as devices do."""
    office = Office(tmp_path)
    one, mine, answers = office.planned()[0], key(), list[int]()
    with Served(office) as served, Strangers(served.port, HOST, 1500, 2500):
        while 200 not in answers and len(answers) < 20:
            answers.append(enrolled(served, one, mine))
        assert answers[-1] == 200, answers
        assert served.serving.entrance.cut > 1000


class Finished(Crowd):
    """Strangers of many places: each finishes TLS, asks nothing, and comes again once it is ended, until it is over."""

    def __init__(self, served: Served, count: int) -> None:
        super().__init__(count)
        self._port, self._context, self.finished = served.port, served.context(), 0

    def _run(self) -> None:
        held: dict[int, tuple[ssl.SSLSocket, int]] = {}
        free = list(range(self._count))
        watch = select.epoll()
        with contextlib.closing(watch), contextlib.ExitStack() as all_links:
            while not self._over.is_set():
                while free:
                    number = free.pop()
                    link = all_links.enter_context(self._come(number))
                    watch.register(link, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
                    held[link.fileno()] = link, number
                self.all_came.set()
                for descriptor, _ in watch.poll(0.01):
                    watch.unregister(descriptor)
                    link, number = held.pop(descriptor)
                    link.close()
                    free.append(number)

    def _come(self, number: int) -> ssl.SSLSocket:
        while True:
            plain = socket.socket()
            plain.settimeout(30)
            plain.bind((f"127.0.{2 + number // 250}.{1 + number % 250}", 0))
            try:
                plain.connect((HOST, self._port))
                link = self._context.wrap_socket(plain, server_hostname=HOST)
            except OSError:
                plain.close()
                if self._over.wait(0.01):
                    return self._context.wrap_socket(socket.socket(), server_hostname=HOST)
                continue
            self.finished += 1
            return link


class Hospitable(Entrance):
    """The twin: who finished TLS stays for as long as a connection may, asking or not."""

    def _leave(self, place: str, quiet: float) -> bool:
        """Let nobody go."""
        return False


@pytest.mark.parametrize(("door", "through"), [(Entrance, True), (Hospitable, False)])
def test_strangers_of_many_places_keep_nobody_out(tmp_path: Path, door: type[Entrance], through: bool):
    """Each of 200 comes from a place of its own, finishes TLS and asks nothing; a device that tries again is served."""
    office = Office(tmp_path)
    one, mine, answers = office.planned()[0], key(), list[int]()
    bounds = {"most": 200.0, "share": 150.0, "handshakes": 120.0, "near": 100.0, "life": 600.0}
    with Served(office, door, **bounds) as served, Finished(served, 200) as crowd:
        entrance, ends = served.serving.entrance, time.monotonic() + 120
        while (len(entrance._porch), len(entrance._within)) != (0, 200):
            assert time.monotonic() < ends  # the server, too, has to see that each has finished
            time.sleep(0.01)
        while 200 not in answers and len(answers) < (20 if through else 3):
            answers.append(enrolled(served, one, mine))
        assert (answers[-1] == 200) == through, answers
        assert (entrance.turned > 0, crowd.finished > 200) == (not through, through)  # who goes for others comes again


def test_who_is_answered_keeps_the_place(tmp_path: Path):
    """While the registry is busy with a device's question, strangers take each other's places and not the device's."""
    office = Office(tmp_path)
    one, mine, answers = office.planned()[0], key(), list[int]()
    with Served(office, most=20, share=15, handshakes=20, near=15) as served:
        device = threading.Thread(target=lambda: answers.append(enrolled(served, one, mine)))
        with office.registry.act():  # the clerk waits for this one's end
            device.start()
            ends = time.monotonic() + 60
            while not served.serving.entrance._answered and time.monotonic() < ends:
                time.sleep(0.01)
            with Finished(served, 40) as crowd:
                assert crowd.finished >= 40 and served.serving.entrance.cut >= 20
        device.join(60)
    assert answers == [200]


def enrolled(served: Served, one: Planned, mine: ec.EllipticCurvePrivateKey) -> int:
    """Come with a token; return the status, or 0 for who was cut."""
    try:
        return served.enrol(one, mine)[0]
    except OSError:
        return 0


def test_who_takes_too_long_for_tls_is_left(tmp_path: Path):
    """A handshake has its time; beside it the twin, whose handshakes have an hour, still keeps all of them."""
    (tmp_path / "twin").mkdir()
    with (
        Served(Office(tmp_path), handshake=1.0) as served,
        Served(Office(tmp_path / "twin"), handshake=3600.0) as twin,
        contextlib.ExitStack() as stack,
    ):
        places = [(HOST, port) for port in (twin.port, served.port) for _ in range(20)]
        links = [stack.enter_context(socket.create_connection(place, 60)) for place in places]
        for link in links[20:]:
            with contextlib.suppress(ConnectionError):
                link.send(b"\x16")
                assert link.recv(1) == b""
        ends = time.monotonic() + 30  # the other side hears of it before it is counted here
        while served.serving.entrance.open() and time.monotonic() < ends:
            time.sleep(0.01)
        assert (served.serving.entrance.open(), twin.serving.entrance.open()) == (0, 20)


OURS = ("provisioning.cli", "serve", "--json", "--fleet", "{fleet}", "--port", "{port}")
STOCK = ("tests.fleet.stock", "{fleet}", "{port}")
FEW = 300


@pytest.mark.parametrize(("argv", "served"), [(OURS, True), (STOCK, False)])
def test_thousands_of_strangers_at_a_process_with_few_files(tmp_path: Path, argv: tuple[str, ...], served: bool):
    """The command itself, with 300 files to open and 2,000 strangers, enrols a device; its twin does not."""
    office, port = Office(tmp_path), free_port()
    words = [word.format(fleet=office.fleet.safe.directory, port=port) for word in argv]
    whole = ["prlimit", f"--nofile={FEW}:{FEW}", "--", sys.executable, "-m", *words]
    process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None and b'"ok": true' in process.stdout.readline()
        with Strangers(port, STRANGER, 1000, 2000 if served else 1000):
            one, mine = office.planned()[0], key()
            if served:
                assert asked(office, port, one, mine, 60) == 200
            else:
                ends = time.monotonic() + 60
                while len(os.listdir(f"/proc/{process.pid}/fd")) < FEW - 2:  # it has not come to all of them at once
                    assert time.monotonic() < ends
                    time.sleep(0.01)
                with pytest.raises(OSError):
                    asked(office, port, one, mine, 3)
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=60)


def asked(office: Office, port: int, one: Planned, mine: ec.EllipticCurvePrivateKey, patience: float) -> int:
    """Come with a token to a port; return the status."""
    trust = ssl.create_default_context(cadata=office.fleet.trust_anchor().decode())
    link = http.client.HTTPSConnection(HOST, port, timeout=patience, context=trust)
    with contextlib.closing(link):
        link.request("POST", "/.well-known/est/simpleenroll", base64.b64encode(request(mine)), {**login(one), **KIND})
        return link.getresponse().status
