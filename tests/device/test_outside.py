"""What somebody outside sees: every TCP port and the popular UDP ones, IPv4 and IPv6, in every state of a device.

The scanner is a neighbour on the same cable. A port counts as reachable when it answers in any way, open or not. What
may be reachable is reckoned from the flows that the profile declares.
"""

import ipaddress
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import registry
from agent.providers.linux.nft.flows import LAN, parsed
from tests.device.lab import PASSWORD, Lab
from tests.device.scanner import EVERY, Scan, Seen, listening, popular
from tests.device.street import FAR, FAR6, MINE, MINE6, NEAR, NEAR6, Street
from tests.device.verdicts import verdicts
from tests.device.whole import Whole
from tests.house import ROOT

DECOYS, DECOYS6, UDP_DECOYS = (1, 80, 31337, 65535), (7, 31338), (161, 5353)
# Listens on ports nobody declared: `4/port`, `6/port`, `u/port`.
LISTEN = """
import select, socket, sys
doors = []
for word in sys.argv[1:]:
    kind, port = word.split("/")
    door = socket.socket(socket.AF_INET if kind == "4" else socket.AF_INET6,
                         socket.SOCK_DGRAM if kind == "u" else socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == "6":
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    door.bind(("", int(port)))
    if kind != "u":
        door.listen(64)
    doors.append((kind, door))
print("ready", flush=True)
while True:
    for door in select.select([door for _, door in doors], [], [])[0]:
        if door.type == socket.SOCK_DGRAM:
            said, guest = door.recvfrom(2048)
            door.sendto(b"here", guest)
        else:
            door.accept()[0].close()
"""
# What the image leaves open, and what first boot has to shut.
LEAKS = (
    "accounts.known_password", "files.home", "firewall.inbound", "firewall.outbound",
    "ssh.forwarding", "ssh.password", "sudo.nopasswd", "sudo.ticket",
)  # fmt: skip
FAILS = """#!/bin/sh
for word in "$@"; do [ "$word" = -f ] && { echo "Error: Could not process rule" >&2; exit 1; }; done
exec /usr/sbin/nft.real "$@"
"""


@pytest.fixture
def street(lab: Lab) -> Iterator[Street]:
    """Give a factory device with sshd and decoys, and its neighbour."""
    with lab.device() as device, lab.device() as neighbour:
        device.refuse_quickly()
        made = Street(device, neighbour)
        device.sshd()
        # Or the kernel tells a scanner of one closed UDP port a second, and the scan of an open device takes minutes.
        device.must(["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"])
        words = [f"4/{port}" for port in DECOYS] + [f"6/{port}" for port in DECOYS6] + [f"u/{p}" for p in UDP_DECOYS]
        decoy = device.spawn(device.python("-c", LISTEN, *words))
        assert decoy.stdout is not None and decoy.stdout.readline() == b"ready\n"
        yield made


def declared(side: str) -> tuple[str, ...]:
    """Return the flows of the base profile."""
    profile = tomllib.loads((ROOT / "device_profiles" / "base.toml").read_text(encoding="utf-8"))
    return tuple(row["flow"] for row in profile["flows"][side])


def reachable(flows: tuple[str, ...], protocol: str, address: str) -> set[int]:
    """Return the ports that flows open between the device and an address."""
    found: set[int] = set()
    ip = ipaddress.ip_address(address)
    for flow in flows:
        kind, port, peer = parsed(flow)
        blocks = LAN if peer == "lan" else ("0.0.0.0/0", "::/0") if peer == "any" else () if "loop" in peer else (peer,)
        nets = [ipaddress.ip_network(block) for block in blocks]
        if kind == protocol and any(ip in net for net in nets if net.version == ip.version):
            found.add(int(port))
    return found


def look(street: Street, *, thorough: bool = False, hurry: bool = True) -> dict[str, Seen]:
    """Scan the device from near, all of TCP and the popular UDP ports; `thorough`: all of TCP from afar, too."""
    near, link = street.neighbour, street.theirs
    shown = json.loads(street.device.must(["ip", "-j", "-6", "address", "show", "dev", street.mine, "scope", "link"]))
    local = next(one["local"] for row in shown for one in row.get("addr_info", []) if "local" in one)
    udp = popular(near, "udp", *UDP_DECOYS, *reachable(declared("inbound"), "udp", NEAR[0]))
    tcp = EVERY if thorough else popular(near, "tcp", *DECOYS, *DECOYS6)
    found = {}
    for row in (
        {"tcp4": (MINE, EVERY, ""), "tcp6": (MINE6, EVERY, "")},
        {"far4": (MINE, tcp, FAR), "far6": (MINE6, tcp, FAR6)},
        {"udp4": (MINE, udp, ""), "udp6": (MINE6, udp, ""), "local6": (f"{local}%{link}", tcp, "")},
    ):
        scans = {name: Scan(near, *what, link, hurry=hurry) for name, what in row.items()}
        found.update({name: scan.seen() for name, scan in scans.items()})
    return found


def judge(street: Street, seen: dict[str, Seen], flows: tuple[str, ...]) -> None:
    """Check that what was seen is what the flows open, and that what is open is what listens behind it."""
    tcp, udp = listening(street.device, "t"), listening(street.device, "u")
    for name, address, protocol, there in (
        ("tcp4", NEAR[0], "tcp", tcp - set(DECOYS6)),
        ("tcp6", NEAR6[0], "tcp", tcp - set(DECOYS)),
        ("local6", "fe80::1", "tcp", tcp - set(DECOYS)),
        ("far4", FAR, "tcp", tcp - set(DECOYS6)),
        ("far6", FAR6, "tcp", tcp - set(DECOYS)),
        ("udp4", NEAR[0], "udp", udp),
        ("udp6", NEAR6[0], "udp", udp),
    ):
        may = reachable(flows, protocol, address)
        assert (seen[name].answered, seen[name].closed) == (may, 0), (name, seen[name], may)
        assert seen[name].opened == may & there, (name, seen[name], there)


