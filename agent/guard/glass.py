"""Break glass: a file with the recovery code on the boot partition sets the device back to private, as for a new owner.

For whoever has the device in hand, the printed code, and no way in any more. Early, before the network, the file is
judged and overwritten; the guard (or the first boot) then shuts the gate, destroys the key of everything it knew, and
goes through a first boot in which the people of this device lose their passwords and keys and the owner gets new ones.

    asked (durable) -> carried over: what no reset may turn back -> erased -> first boot -> done

A new password alone would be kinder and wrong: whoever finds the code in a drawer would quietly get the former owner's
consents, leaves and unsent readings with it. Without the code nothing happens: the card can be read by whoever holds
it, but it does not become a way into the running device.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Protocol

from agent.core.credential import ENTROPY, FACTORY, Found, generate
from agent.core.errors import Missing, PrivetError, Tampered, Unreadable
from agent.core.frame import LIMIT, framed, unframed
from agent.core.recovery import digest, matches
from agent.credentials import linux_account
from agent.guard.books import Store
from agent.guard.deletions import former as former_request
from agent.guard.firstboot import MARKER, FirstBoot
from agent.guard.pair import HOME, NEXT
from agent.guard.trial import start_of
from agent.system.boardkey import BOARD_KEY
from agent.system.door import System
from agent.system.people import people

if TYPE_CHECKING:
    from agent.core.record import Params

PLACES = ("/boot/firmware/privet-recovery.txt", "/boot/privet-recovery.txt")
FOLDER = "/var/lib/privet"
CODE = f"{FOLDER}/recovery.cbor"
ASKED = f"{FOLDER}/glass.cbor"
WRONG = f"{FOLDER}/glass-wrong.cbor"
KEY = f"{FOLDER}/keys/state.key"
RELEASED = f"{FOLDER}/released"  # `privet restore` ended the guarding; that is not undone by this
OWNER = "owner"  # asked by `privet erase`, which also ends the device's place in its fleet
IDENTITY = tuple(f"{folder}/{name}.pem" for folder in (NEXT, HOME) for name in ("key", "cert"))
STAGED = "credential/recovery/code"
# What stays: numbers that must not run backwards, and the maker's policy, which only ever got stricter.
CARRIED = ("boot", "least", "time", "newest", "policy", "baseline", "channels", "good")
REASON = "it belonged to the owner before"


def requested(system: System) -> tuple[str, ...]:
    """Judge the recovery file, once in each start of the device; return what the owner must be told.

    Early, without the store. Right or wrong, the file is overwritten where it lies (there is no atomic replace on FAT)
    and removed.
    """
    for path in PLACES:
        try:
            written = system.read(path, 4096)
        except Missing:
            continue
        except PrivetError:
            written = b""
        try:
            return (judged(system, path, written),)
        except PrivetError as error:
            return (f"The recovery file {path} could not be judged: {error}",)
    return ()


def judged(system: System, path: str, written: bytes) -> str:
    """Take one file for what it is."""
    wrong = record(system, WRONG)
    start = start_of(system)
    if wrong.get("start") == start:
        return "A recovery file is judged once at each start; start the device again"
    kept = record(system, CODE)
    count = int(wrong.get("count", 0)) + 1
    right = matches(bytes(kept.get("salt", b"")), bytes(kept.get("digest", b"")), written)
    if right:
        if not pending(system):  # an erasure that its owner began goes on as that: its receipt is not lost
            keep(system, ASKED, {"state": "asked"})
        system.remove(MARKER)
        system.remove(WRONG)
    else:
        keep(system, WRONG, {"count": count, "start": start})
    try:
        system.shred(path)
        left = ""
    except PrivetError as error:
        left = f" The file could not be removed ({error}); remove it yourself."
    if right:
        return f"The recovery file holds the right code: this device is set back to private for its owner.{left}"
    return f"A recovery file holds a wrong code (number {count} so far): nothing was changed.{left}"


def record(system: System, path: str) -> dict[str, Any]:
    """Return a small record; one that is not there or damaged holds nothing."""
    try:
        return unframed(path.rpartition("/")[2].upper(), system.read(path, LIMIT))
    except (Missing, Tampered, Unreadable):
        return {}


def keep(system: System, path: str, table: dict[str, Any]) -> None:
    """Keep a small record, root's alone."""
    system.write(path, framed(path.rpartition("/")[2].upper(), table), 0o600)


def pending(system: System) -> bool:
    """Say whether a reset was asked for and is not finished."""
    return bool(record(system, ASKED))


class Former(Store, Protocol):
    """The store of before, to be closed after a look."""

    def close(self) -> None:
        """Close it."""


