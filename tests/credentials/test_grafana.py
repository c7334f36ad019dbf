"""The grafana kind: the password every Grafana is born with, in a real SQLite database, running, stopped and unborn."""

import sqlite3
from contextlib import closing

import pytest

from agent.core.credential import NEW, OLD, OTHER
from agent.core.errors import BadInput, Failed, Missing
from agent.core.secret import Secret
from agent.credentials import BACK, KNOWN, SHIPPED
from agent.credentials import grafana as kind
from agent.credentials.grafana import door, first, table
from agent.system.parts import Credential
from agent.system.simulated.programs import grafana_server as server
from tests.credentials.products import CHEAP, PRODUCTS, at_grafana, fresh, lay_new_grafana

GIVEN = Secret(b"bcdef ghjkn prstu vxbcd")
# The statement by which Grafana's own community sets a forgotten password back to "admin".
PUBLISHED = "59acf18b94d7eb0694c61e60ce44c110c7a683ac6a8f09580d626f90f4a242000746579358d77dd9e570e83fa24faa88a8a6"
UNBORN = PRODUCTS["grafana"]._replace(lay=lay_new_grafana)


def device(running=True):
    """Make a device with a Grafana."""
    system = PRODUCTS["grafana"].made()
    if not running:
        system.stop(system.running("grafana-server")[0].pid)
    return system


def rows(system, what):
    """Ask the database of a device."""
    with closing(sqlite3.connect(":memory:")) as held:
        held.deserialize(system.read(server.DATABASE))
        return held.execute(what).fetchall()


