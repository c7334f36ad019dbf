"""Factory passwords are found in every scheme, replaced or locked, and gone from every copy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.credential import NEW, OLD, OTHER, Found, Memory, generate
from agent.core.errors import BadInput, Failed, Missing, Unreachable
from agent.core.record import as_map
from agent.core.secret import Secret
from agent.credentials import KNOWN, shipped
from agent.credentials import linux_account as kind
from agent.system import crypt
from agent.system.parts import Credential
from agent.system.simulated.system import SimulatedSystem
from tests.credentials.images import OWNER, SCHEMES, device, field, hashed

NEWER = generate(bytes(range(64)))


def fresh() -> Memory:
    """Return what a kind remembers on a new device."""
    return Memory(set(), set(), True)


def opens(system: SimulatedSystem, name: str, password: str) -> bool:
    """Say whether PAM takes the password."""
    return system.run(("unix_chkpwd", name, "nullok"), password.encode() + b"\0").code == 0


def rotated(system: SimulatedSystem, params: dict | None = None) -> list[str]:
    """Replace, prove and clean whatever is found; return the labels."""
    labels = []
    for found in kind.find(system, params or OWNER, fresh()):
        new = NEWER if found.owner else None
        assert kind.standing(system, params or OWNER, found, new) == OLD
        kind.replace(system, params or OWNER, found, new)
        assert kind.standing(system, params or OWNER, found, new) == NEW
        kind.prove(system, params or OWNER, found, new)
        kind.clean(system, params or OWNER, found)
        labels.append(found.label)
    return labels


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for."""
    part: Credential = kind
    assert part.PARAMS == ("owner_account",)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_found_and_replaced(scheme):
    """pi/raspberry in each scheme is found; afterwards the old one is refused and the new one taken."""
    system = device({"pi": hashed("raspberry", scheme)})
    assert opens(system, "pi", "raspberry")
    assert rotated(system) == ["pi"]
    assert not opens(system, "pi", "raspberry")
    assert opens(system, "pi", NEWER.reveal().decode())
    assert kind.find(system, OWNER, fresh()) == ()


def test_the_shipped_list_holds_what_it_promises():
    """The Mirai set, the Raspberry Pi's and the boards' passwords are on it, and no line is there twice."""
    pairs = shipped()
    assert len(pairs) == len(set(pairs)) >= 130
    promised = """pi:raspberry root:xc3511 root:vizxv root:1234 root:toor ubuntu:ubuntu osmc:osmc dietpi:dietpi
        odroid:odroid orangepi:1234 alarm:alarm kali:kali mother:fucker root:7ujMko0vizxv
        debian:temppwd root:zlxx. admin: root:"""
    assert {tuple(pair.split(":")) for pair in promised.split()} <= set(pairs)


@pytest.mark.parametrize("pair", shipped(), ids=lambda pair: pair[0] + "-" + (pair[1] or "blank"))
def test_each_shipped_pair_is_recognised(pair):
    """An account with any pair of the list is found."""
    user, password = pair
    found = kind.find(device({user: hashed(password)}), {"owner_account": user}, fresh())
    assert [one.label for one in found] == [user]
    assert found[0].reason == KNOWN


def test_a_listed_password_under_another_name_is_found():
    """The list is tried on every account, not only on the names it gives; the user's own name is tried too."""
    system = device({"pi": hashed("vizxv"), "eve": hashed("eve"), "safe": hashed("correct horse battery")})
    assert [found.label for found in kind.find(system, OWNER, fresh())] == ["eve", "pi"]


def test_a_private_password_is_left_alone_and_remembered():
    """An account with its own password is not touched, and not searched twice."""
    system, memory = device({"pi": hashed("my own secret")}), fresh()
    assert kind.find(system, OWNER, memory) == ()
    assert len(memory.cleared) == 2  # pi, and root that is locked
    kept = set(memory.cleared)
    assert kind.find(system, OWNER, memory) == ()
    assert memory.cleared == kept


def test_only_the_owner_gets_a_password():
    """Other accounts with a factory password are locked, so that nobody holds a secret nobody asked for."""
    system = device({"pi": hashed("raspberry"), "root": hashed("root"), "ubuntu": hashed("ubuntu")})
    found = {one.label: one.owner for one in kind.find(system, OWNER, fresh())}
    assert found == {"pi": True, "root": False, "ubuntu": False}
    rotated(system)
    assert field(system, "root") == field(system, "ubuntu") == "!"
    assert opens(system, "pi", NEWER.reveal().decode())


