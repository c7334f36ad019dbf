"""Who owns files and directories, and who may use them.

Params: `paths` (absolute; those that are missing do not count) or `each_home` ("yes": the home directory of every
person who can log in, owned by "self:self"). Values are "owner:group:octal" by name.

A mode is read from the inode, so what is live is what is kept. An access list shows in the group bits (they hold its
mask), except where those are open on purpose: there `ls` says whether a list exists.

Prepared: `there` ("uid:gid:path" of each file that exists, with the ids of the person whose home it is), `listed`
(those with an access list), `users` and `groups` ("name=id").
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import BadInput, Failed, Missing, PrivetError
from agent.core.order import ANY, bits, order
from agent.core.plan import Own, Unlist
from agent.core.record import Params, Value
from agent.system.door import System

PARAMS: tuple[str, ...] = ()  # one of the two
SELF = "self"
# Fixed in every Debian (base-passwd), so steps know them without looking.
FIXED = {"root": 0, "daemon": 1, "adm": 4, "shadow": 42}
PERSONS = range(1000, 60000)
SHUT = ("/nologin", "/false", "/sync")

Place = tuple[str, int, int]


def probe(system: System, params: Params) -> Reading:
    """Join all files: the loosest one counts, and what is no plain file or directory counts as open."""
    try:
        found = places(system, params)
        if not found:
            return absent("none of these files is on this device: " + ", ".join(texts(params, "paths") or ["homes"]))
        lattice = order("mode")
        values = [told(system, params, place) for place in found]
        value: Value = values[0]
        for other in values[1:]:
            value = lattice.join(value, other)
        return seen(value, value)
    except PrivetError as error:
        return unread(str(error))


def steps(params: Params, option: Value) -> tuple[Own | Unlist, ...]:
    """Set owner, group and bits of each file, then drop access lists where there are any.

    In this order: the bits of the group hold back what a list gives, and a list that goes leaves them as they are.
    """
    owner, group, octal = str(option).split(":") if bits(option) else ("", "", "")
    if not owner:
        raise BadInput(f"{option!r} is no owner:group:octal; correct the profile")
    lists = tuple(Unlist(path=path) for path in (texts(params, "listed") if "listed" in params else []))
    rows = [row.split(":", 2) for row in texts(params, "there")] if "there" in params else []
    if not rows and "each_home" in params:
        raise BadInput("the home directories were not looked up first; run privet enforce again")
    found = [(path, int(uid), int(gid)) for uid, gid, path in rows] or [(p, 0, 0) for p in texts(params, "paths")]
    made = []
    for path, uid, gid in found:
        right_user = uid if owner == SELF else number(params, "users", owner)
        right_group = gid if group == SELF else number(params, "groups", group)
        made.append(Own(path=path, mode=int(octal, 8), uid=right_user, gid=right_group))
    return (*made, *lists)


def watches(params: Params) -> tuple[str, ...]:
    """Name the directories that hold the files; a changed mode is news of the directory."""
    if "each_home" in params:
        return ("/home", "/etc")
    return tuple(dict.fromkeys(path.rpartition("/")[0] or "/" for path in texts(params, "paths")))


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    found = places(system, params)
    return {
        **params,
        "there": tuple(f"{uid}:{gid}:{path}" for path, uid, gid in found),
        "listed": tuple(path for path, _, _ in found if has_list(system, path)),
        "users": tuple(f"{name}={one}" for one, name in ids(system, "/etc/passwd").items()),
        "groups": tuple(f"{name}={one}" for one, name in ids(system, "/etc/group").items()),
    }


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words, empty when it is not given."""
    value = params.get(name, ())
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def number(params: Params, table: str, name: str) -> int:
    """Return the id behind a name."""
    for row in texts(params, table):
        known, _, found = row.rpartition("=")
        if known == name:
            return int(found)
    if name in FIXED:
        return FIXED[name]
    raise BadInput(f"this device has no user or group called {name}; correct the profile")


def table(system: System, path: str) -> list[list[str]]:
    """Return the rows of /etc/passwd or /etc/group as fields."""
    rows = [line.split(":") for line in system.read(path).decode("utf-8", "replace").splitlines()]
    return [row for row in rows if len(row) > 2 and row[2].isdigit()]


def ids(system: System, path: str) -> dict[int, str]:
    """Return the names of users or groups by id, the first name of each."""
    found: dict[int, str] = {}
    for row in table(system, path):
        found.setdefault(int(row[2]), row[0])
    return found


def places(system: System, params: Params) -> list[Place]:
    """Return the files that exist, with the ids of the person they belong to (root's where not a home)."""
    wanted = [(path, 0, 0) for path in texts(params, "paths")]
    if "each_home" in params:
        for row in table(system, "/etc/passwd"):
            login = len(row) > 6 and not row[6].endswith(SHUT) and row[5].count("/") > 0 and row[5] != "/"
            if login and (int(row[2]) in PERSONS or row[2] == "0"):
                wanted.append((row[5], int(row[2]), int(row[3])))
    found = []
    for place in wanted:
        try:
            system.stat(place[0])
        except Missing:
            continue
        found.append(place)
    return found


def told(system: System, params: Params, place: Place) -> str:
    """Say owner, group and bits of one file; ANY for a link, a device or a file with an access list."""
    path, uid, gid = place
    stat = system.stat(path)
    if stat.kind not in {"file", "directory"}:
        return ANY
    if stat.mode & 0o070 and has_list(system, path):
        return ANY
    home = "each_home" in params
    owner = SELF if home and stat.uid == uid else ids(system, "/etc/passwd").get(stat.uid, str(stat.uid))
    group = SELF if home and stat.gid == gid else ids(system, "/etc/group").get(stat.gid, str(stat.gid))
    return f"{owner}:{group}:{stat.mode:04o}"


def has_list(system: System, path: str) -> bool:
    """Say whether a file has an access list, which `ls` shows as a plus sign behind the bits."""
    if not system.stat(path).mode & 0o070:
        return False
    outcome = system.run(("ls", "-ld", "--", path))
    if outcome.code != 0:
        raise Failed(f"ls could not look at {path}; check that it exists")
    return outcome.out.split(b" ", 1)[0].endswith(b"+")
