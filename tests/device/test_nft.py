"""The firewall in a real kernel, judged by packets from a neighbour in another network namespace."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent.providers.linux.nft.flows import INSIDE
from tests.device.enforced import enforce, look
from tests.device.lab import Device, Lab

MINE, THEIRS = "192.168.77.2", "192.168.77.3"
MINE6, THEIRS6 = "fd77::2", "fd77::3"
OUTSIDE = "203.0.113.9"  # an address of the neighbour that is not of the own network
LISTEN = """
import socket, sys, threading
for port in sys.argv[1:]:
    for family in (socket.AF_INET, socket.AF_INET6):
        door = socket.socket(family)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind(("", int(port))); door.listen()
        def serve(door=door):
            while True:
                guest, _ = door.accept(); guest.sendall(b"hello"); guest.close()
        threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
KNOCK = """
import json, socket, sys
found = []
for target in sys.argv[1:]:
    source, host, port = target.split("|")
    try:
        with socket.create_connection((host, int(port)), 0.4, (source, 0) if source else None) as talk:
            talk.settimeout(2)
            found.append(talk.recv(5) == b"hello")
    except OSError:
        found.append(False)
print(json.dumps(found))
"""
DOORS = "inet privet through_in ct status dnat"
FROM_INSIDE = "iifname { " + ", ".join(f'"{name}"' for name in INSIDE) + " }"
# Each case: what somebody's hands do in the kernel, and what is then open (live) when `tcp/22@lan` was declared.
HANDS: list[tuple[str, list[str], Any]] = [
    ("nothing", [], ["tcp/22@lan"]),
    ("table deleted", ["delete table inet privet"], "*"),
    ("everything flushed", ["flush ruleset"], "*"),
    ("table put to sleep", ["add table inet privet { flags dormant; }"], "*"),
    ("chain deleted", ["flush chain inet privet inbound", "delete chain inet privet inbound"], "*"),
    ("policy accept", ["add chain inet privet inbound { policy accept; }"], "*"),
    ("a port more", ["add rule inet privet inbound tcp dport 8080 accept"], ["tcp/22@lan", "tcp/8080@any"]),
    ("a range", ["add rule inet privet inbound udp dport 1-9 accept"], ["tcp/22@lan", "udp/1-9@any"]),
    ("two ports", ["add rule inet privet inbound tcp dport {1,5} accept"], ["tcp/1@any", "tcp/22@lan", "tcp/5@any"]),
    ("a neighbour", ["add rule inet privet inbound ip saddr 10.1.2.3 accept"], ["any/any@10.1.2.3/32", "tcp/22@lan"]),
    ("addresses", ["add rule inet privet inbound ip saddr 1.1.1.1-1.1.1.9 accept"], ["any/any@any", "tcp/22@lan"]),
    ("all but one", ["add rule inet privet inbound ip saddr != 10.1.2.3 accept"], ["any/any@any", "tcp/22@lan"]),
    ("all", ["insert rule inet privet inbound accept"], ["any/any@any", "tcp/22@any unlimited", "tcp/22@lan"]),
    ("SSH uncounted", ["insert rule inet privet inbound tcp dport 22 accept"], ["tcp/22@any unlimited", "tcp/22@lan"]),
    ("a range uncounted", ["insert rule inet privet inbound tcp dport 20-80 accept"],
     ["tcp/20-80@any", "tcp/22@any unlimited", "tcp/22@lan"]),
    ("another port first", ["insert rule inet privet inbound tcp dport 80 accept"], ["tcp/22@lan", "tcp/80@any"]),
    ("nothing counted", ["flush chain inet privet inbound",
     "add rule inet privet inbound ip saddr 10.0.0.0/8 tcp dport 22 accept"],
     ["tcp/22@10.0.0.0/8 unlimited", "tcp/22@lan"]),
    ("counted with another number", ["flush chain inet privet inbound",
     "add rule inet privet inbound tcp dport 22 meter m { ip saddr timeout 1m limit rate over 500/minute } drop",
     "add rule inet privet inbound tcp dport 22 accept"], ["tcp/22@any unlimited", "tcp/22@lan"]),
    ("a mark", ["add rule inet privet inbound meta mark 1 accept"], ["any/any@any", "tcp/22@lan"]),
    ("new connections", ["add rule inet privet inbound ct state new accept"], ["any/any@any", "tcp/22@lan"]),
    ("an interface", ["add rule inet privet inbound iifname eth0 accept"], ["any/any@any", "tcp/22@lan"]),
    ("loopback by pattern", ["add rule inet privet inbound iifname l* accept"], ["any/any@any", "tcp/22@lan"]),
    ("a jump", ["add chain inet privet side", "add rule inet privet side accept",
                "add rule inet privet inbound tcp dport 80 jump side"], ["tcp/22@lan", "tcp/80@any"]),
    ("a map", ["add rule inet privet inbound tcp dport vmap { 80 : accept }"], ["any/any@any", "tcp/22@lan"]),
    ("a named set", ["add set inet privet ports { type inet_service; elements = { 80 }; }",
                     "add rule inet privet inbound tcp dport @ports accept"], ["tcp/22@lan", "tcp/any@any"]),
    ("IPv6 only", ["add rule inet privet inbound ip6 saddr ::/0 tcp dport 80 accept"], ["tcp/22@lan", "tcp/80@::/0"]),
    ("a ping", ["add rule inet privet inbound icmp type echo-request accept"], ["icmp/echo@any", "tcp/22@lan"]),
    ("a redirect", ["add rule inet privet inbound icmpv6 type nd-redirect accept"], ["icmp/any@any", "tcp/22@lan"]),
    ("a protocol", ["add rule inet privet inbound meta l4proto udp accept"], ["tcp/22@lan", "udp/any@any"]),
    ("a drop more", ["insert rule inet privet inbound tcp dport 22 drop"], ["tcp/22@lan"]),
    ("a count", ["insert rule inet privet inbound counter"], ["tcp/22@lan"]),
    ("a foreign accept", ["add table inet x", "add chain inet x c { type filter hook input priority -9; }",
                          "add rule inet x c accept"], ["tcp/22@lan"]),
    ("an element more", [
        "add set inet privet ports { type inet_service; }",
        "add rule inet privet inbound tcp dport @ports accept",
        "add element inet privet ports { 80 }",
    ], ["tcp/22@lan", "tcp/any@any"]),
    ("through: deleted", ["flush chain inet privet through_in", "delete chain inet privet through_in"], "*"),
    ("through: policy accept", ["add chain inet privet through_in { policy accept; }"], "*"),
    ("through: flushed", ["flush chain inet privet through_in"], ["tcp/22@lan"]),
    ("through: all", ["insert rule inet privet through_in accept"], ["any/any@any", "tcp/22@lan"]),
    ("through: a published port", [f"insert rule {DOORS} meta l4proto tcp ct original proto-dst 8080 accept"],
     ["tcp/22@lan", "tcp/8080@any"]),
    ("through: whatever is published", [f"insert rule {DOORS} accept"], ["any/any@any", "tcp/22@lan"]),
    ("through: a container's port", ["insert rule inet privet through_in tcp dport 80 accept"],
     ["tcp/22@lan", "tcp/80@any"]),
    ("through: from inside, before what is published", [f"insert rule inet privet through_in {FROM_INSIDE} accept"],
     ["any/any@any", "tcp/22@lan"]),
    ("through: another interface", ["add rule inet privet through_in iifname eth0 accept"],
     ["any/any@any", "tcp/22@lan"]),
    ("through: a chain of theirs first", [
        "add table inet x", "add chain inet x c { type filter hook forward priority -9; }", "add rule inet x c accept",
    ], ["tcp/22@lan"]),
    ("our name, other family", ["add table ip privet", "delete table inet privet"], "*"),
]  # fmt: skip
HAND = """
import json, subprocess, sys
from agent import registry
from agent.guard.executor import apply
from agent.system.real import RealSystem
setting, system = registry.settings()["firewall.inbound"], RealSystem()
provider = registry.provider("nft")
found = []
for commands in json.loads(sys.argv[1]):
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    apply(system, provider.steps(setting.params, ("tcp/22@lan",)))
    for command in commands:
        subprocess.run(["nft", command], check=True)
    hurt = provider.probe(system, setting.params)
    apply(system, provider.steps(setting.params, ("tcp/22@lan",)))
    found.append([hurt.live, hurt.kept, provider.probe(system, setting.params).live])
print(json.dumps(found))
"""


