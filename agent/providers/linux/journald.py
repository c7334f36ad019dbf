"""How long the system's own log keeps what it saw, and where it lets it go.

Param: `what`: "retention" (whole days after which an entry is surely gone; ANY when nothing limits it), "least" (whole
days for which it is surely there while the device runs: 0 where nothing is kept, or next to nothing) or "storage"
(volatile: in memory, gone at the next start; persistent: on the card; forwarded: handed to something else too).

Kept is what journald will read at its next start: journald.conf and its drop-ins in systemd's order, without values
that it cannot read. Live is the same, but only if the running journald started after the last of these files changed;
else it is not known.
"""

from datetime import UTC, datetime

from agent.core.assess import Reading, absent, unread
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.order import ANY
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.system import spans, systemd_conf
from agent.system.door import System
from agent.system.seen import text
from agent.system.systemd_conf import FOLDERS

PARAMS = ("what",)
UNIT = "systemd-journald.service"
NAME = "journald.conf"
# Whoever gets a copy keeps it by rules of their own. Debian's journald forwards to a syslog daemon unless told not to.
FORWARDS = {"ForwardToSyslog": True, "ForwardToKMsg": False, "ForwardToConsole": False}
UPLOAD = "systemd-journal-upload.service"
STORAGES = ("auto", "volatile", "persistent", "none")
SPANS = ("MaxRetentionSec", "MaxFileSec")
ROOMS = {"persistent": "SystemMaxUse", "volatile": "RuntimeMaxUse"}
CARD = "/var/log/journal"
FEWEST = 4 << 20  # bytes in which a day of a quiet device finds room
INFORMED = spans.LEVELS.index("info")  # what a sign-in is noted with
EVER = 36500  # days

Step = Write | Run


