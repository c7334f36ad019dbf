"""What really leaves a device, opened with a second decoder, holds nothing that the notice does not name."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from agent.core.cell import middle_of
from agent.core.notice import UNITS, Leaving, leaves, notice
from agent.core.policy import Policy
from agent.core.telemetry import Message, Sample
from provisioning.fleet.identity import Fleet
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import as_policy
from provisioning.profile.inherit import load
from provisioning.profile.issue import PUBLIC, issue_policy, seed_files
from provisioning.profile.sign import payload_of
from provisioning.simulate.device import Device
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.house import ROOT
from tests.second import Reader, Row, rows

PROFILES = [
    path
    for path in sorted((ROOT / "device_profiles").glob("*.toml"))
    if load(path, shipped()).profile.platform in {None, "linux"} and load(path, shipped()).profile.purpose
]
SERIAL, MAC, HOST = b"10000000c0ffee42", b"dc:a6:32:c0:ff:ee", b"grandmas-kitchen"
PLANTED = {
    "/proc/cpuinfo": b"Serial\t\t: " + SERIAL + b"\nModel\t\t: Raspberry Pi Zero 2 W\n",
    "/proc/device-tree/serial-number": SERIAL + b"\0",
    "/sys/class/net/wlan0/address": MAC + b"\n",
    "/etc/hostname": HOST + b"\n",
}


class Wire:
    """A device with an owner who agreed to everything, and a recipient who opens all that leaves."""

    def __init__(self, fleet: Fleet, reader: Reader, profile: Path, folder: Path) -> None:
        self.reader = reader
        self.device = Device(
            "d7k2", folder, raspberry_pi(CHEAP), seed_files(fleet, issue_policy(fleet, profile), "d7k2")
        )
        for path, content in PLANTED.items():
            self.device.system.edit(path, content)
        self.device.boot()
        self.sent: list[tuple[str, bytes]] = []
        self.plain: list[bytes] = []
        self.outbox = self.device.running.outbox
        policy = self.outbox.policy
        assert policy is not None
        self.policy: Policy = policy
        (reader.name,) = (recipient.id for recipient in policy.recipients)
        for purpose in policy.purposes:
            self.device.agree(purpose.id)
        self.outbox.connected(self.publish)

    def publish(self, number: int, suffix: str, payload: bytes) -> None:
        """Take one message as the courier would put it on the wire."""
        topic = f"privet/1/garden/{self.device.name}/{suffix}"
        self.sent.append((topic, payload))
        self.outbox.sent(number)
        self.plain.append(self.reader.opened(topic, payload))

    def turn(self, seconds: int = 0) -> None:
        """Let time pass, and let the way out do what is due; looking at all settings each time would take long."""
        self.device.system.tick(seconds)
        self.outbox.flush()
        self.outbox.pump()

    def measure(self) -> None:
        """Measure every field more precisely, more widely and more often than it was declared, over many buckets."""
        for field in self.policy.fields:
            numbers = ["21.53748", "0.00417", "-99999.5", "99999.5", "33"]
            places = ["48.137154,11.576124", "-33.868820,151.209290", "89.99,-179.99"]
            for number in places if field.cell else numbers:
                at = self.device.system.wall
                self.outbox.take([Sample(name=field.name, number=number, at=at)], lambda _failure: None)
                self.turn(field.bucket // 3 + 7)
        self.device.system.edit("/etc/ssh/sshd_config.d/00-mine.conf", b"Match all\n    PermitRootLogin yes\n")
        self.device.running.turn(0.0)
        for _ in range(3):
            self.turn(max([60, *(field.bucket for field in self.policy.fields)]) + 300)

    def found(self) -> dict[str, list[Row]]:
        """Return the rows that left, by purpose."""
        made: dict[str, list[Row]] = {}
        for (topic, _), plain in zip(self.sent, self.plain, strict=True):
            made.setdefault(topic.rpartition("/")[2], []).extend(rows(plain))
        return made

    def beyond_the_notice(self) -> list[str]:
        """Name what left and is in no notice."""
        return [
            f"{purpose} {row.name}: {why}"
            for purpose, found in self.found().items()
            for row in found
            if (why := excess(row, leaves(self.policy, purpose)))
        ]


def excess(row: Row, declared: tuple[Leaving, ...]) -> str:
    """Say what a row that was sent has beyond the rows of the notice, nothing when there is none."""
    if isinstance(row.value, str):
        texts = [one for one in declared if not one.unit and row.name.startswith(one.name + "/")]
        return "" if texts else "a text"
    known = {one.name: one for one in declared}
    if row.name not in known:
        return "a name"
    line = known[row.name]
    number = row.value.scaleb(line.scale)
    if row.unit != line.unit:
        return "a unit"
    if number != int(number) or int(number) % line.step:
        return "a precision"
    if number < line.low or (line.high is not None and number > line.high):
        return "a range"
    return "a time" if row.at % line.bucket else ""


@pytest.fixture(scope="module")
def reader() -> Reader:
    """The recipient of the profiles that ship, whatever each of them calls it."""
    return Reader("collector")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, reader: Reader) -> Fleet:
    """A fleet that knows this recipient."""
    made = Fleet.create(tmp_path_factory.mktemp("fleets") / "fleet", "garden")
    for name in ("collector", "home"):
        made.safe.write(PUBLIC.format(name), reader.public)
    made.safe.seal(broker_host="broker.example", broker_port="8883")
    return made


@pytest.fixture
def wire(fleet: Fleet, reader: Reader, tmp_path: Path) -> Iterator[Callable[[Path], Wire]]:
    """Makes devices of profiles."""
    made: list[Wire] = []

    def make(profile: Path) -> Wire:
        made.append(Wire(fleet, reader, profile, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.device.stop()


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_nothing_leaves_that_the_notice_lacks(path: Path, wire: Callable[[Path], Wire]) -> None:
    """Every declared row does leave, and no other name, unit, precision, range or time; cells are whole cells."""
    one = wire(path)
    one.measure()
    assert one.beyond_the_notice() == []
    for purpose in one.policy.purposes:
        declared = leaves(one.policy, purpose.id)
        found = one.found()[purpose.id]
        texts = [row.name.partition("/")[0] for row in found if isinstance(row.value, str)]
        numbers = [(row.name, row.value) for row in found if isinstance(row.value, Decimal)]
        assert {*texts, *(name for name, _ in numbers)} == {line.name for line in declared}
        for line in (line for line in declared if line.unit == "lat"):
            values = [int(value.scaleb(5)) for name, value in numbers if name == line.name]
            assert all(middle_of(line.cell, value, 0)[0] == value for value in values)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_words_hold_what_the_rows_hold(path: Path, fleet: Fleet) -> None:
    """Name, unit, step, ends, span, legal basis, retention and every recipient with its country stand in the notice."""
    issued = issue_policy(fleet, path)
    policy = as_policy(payload_of(issued.signed), shipped())
    for purpose in policy.purposes:
        text = notice(policy, purpose.id)
        assert f"Legal basis: {purpose.basis}." in text
        assert f"Kept by them for {purpose.retention_days} days." in text
        for recipient in policy.recipients:
            assert (f"Goes to: {recipient.name} ({recipient.country})." in text) == (recipient.id in purpose.recipients)
        for field in policy.fields:
            line = next((part for part in text.splitlines() if f"({field.name})" in part), "")
            assert bool(line) == (field.purpose == purpose.id)
            if line:
                assert field.title in line
                assert f" {UNITS.get(field.unit, field.unit)} " in line or field.cell
                assert ", timed to " in line


def test_no_number_of_the_board_leaves(wire: Callable[[Path], Wire]) -> None:
    """Neither its serial number, nor a MAC address, nor the name its owner gave it: in topic, message or record."""
    one = wire(ROOT / "device_profiles" / "base.toml")
    one.measure()
    seen = [topic.encode() + payload for topic, payload in one.sent] + one.plain
    assert len(seen) > 4
    for secret in (SERIAL, MAC, MAC.replace(b":", b""), HOST):
        assert not [part for part in seen if secret in part or bytes.fromhex("c0ffee42") in part]


LEAKS = {
    "a name": Message(name="shoe_size", unit="m", purpose="climate", scale=0, value=1, at=60),
    "a figure": Message(name="temperature/max", unit="Cel", purpose="climate", scale=1, value=215, at=60),
    "a unit": Message(name="temperature", unit="K", purpose="climate", scale=1, value=215, at=60),
    "a precision": Message(name="temperature", unit="Cel", purpose="climate", scale=2, value=2153, at=60),
    "a range": Message(name="temperature", unit="Cel", purpose="climate", scale=1, value=9995, at=60),
    "a time": Message(name="temperature", unit="Cel", purpose="climate", scale=1, value=215, at=61),
    "another purpose": Message(name="humidity", unit="%RH", purpose="warnings", scale=0, value=40, at=60),
}


def test_a_sender_that_adds_anything_is_found(wire: Callable[[Path], Wire]) -> None:
    """The known-bad twins: the same device with one more name, figure, digit, unit, end, moment or text is told."""
    one = wire(ROOT / "device_profiles" / "base.toml")
    for leak in LEAKS.values():
        one.outbox.wait([leak])
        one.turn()
    one.outbox.post("climate", "diary", "Today somebody was at home.")
    one.turn()
    assert [said.partition(": ")[2] for said in one.beyond_the_notice()] == [
        "a name", "a name", "a unit", "a precision", "a range", "a time", "a text", "a name",
    ]  # fmt: skip
