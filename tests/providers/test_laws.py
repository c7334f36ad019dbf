"""Laws of the providers over random files: what is called safe is safe after the next start, and nothing is granted."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import registry
from agent.core.errors import BadInput, LockOut, Refused
from agent.core.order import ANY, words
from agent.core.plan import Write
from agent.core.record import Params
from agent.guard.executor import apply
from agent.providers.linux import nft, sudoers, sysctl, systemd_unit
from agent.providers.linux.sudoers import rules
from agent.system import spans
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.raspberry import image

SETTINGS = registry.settings()
PORTS = st.integers(1, 65535)
BLOCKS = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: f"{ip}/32"), st.ip_addresses(v=6).map(lambda ip: f"{ip}/128")
) | st.sampled_from(["10.0.0.0/8", "fe80::/10", "192.0.2.0/24", "2001:db8::/32"])  # fmt: skip
PEERS = st.sampled_from(["any", "lan", "loopback"]) | BLOCKS
RANGES = st.tuples(st.integers(1, 65534), st.integers(1, 500)).map(lambda p: f"{p[0]}-{min(p[0] + p[1], 65535)}")
TRAFFIC = st.one_of(
    st.tuples(st.sampled_from(["tcp", "udp"]), PORTS.map(str) | RANGES | st.just("any")),
    st.tuples(st.just("icmp"), st.sampled_from(["any", "echo"])),
    st.just(("any", "any")),
)
UNCOUNTED = PEERS.map(lambda peer: f"tcp/22@{peer} unlimited")
FLOW = st.tuples(TRAFFIC, PEERS).map(lambda f: f"{f[0][0]}/{f[0][1]}@{f[1]}")
FLOWS = st.lists(FLOW | UNCOUNTED, max_size=6).map(words)
DIRECTIONS = st.sampled_from(["inbound", "outbound"])


def started(files: dict[str, str]) -> SimulatedSystem:
    """Start a Raspberry Pi with these files on the card."""

    def card(device: SimulatedSystem) -> None:
        image(device)
        for path, text in files.items():
            device.edit(path, text.encode())

    return SimulatedSystem(image=card)


def enforce(device: SimulatedSystem, name: str, value: Any) -> None:
    """Apply the steps of a value."""
    setting = SETTINGS[name]
    provider = registry.provider(setting.provider)
    prepare = getattr(provider, "prepare", None)
    params: Params = prepare(device, setting.params) if prepare else setting.params
    apply(device, provider.steps(params, value))


@given(DIRECTIONS, FLOWS)
def test_flows_are_read_back_as_they_were_written(direction: str, flows: tuple[str, ...]) -> None:
    """Whatever is declared is what the transaction says; loopback needs no rule; what goes out is not counted."""
    flows = flows if direction == "inbound" else words([flow.removesuffix(" unlimited") for flow in flows])
    wanted = tuple(flow for flow in flows if "@loopback" not in flow)
    assert nft.opened(nft.objects(nft.document(direction, flows)), direction) == wanted


def listed_anew(rows: list[dict[str, Any]], **changed: Any) -> list[dict[str, Any]]:
    """List rows as nft 1.1 does: a meter is a set of its own that a rule updates; `changed` is other in that set."""
    sets, made = [], []
    for row in rows:
        for place, part in enumerate(row.get("rule", {}).get("expr", [])):
            if "meter" in part:
                was = part["meter"]
                kind = {"family": "inet", "table": "privet", "name": was["name"], "size": was["size"], **changed}
                sets.append({"set": {**kind, "type": "ipv4_addr", "flags": ["timeout", "dynamic"]}})
                counted = {"op": "update", "elem": was["key"], "set": f"@{was['name']}", "stmt": [was["stmt"]]}
                row["rule"]["expr"][place] = {"set": counted}
        made.append(row)
    return [*sets, *made]


@given(FLOWS)
def test_flows_are_read_from_the_listing_of_a_newer_nft(flows: tuple[str, ...]) -> None:
    """The limit counts in its newer spelling too; with another size of its memory it is not ours and counts as none."""
    wanted = tuple(flow for flow in flows if "@loopback" not in flow)
    rows = nft.objects(nft.document("inbound", flows))
    assert nft.opened(listed_anew(rows), "inbound") == wanted
    other = nft.opened(listed_anew(nft.objects(nft.document("inbound", ("tcp/22@lan",))), size=1), "inbound")
    assert isinstance(other, tuple) and "tcp/22@lan unlimited" in other


@given(st.text(max_size=30) | st.from_regex(r"(tcp|udp|icmp|any)/[0-9a-z-]{1,6}@[0-9a-f.:/]{1,12}", fullmatch=True))
def test_what_is_no_flow_is_refused_in_one_sentence(text: str) -> None:
    """A word is a flow that is read back as itself, or BadInput; never anything else."""
    with suppress(BadInput):
        flows = nft.opened(nft.objects(nft.document("inbound", (text,))), "inbound")
        assert flows == (text,) or "@loopback" in text


@given(FLOWS, st.integers(0, 1 << 16), st.integers(0, 255))
def test_no_changed_byte_of_our_file_goes_unseen(flows: tuple[str, ...], place: int, byte: int) -> None:
    """One byte other than ours, and the file counts as open."""
    device = started({})
    good = nft.document("inbound", flows)
    place %= len(good)
    device.edit(nft.file_of("inbound"), good[:place] + bytes([byte]) + good[place + 1 :])
    kept = nft.in_file(device, "inbound")
    wanted = tuple(flow for flow in flows if "@loopback" not in flow)
    assert kept == (wanted if good[place] == byte else ANY)


LINES = st.sampled_from([
    "kernel.dmesg_restrict=0", "kernel.dmesg_restrict = 1", "kernel/dmesg_restrict=0", "-kernel.dmesg_restrict=1",
    "-kernel.dmesg_restrict", "kernel.*=1", "kernel.dmesg_*=0", "#kernel.dmesg_restrict=0", "", "kernel.dmesg_restrict",
])  # fmt: skip
FOLDERS = st.sampled_from(["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"])
NAMES = st.sampled_from(["10-a.conf", "20-b.conf", "zy.conf", "no.txt"])
FILES = st.dictionaries(
    st.tuples(FOLDERS, NAMES).map("/".join), st.lists(LINES, max_size=4).map("\n".join), max_size=5
)  # fmt: skip


@given(FILES)
def test_kernel_values_kept_are_those_of_the_next_start(files: dict[str, str]) -> None:
    """What the probe says will be, is (the start is simulated by other code than the probe's)."""
    params = SETTINGS["kernel.dmesg"].params
    device = started({path: text for path, text in files.items() if not path.startswith("/run")})
    before = sysctl.probe(device, params)
    device.reboot()
    after = sysctl.probe(device, params)
    assert before.kept is None or before.kept == after.live
    enforce(device, "kernel.dmesg", "1")
    device.reboot()
    assert (sysctl.probe(device, params).live, sysctl.probe(device, params).kept) == ("1", "1")


CONDITIONS = st.lists(
    st.sampled_from([
        "[Unit]", "[Service]", "ConditionPathExists=!/", "ConditionPathExists=", "ConditionPathExists=/etc",
        "ConditionPathExists=/nowhere", "Description=x", "#ConditionPathExists=!/", "ConditionACPower=",
    ]), max_size=5,
).map("\n".join)  # fmt: skip
DROPS = st.dictionaries(st.sampled_from(["aa.conf", "zz-privet.conf", "zzz.conf", "zzz.txt"]), CONDITIONS, max_size=3)


@given(DROPS, st.booleans())
def test_a_unit_called_off_does_not_start(drops: dict[str, str], enabled: bool) -> None:
    """When the probe says that a unit stays off, it is off after the next start."""
    base = "/etc/systemd/system"
    files = {f"{base}/pigpiod.service.d/{name}": text for name, text in drops.items()}
    device = started(files)
    if enabled:
        device.hand.link(f"{base}/multi-user.target.wants/pigpiod.service", "/usr/lib/systemd/system/pigpiod.service")
    params = SETTINGS["remote.gpio"].params
    kept = systemd_unit.probe(device, params).kept
    device.reboot()
    reading = systemd_unit.probe(device, params)
    assert kept in {"on", "off"}
    assert kept == "on" or (reading.live, reading.kept) == ("off", "off")


SPAN = st.tuples(st.integers(0, 90), st.sampled_from(["", "s", "min", "h", "day", "week", "month", "years", "ms"]))
SPANS = st.lists(SPAN, max_size=3).map(lambda parts: " ".join(f"{number}{unit}" for number, unit in parts))


@given(SPANS, SPANS)
def test_spans_add_up(one: str, other: str) -> None:
    """Two spans in a row are as long as both; what cannot be read has no length."""
    a, b, both = (spans.microseconds(text) for text in (one, other, f"{one} {other}"))
    if a is not None and b is not None:
        assert both == a + b
    assert spans.microseconds(one + " x") is None


USERS = ["pi", "bob", "eve"]
SUBJECTS = ["pi", "bob", "%sudo", "ALL", "pi, bob", "ALL, !bob"]
COMMANDS = ["ALL", "/bin/ls", "/bin/cat", "!/bin/cat", "/bin/ls, !/bin/cat", "ALL, !/bin/ls"]
TAGS = ["", "PASSWD: ", "NOPASSWD: ", "NOEXEC: NOPASSWD: "]
RULE = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(TAGS), st.sampled_from(COMMANDS))
POLICY = st.lists(RULE.map(lambda r: f"{r[0]} ALL = (ALL) {r[1]}{r[2]}"), max_size=6)


