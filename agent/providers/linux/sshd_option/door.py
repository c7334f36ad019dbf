"""Trying the door of a running server from this device itself: what does it offer, and does it let root in?"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from agent.core.errors import Missing, PrivetError
from agent.providers.linux.sshd_option.contexts import Account
from agent.providers.linux.sshd_option.daemons import Daemon
from agent.providers.linux.sshd_option.words import arguments, canonical
from agent.system.door import System

WORKROOM = "/run/privet-door"  # memory only: what is made here never outlives a reboot
CLIENT = (
    ("BatchMode", "yes"),
    ("ConnectTimeout", "4"),
    ("ControlPath", "none"),
    ("GlobalKnownHostsFile", "/dev/null"),
    ("HostKeyAlgorithms", "^ssh-ed25519"),  # the quickest first, for both ends of it run here
    ("KexAlgorithms", "^curve25519-sha256"),
    ("LogLevel", "ERROR"),
    ("StrictHostKeyChecking", "no"),  # the server's process is known, it is on this device, and it is told no secret
    ("UserKnownHostsFile", "/dev/null"),
)
DENIED = re.compile(rb"Permission denied \(([a-z0-9@.,-]*)\)")
LIMITS = 'restrict,from="127.0.0.1,::1",command="/bin/true"'
SECONDS = 8


def knock(
    system: System, user: str, place: tuple[str, int], options: tuple[tuple[str, str], ...]
) -> tuple[bool, bytes]:
    """Try to log in; say whether a command ran, and what the client said. Unreachable when there is no client."""
    words = [word for key, value in (*CLIENT, *options) for word in ("-o", "%s=%s" % (key, value))]
    argv = ("ssh", "-F", "/dev/null", *words, "-p", str(place[1]), "-l", user, "--", place[0], "true")
    outcome = system.run(argv, b"", SECONDS)
    return outcome.code == 0, outcome.err


def offered(system: System, daemon: Daemon, user: str, most: int) -> frozenset[str] | None:
    """Return what a server offers a user who shows nothing, `none` when that already lets in; None: cannot be tried.

    At most so many of the places it listens on are tried.
    """
    found: set[str] = set()
    if not daemon.near or not daemon.ports:
        return None
    for place in daemon.ports[:most]:
        try:
            inside, said = knock(system, user, place, (("PreferredAuthentications", "none"),))
        except PrivetError:
            return None
        denied = DENIED.search(said)
        if inside:
            found.add("none")
        elif denied is None:
            return None
        else:
            found.update(denied.group(1).decode().split(","))
    return frozenset(found)


def enters(system: System, daemon: Daemon, account: Account, answers: Mapping[str, str]) -> bool | None:
    """Try a login as an account with a key made for this moment; None when it cannot be tried or proves nothing.

    The key may run nothing but /bin/true, and only from this device. It is allowed through the last file the server
    reads keys from, and only when that file is not there; both halves are removed again, whatever happens. A refusal
    proves nothing, since the running server may read other files than those that are configured today.
    """
    allowed = last_file(answers.get("authorizedkeysfile", ""), account)
    if not allowed or not daemon.near or not daemon.ports:
        return None
    try:
        with passing_key(system) as (private, public), allowance(system, allowed, account, public):
            options = (
                ("IdentitiesOnly", "yes"),
                ("IdentityFile", private),
                ("PreferredAuthentications", "publickey"),
            )
            tried = [knock(system, account.name, place, options)[0] for place in daemon.ports]
    except PrivetError:
        return None
    return True if any(tried) else None


def last_file(configured: str, account: Account) -> str:
    """Return the last file of AuthorizedKeysFile for an account, empty when there is none."""
    words = arguments(configured)
    if not words or words[-1] == "none":
        return ""
    path = words[-1].replace("%%", "\0").replace("%h", account.home).replace("%u", account.name)
    path = path.replace("%U", str(account.uid)).replace("\0", "%")
    return path if path.startswith("/") else "%s/%s" % (account.home.rstrip("/"), path)


@contextmanager
def passing_key(system: System) -> Iterator[tuple[str, bytes]]:
    """Make a key pair in memory; give the path of the private half and the text of the public one, then remove both."""
    system.make_directory(WORKROOM, 0o700)
    private = "%s/%s" % (WORKROOM, system.entropy(8).hex())
    try:
        system.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", private))
        yield private, system.read(private + ".pub").strip()
    finally:
        system.remove(private)
        system.remove(private + ".pub")


@contextmanager
def allowance(system: System, path: str, account: Account, public: bytes) -> Iterator[None]:
    """Allow a key for as long as the block runs; Missing or Unreadable when the file cannot be made."""
    try:
        system.stat(path)
    except Missing:
        pass
    else:
        raise Missing("%s is in use; the door of root was not tried" % path)
    folder = path.rpartition("/")[0]
    try:
        system.stat(folder)
    except Missing:
        system.make_directory(folder, 0o700, account.uid, 0)
    try:
        system.write(path, LIMITS.encode() + b" " + public + b"\n", 0o600, account.uid, 0)
        yield
    finally:
        system.remove(path)


@contextmanager
def host_key(system: System) -> Iterator[str]:
    """Make a host key for the time of a test of the configuration, on a device that has none yet."""
    with passing_key(system) as (private, _):
        yield private


def told(outcome: bytes) -> dict[str, str]:
    """Read what `sshd -T` prints; the first line of a keyword counts."""
    found: dict[str, str] = {}
    for line in outcome.decode("utf-8", "surrogateescape").split("\n"):
        key, _, value = line.partition(" ")
        if key:
            found.setdefault(canonical(key), value.strip())
    return found