@pytest.fixture
def pair(lab: Lab) -> Iterator[tuple[Device, Device]]:
    """Give a device and its neighbour on one cable, both with listeners on 22 and 8080."""
    with lab.device() as device, lab.device() as neighbour:
        device.link(neighbour, MINE, THEIRS)
        for one, six in ((device, MINE6), (neighbour, THEIRS6)):
            end = next(n for n in one.must(["ls", "/sys/class/net"]).split() if n.startswith("lan"))
            one.must(["ip", "-6", "address", "add", f"{six}/64", "dev", end, "nodad"])
            if one is neighbour:
                one.must(["ip", "address", "add", f"{OUTSIDE}/24", "dev", end])
            else:
                one.must(["ip", "route", "add", "203.0.113.0/24", "dev", end])
        listeners = [one.spawn(one.python("-c", LISTEN, "22", "8080")) for one in (device, neighbour)]
        for listener in listeners:
            assert listener.stdout is not None and listener.stdout.readline() == b"ready\n"
        yield device, neighbour
        for listener in listeners:
            listener.kill()
            listener.wait()
            for pipe in (listener.stdin, listener.stdout, listener.stderr):
                assert pipe is not None
                pipe.close()


def knock(guest: Device, *targets: str) -> list[bool]:
    """Try connections `source|host|port` from a device; say which were answered."""
    found: list[bool] = guest.ask(KNOCK, *targets)
    return found


