"""The files of mosquitto 2 with all that they include, as it reads them: which listeners there are, what each is told.

Held against the real broker on files drawn at random (tests/device/test_broker_files.py).
"""

from collections.abc import Iterator

from agent.core.record import Record
from agent.providers.linux.product.look import content
from agent.system.door import System
from agent.system.seen import names

NEAR = ("127.", "::1", "localhost", "/")
RULED = ("acl_file", "plugin", "auth_plugin")
TRUE = ("true", "1")
WHOLE = ("port", "bind_address")  # about the listener without a name, wherever they stand
# Told before any listener is, they make the one without a name a listener for everybody; with the values here, they do
# not. Nobody who writes one of them expects that: seen with mosquitto 2.0.11, by trying each.
OPENING = {
    "bind_interface": "", "cafile": "", "capath": "", "certfile": "", "keyfile": "", "ciphers": "", "crlfile": "",
    "ciphers_tls1.3": "", "dhparamfile": "", "psk_hint": "", "tls_engine": "", "tls_keyform": "pem",
    "require_certificate": "false", "use_identity_as_username": "false", "use_subject_as_username": "false",
    "use_username_as_clientid": "false", "max_connections": "-1", "max_qos": "2", "maximum_qos": "2",
    "socket_domain": "",
}  # fmt: skip
OPENING_APART = ("password_file", "psk_file")  # only where listeners stand apart


class Line(Record):
    """One line of the configuration: file, place in it, key and value."""

    __slots__ = ("key", "path", "place", "value")
    path: str
    place: int
    key: str
    value: str


def read(system: System, path: str, *, first: bool = True) -> Iterator[Line]:
    """Read a configuration with the files it includes, in mosquitto's order; what is included includes nothing."""
    for place, raw in enumerate(content(system, path).split("\n")):
        key, _, value = raw.strip().partition(" ")
        value = value.strip()
        if key == "include_dir":
            for name in sorted(names(system, value), key=capitals_first) if first else ():
                if name.endswith(".conf") and name != ".conf":
                    yield from read(system, f"{value}/{name}", first=False)
        elif key and key[0] != "#":
            yield Line(path=path, place=place, key=key, value=value)


def capitals_first(name: str) -> list[tuple[str, str]]:
    """Return what mosquitto sorts a name by: letter by letter, the capital before the small one."""
    return [(letter.lower(), letter) for letter in name]


def true(value: str) -> bool:
    """Say whether a switch is on: what follows its first word is not read."""
    return value.partition(" ")[0].lower() in TRUE


def given(lines: list[Line]) -> dict[str, str]:
    """Return what holds of some lines: of each option what was told last."""
    return {line.key: line.value for line in lines}


class Listener:
    """One listener: its lines, and whether it is there only because no other one is."""

    def __init__(self, lines: list[Line], alone: bool) -> None:
        self.lines = lines
        self.alone = alone
        self.given = given(lines)
        self.nameless = "listener" not in self.given

    def near(self) -> bool:
        """Say whether nobody but this device reaches it."""
        if self.nameless:
            address = NEAR[0] if self.alone else self.given.get("bind_address", "")
        else:
            address = " ".join(self.given["listener"].split()[1:])
        return address.startswith(NEAR) or self.given.get("bind_interface") == "lo"

    def encrypted(self) -> bool:
        """Say whether what goes through it is encrypted."""
        return {"certfile", "keyfile"} <= self.given.keys() or "psk_hint" in self.given


class Configuration:
    """What the files say; `main` is the first of them."""

    def __init__(self, lines: list[Line], main: str = "") -> None:
        self.lines, self.main = lines, main
        self.apart = False
        self.shared: dict[str, str] = {}
        groups: list[list[Line]] = [[]]
        theirs: list[dict[str, str]] = [{}]
        now: dict[str, int] = {}  # each file begins with the listener that has no name
        for line in lines:
            if line.key == "listener":
                now[line.path] = len(groups)
                groups.append([])
                theirs.append({})
            mine = now.get(line.path, 0)
            groups[0 if line.key in WHOLE else mine].append(line)
            self.apart = true(line.value) if line.key == "per_listener_settings" else self.apart
            # What is told before they are set apart is told to all, and not heard any more afterwards.
            (theirs[mine] if self.apart else self.shared)[line.key] = line.value
        first, named = groups[0], groups[1:]
        explicit = any(key in WHOLE or self.opening(key, value) for key, value in given(first).items())
        self.local = not named and not any(line.key in WHOLE for line in first)  # as mosquitto takes it, whoever hears
        self.listeners = [Listener(group, False) for group in named]
        self.told = {id(one): told for one, told in zip(self.listeners, theirs[1:], strict=True)}
        if explicit or not named:
            self.listeners.insert(0, Listener(first, not explicit))
            self.told[id(self.listeners[0])] = theirs[0]

    def opening(self, key: str, value: str) -> bool:
        """Say whether an option makes the listener without a name one for everybody."""
        if key in OPENING:
            return value.partition(" ")[0] != OPENING[key]
        return self.apart and key in OPENING_APART

    def behind(self) -> list[Line]:
        """Return the line that sets listeners apart, and all that are read after it."""
        place = max((n for n, line in enumerate(self.lines) if line.key == "per_listener_settings"), default=0)
        return self.lines[place:]

    def security(self, listener: Listener) -> dict[str, str]:
        """Return the options that decide who may what at a listener."""
        return self.told[id(listener)] if self.apart else self.shared

    def anonymous(self, listener: Listener) -> bool:
        """Say whether a listener lets in whoever gives no name.

        The one that nobody named does, whatever it is told; where listeners stand apart, one without a name does until
        it is told otherwise.
        """
        if listener.alone or (self.local and not self.apart):
            return True
        given = "true" if listener.nameless and self.apart else "false"
        return true(self.security(listener).get("allow_anonymous", given))

    def ruled(self, listener: Listener) -> bool:
        """Say whether rules about topics hold at a listener."""
        return any(key in self.security(listener) for key in RULED)