@pytest.mark.parametrize(("blank", "ends"), [("lock", "locked"), ("set", "set"), (None, "locked")])
def test_a_blank_account_is_locked_or_set(blank, ends):
    """An account without any password is a factory secret; the profile says what becomes of it."""
    system = device({"pi": hashed("mine alone"), "guest": ""})
    params = {**OWNER, **({"blank": blank} if blank else {})}
    assert opens(system, "guest", "whatever")
    assert rotated(system, params) == ["guest"]
    assert not opens(system, "guest", "whatever")
    assert not opens(system, "guest", "")
    assert opens(system, "guest", NEWER.reveal().decode()) == (ends == "set")


def test_the_owners_blank_account_gets_a_password():
    """The owner is never locked out, whatever the profile says of blank accounts."""
    system = device({"pi": ""})
    assert rotated(system, {**OWNER, "blank": "lock"}) == ["pi"]
    assert opens(system, "pi", NEWER.reveal().decode())


def test_a_hash_of_the_empty_password_is_found():
    """A hash that belongs to the empty password is as good as none."""
    system = device({"pi": hashed("")})
    assert rotated(system) == ["pi"]
    assert not opens(system, "pi", "")


def test_locked_accounts_are_no_factory_secret():
    """`!`, `*`, `!!` and a lock over a private password are left as they are."""
    fields = {"pi": "mine", "a": "!", "b": "*", "c": "!!", "d": "!" + hashed("private one")}
    system = device({**fields, "pi": hashed("mine alone")})
    assert kind.find(system, OWNER, fresh()) == ()


def test_a_lock_over_a_known_password_is_stripped():
    """`!` and a factory hash opens nothing, but unlocking would: the hash goes, the lock stays, nothing is given."""
    system = device({"pi": hashed("mine alone"), "old": "!" + hashed("raspberry")})
    (found,) = kind.find(system, OWNER, fresh())
    assert (found.reason, found.owner) == (kind.UNDER_LOCK, False)
    rotated(system)
    assert field(system, "old") == "!"


def test_the_owner_without_any_way_in_gets_one():
    """Locking the only account that opened the device would lock the owner out; so the owner gets a password."""
    system = device({"pi": "!", "admin": hashed("admin")})
    found = {one.label: one for one in kind.find(system, OWNER, fresh())}
    assert (found["pi"].owner, found["pi"].reason) == (True, kind.NO_WAY_IN)
    rotated(system)
    assert opens(system, "pi", NEWER.reveal().decode())
    assert not opens(system, "admin", "admin")
    keyed = device({"pi": "!", "admin": hashed("admin")}, [("/home/pi/.ssh/authorized_keys", b"ssh-ed25519 AAAA me\n")])
    assert [one.label for one in kind.find(keyed, OWNER, fresh())] == ["admin"]


def test_a_password_in_etc_passwd_counts():
    """An old image keeps the hash, or nothing at all, in /etc/passwd itself: found, moved to shadow, replaced."""
    system = device({"pi": "*"})
    for stored in (hashed("raspberry"), ""):
        content = system.read("/etc/passwd").decode().replace("pi:x:", f"pi:{stored}:")
        system.edit("/etc/passwd", content.encode())
        assert opens(system, "pi", "raspberry")
        assert rotated(system) == ["pi"]
        assert not opens(system, "pi", "raspberry")
        assert field(system, "pi", "/etc/passwd") == field(system, "pi", "/etc/passwd-") == "x"
        assert not crypt.matches("raspberry", field(system, "pi", "/etc/shadow-"))


def test_the_old_hash_leaves_every_backup():
    """/etc/shadow- and other copies hold the old hash after the tools ran; after cleaning no file on the card does."""
    old = hashed("raspberry", "sha512")
    line = f"pi:{old}:1:::::\nkeep:{hashed('other')}:1:::::\n".encode()
    copies = [("/etc/shadow-", line), ("/var/backups/shadow.bak", line), ("/etc/nshadow", line), ("/etc/npasswd", line)]
    system = device({"pi": old, "root": hashed("root")}, copies)
    rotated(system)
    for path, node in system.disk.walk():
        assert old.encode() not in bytes(node.content), path
        assert hashed("root").encode() not in bytes(node.content), path
    assert field(system, "keep", "/var/backups/shadow.bak") == hashed("other")
    assert field(system, "pi", "/var/backups/shadow.bak") == field(system, "pi")
    assert not {"nshadow", "npasswd"} & set(system.entries("/etc"))
    stat = system.stat("/etc/shadow-")
    assert (stat.mode, stat.uid, stat.gid) == (0o640, 0, 42)


def test_another_salt_of_the_old_password_in_a_backup_goes_too():
    """A backup that holds the factory password under another hash is recognised by the password."""
    system = device(
        {"pi": hashed("raspberry", "md5")}, [("/etc/shadow-", f"pi:{hashed('raspberry', 'sha256')}:1:::::\n".encode())]
    )
    rotated(system)
    assert field(system, "pi", "/etc/shadow-") == field(system, "pi")


