"""The vocabulary of each hand: what the agent asks is in it, and nothing near it is."""

import pytest

from agent import registry
from agent.core.plan import Run
from agent.hand.words import WORDS, allowed
from agent.providers.linux import nft
from agent.providers.linux.nft import counting
from agent.system.hands import PROGRAMS
from agent.system.openssh import QUIET
from tests.test_catalogue import made, steps

FLOWS = nft.document("inbound", ("tcp/22@lan",))
FOREIGN = FLOWS.replace(b'"privet"', b'"filter"')
VALUES = b"# Written by Privet.\nkernel/dmesg_restrict = 1\n"
STAR = b"net/ipv4/conf/eth0/accept_redirects = 0\nnet/ipv4/conf/*/accept_redirects = 0\n"
SSH = ("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "PreferredAuthentications=none")
KEY = ("-o", "IdentityFile=/run/privet-door/0123456789abcdef")
TO = ("-p", "22", "-l", "pi", "--", "127.0.0.1", "true")
OFFER = ("ssh", "-v", "-F", "none", *(w for o in QUIET for w in ("-o", o)), "-o", "PreferredAuthentications=publickey")
THERE = ("-p", "22", "-l", "pi", "127.0.0.1", "true")


def run(*argv: str, stdin: bytes = b"", seconds: int = 20) -> tuple[object, ...]:
    """Return a request to run something."""
    return ("run", list(argv), stdin, seconds)


ASKED = {
    "net": (
        run("nft", "-j", "-s", "list", "ruleset"),
        run("nft", "add", "table", "inet", "privet"),
        run("nft", "-j", "-f", "-", stdin=FLOWS),
        run("nft", "-j", "-f", "-", stdin=nft.document("outbound", ())),
        run(*counting.LIST),
        run(*counting.LOAD, stdin=counting.counting(990)),
    ),
    "kernel": (
        run("sysctl", "-q", "-p", "-", stdin=VALUES),
        run("sysctl", "-q", "-p", "-", stdin=STAR),
        ("kernel", "/sys/class/leds/ACT/trigger", b"timer"),
        ("writers",),
        run("udevadm", "control", "--reload"),
        run("udevadm", "settle", "--timeout=15"),
    ),
    "accounts": (
        run("chpasswd", stdin=b"pi:secret words\n"),
        run("chpasswd", "-e", stdin=b"pi:!*\n"),
        run("pwconv"),
        run("unix_chkpwd", "pi", "nullok", stdin=b"secret\0"),
        run("sudo", "-n", "-l", "-U", "pi"),
        run("pdbedit", "-L", "-w"),
        run("smbpasswd", "-L", "-s", "pi", stdin=b"a\na\n"),
        run("smbpasswd", "-L", "-x", "pi"),
    ),
    "terminal": (run("wall", "--timeout", "2", stdin=b"Privet: x\n"), run("tee", "/dev/tty1"), ("stat", "/dev/tty1")),
    "look": (
        ("read", "/proc/17/stat"),
        ("read", "/proc/17/environ"),
        ("entries", "/proc/17/fd"),
        ("targets", "/proc/17/fd"),
        ("target", "/proc/17/ns/net"),
        ("target", "/proc/17/fd/3"),
        ("target", "/proc/17/exe"),
        ("target", "/proc/17/root"),
    ),
    "door": (
        run(*SSH, *TO),
        run(*SSH, *KEY, *TO),
        run(*OFFER, "-i", "/run/privet/way.pub", *THERE),
        run("ssh-keyscan", "-T", "5", "-p", "22", "-t", "rsa,ecdsa,ed25519", "127.0.0.1", seconds=60),
        run("smbclient", "-p", "445", "-L", "127.0.0.1", "-A", "/dev/stdin", stdin=b"username=pi\n"),
        ("connect", 1883, 10),
    ),
}
REFUSED = {
    "net": (
        run("nft", "flush", "ruleset"),
        run("nft", "-j", "-f", "-", stdin=FOREIGN),
        run("nft", "-j", "-f", "-", stdin=FLOWS + b" "),
        run("nft", "-j", "-f", "-", stdin=b'{"nftables": [{"flush": {"ruleset": null}}]}'),
        run("nft", "-j", "-f", "/tmp/rules"),
        run("nft", "-j", "-f", "-", stdin=b""),
        run("nft", "-f", "-", stdin=counting.counting(0)),
        run("nft", "-f", "-", stdin=counting.counting(990) + b"flush ruleset\n"),
        run("nft", "-f", "-", stdin=counting.counting(990).replace(b"accept;", b"drop;")),
        run("nft", "-j", "list", "counters", "table", "inet", "filter"),
        run("nft", "reset", "counters", "table", "inet", "privet"),
        run("sh", "-c", "true"),
    ),
    "kernel": (
        run("sysctl", "-q", "-p", "-", stdin=VALUES + b"kernel/core_pattern = |/tmp/x\n"),
        run("sysctl", "-q", "-p", "-", stdin=b"kernel/dmesg_restrict = 2\n"),
        run("sysctl", "-q", "-p", "-", stdin=b"net/ipv4/conf/../accept_redirects = 0\n"),
        run("sysctl", "-q", "-p", "-", stdin=b"kernel/dmesg_restrict=1\nkernel.modprobe=/tmp/x\n"),
        run("sysctl", "-q", "-p", "-", stdin=b"# nothing\n"),
        run("sysctl", "-w", "kernel.dmesg_restrict=1"),
        ("kernel", "/proc/sys/kernel/core_pattern", b"|/tmp/x"),
        ("kernel", "/sys/class/leds/../../power/state", b"mem"),
        ("kernel", "/sys/class/leds/ACT/trigger", b"x" * 257),
        ("writers", 1),
        run("udevadm", "control", "--exit"),
        run("udevadm", "settle", "--timeout=15", "--exit-if-exists=/etc/shadow"),
        run("udevadm", "trigger", "--action=change"),
    ),
    "accounts": (
        run("chpasswd", stdin=b"pi:a\nroot:b\n"),
        run("chpasswd", "-R", "/tmp", stdin=b"pi:a\n"),
        run("chpasswd", stdin=b"pi:\n"),
        run("unix_chkpwd", "--help", "nullok"),
        run("sudo", "-n", "-l", "-U", "-s"),
        run("sudo", "sh"),
        run("smbpasswd", "-L", "-s", "-c/tmp/x"),
        run("pwconv", "-R", "/tmp"),
    ),
    "terminal": (
        run("tee", "/etc/passwd"),
        run("wall", "/etc/shadow"),
        run("wall", "--timeout", "2", stdin=b"x" * 70000),
        ("stat", "/etc/shadow"),
    ),
    "look": (
        ("read", "/proc/17/mem"),
        ("read", "/proc/self/stat"),
        ("read", "/proc/17/../../etc/shadow"),
        ("read", "/proc/17/stat\n"),
        ("entries", "/proc/17/root"),
        ("target", "/proc/17/fd/../exe"),
        ("target", "/proc/17/ns/mnt"),
        ("targets", "/proc/17"),
        ("targets", "/proc/17/fd/3"),
        ("read", "/proc/17/mem"),
        ("read", "/etc/shadow"),
    ),
    "door": (
        run(*SSH, "-o", "ProxyCommand=sh", *TO),
        run(*SSH, "-o", "PermitLocalCommand=yes", *TO),
        run(*SSH, "-o", "IdentityFile=/etc/shadow", *TO),
        run(*SSH, *TO[:-1], "sh"),
        run(*SSH, *TO, "more"),
        run(*SSH, "-p", "22", "-l", "-oProxyCommand=sh", "--", "127.0.0.1", "true"),
        run(*SSH, "-p", "22", "-l", "pi", "--", "broker.example", "true"),
        run("ssh", "-F", "/tmp/x", *TO),
        run(*OFFER, "-i", "/etc/shadow", *THERE),
        run("ssh-keyscan", "-f", "/etc/shadow"),
        run("smbclient", "-p", "445", "-L", "10.0.0.1", "-A", "/dev/stdin"),
        ("connect", 0, 10),
        ("connect", 22, 9999),
        ("connect", "22; x", 10),
    ),
}


def cases(table: dict[str, tuple[tuple[object, ...], ...]]) -> list[tuple[str, tuple[object, ...]]]:
    """Return each request with its hand."""
    return [(hand, request) for hand, requests in table.items() for request in requests]


def understood(hand: str, request: tuple[object, ...]) -> bool:
    """Ask the vocabulary."""
    return allowed(hand, str(request[0]), list(request[1:]))


@pytest.mark.parametrize(("hand", "request_"), cases(ASKED))
def test_what_the_agent_asks_is_understood(hand: str, request_: tuple[object, ...]):
    """By its own hand, and by no other."""
    assert [name for name in WORDS if understood(name, request_)] == [hand]


@pytest.mark.parametrize(("hand", "request_"), cases(REFUSED))
def test_what_is_near_it_is_refused(hand: str, request_: tuple[object, ...]):
    """One word more, another path, another value: nobody does it."""
    assert [name for name in WORDS if understood(name, request_)] == []
    assert ASKED[hand]


def test_every_hand_is_covered():
    """Each hand has words that are asked and words that are refused here, and each program goes to one of them."""
    assert set(ASKED) == set(REFUSED) == set(WORDS)
    assert set(PROGRAMS.values()) <= set(WORDS)


@pytest.mark.parametrize("odd", [[], [None], [[], b"", 1], [["nft", 1], b"", 1], [["nft"], "text", 1], ["x", 1, 2, 3]])
@pytest.mark.parametrize("verb", ["run", "kernel", "read", "stat", "connect", "entries", "target", "", "sing"])
def test_odd_shapes_are_refused(verb: str, odd: list[object]):
    """What is no request at all is refused like any other, without an error of ours."""
    assert not any(allowed(hand, verb, odd) for hand in WORDS)


@pytest.mark.parametrize("name", registry.settings())
def test_every_step_of_every_setting_is_understood(name: str):
    """Whatever a provider wants a hand to run, on a device that has what the setting is about, the hand does."""
    setting = registry.settings()[name]
    device = made(setting)
    for option in setting.options:
        for step in steps(device, setting, option.value):
            if isinstance(step, Run) and step.argv[0] in PROGRAMS:
                assert allowed(PROGRAMS[step.argv[0]], "run", [list(step.argv), step.stdin, 20]), step.argv
