"""What OpenSSH makes of its configuration files: first value wins, Match blocks override, Include reads in place.

Written from sshd_config(5) and the behaviour of OpenSSH 9.2, apart from the provider that judges it, so that the two
check each other.
"""

import ipaddress
import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from fnmatch import fnmatchcase

from agent.core.errors import PrivetError

MAIN = "/etc/ssh/sshd_config"
Connection = dict[str, str]
"""What Match can see: user, host, addr, laddr, lport, rdomain."""

ROOT_WORDS = ("yes", "no", "prohibit-password", "without-password", "forced-commands-only")
FLAG = ("yes", "no")
# keyword as `sshd -T` prints it → default and the words it may have (none: any)
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "port": ("22", ()),
    "pidfile": ("/run/sshd.pid", ()),
    "usepam": ("no", FLAG),
    "usedns": ("no", FLAG),
    "permitrootlogin": ("without-password", ROOT_WORDS),
    "pubkeyauthentication": ("yes", FLAG),
    "passwordauthentication": ("yes", FLAG),
    "kbdinteractiveauthentication": ("yes", FLAG),
    "permitemptypasswords": ("no", FLAG),
    "strictmodes": ("yes", FLAG),
    "maxauthtries": ("6", ()),
    "loglevel": ("INFO", ()),
    "x11forwarding": ("no", FLAG),
    "printmotd": ("yes", FLAG),
    "allowtcpforwarding": ("yes", ("yes", "no", "all", "local", "remote")),
    "allowagentforwarding": ("yes", FLAG),
    "allowstreamlocalforwarding": ("yes", ("yes", "no", "all", "local", "remote")),
    "gatewayports": ("no", ("yes", "no", "clientspecified")),
    "permittunnel": ("no", ("yes", "no", "point-to-point", "ethernet")),
    "authorizedkeysfile": (".ssh/authorized_keys .ssh/authorized_keys2", ()),
}
SILENT = {
    "acceptenv", "addressfamily", "allowgroups", "allowusers", "authenticationmethods", "authorizedkeyscommand",
    "authorizedkeyscommanduser", "banner", "challengeresponseauthentication", "chrootdirectory", "ciphers",
    "clientalivecountmax", "clientaliveinterval", "compression", "denygroups", "denyusers", "disableforwarding",
    "forcecommand", "hostkey", "kexalgorithms", "listenaddress", "logingracetime", "macs", "maxsessions", "maxstartups",
    "permitlisten", "permitopen", "permittty", "printlastlog", "rekeylimit", "subsystem", "syslogfacility",
    "tcpkeepalive", "trustedusercakeys", "versionaddendum",
}  # fmt: skip
ONLY_GLOBAL = {
    "port",
    "pidfile",
    "usepam",
    "usedns",
    "strictmodes",
    "printmotd",
    "hostkey",
    "listenaddress",
    "subsystem",
}
CRITERIA = {"user": "user", "host": "host", "address": "addr", "localaddress": "laddr", "localport": "lport"}


class Broken(Exception):
    """sshd does not accept this configuration; the text is what it says."""


class Block:
    """Lines that hold under the same condition; the conditions of the blocks around it hold too."""

    def __init__(self, condition: str, around: "Block | None") -> None:
        self.condition = condition
        self.around = around

    def holds(self, connection: Connection, groups: tuple[str, ...]) -> bool:
        """Say whether a connection is meant."""
        if self.around is not None and not self.around.holds(connection, groups):
            return False
        return not self.condition or matches(self.condition, connection, groups)