def test_a_lock_file_of_a_cut_is_removed():
    """An empty lock file that a power cut left does not stop the tools for ever."""
    system = device({"pi": hashed("mine alone"), "root": hashed("root")}, [("/etc/shadow.lock", b"")])
    assert system.run(("chpasswd", "-e"), b"root:!\n").code == 1  # the tool itself refuses
    assert rotated(system) == ["root"]
    assert not opens(system, "root", "root")


def test_a_tool_that_does_nothing_is_noticed():
    """The proof looks at the device: with the old password still there it fails, whatever the tool said."""
    system = device({"pi": hashed("raspberry")})
    (found,) = kind.find(system, OWNER, fresh())
    with pytest.raises(Failed, match="does not open it"):
        kind.prove(system, OWNER, found, NEWER)
    system.edit("/etc/shadow", f"pi:{hashed(NEWER.reveal().decode())}:1:::::\n".encode())
    kind.prove(system, OWNER, found, NEWER)
    system.edit("/etc/passwd", b"pi::1000:1000::/home/pi:/bin/bash\n")
    with pytest.raises(Failed):
        kind.prove(system, OWNER, found, NEWER)


def test_a_lock_that_did_not_take_is_noticed():
    """For an account to be locked the old password is tried and must be refused."""
    system = device({"pi": hashed("mine alone"), "root": hashed("root")})
    (found,) = kind.find(system, OWNER, fresh())
    with pytest.raises(Failed, match="still opens"):
        kind.prove(system, OWNER, found, None)


def test_someone_elses_new_password_is_another():
    """A password that is neither the factory's nor ours is somebody's own."""
    system = device({"pi": hashed("raspberry")})
    (found,) = kind.find(system, OWNER, fresh())
    system.edit("/etc/shadow", f"pi:{hashed('my choice')}:1:::::\n".encode())
    assert kind.standing(system, OWNER, found, NEWER) == OTHER
    system.edit("/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
    assert kind.standing(system, OWNER, found, NEWER) == OTHER


def test_failing_tools_say_so_without_the_secret():
    """A missing or refusing tool is one sentence of ours, and no secret is in it."""
    system = device({"pi": hashed("raspberry"), "root": hashed("root")})
    found = kind.find(system, OWNER, fresh())
    system.absent.add("unix_chkpwd")
    with pytest.raises(Unreachable, match="not installed"):
        kind.opens(system, "pi", NEWER)
    system.edit("/etc/shadow.lock", b"%d" % system.start(("useradd",), None).pid)
    system.tick(60)
    system.wall = 0  # no battery: the lock's age proves nothing, and its owner lives
    with pytest.raises(Failed, match="chpasswd -e ended with 1"):
        kind.replace(system, OWNER, found[1], None)
    with pytest.raises(Failed) as refused:
        kind.replace(system, OWNER, Found(**{**as_map(found[0]), "label": "root"}), None)
    assert NEWER.reveal().decode() not in str(refused.value)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({}, BadInput),
        ({"owner_account": ""}, BadInput),
        ({"owner_account": "nobody-here"}, Missing),
        ({"owner_account": "pi", "factory": "pi:x"}, BadInput),
        ({"owner_account": "pi", "factory": ["nocolon"]}, BadInput),
    ],
)
def test_wrong_params_are_refused(params, error):
    """A profile without an owner's account, or with one that is not there, changes nothing and says what to correct."""
    with pytest.raises(error):
        kind.find(device({"pi": hashed("raspberry")}), params, fresh())


def test_a_models_own_factory_password_is_searched():
    """A profile can name the password its maker flashed, whatever it is."""
    system = device({"pi": hashed("acme-2026")})
    assert kind.find(system, OWNER, fresh()) == ()
    assert rotated(system, {**OWNER, "factory": ("pi:acme-2026",)}) == ["pi"]


def test_a_longer_list_looks_again():
    """What was cleared against one list is searched again when the list grows."""
    system, memory = device({"pi": hashed("acme-2026")}), fresh()
    assert kind.find(system, OWNER, memory) == ()
    assert [one.label for one in kind.find(system, {**OWNER, "factory": ("pi:acme-2026",)}, memory)] == ["pi"]


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_answered(passwd, shadow):
    """Whatever stands in the account files: found or not, or one of our errors; nothing else."""
    system = device({"pi": "*"})
    system.edit("/etc/passwd", passwd + b"\npi:x:1000:1000::/home/pi:/bin/sh\n")
    system.edit("/etc/shadow", shadow)
    for found in kind.find(system, OWNER, fresh()):
        assert found.label


def test_secrets_are_in_no_repr():
    """What was found can be printed."""
    (found,) = kind.find(device({"pi": hashed("raspberry")}), OWNER, fresh())
    assert "raspberry" not in repr(found) and found.old == Secret(b"raspberry")
