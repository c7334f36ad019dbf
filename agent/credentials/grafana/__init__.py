"""Passwords of Grafana users that are known to the world, above all the one every Grafana is born with.

A running Grafana is asked to change the password itself, as the user whose password is known: its database is its own.
One that does not run gets its database as a whole with another hash in it, in one durable write. One that never ran has
no users yet; then its first one is given another password before it is made, in a file that Grafana alone reads.

PARAMS are none; optional: `shipped` ("all": until the device was provisioned once, every user is the image's),
`factory` (more `user:password` pairs), `database` (/var/lib/grafana/grafana.db), `port` (3000), `root` (the path it is
served under, /) and `unit` (grafana-server). Proven by Grafana's own login where it runs, else by its own arithmetic. A
database that is not SQLite is not looked at. Grafana shuts its door to a user after five refusals, so the old password
is tried once.
"""

import base64
import hmac
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import Failed, Missing
from agent.core.secret import Secret
from agent.credentials import BACK, KNOWN, SHIPPED, content, digest, factory, listed, present, settle, takes_all
from agent.credentials.grafana.door import ask, login, running
from agent.credentials.grafana.first import FIRST, FIRST_FILE, first_password, given_first, installed, parts
from agent.credentials.grafana.table import User, database, fits, hashed, opened, rounds, users
from agent.system import crypt
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "grafana"
PARAMS: tuple[str, ...] = ()


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the users with a factory password; each hash takes its time, so at low priority."""
    there = users(system, params)
    if there is None:
        return unborn(system, params, memory)
    seen = listed(KIND, params)
    everything = memory.first and takes_all(KIND, params, "known")
    todo = {name: one for name, one in there.items() if digest(one.mark(), seen) not in memory.cleared}
    found: list[Found] = []

    def search() -> None:
        """Look at those that were not looked at before."""
        for name, one in sorted(todo.items()):
            old, reason = factory(KIND, params, name, one.field(), lambda word, field: fits(params, word, field))
            if not reason and (everything or one.mark() in memory.retired):
                reason = BACK if one.mark() in memory.retired else SHIPPED
            if reason:
                found.append(Found(kind=KIND, label=name, reason=reason, owner=True, old=old, trace=one.mark()))
            else:
                memory.cleared.add(digest(one.mark(), seen))

    if todo:
        crypt.patiently(search)
    return tuple(found)


def unborn(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the first user of a Grafana that never ran, if its password would be a known one."""
    if not installed(system) or present(system, FIRST_FILE):
        return ()
    login, password = first_password(system)
    old, _ = factory(KIND, params, login, password, lambda word, field: word == field)
    mark = digest(b"first", login.encode("utf-8", "surrogateescape"), password.encode("utf-8", "surrogateescape"))
    return (Found(kind=KIND, label=FIRST, reason=KNOWN, owner=True, old=old, trace=mark),) if old is not None else ()


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whose password stands."""
    there = users(system, params)
    if found.label == FIRST and there is None:
        ours = content(system, FIRST_FILE).strip()
        if new is not None and hmac.compare_digest(ours, new.reveal()) and content(system, parts(params)[0]):
            return NEW
        return OTHER if ours and new is None else OLD
    name = first_password(system)[0] if found.label == FIRST else found.label
    one = (there or {}).get(name)
    if one is None:
        return OTHER
    if one.mark() == found.trace:
        return OLD
    return NEW if new is not None and fits(params, new.reveal().decode(), one.field()) else OTHER


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Let a running Grafana change the password, or change it in the database of one that does not run."""
    if new is None:
        raise Failed(f"there is no new password for the Grafana user {found.label}; start the device again")
    if found.label == FIRST:
        given_first(system, params, new)
        return
    one = located(system, params, found)
    if running(system):
        ask(system, params, one, found, new)
        return
    held = opened(system, params)
    if held is None:
        raise Missing(f"the Grafana user {found.label} is gone; start the device again")
    salt = base64.b32encode(system.entropy(10)).decode()
    made = hashed(new.reveal().decode(), salt, rounds(params))
    with closing(held):
        held.execute('UPDATE "user" SET password = ?, salt = ? WHERE id = ?', (made, salt, one.number))
        with suppress(sqlite3.Error):  # open logins; older releases keep them elsewhere
            held.execute("DELETE FROM user_auth_token WHERE user_id = ?", (one.number,))
        held.commit()
        blob = held.serialize()
    stat = system.stat(database(params))
    system.write(database(params), blob, stat.mode, stat.uid, stat.gid)


def located(system: System, params: "Params", found: Found) -> User:
    """Return the user that was found."""
    one = (users(system, params) or {}).get(found.label)
    if one is None:
        raise Missing(f"the Grafana user {found.label} is gone; start the device again")
    return one


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Try both passwords by Grafana's arithmetic, and where it runs at its own door."""
    name = first_password(system)[0] if found.label == FIRST else found.label
    if found.label == FIRST and users(system, params) is None:
        for path in (FIRST_FILE, *parts(params)):
            settle(system, path)
        if standing(system, params, found, new) != NEW:
            raise Failed("the first password of Grafana is not in place; start the device again")
        return
    settle(system, database(params))
    one = (users(system, params) or {}).get(name)
    if one is None or new is None or not fits(params, new.reveal().decode(), one.field()):
        raise Failed(f"the new password of the Grafana user {name} does not fit; start the device again")
    old = None if found.old is None else found.old.reveal()
    if old is not None and fits(params, old.decode("utf-8", "surrogateescape"), one.field()):
        raise Failed(f"the factory password of the Grafana user {name} still fits; start the device again")
    if not running(system):
        return
    if old is not None and login(system, params, name, old) is True:
        raise Failed(f"Grafana still takes the factory password of {name}; start it again")
    if login(system, params, name, new.reveal()) is False:
        raise Failed(f"Grafana does not take the new password of {name}; start it again")


def clean(system: System, params: "Params", found: Found) -> None:
    """Take away what held the first password, once Grafana has made its first user."""
    if users(system, params) is not None:
        for path in (*parts(params), FIRST_FILE):
            system.remove(path)


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands there now is no factory password, and that what stood there was one."""
    one = (users(system, params) or {}).get(found.label)
    if one is not None:
        memory.cleared.add(digest(one.mark(), listed(KIND, params)))
    memory.retired.add(found.trace)