def probe(system: System, params: Params) -> Reading:
    """Read what journald was told, and whether the running one has read it."""
    what = str(params["what"])
    try:
        if not there(system, f"/usr/lib/systemd/system/{UNIT}", f"/lib/systemd/system/{UNIT}"):
            return absent("systemd-journald is not installed")
        table, newest = configuration(system)
        kept = retention(table) if what == "retention" else {"least": least, "storage": storage}[what](system, table)
    except PrivetError as error:
        return unread(str(error))
    try:
        if not there(system, "/run/systemd/system"):
            return unread("systemd does not run here, so no journald that could be looked at", kept=kept)
        if newest > started(system):
            return unread("the running journald has not read its newest files; restart systemd-journald", kept=kept)
    except PrivetError as error:
        return unread(str(error), kept=kept)
    return Reading(live=kept, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Write our drop-in, named to be read last, restart journald, and let go of what is too old already."""
    what = str(params["what"])
    restart = Run(argv=("systemctl", "try-restart", UNIT), stdin=b"")
    if what == "retention":
        days = max(option, 1) if isinstance(option, int) else 1
        # A file is removed when its newest entry is too old, so its oldest outlives that by one file's span.
        longest = f"{days - 1}day" if days > 1 else "1s"
        body = f"MaxRetentionSec={longest}\nMaxFileSec={'1day' if days > 1 else '23h'}\n"
        vacuum = Run(argv=("journalctl", "--rotate", f"--vacuum-time={longest}"), stdin=b"")
        return (drop_in(what, body), restart, vacuum)
    if what == "least":
        body = "Storage=volatile\n" if params.get("storage") == "none" and option else ""
        body += f"MaxRetentionSec={option!s}day\n{params.get('more', '')!s}" if option else "Storage=none\n"
        return (drop_in(what, body), restart)
    body = "Storage=" + ("volatile" if option == "volatile" else "persistent") + "\n"
    if option != "forwarded":
        body += "".join(f"{key}=no\n" for key in FORWARDS)
        return (drop_in(what, body), restart, Run(argv=("systemctl", "stop", UPLOAD[:-1] + "[e]"), stdin=b""))
    return (drop_in(what, body), restart)


def prepare(system: System, params: Params) -> Params:
    """Add where the log is kept now, without a file of ours that says so, and what else is in the way of keeping it."""
    table = configuration(system, without=drop_in("least", "").path)[0]
    more = "".join(f"{key}={FEWEST}\n" for key in ROOMS.values() if cramped(table, key))
    more += "" if informed(table) else "MaxLevelStore=debug\n"
    return {**params, "storage": table.get("Storage", "auto"), "more": more}


def watches(params: Params) -> tuple[str, ...]:
    """Name where journald's configuration lives, and where systemd notes that a unit has started."""
    found = [place for folder in FOLDERS for place in (folder, f"{folder}/{NAME}.d")]
    return (*found, "/run/systemd/units", "/etc/systemd/system/multi-user.target.wants")


def drop_in(what: str, body: str) -> Write:
    """Make the step that writes our own file."""
    note = "# Written by Privet. Remove this file and restart systemd-journald to undo it.\n"
    content = (note + "[Journal]\n" + body).encode()
    path = f"{FOLDERS[0]}/{NAME}.d/zz-privet-{what}.conf"
    return Write(path=path, content=content, mode=0o644, uid=0, gid=0)


def there(system: System, *paths: str) -> bool:
    """Say whether one of these paths exists."""
    for path in paths:
        try:
            system.stat(path)
            return True
        except Missing:
            continue
    return False


def configuration(system: System, without: str = "") -> tuple[dict[str, str], int]:
    """Return the settings in force, the last readable one of each winning, and when their files last changed (ns)."""
    folders = [f"{folder}/{NAME}.d" for folder in FOLDERS if there(system, f"{folder}/{NAME}.d")]
    paths = systemd_conf.files(system, NAME)
    newest = max((system.stat(path).changed for path in (*folders, *paths)), default=0)
    rows = systemd_conf.said([text(system, path) for path in paths if path != without], "Journal")
    return {key: value for key, value in rows if readable(key, value)}, newest


def readable(key: str, value: str) -> bool:
    """Say whether journald takes a value; one that it does not take changes nothing."""
    if key == "Storage":
        return value in STORAGES
    if key in FORWARDS:
        return spans.switch(value) is not None
    if key in SPANS:
        return spans.microseconds(value) is not None
    if key in ROOMS.values():
        return spans.size(value) is not None
    return key != "MaxLevelStore" or spans.level(value) is not None


def retention(table: dict[str, str]) -> Value:
    """Return after how many days an entry is gone: the limit of age plus the span of one file."""
    age = spans.microseconds(table.get("MaxRetentionSec", "0"))
    span = spans.microseconds(table.get("MaxFileSec", "1month"))
    if not age or not span or spans.MOST in {age, span}:  # 0 switches a limit off
        return ANY
    return -(-(age + span) // spans.DAY)


def least(system: System, table: dict[str, str]) -> Value:
    """Return for how many days an entry is there: until the age, unless there is hardly any room for it."""
    where = place(system, table)
    if where not in ROOMS or cramped(table, ROOMS[where]) or not informed(table):
        return 0
    age = spans.microseconds(table.get("MaxRetentionSec", "0"))
    return min(age // spans.DAY, EVER) if age else EVER


def cramped(table: dict[str, str], key: str) -> bool:
    """Say whether there is hardly any room."""
    room = spans.size(table.get(key, ""))
    return room is not None and room < FEWEST


def informed(table: dict[str, str]) -> bool:
    """Say whether ordinary messages are kept, not urgent ones alone."""
    level = spans.level(table.get("MaxLevelStore", "debug"))
    return level is not None and level >= INFORMED


def place(system: System, table: dict[str, str]) -> str:
    """Return where the log is; `auto` means the card when the directory for it is there."""
    word = table.get("Storage", "auto")
    return ("persistent" if there(system, CARD) else "volatile") if word == "auto" else word


def storage(system: System, table: dict[str, str]) -> Value:
    """Return where the log ends up."""
    sent = [key for key, usual in FORWARDS.items() if (spans.switch(table[key]) if key in table else usual)]
    if sent or there(system, f"/etc/systemd/system/multi-user.target.wants/{UPLOAD}"):
        return "forwarded"
    return "persistent" if place(system, table) == "persistent" else "volatile"


def started(system: System) -> int:
    """Return when the running journald started (ns since 1970, by the clock the files were stamped with)."""
    wanted = ("--property=ExecMainStartTimestamp", "--timestamp=us+utc")
    outcome = system.run(("systemctl", "show", *wanted, "--", UNIT))
    text = outcome.out.decode("utf-8", "replace").strip().partition("=")[2]
    try:
        when = datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC)
    except ValueError:
        raise Failed("systemd does not say when journald started; look at systemctl status systemd-journald") from None
    passed = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000
