"""Who may read which purpose: readers with grants, reviewed within a year, and a journal of who read what.

A store in which nobody was ever granted anything is its owner's alone, who may read it; each reading is noted even
then. From the first grant on a reader gets the purposes granted to them, and nobody else anything.

In a file this is order among those who can open it anyway. PostgreSQL keeps it too: a reader is a database role, sees
the rows of its purposes alone, keys included (row-level security), writes notes in its own name only, and changes
nothing. What a role selects past our program it gets sealed; that it did is PostgreSQL's own log to write down.
"""

import os
import pwd
import time

from sqlalchemy import Text, bindparam, delete, func, insert, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from agent.core.catalogue import slug
from agent.core.errors import BadInput, Missing, Refused
from agent.core.record import Record
from agent.core.role import YEAR
from provisioning.collector.store import Store
from provisioning.collector.tables import reader, seen

_give = upsert(reader).values(**{c.name: bindparam(c.name) for c in reader.c})
GIVE = _give.on_conflict_do_update(
    index_elements=[reader.c.name, reader.c.purpose], set_={"review_by": _give.excluded.review_by}
)
TAKE = delete(reader).where(
    reader.c.name == bindparam("who", type_=Text),
    or_(reader.c.purpose == bindparam("what", type_=Text), bindparam("what", type_=Text) == ""),
)
GRANTS = select(reader.c.name, reader.c.purpose, reader.c.review_by).order_by(reader.c.name, reader.c.purpose)
NOTE = insert(seen).values(**{c.name: bindparam(c.name) for c in seen.c if c.name != "id"}).inline()
NOTES = select(*(c for c in seen.c if c.name != "id")).order_by(seen.c.id)
ANYBODY = select(func.count()).select_from(reader)

# What PostgreSQL is told, once by whoever owns the tables (and is not bound by it), and for each reader.
OWN = "name = session_user"
MAY = "SELECT purpose FROM reader WHERE name = session_user AND review_by > extract(epoch FROM now())"
STREAMS = "stream IN (SELECT id FROM stream)"
POLICIES = (
    ("reader", "SELECT", f"USING ({OWN})"),
    ("stream", "SELECT", f"USING (purpose IN ({MAY}))"),
    *((table, "SELECT", f"USING ({STREAMS})") for table in ("record", "epoch", "sender", "gap", "reach")),
    ("seen", "SELECT", f"USING ({OWN})"),
    ("seen", "INSERT", f"WITH CHECK ({OWN})"),
)


class Grant(Record):
    """A reader may read a purpose until the grant is due for review (Unix seconds)."""

    __slots__ = ("name", "purpose", "review_by")
    name: str
    purpose: str
    review_by: int


class Note(Record):
    """Who read what, and when."""

    __slots__ = ("act", "at", "first", "last", "name", "purposes")
    at: int
    name: str
    act: str
    purposes: str
    first: int
    last: int


def caller(store: Store, name: str = "") -> str:
    """Return who reads: the database's role where there is one, else whom the command names, else the account."""
    if not store.base.file:
        role = str(store.base.link.execute("SELECT session_user").fetchone()[0])
        if name not in ("", role):
            raise Refused(f"the database knows you as {role}, not as {name}; connect as that role")
        return role
    return name or pwd.getpwuid(os.getuid()).pw_name


def give(store: Store, name: str, purpose: str, days: int) -> int:
    """Let a reader read a purpose until a review so many days on; return when that is."""
    if not slug(name) or not slug(purpose):
        raise BadInput("a reader and a purpose have names of a-z, 0-9, _ and -, 1 to 64; correct them")
    if not 0 < days * 86400 <= YEAR:
        raise BadInput("a grant is reviewed within a year; give 1 to 365 days")
    if not store.base.file:
        _told(store, name)
    until = int(time.time()) + days * 86400
    with store.transaction():
        store.base.run(GIVE, name=name, purpose=purpose, review_by=until)
    return until


def take(store: Store, name: str, purpose: str = "") -> int:
    """Take a grant back, or all of a reader; return how many."""
    with store.transaction():
        return int(store.base.run(TAKE, who=name, what=purpose).rowcount)


def grants(store: Store) -> list[Grant]:
    """Return all grants; with PostgreSQL a reader sees their own."""
    with store.spoken():
        return [Grant(name=n, purpose=p, review_by=int(r)) for n, p, r in store.base.run(GRANTS).fetchall()]


def notes(store: Store) -> list[Note]:
    """Return the journal, the oldest first; with PostgreSQL a reader sees their own lines."""
    with store.spoken():
        rows = store.base.run(NOTES).fetchall()
    return [Note(at=a, name=n, act=c, purposes=p, first=f, last=t) for a, n, c, p, f, t in rows]


def allowed(store: Store, name: str, purpose: str | None = None) -> frozenset[str] | None:
    """Return which purposes a reader may read now (None: all, the owner's).

    Refused when there is none, when it is not the one that is asked for, or when its review is overdue.
    """
    known, now = grants(store), time.time()
    mine = [one for one in known if one.name == name and purpose in (None, one.purpose)]
    found = frozenset(one.purpose for one in mine if one.review_by > now)
    # With PostgreSQL whoever does not own the tables sees their own grants only: none is then a refusal.
    if (known or not _owner(store)) and not found:
        if mine:
            due = time.strftime("%Y-%m-%d", time.gmtime(max(one.review_by for one in mine)))
            raise Refused(f"the review of {name} was due on {due}; look whether it is still right, and grant it again")
        what = "any purpose" if purpose is None else purpose
        raise Refused(f"{name} may not read {what}; let the operator grant it: privet-fleet readings grant {name}")
    return found or (None if purpose is None else frozenset((purpose,)))


def note(store: Store, name: str, act: str, purposes: frozenset[str] | None, after: int) -> None:
    """Keep that a reader reads these purposes now, all that came after a number; it is on the disk before they do."""
    told = "*" if purposes is None else ",".join(sorted(purposes))
    last = store.last()
    with store.spoken():
        store.base.run(NOTE, at=int(time.time()), name=name, act=act, purposes=told, first=after + 1, last=last)


def _owner(store: Store) -> bool:
    if store.base.file:
        return True
    asked = "SELECT pg_has_role(session_user, relowner, 'USAGE') FROM pg_class WHERE oid = 'record'::regclass"
    return bool(store.base.link.execute(asked).fetchone()[0])


def _told(store: Store, name: str) -> None:
    """Let PostgreSQL keep the readers apart, and this one see what is theirs."""
    run = store.base.link.execute
    if run("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
        raise Missing(f"the database has no role {name}; let its owner make it: CREATE ROLE {name} LOGIN")
    with store.transaction():
        for table, act, rule in POLICIES:
            run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            run(f"DROP POLICY IF EXISTS privet_{act.lower()} ON {table}")
            run(f"CREATE POLICY privet_{act.lower()} ON {table} FOR {act} {rule}")
        schema = run("SELECT current_schema()").fetchone()[0]
        run(f'GRANT USAGE ON SCHEMA "{schema}" TO "{name}"')
        run(f'GRANT SELECT ON stream, record, epoch, sender, gap, reach, reader, seen TO "{name}"')
        run(f'GRANT INSERT ON seen TO "{name}"')
        run(f'GRANT USAGE ON SEQUENCE seen_id_seq TO "{name}"')
