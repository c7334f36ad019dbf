"""The samba kind: which users are found, how pdbedit is read, and what its proof believes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.credential import NEW, OLD, OTHER
from agent.core.errors import Failed
from agent.core.secret import Secret
from agent.credentials import BACK, BLANK, KNOWN, SHIPPED
from agent.credentials import samba as kind
from agent.system import crypt
from agent.system.door import Outcome
from agent.system.parts import Credential
from tests.credentials.products import PRODUCTS, at_samba, fresh, samba_row

GIVEN = Secret(b"bcdef ghjkn prstu vxbcd")
# What pdbedit of Samba 4.17 printed for `raspberry`, disabled, without a password, and without a Linux account.
REAL = b"""pi:1000:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:CECADC1061009AEDACC80A2DE584A5F5:[U          ]:LCT-6B09563F:
nopw:1002:NO PASSWORDXXXXXXXXXXXXXXXXXXXXX:NO PASSWORDXXXXXXXXXXXXXXXXXXXXX:[NDU        ]:LCT-00000000:
dis:1001:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:CECADC1061009AEDACC80A2DE584A5F5:[DU         ]:LCT-6B095640:
gone:4294967295:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:A9F0DD57E1EDAB5BB55A9AC0A99C15EC:[U          ]:LCT-6B095640:
Failed to find a Unix account for gone
"""


def device(*rows):
    """Make a device with these users."""
    system = PRODUCTS["samba"].made()
    if rows:
        system.edit(kind.PASSDB, "".join(rows).encode(), mode=0o600)
    return system


def reasons(system, params=None, memory=None):
    """Return label, reason and whether the owner gets one, of what is found."""
    return {f.label: (f.reason, f.owner) for f in kind.find(system, params or {}, memory or fresh())}


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for, and needs no params."""
    part: Credential = kind
    assert part.PARAMS == ()


def test_what_the_real_pdbedit_prints():
    """Hashes of the real program are recognised, flags and missing Linux accounts seen."""
    users = kind.read_users(REAL)
    assert crypt.matches("raspberry", users["pi"].field) and not crypt.matches("raspberrz", users["pi"].field)
    assert [users[name].active for name in ("pi", "nopw", "dis", "gone")] == [True, False, False, False]
    assert users["nopw"].unlocked and not users["pi"].unlocked and len(users) == 4


@given(st.binary(max_size=200))
def test_any_listing_is_read(told):
    """Whatever a program prints, nothing but whole lines become users, and each has a mark."""
    for one in kind.read_users(told).values():
        assert len(one.mark()) == 16 and (one.field == "" or len(one.field) == 36)


def test_who_is_found():
    """A known password and none at all; a disabled user over a known one is to go; a private one stays until asked."""
    system = device(
        samba_row("pi", b"raspberry"),
        samba_row("off", b"raspberry", "[DU         ]"),
        samba_row("gone", b"gone", uid=kind.NOBODY),
        samba_row("open", b"", "[NU         ]").replace(":31D6", ":NOPW"),
        samba_row("mine", b"my own secret"),
    )
    known = {
        "pi": (KNOWN, True),
        "off": (kind.UNDER_LOCK, False),
        "gone": (kind.UNDER_LOCK, False),
        "open": (BLANK, True),
    }
    assert reasons(system) == known
    assert reasons(system, {"shipped": "all"}) == {**known, "mine": (SHIPPED, True)}
    assert reasons(system, {"factory": ("mine:my own secret",)})["mine"] == (KNOWN, True)


def test_a_disabled_user_is_taken_out():
    """The old password cannot come back with `smbpasswd -e`: the user is gone, and the proof looks."""
    system, memory = device(samba_row("off", b"raspberry", "[DU         ]")), fresh()
    (found,) = kind.find(system, {}, memory)
    assert kind.standing(system, {}, found, None) == OLD
    with pytest.raises(Failed, match="is still there"):
        kind.prove(system, {}, found, None)
    kind.replace(system, {}, found, None)
    assert kind.standing(system, {}, found, None) == NEW and system.read(kind.PASSDB) == b""
    kind.prove(system, {}, found, None)
    kind.remember(system, {}, found, memory)
    memory.first = False
    system.edit(kind.PASSDB, samba_row("off", b"raspberry").encode())  # enabled again, out of a backup
    assert reasons(system, memory=memory) == {"off": (KNOWN, True)}
    assert kind.standing(system, {}, found, None) == OTHER