def outcome(found: list[rules.Rule], user: str, what: str) -> str:
    """Decide as sudo does, by the last row that matches: no, asked, or unasked."""
    decided = "no"
    for rule in found:
        if not matches(rule.users, user, {"%sudo"} if user == "pi" else set()):
            continue
        for command in rule.commands:
            if command.lstrip("!") in {"ALL", what}:
                decided = "no" if command.startswith("!") else "unasked" if rule.asks == "no" else "asked"
    return decided


def matches(users: tuple[str, ...], user: str, member: set[str]) -> bool:
    """Say whether a list of users holds for one: its last word on the user counts."""
    held = False
    for who in users:
        if who.lstrip("!") in {"ALL", user} | member:
            held = not who.startswith("!")
    return held


@given(POLICY)
def test_sudo_allows_the_same_as_before_but_asks(policy: list[str]) -> None:
    """For random rules: after the steps nothing runs unasked, and nobody may more or less than before."""
    device = started({"/etc/sudoers.d/010_pi-nopasswd": "\n".join(policy) + "\n"})
    before = rules.rules(rules.listing(device, sudoers.conf.FILE))
    params = SETTINGS["sudo.nopasswd"].params
    was = sudoers.probe(device, params).live
    enforce(device, "sudo.nopasswd", ())
    after = rules.rules(rules.listing(device, sudoers.conf.FILE))
    unasked = False
    for user in USERS:
        for what in ("/bin/ls", "/bin/cat", "/bin/su"):
            old, new = outcome(before, user, what), outcome(after, user, what)
            unasked = unasked or old == "unasked"
            assert new == ("asked" if old == "unasked" else old), (user, what)
    assert was != () or not unasked  # what runs unasked was found
    assert sudoers.probe(device, params).live == ()


def test_steps_that_were_not_prepared_refuse() -> None:
    """Where the rules were not looked up nothing is written; where it locks out, it says so."""
    with pytest.raises(Refused):
        sudoers.steps({"what": "nopasswd"}, ())
    row = json.dumps([["pi:ALL"], ["pi:ALL"], "pi ALL = PASSWD: ALL", "pi ALL = NOPASSWD: ALL"])
    params: Params = {"what": "nopasswd", "rows": (row,), "powers": ("pi:ALL",), "administrators": (), "defaults": ""}
    with pytest.raises(LockOut):
        sudoers.steps(params, ())
    left = sudoers.steps(params, ("pi:ALL",))[-1]
    assert isinstance(left, Write) and b"NOPASSWD" in left.content
