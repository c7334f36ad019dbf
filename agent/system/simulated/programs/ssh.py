"""The client of OpenSSH: tries to log in to a server on this simulated device, with nothing in hand or with a key.

`login` tries a password too, as a person at a keyboard would.
"""

from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.door import Outcome
from agent.system.simulated.programs import sshd, unix_chkpwd

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

METHODS = ("publickey", "password", "keyboard-interactive")


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Log in and run a command, which does nothing here."""
    options, user, port, host = arguments(argv)
    server = listening(device, port)
    if server is None:
        return Outcome(code=255, out=b"", err=b"ssh: connect to host %s port %d: Connection refused\r\n" % (host, port))
    rules = meeting(device, server, user, port)
    preferred = options.get("preferredauthentications", "publickey").split(",")
    inside = empty(device, rules, user)
    said = b""
    if not inside and "publickey" in preferred and "identityfile" in options:
        name = options["identityfile"]
        public = device.read(name).split() if sshd.there(device, name) else []
        if public and public[0].startswith((b"ssh-", b"ecdsa-", b"sk-")):  # the public half alone: asked, not signed
            if by_key(device, {**rules, "permitrootlogin": "yes"}, user, public[1]):  # root is refused afterwards
                said = b"debug1: Server accepts key: %s\r\n" % name.encode()
        else:
            inside = by_key(device, rules, user, private(device, name))
    if inside:
        return Outcome(code=0, out=b"", err=b"")
    offers = ",".join(offered(rules)).encode()
    said = said if "-v" in argv else b""
    return Outcome(code=255, out=b"", err=said + b"%s@%s: Permission denied (%s).\r\n" % (user.encode(), host, offers))


def login(device: "SimulatedSystem", user: str, password: str, port: int = 22, address: str = "127.0.0.1") -> bool:
    """Try a password by either way a server may ask for one; say whether it opened."""
    server = listening(device, port)
    if server is None:
        return False
    rules = meeting(device, server, user, port, address)
    asked = {"password", "keyboard-interactive"} & set(offered(rules))
    if not asked or (superuser(device, user) and rules["permitrootlogin"] != "yes"):
        return False
    stored = unix_chkpwd.field(device, user)
    return unix_chkpwd.tried(stored, password.encode(), rules["permitemptypasswords"] == "yes") == 0


def arguments(argv: tuple[str, ...]) -> tuple[dict[str, str], str, int, bytes]:
    """Read the command line: options (first value wins), user, port, host."""
    options: dict[str, str] = {}
    user, port, hosts = "root", 22, list[str]()
    words = [word for word in argv[1:] if word != "--"]
    while words:
        word = words.pop(0)
        if word in {"-o", "-F", "-p", "-l", "-i"} and words:
            value = words.pop(0)
            if word == "-o":
                key, _, text = value.partition("=")
                options.setdefault(key.strip().lower(), text.strip())
            elif word == "-i":
                options.setdefault("identityfile", value)
            port = int(value) if word == "-p" else port
            user = value if word == "-l" else user
        elif not word.startswith("-"):
            hosts.append(word)
    name, at, host = (hosts or ["127.0.0.1"])[0].rpartition("@")
    return options, name if at else user, port, host.encode()


def listening(device: "SimulatedSystem", port: int) -> "Process | None":
    """Return the server at a port."""
    for process in device.processes:
        if isinstance(process.state, sshd.Loaded) and any(own == port for _, own in process.state.sockets):
            return process
    return None


def meeting(
    device: "SimulatedSystem", server: "Process", user: str, port: int, address: str = "127.0.0.1"
) -> dict[str, str]:
    """Return the rules a server has for a connection."""
    facts = {"user": user, "host": address, "addr": address, "laddr": "127.0.0.1", "lport": str(port)}
    return sshd.effective(server, facts, sshd.groups(device, user))


def offered(rules: dict[str, str]) -> list[str]:
    """Return the ways of proving who one is that a server offers."""
    ways = {
        "publickey": rules["pubkeyauthentication"] == "yes",
        "password": rules["passwordauthentication"] == "yes",
        "keyboard-interactive": rules["kbdinteractiveauthentication"] == "yes" and rules["usepam"] == "yes",
    }
    return [name for name in METHODS if ways[name]]


def superuser(device: "SimulatedSystem", user: str) -> bool:
    """Say whether an account has the number 0."""
    found = [row.split(":") for row in sshd.rows(device, "/etc/passwd") if row.startswith(user + ":")]
    return bool(found) and found[0][2] == "0"


def empty(device: "SimulatedSystem", rules: dict[str, str], user: str) -> bool:
    """Say whether an account without a password is open to anybody."""
    allowed = rules["permitemptypasswords"] == "yes" and rules["passwordauthentication"] == "yes"
    root = superuser(device, user) and rules["permitrootlogin"] != "yes"
    return allowed and not root and unix_chkpwd.field(device, user) == b""


def private(device: "SimulatedSystem", path: str) -> bytes:
    """Return the public key beside a private one, nothing when it is not there."""
    try:
        return device.read(path + ".pub").split()[1]
    except (PrivetError, IndexError):
        return b""


def by_key(device: "SimulatedSystem", rules: dict[str, str], user: str, key: bytes) -> bool:
    """Say whether a key opens an account."""
    home = next((row.split(":")[5] for row in sshd.rows(device, "/etc/passwd") if row.startswith(user + ":")), "")
    root = rules["permitrootlogin"] if superuser(device, user) else "yes"
    if not home or not key or rules["pubkeyauthentication"] != "yes" or root == "no":
        return False
    for name in rules["authorizedkeysfile"].split():
        path = name.replace("%h", home).replace("%u", user)
        for line in sshd.rows(device, path if path.startswith("/") else home + "/" + path):
            if key.decode() in line.split() and (root != "forced-commands-only" or 'command="' in line):
                return True
    return False
