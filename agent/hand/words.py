"""What may be asked of each hand, and nothing else: a request is one of these, word for word, or it is refused.

No path, no option and no program is taken as it comes. What has to vary is a number, an account's name, a value that a
setting of ours has, or a firewall of ours to the byte.
"""

import ipaddress
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from agent.core.errors import PrivetError

Check = Callable[[list[Any]], bool]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}\$?")
SECONDS = 120
MOST = 64 * 1024  # bytes of what is told to people
SCREEN = "/dev/tty1"
TABLES = (("nft", "-j", "-s", "list", "ruleset"), ("nft", "add", "table", "inet", "privet"))
LOAD = ("nft", "-j", "-f", "-")
DIRECTIONS = ("inbound", "outbound")
ACCOUNT = re.compile(rb"skuid ([1-9][0-9]{0,9}) ")
UDEV = (("udevadm", "control", "--reload"), ("udevadm", "settle", "--timeout=15"))
LIGHT = re.compile(r"/sys/class/leds/(?:ACT|led0|PWR|led1)/(?:trigger|delay_on|delay_off|pattern)")
LINE = re.compile(rb"([A-Za-z0-9_.-]{1,64}):([^\r\n\0]{1,4096})\n")
OPTIONS = {
    **dict.fromkeys(("BatchMode", "IdentitiesOnly"), ("yes",)),
    **dict.fromkeys(("IdentityAgent", "ControlPath"), ("none",)),
    **dict.fromkeys(("GlobalKnownHostsFile", "UserKnownHostsFile"), ("/dev/null",)),
    "ConnectTimeout": ("4", "5"),
    "HostKeyAlgorithms": ("^ssh-ed25519",),
    "KexAlgorithms": ("^curve25519-sha256",),
    "LogLevel": ("ERROR",),
    "NumberOfPasswordPrompts": ("0",),
    "PreferredAuthentications": ("none", "publickey"),
    "StrictHostKeyChecking": ("no",),
}
KEYS = re.compile(r"IdentityFile=/run/privet-door/[0-9a-f]{16}")
OFFER = "/run/privet/way.pub"


def allowed(hand: str, verb: str, rest: list[Any]) -> bool:
    """Say whether this may be asked of this hand."""
    check = WORDS.get(hand, {}).get(verb)
    try:
        return check is not None and check(rest)
    except (PrivetError, ValueError, TypeError, LookupError, AttributeError):  # it is not even shaped like one of ours
        return False


def program(rest: list[Any]) -> tuple[tuple[str, ...], bytes]:
    """Return argv and standard input of a request to run something; ValueError when it is none."""
    argv, stdin, seconds = rest
    words = type(argv) is list and argv and all(type(word) is str and "\0" not in word for word in argv)
    if not words or type(stdin) is not bytes or type(seconds) is not int or not 0 < seconds <= SECONDS:
        raise ValueError("no program")
    return tuple(argv), stdin


def firewall(rest: list[Any]) -> bool:
    """List the rules, wake our table, or load what we ourselves would write for some flows, to the byte.

    Or count what one account sends, and read that count; not root's, whose count would be of no use.
    """
    from agent.providers.linux import nft
    from agent.providers.linux.nft import counting

    argv, stdin = program(rest)
    if argv in (*TABLES, counting.LIST):
        return stdin == b""
    if argv == counting.LOAD:
        uid = ACCOUNT.search(stdin)
        return uid is not None and stdin == counting.counting(int(uid[1]))
    flows = [nft.opened(nft.objects(stdin), way) for way in DIRECTIONS] if argv == LOAD else []
    made = [nft.document(way, one) for way, one in zip(DIRECTIONS, flows, strict=False) if isinstance(one, tuple)]
    return stdin in made


def values(rest: list[Any]) -> bool:
    """Load kernel values: keys of our settings, with a value that each has; or have udev read its rules, to the end."""
    argv, stdin = program(rest)
    if argv[0] == "udevadm":
        return stdin == b"" and argv in UDEV
    lines = [line for line in stdin.decode("ascii").splitlines() if line and line[0] != "#"]
    return argv == ("sysctl", "-q", "-p", "-") and bool(lines) and all(value(line) for line in lines)


def value(line: str) -> bool:
    """Say whether a line gives a key of a setting of ours one of its values."""
    key, sign, word = line.partition(" = ")
    return bool(sign) and any(
        word in str(params["words"]).replace(",", " ").split() and any(same(key, one) for one in keys(params))
        for params in kernel_settings()
    )


def same(key: str, ours: str) -> bool:
    """Say whether a key is ours, with the name of a network interface where we have a star."""
    parts, wanted = key.split("/"), ours.split("/")
    if len(parts) != len(wanted):
        return False
    plain = all(part not in ("", ".", "..") for part in parts)
    return plain and all(fnmatchcase(part, one) for part, one in zip(parts, wanted, strict=True))