def loosen(whole: Whole, setting: str, value: str) -> dict[str, Any]:
    """Loosen a setting as the owner does: look at the risk, then say yes."""
    shown = whole.ask("explain", setting=setting, value=value)["seen"]
    return whole.ask("loosen", setting=setting, value=value, seen=shown, seconds=3600, reason="a scan")


def egress(street: Street) -> None:
    """Check what gets out: the device itself scans its neighbour, and only declared flows are answered."""
    for target, flows in ((NEAR[0], declared("outbound")), (FAR, declared("outbound"))):
        seen = Scan(street.device, target).seen()
        may = reachable(flows, "tcp", target)
        assert (seen.answered, seen.closed) == (may, 0), (target, seen, may)


def test_what_is_seen_from_outside_through_the_life_of_a_device(street: Street, tmp_path: Path) -> None:
    """Factory (the twin: everything shows), first boot, active, loosened: each time exactly what is declared."""
    device = street.device
    seen = look(street, hurry=False)
    # The twin: the scanner sees every listener, near and far, on both families, and every closed port is heard.
    tcp = listening(device, "t")
    assert {22, *DECOYS, *DECOYS6} <= tcp and set(UDP_DECOYS) <= listening(device, "u")
    assert seen["tcp4"].opened == seen["far4"].opened == tcp - set(DECOYS6) and seen["tcp4"].silent == 0
    assert seen["tcp6"].opened == seen["far6"].opened == seen["local6"].opened == tcp - set(DECOYS)
    assert set(UDP_DECOYS) <= seen["udp4"].opened and set(UDP_DECOYS) <= seen["udp6"].opened
    outward = Scan(device, FAR, hurry=False).seen()
    assert len(outward.answered) + outward.closed == 65535
    assert device.login("pi", password=PASSWORD)

    device.must(["mv", "/usr/sbin/chpasswd", "/usr/sbin/chpasswd.real"])
    device.write("/usr/sbin/chpasswd", "#!/bin/sh\nexit 1\n", 0o755)
    whole = Whole(device, tmp_path)
    whole.start()
    assert whole.ask("status")["shut_in"] is True
    judge(street, look(street), ())
    whole.stop()

    device.must(["mv", "/usr/sbin/chpasswd.real", "/usr/sbin/chpasswd"])
    whole.start()
    assert whole.ask("status")["shut_in"] is False
    assert {22} <= reachable(declared("inbound"), "tcp", NEAR[0])
    judge(street, look(street, thorough=True), declared("inbound"))
    egress(street)

    assert loosen(whole, "firewall.inbound", "tcp/80@lan")["ok"] and loosen(whole, "ssh.password", "yes")["ok"]
    judge(street, look(street), (*declared("inbound"), "tcp/80@lan"))


def dressed(street: Street) -> None:
    """Dress Debian as Raspberry Pi OS leaves its card writer, as far as a device without systemd can wear it."""
    device = street.device
    device.write("/etc/sudoers.d/010_pi-nopasswd", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    device.write("/etc/sudoers.d/010_global-tty", "Defaults timestamp_type=global\n", 0o440)
    device.must(["chmod", "755", "/home/pi"])


def test_every_leak_of_a_stock_image_is_listed_and_shut(street: Street, tmp_path: Path) -> None:
    """Before: each leak is listed by its setting, and seen from outside. After first boot: all fine, and not seen."""
    dressed(street)
    names = sorted(registry.settings())
    found = {name: one.status for name, one in verdicts(street.device, *names).items()}
    assert {name for name in LEAKS if found[name] != "loosened"} == set(), found
    seen = Scan(street.neighbour, MINE, hurry=False).seen()
    assert {22, *DECOYS} <= seen.opened and seen.silent == 0
    whole = Whole(street.device, tmp_path)
    whole.start()
    stands = whole.statuses()
    assert {name: stands[name] for name in LEAKS if stands[name] != "ok"} == {}
    # The decoys go on listening behind the firewall; that nobody declared them stays a finding.
    assert {name for name, word in stands.items() if word == "loosened"} == {"net.listeners"}
    told = whole.privet("status").stdout.decode()
    assert all(name in told for name in LEAKS)
    judge(street, look(street), declared("inbound"))


def test_what_is_seen_when_the_firewall_cannot_be_loaded(street: Street, tmp_path: Path) -> None:
    """Nft refuses to load, the kept file is spoilt, the guard starts anew: nothing more is seen; it is told."""
    device = street.device
    whole = Whole(device, tmp_path)
    whole.start()
    device.must(["mv", "/usr/sbin/nft", "/usr/sbin/nft.real"])
    device.write("/usr/sbin/nft", FAILS, 0o755)
    refused = loosen(whole, "firewall.inbound", "tcp/80@lan")
    assert refused["ok"] is False and "nft failed" in refused["error"]
    whole.stop()
    device.write("/etc/privet/firewall/inbound.json", "{}", 0o600)
    whole.start()
    told = [row["text"] for row in whole.ask("status")["warnings"] if row["setting"] == "firewall.inbound"]
    assert any("now anything" in text and "could not set it back: nft failed" in text for text in told), told
    judge(street, look(street), declared("inbound"))
    device.must(["mv", "/usr/sbin/nft.real", "/usr/sbin/nft"])
    assert whole.ask("enforce")["ok"]
    assert whole.statuses()["firewall.inbound"] == "ok"
