"""Who owns files and directories, and who may use them.

Params: `paths` (absolute, `*` stands for any name; those that are missing do not count) or `each_home` ("yes": the home
directory of every person who can log in, owned by "self:self"; with `beneath` these paths in it instead). Values are
"owner:group:octal" by name; with `owners` "any" only the bits count, and whose it is stays as it is ("any:any:octal").
What ends in .pub is there to be read. A file in a home that is not that person's, or has a second name, counts as open
and is left alone: giving it away could give away somebody else's.

A mode is read from the inode, so what is live is what is kept. An access list shows in the group bits (they hold its
mask), except where those are open on purpose: there `ls` says whether a list exists.

Prepared: `there` ("uid:gid:path" of each file that exists, with the ids of the person whose home it is), `listed`
(those with an access list), `plain` (files that nobody may run; they stay so), `users` and `groups` ("name=id").
"""

from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import BadInput, Failed, Missing, PrivetError
from agent.core.order import ANY, bits, order
from agent.core.plan import Own, Unlist
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.seen import names

PARAMS: tuple[str, ...] = ()  # one of the two
SELF = "self"
ANYBODY = "any"
PUBLIC = ".pub"
RUN = 0o111
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
    if "there" not in params and "each_home" in params:
        raise BadInput("the home directories were not looked up first; run privet enforce again")
    named = [path for path in texts(params, "paths") if "*" not in path]
    found = [(path, int(uid), int(gid)) for uid, gid, path in rows]
    found += [(path, 0, 0) for path in named if "there" not in params]
    plain = texts(params, "plain")
    made = []
    for path, uid, gid in found:
        right_user = uid if owner in {SELF, ANYBODY} else number(params, "users", owner)
        right_group = gid if group in {SELF, ANYBODY} else number(params, "groups", group)
        mode = int(octal, 8) & ~RUN if path in plain else int(octal, 8)
        made.append(Own(path=path, mode=mode, uid=right_user, gid=right_group))
    return (*made, *lists)


def watches(params: Params) -> tuple[str, ...]:
    """Name the directories that hold the files; a changed mode is news of the directory."""
    if "each_home" in params:
        return ("/home", "/etc")
    fixed = [path.partition("*")[0].rpartition("/")[0] or "/" for path in texts(params, "paths")]
    return tuple(dict.fromkeys(fixed))


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    found = [place for place in places(system, params) if settled(system, params, place)]
    rights = {path: system.stat(path) for path, _, _ in found}
    if params.get("owners") == ANYBODY:
        found = [(path, rights[path].uid, rights[path].gid) for path, _, _ in found]
    return {
        **params,
        "there": tuple(f"{uid}:{gid}:{path}" for path, uid, gid in found),
        "plain": tuple(path for path, stat in rights.items() if stat.kind == "file" and not stat.mode & RUN),
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
    wanted = [(path, 0, 0) for pattern in texts(params, "paths") for path in meant(system, pattern)]
    if "each_home" in params:
        inside = texts(params, "beneath")
        for row in table(system, "/etc/passwd"):
            login = len(row) > 6 and not row[6].endswith(SHUT) and row[5].count("/") > 0 and row[5] != "/"
            if login and (int(row[2]) in PERSONS or row[2] == "0"):
                own = [one for name in inside for one in meant(system, f"{row[5]}/{name}")] if inside else [row[5]]
                wanted += [(path, int(row[2]), int(row[3])) for path in own]
    found = []
    for place in wanted:
        try:
            system.stat(place[0])
        except Missing:
            continue
        found.append(place)
    return found


def meant(system: System, pattern: str) -> list[str]:
    """Return the paths that a pattern stands for, without what is there to be read."""
    found = [""]
    for part in pattern.split("/")[1:]:
        if "*" not in part:
            found = [f"{above}/{part}" for above in found]
            continue
        inside = [(above, name) for above in found if is_folder(system, above) for name in names(system, above)]
        found = [f"{above}/{name}" for above, name in inside if fnmatchcase(name, part)]
    return [path for path in found if not path.endswith(PUBLIC)]


def is_folder(system: System, path: str) -> bool:
    """Say whether a path is a directory itself, not behind a link."""
    try:
        return system.stat(path).kind == "directory"
    except Missing:
        return False


def settled(system: System, params: Params, place: Place) -> bool:
    """Say whether rights may be set: what lies in a home must be that person's, under one name."""
    if "beneath" not in params:
        return True
    stat = system.stat(place[0])
    return stat.kind == "file" and stat.uid == place[1] and stat.names == 1


def told(system: System, params: Params, place: Place) -> str:
    """Say owner, group and bits of one file; ANY for a link, a device or a file with an access list."""
    path, uid, gid = place
    stat = system.stat(path)
    if stat.kind not in {"file", "directory"} or not settled(system, params, place):
        return ANY
    if stat.mode & 0o070 and has_list(system, path):
        return ANY
    if params.get("owners") == ANYBODY:
        return f"{ANYBODY}:{ANYBODY}:{stat.mode:04o}"
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