def test_nothing_passes_but_what_is_declared(pair: tuple[Device, Device]) -> None:
    """Open before (the twin), shut in and out once enforced, on IPv4 and IPv6; then exactly one door, for the LAN."""
    device, neighbour = pair
    inward = [f"|{MINE}|22", f"|{MINE6}|22", f"|{MINE}|8080", f"|{MINE6}|8080", f"{OUTSIDE}|{MINE}|22"]
    outward = [f"|{THEIRS}|22", f"|{THEIRS6}|8080"]
    assert knock(neighbour, *inward) == [True] * 5
    assert knock(device, *outward) == [True, True]
    assert enforce(device, "firewall.inbound", []) == ""
    assert knock(neighbour, *inward) == [False] * 5
    assert knock(device, *outward) == [True, True]  # the other direction is not touched
    assert enforce(device, "firewall.outbound", []) == ""
    assert knock(device, *outward) == [False, False]
    assert knock(device, "|127.0.0.1|22", "|::1|8080") == [True, True]
    assert enforce(device, "firewall.inbound", ["tcp/22@lan"]) == ""
    assert knock(neighbour, *inward) == [True, True, False, False, False]  # and answers go out
    assert enforce(device, "firewall.outbound", ["tcp/22@lan"]) == ""
    assert knock(device, f"|{THEIRS}|22", f"|{THEIRS}|8080", f"|{OUTSIDE}|22") == [True, False, False]


def test_neighbours_are_found_while_everything_is_shut(pair: tuple[Device, Device]) -> None:
    """With no flow at all, IPv6 still finds its neighbours: the needed kinds of ICMPv6 pass; a ping does not."""
    device, neighbour = pair
    for name in ("firewall.inbound", "firewall.outbound"):
        assert enforce(device, name, []) == ""
    neighbour.must(["ip", "-6", "neighbour", "flush", "all"])
    knock(neighbour, f"|{MINE6}|22")
    assert "lladdr" in neighbour.must(["ip", "-6", "neighbour", "show", MINE6])


