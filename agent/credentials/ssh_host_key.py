"""SSH host keys that came with the image: every device flashed from it answers with the same ones.

Which keys an image builder published nobody can list. So until the device was provisioned once, every host key on it
counts as the factory's, but for those that this device is known to have made; afterwards only one that was retired
and is back. Wanted types that are missing are made.

PARAMS are none. Optional: `types` (default ed25519 alone; others in `directory` are removed), `directory` (/etc/ssh),
`unit` (ssh), `pidfile` (/run/sshd.pid) and `port` (22) of the server. A key that the server is configured to use
elsewhere keeps its place and type. Nothing here is a secret for the owner; `fingerprints` tells what to compare.
"""

import base64
import hashlib
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import BadInput, Failed, Missing, PrivetError, Unreachable
from agent.core.secret import Secret
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "ssh_host_key"
PARAMS: tuple[str, ...] = ()
TYPES = ("ed25519", "rsa", "ecdsa")
NAMES = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa", "ssh-dss": "dsa"}
MAKING = "/run/privet/hostkey"  # in memory: a private key is written to the card once, in its place
PATIENCE = 50  # looks at a server that starts itself anew, a tenth of a second apart

SHIPPED = "it came with the image"
NONE = "there is none"
BACK = "the factory's key is back"


def text(params: "Params", name: str, default: str) -> str:
    """Return an optional text of the profile."""
    value = params.get(name, default)
    if not isinstance(value, str) or not value:
        raise BadInput(f"ssh_host_key: {name} is a text; correct the profile")
    return value


def types(params: "Params") -> tuple[str, ...]:
    """Return the wanted key types."""
    value = params.get("types", ("ed25519",))
    if not isinstance(value, tuple | list) or not value or any(word not in TYPES for word in value):
        raise BadInput(f"ssh_host_key: types are some of {', '.join(TYPES)}; correct the profile")
    return tuple(str(word) for word in value)


def named(directory: str, kind: str) -> str:
    """Return the path of a key of some type."""
    return f"{directory}/ssh_host_{kind}_key"


def digest(system: System, path: str) -> bytes:
    """Return a digest of the private key in a file, none when there is no file."""
    try:
        return hashlib.sha256(system.read(path)).digest()[:16]
    except Missing:
        return b""


def configured(system: System) -> tuple[str, ...]:
    """Return the key files that the server is configured to use, none when it cannot say (it has no key yet)."""
    try:
        outcome = system.run(("sshd", "-T"))
    except Unreachable:
        return ()
    lines = [line.split(None, 1) for line in outcome.out.decode("utf-8", "replace").splitlines()]
    return tuple(line[1] for line in lines if len(line) == 2 and line[0] == "hostkey" and outcome.code == 0)


def present(system: System, params: "Params") -> tuple[str, ...]:
    """Return the paths of all host keys on the device, and of those wanted; none when there is no SSH server."""
    directory = text(params, "directory", "/etc/ssh")
    try:
        names = system.entries(directory)
    except Missing:
        return ()
    own = [f"{directory}/{name}" for name in names if name.startswith("ssh_host_") and name.endswith("_key")]
    wanted = [named(directory, kind) for kind in types(params)]
    elsewhere = [path for path in configured(system) if not path.startswith(directory + "/ssh_host_")]
    return tuple(sorted({*own, *wanted, *(path for path in elsewhere if digest(system, path))}))


def keeps(params: "Params", path: str) -> bool:
    """Say whether a key belongs at this path: a wanted type, or a place that the server is configured for."""
    directory = text(params, "directory", "/etc/ssh")
    return path in [named(directory, kind) for kind in types(params)] or not path.startswith(directory + "/ssh_host_")


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the factory's host keys, while first boot lasts the missing ones too; those to be removed come last."""
    found = []
    paths = present(system, params)
    for path in (*(p for p in paths if keeps(params, p)), *(p for p in paths if not keeps(params, p))):
        mark = digest(system, path)
        reason = ""
        if mark in memory.retired:
            reason = BACK
        elif memory.first and mark not in memory.cleared:
            reason = SHIPPED if mark else NONE
        if reason:
            found.append(Found(kind=KIND, label=path, reason=reason, owner=False, old=None, trace=mark))
    return tuple(found)


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say which key is there: the factory's, our own (none, when it is to be removed), or another."""
    mark = digest(system, found.label)
    if keeps(params, found.label):
        return OLD if mark in (found.trace, b"") else NEW
    if mark == b"":
        return NEW
    return OLD if mark == found.trace else OTHER


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Make a new key in the old one's place, or remove it; then let a running server take it up."""
    if keeps(params, found.label):
        make(system, found.label, kind_of(system, found.label))
    else:
        system.remove(found.label)
        system.remove(found.label + ".pub")
    if running(system, params):
        system.reload(text(params, "unit", "ssh"), text(params, "pidfile", "/run/sshd.pid"))


