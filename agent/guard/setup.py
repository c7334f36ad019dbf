"""A device without a fleet: it gets an identity of its own, and the policy that ships with the package.

The policy is signed once, with a key made for that one signature and then forgotten: from then on it is held like any
other policy, and nobody can ever sign this device another one. `device.cbor` is written last and marks a device that
is set up; a power cut before it leaves nothing that counts. A device that a fleet has flashed is never touched.
"""

from typing import Any

from agent import registry
from agent.core import cbor
from agent.core.errors import BadInput, BadPolicy, Missing, Refused
from agent.core.policy import MAX_BYTES, read_policy
from agent.core.record import Record
from agent.core.secret import Secret
from agent.credentials.linux_account import BY_NUMBER
from agent.guard import seeds
from agent.guard.callers import table
from agent.guard.rules import DEVICE, SEED
from agent.system.door import System
from agent.system.seen import there
from agent.system.vault import Vault, WorkerVault

WISHES = "/etc/privet/setup.toml"
SHIPPED = "/usr/lib/privet/policy.cbor"  # what provisioning/package compiles: a policy map that nobody has signed
STATE = "/var/lib/privet/state.db"
RELEASED = "/var/lib/privet/released"  # `privet restore` ended the guarding; `privet setup` removes it
OWNER = 1000  # the number of the first person's account on Debian and Raspberry Pi OS
KNOWN = {"automatic": (bool, "true or false, without quotes"), "owner_account": (str, 'a name in quotes, or ""')}


class Wishes(Record):
    """What setup.toml says: whether a device is set up by itself, and whose account is the owner's ("": look)."""

    __slots__ = ("automatic", "line", "owner_account")
    automatic: bool
    owner_account: str
    line: int


def ensure(system: System, vault: Vault | None = None) -> bool:
    """Set the device up if nobody has; True when it is to be guarded.

    False: `privet restore` ended the guarding, or setup.toml says that a person sets this device up (`privet setup`).
    """
    if there(system, RELEASED):
        return False
    if seeds.establish(system, vault):
        return True
    wishes = read_wishes(system)
    if wishes.automatic:
        establish(system, wishes, vault)
    return wishes.automatic


def establish(system: System, wishes: Wishes, vault: Vault | None = None) -> str:
    """Make the identity and sign the shipped policy; returns the name of the owner's account."""
    if there(system, STATE):
        raise Refused(f"{DEVICE} is gone, but {STATE} is there; put {DEVICE} back, or purge the package and begin anew")
    owner = owner_account(system, wishes)
    device = system.entropy(8).hex()
    shipped = read_shipped(system)
    first = not wishes.owner_account and owner != "root"  # by its number, so that it may get another name
    given = [with_owner(row, f"{BY_NUMBER}{OWNER}" if first else owner) for row in shipped["credentials"]]
    mine = {**shipped, "device": device, "credentials": given}
    read_policy(mine, registry.settings())
    signer = vault or WorkerVault(Secret(system.entropy(32)))
    try:
        public, signed = signer.sign_once(cbor.encode(mine))
    finally:
        if vault is None:
            signer.close()
    facts = {"fleet": mine["fleet"], "class": mine["class"], "device": device, "policy_keys": [public]}
    system.write(SEED, signed, 0o600)
    system.write(DEVICE, cbor.encode({**facts, "floor": mine["issued"]}), 0o600)
    return owner


def read_shipped(system: System) -> dict[str, Any]:
    """Read the policy that ships with the package."""
    try:
        found = cbor.decode(system.read(SHIPPED, MAX_BYTES), MAX_BYTES)
    except Missing as error:
        raise Missing(
            f"this device was not set up: {DEVICE} is missing; install the package, or flash it with privet-fleet"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("credentials"), list):
        raise BadPolicy(f"{SHIPPED} is damaged; install the package again")
    read_policy(found, registry.settings())
    return found


def with_owner(row: dict[str, Any], owner: str) -> dict[str, Any]:
    """Name the owner's account wherever a credential asks for it."""
    params = row["params"]
    return {**row, "params": {**params, "owner_account": owner}} if "owner_account" in params else row


def owner_account(system: System, wishes: Wishes) -> str:
    """Return the account that setup.toml names, else the one with number 1000, else root: somebody must get in."""
    rows = table(system, "/etc/passwd")
    if wishes.owner_account:
        if all(row[0] != wishes.owner_account for row in rows):
            raise BadInput(
                f"{WISHES}, line {wishes.line}: this device has no account called {wishes.owner_account[:40]!r}; "
                'name one that it has, or write owner_account = ""'
            )
        return wishes.owner_account
    return next((row[0] for row in rows if row[2] == str(OWNER)), "root")


def read_wishes(system: System) -> Wishes:
    """Read setup.toml strictly; without the file, the device is set up by itself."""
    import tomllib

    try:
        text = system.read(WISHES, 65536).decode("utf-8")
        said = tomllib.loads(text)
    except Missing:
        text, said = "", {}
    except UnicodeDecodeError as error:
        raise BadInput(f"{WISHES} is not written in UTF-8; write it anew in a plain text editor") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{WISHES}: {error}; correct that line") from error
    for name, value in said.items():
        place = f"{WISHES}, line {line_of(text, name)}"
        if name not in KNOWN:
            raise BadInput(f"{place}: nothing here is called {name[:40]!r}; known are {' and '.join(KNOWN)}")
        kind, form = KNOWN[name]
        if type(value) is not kind:
            raise BadInput(f"{place}: {name} is {form}; correct it")
    automatic, owner = said.get("automatic", True), said.get("owner_account", "")
    return Wishes(automatic=automatic, owner_account=owner, line=line_of(text, "owner_account"))


def line_of(text: str, name: str) -> int:
    """Return the number of the line that a key stands on, 1 when it is written in a way that hides it."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip(" \t[\"'").startswith(name):
            return number
    return 1
