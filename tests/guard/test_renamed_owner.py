"""An owner who gives the first account another name: the device stays open to them, at every start that follows."""

import pytest

from agent.core.credential import Memory
from agent.core.errors import Missing
from agent.credentials import linux_account as kind
from tests.credentials.images import OWNER, device, hashed
from tests.guard.conftest import Kept

FILES = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")


def rename(kept: Kept, old: bytes, new: bytes) -> None:
    """Rename an account as usermod does: the same number and password under another name."""
    for path in FILES:
        content, stat = kept.system.read(path), kept.system.stat(path)
        lines = [b":".join(new if part == old else part for part in row.split(b":")) for row in content.split(b"\n")]
        kept.system.edit(path, b"\n".join(lines), mode=stat.mode, uid=stat.uid, gid=stat.gid)


def test_a_renamed_owner_is_followed_across_restarts(kept: Kept) -> None:
    """Pi becomes anna: not shut in, the password is left alone, nothing is told as returned."""
    for new, old in ((b"anna", b"pi"), (b"pi", b"anna"), (b"anna", b"pi")):
        rename(kept, old, new)
        shadow = kept.system.read("/etc/shadow")
        assert new + b":" in shadow and b"\n" + old + b":" not in shadow
        kept.reboot()
        assert not kept.house.shut_in and not kept.warnings("failed")
        assert kept.system.read("/etc/shadow") == shadow


def test_twin_an_owner_by_name_is_shut_in(kept: Kept) -> None:
    """Known bad: a policy that knows the owner by name only does not find them again."""
    for row in kept.table["credentials"]:
        if "owner_account" in row["params"]:
            row["params"]["owner_account"] = "pi"
    kept.table["sequence"] += 1
    kept.house.take_policy(kept.signed())
    rename(kept, b"pi", b"anna")
    kept.reboot()
    assert kept.house.shut_in


def test_the_owner_by_number():
    """The first account is the owner's whatever it is called; without one of that number the profile is refused."""
    first = {"owner_account": "uid:1000"}
    system = device({"pi": hashed("raspberry", "des")})
    system.edit("/etc/passwd", system.read("/etc/passwd").replace(b"pi:x:", b"anna:x:"))
    system.edit("/etc/shadow", system.read("/etc/shadow").replace(b"pi:", b"anna:"))
    assert kind.owner(first, kind.accounts(system)) == "anna"
    with pytest.raises(Missing, match="account pi is not on this device"):
        kind.find(system, OWNER, Memory(set(), set(), True))
    for absent in ("uid:1001", "uid:", "uid:root"):
        with pytest.raises(Missing, match="is not on this device"):
            kind.owner({"owner_account": absent}, kind.accounts(system))