def test_a_retired_secret_that_is_back():
    """A restored database brings back what the maker's image had: it is found after first boot too."""
    row, memory = samba_row("pi", b"the maker's own"), fresh()
    system = device(row)
    (found,) = kind.find(system, {"shipped": "all"}, memory)
    kind.replace(system, {}, found, GIVEN)
    kind.remember(system, {}, found, memory)
    memory.first = False
    assert reasons(system, memory=memory) == {}
    system.edit(kind.PASSDB, row.encode())
    assert reasons(system, memory=memory) == {"pi": (BACK, True)}


def test_the_server_is_asked():
    """A server that goes by another database fails the proof; without a server or a client the hash is what counts."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, GIVEN)
    assert at_samba(system, GIVEN.reveal()) and not at_samba(system, b"raspberry")

    class Elsewhere:
        """A client whose server takes one password."""

        def __init__(self, taken):
            self.taken = taken

        def run(self, device, argv, stdin):
            """Answer."""
            entered = stdin.endswith(b"password=" + self.taken + b"\n") or self.taken == b"any"
            return Outcome(code=0 if entered else 1, out=b"" if entered else b"NT_STATUS_LOGON_FAILURE", err=b"")

    for taken, said in ((b"raspberry", "the new password"), (b"nothing", "the new password")):
        system.programs["smbclient"] = Elsewhere(taken)
        with pytest.raises(Failed, match=said):
            kind.prove(system, {}, found, GIVEN)
    system.programs["smbclient"] = Elsewhere(b"any")  # it lets everybody in as a guest, which proves nothing
    kind.prove(system, {}, found, GIVEN)
    system.absent.add("smbclient")
    kind.prove(system, {}, found, GIVEN)


def test_a_database_elsewhere_is_told():
    """Where Samba keeps its passwords in another file nothing can be made durable, and the sentence says what to do."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    with pytest.raises(Failed, match="name the file as passdb in the profile"):
        kind.replace(system, {"passdb": "/srv/passdb.tdb"}, found, GIVEN)


def test_copies_with_the_old_hash_go():
    """A backup with the factory's hash is removed, in either form; one without it stays."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    system.edit(kind.PASSDB + ".old", b"TDB\0" + bytes.fromhex("CECADC1061009AEDACC80A2DE584A5F5"))
    system.edit(kind.PASSDB + ".orig", samba_row("pi", b"private").encode())
    system.edit(kind.BACKUPS[0], samba_row("pi", b"raspberry").encode())
    kind.replace(system, {}, found, GIVEN)
    kind.clean(system, {}, found)
    assert system.entries("/var/lib/samba/private") == ("passdb.tdb", "passdb.tdb.orig")
    assert system.entries("/var/backups") == ()


def test_broken_tools_say_so():
    """A tool that fails stops first boot with its name and nothing of what it printed."""
    system = device()
    (found,) = kind.find(system, {}, fresh())

    class Broken:
        """A tool that fails."""

        def run(self, device, argv, stdin):
            """Fail."""
            return Outcome(code=7, out=b"", err=b"secret")

    system.programs["smbpasswd"] = Broken()
    with pytest.raises(Failed, match="smbpasswd ended with 7; see the system journal, then start the device again"):
        kind.replace(system, {}, found, GIVEN)
    system.programs["pdbedit"] = Broken()
    with pytest.raises(Failed, match="pdbedit ended with 7"):
        kind.find(system, {}, fresh())
    system.absent.add("pdbedit")
    assert kind.find(system, {}, fresh()) == ()