def reasons(system, params=None, memory=None):
    """Return label and reason of what is found."""
    return {found.label: found.reason for found in kind.find(system, {**CHEAP, **(params or {})}, memory or fresh())}


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for, and needs no params."""
    part: Credential = kind
    assert part.PARAMS == ()


def test_the_arithmetic_is_grafanas():
    """A hash that Grafana itself takes for "admin" is one to us, at the rounds that are used without a param."""
    assert table.hashed("admin", "F3FAxVm33R") == PUBLISHED
    assert table.fits({}, "admin", f"F3FAxVm33R:{PUBLISHED}") and not table.fits({}, "Admin", f"F3FAxVm33R:{PUBLISHED}")


def test_who_is_found():
    """A private password stays, unless the maker says that the image brings it or names it."""
    assert reasons(device()) == {"admin": KNOWN}
    assert reasons(device(), {"shipped": "all"}) == {"admin": KNOWN, "mine": SHIPPED}
    assert reasons(device(), {"factory": ("mine:my own secret",)}) == {"admin": KNOWN, "mine": KNOWN}
    memory = fresh()
    assert reasons(device(), memory=memory) == {"admin": KNOWN} and len(memory.cleared) == 1
    memory.first = False
    memory.retired.update(one.mark() for one in (table.users(device(), CHEAP) or {}).values())
    memory.cleared.clear()
    assert reasons(device(), {"factory": ()}, memory) == {"admin": KNOWN, "mine": BACK}
    assert reasons(PRODUCTS["mosquitto"].made()) == {}


def test_one_that_does_not_run():
    """The hash alone is another in the database of a stopped Grafana; open logins are gone; owner and rights stay."""
    system = device(running=False)
    before = rows(system, 'SELECT id, login, email, is_admin FROM "user"')
    (found,) = kind.find(system, CHEAP, fresh())
    assert kind.standing(system, CHEAP, found, GIVEN) == OLD
    kind.replace(system, CHEAP, found, GIVEN)
    assert kind.standing(system, CHEAP, found, GIVEN) == NEW
    kind.prove(system, CHEAP, found, GIVEN)
    assert rows(system, 'SELECT id, login, email, is_admin FROM "user"') == before
    assert rows(system, "SELECT * FROM user_auth_token") == rows(system, "PRAGMA integrity_check")[1:] == []
    stat = system.stat(server.DATABASE)
    assert (stat.mode, stat.uid, stat.gid) == (0o640, 108, 115)
    server.boot(system)
    assert at_grafana(system, GIVEN.reveal()) and not at_grafana(system, b"raspberry")
    assert door.login(system, {}, "mine", b"my own secret")


def test_one_that_runs_changes_it_itself():
    """A running Grafana keeps its database to itself; nobody stays signed in; our tries do not shut its door."""
    system = device()
    (found,) = kind.find(system, CHEAP, fresh())
    kind.replace(system, CHEAP, found, GIVEN)
    assert rows(system, "SELECT * FROM user_auth_token") == []
    kind.prove(system, CHEAP, found, GIVEN)
    assert max(system.running("grafana-server")[0].state.refused.values()) < server.LIMIT
    assert at_grafana(system, GIVEN.reveal()) and not at_grafana(system, b"raspberry")


def test_one_that_runs_and_cannot_be_asked():
    """Where its door is elsewhere the file beneath it is left alone, and it says what to do."""
    system = device()
    (found,) = kind.find(system, CHEAP, fresh())
    before = system.read(server.DATABASE)
    with pytest.raises(Failed, match="stop it and start the device again"):
        kind.replace(system, {**CHEAP, "port": 3333}, found, GIVEN)
    assert system.read(server.DATABASE) == before


def test_one_that_goes_by_the_old_one():
    """A Grafana that runs on another database than the one that was changed fails the proof."""
    system = device(running=False)
    (found,) = kind.find(system, CHEAP, fresh())
    kind.replace(system, CHEAP, found, GIVEN)
    system.edit("/elsewhere.db", server.born({"admin": "raspberry"}, 10))
    good = system.read(server.DATABASE)
    system.edit(server.DATABASE, system.read("/elsewhere.db"))
    server.boot(system)
    with pytest.raises(Failed, match="does not fit"):
        kind.prove(system, CHEAP, found, GIVEN)
    system.edit(server.DATABASE, good)
    kind.prove(system, CHEAP, found, GIVEN)


@pytest.mark.parametrize("beside", ["-journal", "-wal"])
def test_a_database_in_the_middle_of_a_change(beside):
    """It is neither believed nor touched; an empty file beside it is none."""
    system = device(running=False)
    if beside == "-wal":
        blob = bytearray(system.read(server.DATABASE))
        blob[table.WAL] = b"\2\2"
        system.edit(server.DATABASE, bytes(blob))
    system.edit(server.DATABASE + beside, b"")
    assert reasons(system) == {"admin": KNOWN}
    system.edit(server.DATABASE + beside, b"pages")
    with pytest.raises(Failed, match="in the middle of a change"):
        kind.find(system, CHEAP, fresh())
    system.edit(server.DATABASE, b"no database at all, but some text")
    with pytest.raises(Failed, match="no SQLite database"):
        kind.find(system, CHEAP, fresh())


def test_one_that_never_ran():
    """Its first user is made with the owner's password, which no other user of the device can read meanwhile."""
    system = UNBORN.made()
    (found,) = kind.find(system, CHEAP, fresh())
    assert (found.label, found.reason, found.old.reveal()) == (first.FIRST, KNOWN, b"admin")
    assert kind.standing(system, CHEAP, found, GIVEN) == OLD
    kind.replace(system, CHEAP, found, GIVEN)
    assert kind.standing(system, CHEAP, found, GIVEN) == NEW
    kind.prove(system, CHEAP, found, GIVEN)
    assert system.stat(first.FIRST_FILE).mode == 0o640
    assert reasons(system) == {}
    system.edit(server.PROGRAM, b"\x7fELF")
    server.boot(system)
    assert at_grafana(system, GIVEN.reveal()) and not at_grafana(system, b"admin")
    assert kind.standing(system, CHEAP, found, GIVEN) == NEW
    kind.prove(system, CHEAP, found, GIVEN)
    kind.clean(system, CHEAP, found)
    assert all(not server.products.there(system, path) for path in (first.FIRST_FILE, *first.parts(CHEAP)))


def test_one_that_never_ran_and_has_a_password():
    """Who wrote a password of their own into grafana.ini keeps it."""
    system = UNBORN.made()
    system.edit(server.INI, b"[security]\nadmin_password = my own secret\n")
    assert reasons(system) == {}
    system.edit(server.INI, b"[security]\n;admin_password = my own secret\n[other]\nadmin_password = mine\n")
    assert reasons(system) == {first.FIRST: KNOWN}


def test_a_user_that_is_gone():
    """A user that somebody removed is another's doing."""
    system = device()
    (found,) = kind.find(system, CHEAP, fresh())
    system.edit(server.DATABASE, server.born({"mine": "x"}, 10))
    assert kind.standing(system, CHEAP, found, GIVEN) == OTHER
    with pytest.raises(Missing, match="is gone; start the device again"):
        kind.replace(system, CHEAP, found, GIVEN)


def test_wrong_params_are_refused():
    """Values of another form are refused and the sentence says what to correct."""
    with pytest.raises(BadInput, match="rounds is a number"):
        kind.find(device(), {"rounds": 0}, fresh())
    with pytest.raises(BadInput, match="port is a port number"):
        door.login(device(), {"port": 0}, "admin", b"x")