def make(system: System, path: str, kind: str) -> None:
    """Let ssh-keygen make a key in memory, then put it in its place, durable."""
    clean_making(system)
    system.make_directory(MAKING, 0o700)
    argv = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", f"{MAKING}/key")
    outcome = system.run(argv, seconds=300)  # RSA takes its time on a small board
    if outcome.code != 0:
        raise Failed(f"ssh-keygen made no {kind} key (it ended with {outcome.code}); see the system journal")
    private, public = system.read(f"{MAKING}/key"), system.read(f"{MAKING}/key.pub")
    # The public half first: cut in between, the private key is still the old one, and all is done again.
    system.write(path + ".pub", public, 0o644)
    system.write(path, private, 0o600)
    clean_making(system)


def clean_making(system: System) -> None:
    """Remove what a run that was cut short left in memory."""
    for name in ("key", "key.pub"):
        system.remove(f"{MAKING}/{name}")


def kind_of(system: System, path: str) -> str:
    """Return the type of the key that belongs at a path: by its name, else by the public key beside it."""
    for kind in TYPES:
        if path.endswith(f"/ssh_host_{kind}_key"):
            return kind
    try:
        word = system.read(path + ".pub").split(None, 1)[0].decode("utf-8", "replace")
    except (Missing, IndexError):
        return TYPES[0]
    kind = "ecdsa" if word.startswith("ecdsa") else NAMES.get(word, TYPES[0])
    return kind if kind in TYPES else TYPES[0]


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Load the new key, and ask a running server which keys it answers with: ours, and no other."""
    path = found.label
    system.sync(path.rpartition("/")[0])  # whoever put it there may have died before it was durable
    if keeps(params, path):
        loaded = system.run(("ssh-keygen", "-y", "-f", path))
        if loaded.code != 0 or loaded.out.split()[:2] != public(system, path):
            raise Failed(f"the new host key {path} does not load; start the device again")
    ours = [public(system, one)[1] for one in present(system, params) if digest(system, one)]
    for _ in range(PATIENCE):
        if not running(system, params):
            return
        answered = scan(system, params)
        if answered and all(key in ours for key in answered):
            return
        system.run(("sleep", "0.1"))
    raise Failed("the SSH server does not answer with this device's new host keys; see the system journal")


def public(system: System, path: str) -> list[bytes]:
    """Return type and key of the public half beside a private key; empty ones when it is not there."""
    try:
        words = system.read(path + ".pub").split()[:2]
    except PrivetError:
        words = []
    return words if len(words) == 2 else [b"", b""]


def scan(system: System, params: "Params") -> list[bytes]:
    """Return the keys that the server answers with over loopback."""
    port = params.get("port", 22)
    argv = ("ssh-keyscan", "-T", "5", "-p", str(port), "-t", "rsa,ecdsa,ed25519", "127.0.0.1")
    lines = [line.split() for line in system.run(argv, seconds=60).out.splitlines()]
    return [line[2] for line in lines if len(line) >= 3 and not line[0].startswith(b"#")]


def running(system: System, params: "Params") -> bool:
    """Say whether an SSH server runs: its process number stands in the file, and there is such a process."""
    try:
        number = system.read(text(params, "pidfile", "/run/sshd.pid"), 64).strip().decode("ascii", "replace")
        return number.isdigit() and system.stat(f"/proc/{number}").kind == "directory"
    except Missing:
        return False


def clean(system: System, params: "Params", found: Found) -> None:
    """Remove the public half that belongs to no private key, and what making left in memory."""
    if not keeps(params, found.label) and digest(system, found.label) == b"":
        system.remove(found.label + ".pub")
    clean_making(system)


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that this device made the key that stands there now, and that the one before was the factory's."""
    mark = digest(system, found.label)
    if mark and mark != found.trace:
        memory.cleared.add(mark)
    if found.trace:
        memory.retired.add(found.trace)


def fingerprints(system: System, params: "Params") -> tuple[str, ...]:
    """Return what an owner compares at the first login: `SHA256:… (TYPE)` of each host key, as ssh shows it."""
    shown = []
    for path in present(system, params):
        kind, key = public(system, path)
        if key:
            made = base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")
            shown.append(f"SHA256:{made} ({NAMES.get(kind.decode(), 'ecdsa').upper()})")
    return tuple(shown)