def test_what_the_kernel_holds_is_read_back_as_it_was_declared(device: Device) -> None:
    """Every kind of flow, both directions: live and kept are the declared words themselves."""
    flows = [
        "any/any@192.0.2.0/24", "icmp/any@any", "icmp/echo@lan", "tcp/22@lan", "tcp/443@2001:db8::/32",
        "tcp/8000-8010@any", "tcp/any@198.51.100.7/32", "udp/53@lan", "udp/any@any",
    ]  # fmt: skip
    uncounted = ["tcp/22@lan", "tcp/22@lan unlimited"]
    assert enforce(device, "firewall.inbound", uncounted) == ""
    assert look(device, "firewall.inbound") == {"live": uncounted, "kept": uncounted, "cause": "", "absent": False}
    for name in ("firewall.inbound", "firewall.outbound"):
        for value in ([], flows, [*flows[:3], "tcp/5@loopback"]):
            assert enforce(device, name, value) == ""
            wanted = [flow for flow in value if not flow.endswith("@loopback")]
            assert look(device, name) == {"live": wanted, "kept": wanted, "cause": "", "absent": False}
        assert enforce(device, name, ["any/any@any"]) == ""
        assert look(device, name)["live"] == ["any/any@any"]


def test_whatever_hands_do_is_seen_and_undone(device: Device) -> None:
    """The truth table: what is open after each change by others, read from the kernel; and one load mends it."""
    found = device.ask(HAND, json.dumps([commands for _, commands, _ in HANDS]))
    verdicts = {name: live for (name, _, _), (live, _, _) in zip(HANDS, found, strict=True)}
    assert verdicts == {name: wanted for name, _, wanted in HANDS}
    for (name, _, _), (_, kept, mended) in zip(HANDS, found, strict=True):
        assert (kept, mended) == (["tcp/22@lan"], ["tcp/22@lan"]), name


def test_the_tables_of_others_stay(device: Device) -> None:
    """Loading ours changes no byte of another table, and its drop still drops."""
    device.must(["nft", "add table inet other; add chain inet other c { type filter hook input priority 5; }"])
    device.must(["nft", "add rule inet other c tcp dport 9 drop"])
    before = device.must(["nft", "list", "table", "inet", "other"])
    assert enforce(device, "firewall.inbound", ["tcp/9@any"]) == ""
    assert enforce(device, "firewall.inbound", []) == ""
    assert device.must(["nft", "list", "table", "inet", "other"]) == before


def test_a_foreign_accept_opens_nothing(pair: tuple[Device, Device]) -> None:
    """An accept in an earlier table is not the last word: the packet still meets our chain."""
    device, neighbour = pair
    device.must(["nft", "add table inet other; add chain inet other c { type filter hook input priority -9; }"])
    device.must(["nft", "add rule inet other c accept"])
    assert knock(neighbour, f"|{MINE}|8080") == [True]
    assert enforce(device, "firewall.inbound", []) == ""
    assert knock(neighbour, f"|{MINE}|8080") == [False]


def test_a_bad_file_leaves_the_old_rules(pair: tuple[Device, Device]) -> None:
    """A transaction that fails half way changes nothing: the door that was open stays, the others stay shut."""
    device, neighbour = pair
    assert enforce(device, "firewall.inbound", ["tcp/22@lan"]) == ""
    text = device.read("/etc/privet/firewall/inbound.json").replace('"dport"', '"nonsense"')
    device.write("/run/bad.json", text)
    assert device.run(["nft", "-j", "-f", "/run/bad.json"]).returncode != 0
    assert knock(neighbour, f"|{MINE}|22", f"|{MINE}|8080") == [True, False]


def test_an_edited_file_is_not_ours_any_more(device: Device) -> None:
    """Kept is open when our file is gone, was edited, or holds a policy that is not ours."""
    path = "/etc/privet/firewall/inbound.json"
    assert enforce(device, "firewall.inbound", ["tcp/22@lan"]) == ""
    good = device.read(path)
    for text in (good.replace("drop", "accept"), good + " ", "{}", "", "[1]", '{"nftables": [3]}', '{"nftables": {}}'):
        device.write(path, text)
        found = look(device, "firewall.inbound")
        assert (found["live"], found["kept"]) == (["tcp/22@lan"], "*"), text[:60]
    device.remove(path)
    assert look(device, "firewall.inbound")["kept"] == "*"
    assert enforce(device, "firewall.inbound", ["tcp/22@lan"]) == ""
    assert look(device, "firewall.inbound")["kept"] == ["tcp/22@lan"]