def keys(params: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys of a setting."""
    found = params["keys"]
    return found if isinstance(found, tuple) else (str(found),)


def kernel_settings() -> list[dict[str, Any]]:
    """Return the parameters of every setting of the kernel's values; read at the first question, and once."""
    if not KNOWN:
        from agent import registry

        KNOWN.extend(one.params for one in registry.settings().values() if one.provider == "sysctl")
    return KNOWN


KNOWN: list[dict[str, Any]] = []


def light(rest: list[Any]) -> bool:
    """Let a light of the device show how first boot stands."""
    path, content = rest
    return bool(LIGHT.fullmatch(path)) and type(content) is bytes and len(content) <= 256 and content.isascii()


def account(rest: list[Any]) -> bool:
    """Set or try one password, list what somebody may do by sudo, or look after the users of Samba."""
    argv, stdin = program(rest)
    if argv in (("chpasswd",), ("chpasswd", "-e")):
        return bool(LINE.fullmatch(stdin))
    if argv in (("pwconv",), ("pdbedit", "-L", "-w")):
        return stdin == b""
    name = argv[1] if argv[0] == "unix_chkpwd" else argv[-1]
    shapes = (
        ("unix_chkpwd", name, "nullok"),
        ("sudo", "-n", "-l", "-U", name),
        ("smbpasswd", "-L", "-s", name),
        ("smbpasswd", "-L", "-x", name),
    )
    return argv in shapes and bool(NAME.fullmatch(name)) and len(stdin) <= MOST


def told(rest: list[Any]) -> bool:
    """Tell everyone at a terminal, or show something on the screen of the device."""
    argv, stdin = program(rest)
    return argv in (("wall", "--timeout", "2"), ("tee", SCREEN)) and len(stdin) <= MOST


def knock(rest: list[Any]) -> bool:
    """Try a server of this device over loopback, by a client that is told no secret but the one it tries."""
    argv, _ = program(rest)
    if argv[0] == "ssh":
        return ssh(argv)
    port = argv[4] if argv[0] == "ssh-keyscan" else argv[2]
    scan = ("ssh-keyscan", "-T", "5", "-p", port, "-t", "rsa,ecdsa,ed25519", "127.0.0.1")
    return is_port(port) and argv in (scan, ("smbclient", "-p", port, "-L", "127.0.0.1", "-A", "/dev/stdin"))


def ssh(argv: tuple[str, ...]) -> bool:
    """Say whether this is one of our knocks at an SSH server; it runs nothing but `true`, and no program here."""
    words = list(argv[1:])
    if words[:3] == ["-v", "-F", "none"]:
        del words[:3]
    elif words[:2] == ["-F", "/dev/null"]:
        del words[:2]
    else:
        return False
    while words[:1] in (["-o"], ["-i"]):
        if not (option(words[1]) if words[0] == "-o" else words[1] == OFFER):
            return False
        del words[:2]
    dash, port, login, user, *rest = words
    address = rest[1:] if rest[:1] == ["--"] else rest
    known = (dash, login, address[1:]) == ("-p", "-l", ["true"]) and is_port(port) and bool(NAME.fullmatch(user))
    return known and bool(ipaddress.ip_address(address[0]))


def option(word: str) -> bool:
    """Say whether an option of ssh is one of ours."""
    key, _, given = word.partition("=")
    return given in OPTIONS.get(key, ()) or bool(KEYS.fullmatch(word))


def is_port(word: object) -> bool:
    """Say whether this is a port, as a word or as a number."""
    return str(word).isdecimal() and 0 < int(str(word)) < 65536


def of_process(what: str) -> Check:
    """Look at these parts of a process."""
    shape = re.compile(r"/proc/[1-9][0-9]{0,9}/(?:%s)" % what)
    return lambda rest: len(rest) == 1 and bool(shape.fullmatch(rest[0]))


WORDS: dict[str, dict[str, Check]] = {
    "net": {"run": firewall},
    "kernel": {"run": values, "kernel": light, "writers": lambda rest: rest == []},
    "accounts": {"run": account},
    "terminal": {"run": told, "stat": lambda rest: rest == [SCREEN]},
    "look": {
        "read": of_process("environ|stat"),
        "entries": of_process("fd"),
        "targets": of_process("fd"),
        "target": of_process("exe|root|ns/net|fd/[0-9]{1,9}"),
    },
    "door": {"run": knock, "connect": lambda rest: len(rest) == 2 and is_port(rest[0]) and rest[1] in range(1, 121)},
}
