"""How often one may knock at the way in: real connections from many addresses, counted by the kernel."""

import json
import time
from collections.abc import Iterator

import pytest

from agent.providers.linux.nft import document
from agent.providers.linux.nft.flows import BURST, RATE, SIZE
from tests.device.lab import Lab
from tests.device.street import FAR, MINE, MINE6, NEAR, NEAR6, Street

# Knocks from one address for so many seconds, with one packet each, and prints when it was let in.
INSIST = """
import json, socket, sys, time
source, host, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
print("begun", flush=True)
begun, tries, let_in = time.monotonic(), 0, []
while time.monotonic() - begun < seconds:
    tries += 1
    try:
        with socket.create_connection((host, 22), 0.2, (source, 0)):
            let_in.append(time.monotonic() - begun)
            time.sleep(0.1)
    except OSError:
        pass
print(json.dumps([tries, let_in]))
"""
MINUTE = 60


@pytest.fixture
def street(lab: Lab) -> Iterator[Street]:
    """Give a device with sshd and a neighbour."""
    with lab.device() as device, lab.device() as neighbour:
        made = Street(device, neighbour)
        # The daemon's own limits out of the way: what is counted here is the kernel's work.
        device.sshd("-o", "MaxStartups=1000", "-o", "LoginGraceTime=0")
        yield made


def most(let_in: list[float]) -> int:
    """Return how many came in within any one minute."""
    return max((sum(first <= one < first + MINUTE for one in let_in) for first in let_in), default=0)


def key_of(street: Street) -> str:
    """Allow a key of the neighbour's for pi; return the path of its private half there."""
    path = street.device.key("pi")
    street.neighbour.write(path, street.device.read(path), 0o600)
    return path


def signs_in(street: Street, key: str, source: str) -> bool:
    """Sign in from one of the neighbour's addresses with the key; say whether a command ran."""
    options = ["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    argv = ["ssh", *options, "-o", "ConnectTimeout=5", "-i", key, "-b", source, f"pi@{MINE}", "echo let-in"]
    return street.neighbour.run(argv).stdout == b"let-in\n"


def test_a_guesser_gets_ten_tries_a_minute_and_the_owner_gets_in(street: Street) -> None:
    """For more than a minute one address knocks as fast as it can; the owner signs in from another all the while."""
    street.enforce(["tcp/22@lan"])
    key = key_of(street)
    seconds = MINUTE + 8
    guesser = street.neighbour.spawn(street.neighbour.python("-c", INSIST, NEAR[0], MINE, str(seconds)))
    assert guesser.stdout is not None and guesser.stdout.readline() == b"begun\n"
    end, owner = time.monotonic() + seconds - 5, []
    while time.monotonic() < end:
        owner.append(signs_in(street, key, NEAR[1]))
        time.sleep(MINUTE / RATE)
    tries, let_in = json.loads(guesser.communicate(timeout=60)[0])
    assert all(owner) and len(owner) >= 4
    assert tries > 100
    assert BURST < most(let_in) <= RATE + BURST <= 10, let_in
    print(f"{tries} knocks in {seconds} s, at most {most(let_in)} let in within a minute; the owner {len(owner)} times")


def test_twin_without_the_count(street: Street) -> None:
    """Known bad: the same knocks where the owner lifted the limit all come in."""
    street.enforce(["tcp/22@lan", "tcp/22@lan unlimited"])
    assert all(street.knock(*[f"{NEAR[0]}|{MINE}|22"] * 40))


def test_each_source_is_counted_by_itself(street: Street) -> None:
    """An address that used up its share keeps no other out; IPv6 is counted by /64, not by address."""
    street.enforce(["tcp/22@lan"])
    assert sum(street.knock(*[f"{NEAR[0]}|{MINE}|22"] * 12, seconds=0.1)) in {BURST, BURST + 1}
    assert all(street.knock(*[f"{one}|{MINE}|22" for one in NEAR[1:]]))
    assert sum(street.knock(*[f"{NEAR6[0]}|{MINE6}|22"] * 12, seconds=0.1)) in {BURST, BURST + 1}
    assert street.knock(f"{NEAR6[1]}|{MINE6}|22", f"{NEAR6[2]}|{MINE6}|22", seconds=0.1) == [False, True]
    assert street.knock(f"{FAR}|{MINE}|22") == [False]


def test_a_wide_flow_is_counted_at_the_way_in(street: Street) -> None:
    """Whatever opens the port, guessing is counted there, and only there."""
    street.device.sshd("-p", "8080", "-o", "MaxStartups=1000", port=8080)
    for flow in ("any/any@any", "tcp/any@lan", "tcp/20-9000@lan"):
        street.device.must(["nft", "flush", "ruleset"])
        street.enforce([flow])
        assert sum(street.knock(*[f"{NEAR[0]}|{MINE}|22"] * 12, seconds=0.1)) in {BURST, BURST + 1}, flow
        assert all(street.knock(*[f"{NEAR[0]}|{MINE}|8080"] * 12)), flow


def test_a_connection_that_stands_is_not_touched(street: Street) -> None:
    """Who is in stays in while his address is no longer heard at the door."""
    street.enforce(["tcp/22@lan"])
    key = key_of(street)
    argv = ["ssh", "-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", key]
    session = street.neighbour.spawn([*argv, "-b", NEAR[0], f"pi@{MINE}", "echo in; read word; echo $word"])
    assert session.stdin is not None and session.stdout is not None and session.stdout.readline() == b"in\n"
    assert not all(street.knock(*[f"{NEAR[0]}|{MINE}|22"] * 12, seconds=0.1))
    session.stdin.write(b"still\n")
    session.stdin.flush()
    assert session.stdout.readline() == b"still\n"


def test_a_full_memory_keeps_nobody_out(street: Street) -> None:
    """With room for two addresses only: they are counted, a third comes in; the room is bounded in the kernel."""
    text = document("inbound", ("tcp/22@lan",)).decode()
    assert text.count(f'"size": {SIZE}') == 2
    street.device.write("/run/small.json", text.replace(f'"size": {SIZE}', '"size": 2'))
    street.device.must(["nft", "-j", "-f", "/run/small.json"])
    for source in NEAR[:2]:
        assert sum(street.knock(*[f"{source}|{MINE}|22"] * 12, seconds=0.1)) in {BURST, BURST + 1}
    assert all(street.knock(*[f"{NEAR[2]}|{MINE}|22"] * 12, seconds=0.4))
    assert not all(street.knock(*[f"{NEAR[0]}|{MINE}|22"] * 3, seconds=0.1))
    listed = street.device.must(["nft", "list", "meter", "inet", "privet", "knocks4"])
    assert "size 2" in listed and listed.count("expires") == 2, listed