def start_over(system: System, old: Callable[[], Former]) -> None:
    """Destroy what the device knew of its owner, before the store is opened; `old` opens the former one.

    Ended at any instant, the next start goes on: what is carried over is kept first, the key of all the rest goes next.
    """
    table = record(system, ASKED)
    if not table or table["state"] == "erased":
        return
    if table["state"] == "asked":
        table = {**table, "state": "carried", "carried": carried(old)}
        keep(system, ASKED, table)
    for path in (KEY, *belongings(system), *((*IDENTITY, BOARD_KEY) if table.get("by") == OWNER else ())):
        with suppress(Missing):
            system.shred(path)
    keep(system, ASKED, {**table, "state": "erased"})


def carried(old: Callable[[], Former]) -> dict[str, Any]:
    """Read what stays; nothing, from a store that cannot be trusted."""
    try:
        with closing(old()) as store:
            found = {name: store.get(name) for name in CARRIED}
            for name in store.keys("memory/"):  # what was a factory secret once never counts as a new one
                found[name] = {**store.get(name), "cleared": []}
            for name in store.keys("deletion/"):  # what the former owner asked of others is not taken back by this
                row = store.get(name)
                found[name] = None if row["confirmed"] else former_request(row)
    except PrivetError:
        return {}
    return {name: value for name, value in found.items() if value is not None}


def belongings(system: System) -> list[str]:
    """Return every file of the device's own memory, except the record of what is being done."""
    found = []
    for name in system.entries(FOLDER):
        path = f"{FOLDER}/{name}"
        kind = system.stat(path).kind
        if name == "queue" and kind == "directory":
            for purpose in system.entries(path):
                found += [f"{path}/{purpose}/{one}" for one in system.entries(f"{path}/{purpose}")]
        elif kind == "file" and path not in (ASKED, RELEASED):
            found.append(path)
    return found


def resume(system: System, store: Store) -> None:
    """Give a store that was begun anew what stays, with the journal's first word on it."""
    table = record(system, ASKED)
    if table.get("state") == "erased" and store.get("boot") is None:
        receipt = bytes(table.get("receipt") or b"").hex()
        stays = sorted(name for name in table["carried"] if not name.startswith("deletion/"))
        note = ("reset", {"by": table.get("by", "recovery file"), "stays": stays, "receipt": receipt})
        handed = handed_over(table)
        store.put({**table["carried"], **handed, "boot": table["carried"].get("boot", 0)}, (note,))


def handed_over(table: dict[str, Any]) -> dict[str, Any]:
    """Return what the fleet still has to hear of an erasure by the owner, for the store that begins."""
    if not table.get("receipt") or not table.get("token"):
        return {}
    kept = {"receipt": table["receipt"], "token": table["token"], "voucher": b"", "taken": False}
    return {"handover": kept}


class NewOwner(FirstBoot):
    """A first boot in which the people of this device count as factory secrets."""

    def rotate(self, name: str) -> None:
        """Finish what was begun, then the former people, then the factory's secrets."""
        if name == linux_account.KIND:
            _, params = self.kinds[name]
            for found in former(self.system, params):
                if found.label not in self.labels(name):
                    self.turn(found, FACTORY)
            let_go_of_keys(self.system)
        super().rotate(name)


def former(system: System, params: "Params") -> tuple[Found, ...]:
    """Return the accounts of people: the owner gets a new password, everybody else is locked."""
    present = linux_account.accounts(system)
    owner = linux_account.owner(params, present)
    return tuple(
        linux_account.made(present[one.name], REASON, one.name == owner, None)
        for one in people(system)
        if one.name in present and (one.name == owner or one.has_password())
    )


def let_go_of_keys(system: System) -> None:
    """Remove the keys that let people in over SSH."""
    for one in people(system):
        for name in ("authorized_keys", "authorized_keys2"):
            path = f"{one.home}/.ssh/{name}"
            try:
                system.shred(path)
            except Missing:
                continue
            except PrivetError:  # a link, say: what it leads to is not ours to overwrite
                system.remove(path)


def done(system: System) -> None:
    """The reset is over."""
    with suppress(Missing):
        system.shred(ASKED)  # it may hold a token


def issue(system: System, store: Store) -> None:
    """See to it that there is a recovery code: kept as a digest, and waiting for the owner until it was shown."""
    waiting, kept = store.get(STAGED), record(system, CODE)
    if kept and not waiting:
        return
    if not waiting:
        waiting = generate(system.entropy(ENTROPY)).reveal()
        store.put({STAGED: waiting}, (("recovery_code", {"made": True}),))
    if not kept or not matches(bytes(kept["salt"]), bytes(kept["digest"]), waiting):
        salt = system.entropy(16)
        keep(system, CODE, {"salt": salt, "digest": digest(salt, waiting)})