class Configuration:
    """A configuration as a server has loaded it: later changes of the files do not reach it."""

    def __init__(self, device: Callable[[str], bytes], listing: Callable[[str], tuple[str, ...]]) -> None:
        self.read = device
        self.listing = listing
        self.options: list[tuple[str, str]] = []
        self.lines: list[tuple[Block, str, str]] = []

    def load(self, main: str, options: Iterable[str]) -> None:
        """Load a main file and `-o` options; Broken as sshd would say."""
        for option in options:
            keyword, words = cut(option)
            self.options.append((self.checked(keyword, words, "command-line: line 0"), " ".join(words)))
        self.file(main, Block("", None), 0)

    def file(self, path: str, around: Block, depth: int) -> None:
        """Load one file."""
        try:
            text = self.read(path).decode("utf-8", "surrogateescape")
        except PrivetError as error:
            if depth == 0:
                raise Broken(f"{path}: No such file or directory") from error
            return
        if depth > 16:
            raise Broken(f"{path}: too many recursive configuration includes")
        block = around
        for number, line in enumerate(text.split("\n"), 1):
            keyword, words = cut(line)
            place = f"{path}: line {number}"
            if keyword == "match":
                condition = line.strip()[5:].strip()
                matches(condition, dict.fromkeys(CRITERIA.values(), ""), (), place)
                block = Block(condition, around)
            elif keyword == "include":
                for word in words:
                    for found in self.glob(word if word.startswith("/") else "/etc/ssh/" + word):
                        self.file(found, block, depth + 1)
            elif keyword:
                name = self.checked(keyword, words, place)
                if name in ONLY_GLOBAL and block.condition:
                    raise Broken(f"{place}: Directive '{words[0]}' is not allowed within a Match block")
                self.lines.append((block, name, " ".join(words)))

    def glob(self, pattern: str) -> list[str]:
        """Return the files a pattern stands for."""
        places = [""]
        for part in pattern.strip("/").split("/"):
            wild = any(mark in part for mark in "*?[")
            places = [
                f"{place}/{name}"
                for place in places
                for name in (self.listing(place or "/") if wild else (part,))
                if not wild or (fnmatchcase(name, part) and not name.startswith("."))
            ]
        return sorted(places)

    @staticmethod
    def checked(keyword: str, words: list[str], place: str) -> str:
        """Return a keyword by its present name, if it is one and has a value that it may have."""
        name = "kbdinteractiveauthentication" if keyword == "challengeresponseauthentication" else keyword
        if name not in OPTIONS and name not in SILENT:
            raise Broken(f"{place}: Bad configuration option: {keyword}")
        if not words:
            raise Broken(f"{place}: {keyword}: missing argument.")
        allowed = OPTIONS.get(name, ("", ()))[1]
        if allowed and words[0].lower() not in allowed:
            raise Broken(f'{place}: unsupported option "{words[0]}".')
        return name

    def effective(self, connection: Connection | None, groups: tuple[str, ...] = ()) -> dict[str, str]:
        """Return what holds for a connection; without one, what holds where no condition but `all` does."""
        found: dict[str, str] = {}
        given = connection or {}
        for block, name, value in self.lines:
            if block.condition and block.holds(given, groups):
                found.setdefault(name, value)
        for name, value in self.options:
            found.setdefault(name, value)
        for block, name, value in self.lines:
            if not block.condition:
                found.setdefault(name, value)
        for name, (default, allowed) in OPTIONS.items():
            found.setdefault(name, default)
            found[name] = found[name].lower() if allowed else found[name]
        if found["permitrootlogin"] == "prohibit-password":
            found["permitrootlogin"] = "without-password"
        return found


def cut(line: str) -> tuple[str, list[str]]:
    """Cut a line into its keyword (lower case) and arguments; empty for a comment."""
    text = line.strip(" \t\r\f")
    if not text or text.startswith("#"):
        return "", []
    end = next((i for i, letter in enumerate(text) if letter in " \t="), len(text))
    rest = text[end:].strip(" \t").removeprefix("=") if end < len(text) else ""
    try:
        words = shlex.split(rest, comments=True)
    except ValueError as error:
        raise Broken("no closing quote") from error
    return text[:end].strip('"').lower(), words


def matches(condition: str, connection: Connection, groups: tuple[str, ...], place: str = "") -> bool:
    """Decide a Match line; Broken when it cannot be understood."""
    words = shlex.split(condition.replace("=", " "), comments=True)
    if [word.lower() for word in words] == ["all"]:
        return True
    if not words or len(words) % 2:
        raise Broken(f"{place}: Bad Match condition")
    verdict = True
    for name, patterns in zip((w.lower() for w in words[::2]), words[1::2], strict=True):
        if name == "group":
            verdicts = [chosen(group, patterns) for group in groups]
            verdict &= any(v == "yes" for v in verdicts) and "no" not in verdicts
        elif name == "localport":
            verdict &= connection.get("lport", "") == patterns
        elif name in {"address", "localaddress"}:
            verdict &= chosen(connection.get(CRITERIA[name], ""), patterns, network=True) == "yes"
        elif name in CRITERIA:
            verdict &= chosen(connection.get(CRITERIA[name], ""), patterns) == "yes"
        elif name != "rdomain":
            raise Broken(f"{place}: Bad Match condition")
    return verdict


def chosen(text: str, patterns: str, *, network: bool = False) -> str:
    """Decide a list of patterns: `yes`, `no` (a negated one fits) or nothing."""
    found = ""
    for pattern in patterns.split(","):
        plain = pattern.removeprefix("!")
        if (network and within(text, plain)) or (text and fnmatchcase(text, plain.replace("[", "[[]"))):
            if pattern != plain:
                return "no"
            found = "yes"
    return found


def within(address: str, prefix: str) -> bool:
    """Say whether an address lies in a network."""
    with suppress(ValueError):
        return ipaddress.ip_address(address) in ipaddress.ip_network(prefix, strict=False)
    return False
