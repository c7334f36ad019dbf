"""How long the system's own log keeps what it saw, and where it lets it go.

Param: `what`: "retention" (whole days after which an entry is surely gone; ANY when nothing limits it), "least" (whole
days for which it is surely there while the device runs: 0 where nothing is kept, or next to nothing) or "storage"
(volatile: in memory, gone at the next start; persistent: on the card; forwarded: handed to something else too).

Kept is what journald will read at its next start: journald.conf and its drop-ins in systemd's order. Live is the same,
but only if the running journald started after the last of these files changed; else it is not known.
"""

from datetime import UTC, datetime

from agent.core.assess import Reading, absent, unread
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.order import ANY
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.system.door import System

PARAMS = ("what",)
UNIT = "systemd-journald.service"
PLACES = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd")
DAY = 86400
MONTH = 2629800  # systemd counts a twelfth of 365.25 days
SPANS = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600,
    "d": DAY, "day": DAY, "days": DAY, "w": 7 * DAY, "week": 7 * DAY, "weeks": 7 * DAY,
    "M": MONTH, "month": MONTH, "months": MONTH, "y": 12 * MONTH, "year": 12 * MONTH, "years": 12 * MONTH,
}  # fmt: skip
SMALL = {"ms", "msec", "us", "usec", "μs", "ns", "nsec"}  # parts of a second: they round up to one
# Whoever gets a copy keeps it by rules of their own. Debian's journald forwards to a syslog daemon unless told not to.
FORWARDS = {"ForwardToSyslog": "yes", "ForwardToKMsg": "no", "ForwardToConsole": "no"}
UPLOAD = "systemd-journal-upload.service"
YES = {"1", "yes", "y", "true", "t", "on"}

SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
FEWEST = 4 << 20  # bytes in which a day of a quiet device finds room
EVER = 36500  # days

Step = Write | Run


def probe(system: System, params: Params) -> Reading:
    """Read what journald was told, and whether the running one has read it."""
    what = str(params["what"])
    try:
        if not there(system, f"/usr/lib/systemd/system/{UNIT}", f"/lib/systemd/system/{UNIT}"):
            return absent("systemd-journald is not installed")
        table, newest = configuration(system)
        kept = {"retention": retention, "least": least}[what](table) if what != "storage" else storage(system, table)
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
        body += f"MaxRetentionSec={option!s}day\nRuntimeMaxUse=\nSystemMaxUse=\n" if option else "Storage=none\n"
        return (drop_in(what, body), restart)
    body = "Storage=" + ("volatile" if option == "volatile" else "persistent") + "\n"
    if option != "forwarded":
        body += "".join(f"{key}=no\n" for key in FORWARDS)
        return (drop_in(what, body), restart, Run(argv=("systemctl", "stop", UPLOAD[:-1] + "[e]"), stdin=b""))
    return (drop_in(what, body), restart)


def prepare(system: System, params: Params) -> Params:
    """Add where the log is kept now, without a file of ours that says so."""
    table = configuration(system, without=drop_in("least", "").path)[0]
    return {**params, "storage": (table.get("Storage") or "auto").lower()}


def watches(params: Params) -> tuple[str, ...]:
    """Name where journald's configuration lives, and where systemd notes that a unit has started."""
    found = [place for place in PLACES for place in (place, f"{place}/journald.conf.d")]
    return (*found, "/run/systemd/units", "/etc/systemd/system/multi-user.target.wants")


def drop_in(what: str, body: str) -> Write:
    """Make the step that writes our own file."""
    note = "# Written by Privet. Remove this file and restart systemd-journald to undo it.\n"
    content = (note + "[Journal]\n" + body).encode()
    path = f"{PLACES[0]}/journald.conf.d/zz-privet-{what}.conf"
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
    """Return the settings in force, the last assignment winning, and when their files last changed (ns)."""
    chosen: dict[str, str] = {}
    newest = 0
    for place in PLACES:
        try:
            names = system.entries(f"{place}/journald.conf.d")
            newest = max(newest, system.stat(f"{place}/journald.conf.d").changed)
        except Missing:
            continue
        for name in names:
            if name.endswith(".conf"):
                chosen.setdefault(name, f"{place}/journald.conf.d/{name}")
    main = [f"{place}/journald.conf" for place in PLACES if there(system, f"{place}/journald.conf")][:1]
    found: dict[str, str] = {}
    for path in [path for path in (*main, *(chosen[name] for name in sorted(chosen))) if path != without]:
        newest = max(newest, system.stat(path).changed)
        try:
            text = system.read(path).decode("utf-8", "replace")
        except Missing:  # a link to nowhere says nothing
            continue
        found.update(assignments(text))
    return found, newest


def assignments(text: str) -> dict[str, str]:
    """Read the [Journal] section of one file, continued lines joined; an empty value is back to the default."""
    found, here = {}, ""
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            here = line
        elif here == "[Journal]" and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    return found


def seconds(text: str) -> int | None:
    """Return a time span of systemd.time(7) in whole seconds, rounded up; None when it is none or has no end."""
    total, rest = 0, text.strip()
    if not rest or rest == "infinity":
        return None
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        rest = rest[len(digits) :]
        if rest.startswith("."):
            part = rest[1:].lstrip("0123456789")
            digits, rest = str(int(digits or "0") + 1), part
        rest = rest.lstrip()
        unit = rest[: len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyzMμ"))]
        rest = rest[len(unit) :].lstrip()
        if not digits or (unit and unit not in SPANS and unit not in SMALL):
            return None
        total += 1 if unit in SMALL else int(digits) * SPANS.get(unit, 1)
    return total


def retention(table: dict[str, str]) -> Value:
    """Return after how many days an entry is gone: the limit of age plus the span of one file."""
    age = seconds(table.get("MaxRetentionSec", ""))
    span = seconds(table.get("MaxFileSec", "") or "1month")
    if not age or not span:  # 0 switches a limit off
        return ANY
    return -(-(age + span) // DAY)


def least(table: dict[str, str]) -> Value:
    """Return for how many days an entry is there: until the age, unless there is hardly any room for it."""
    word = (table.get("Storage") or "auto").lower()
    room = [table.get(key, "") for key in ("RuntimeMaxUse", "SystemMaxUse")]
    if word == "none" or any(text and size(text) < FEWEST for text in room):
        return 0
    age = seconds(table.get("MaxRetentionSec", ""))
    return min(age // DAY, EVER) if age else EVER


def size(text: str) -> int:
    """Return a number of bytes as systemd writes it; 0 for what is none."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in SIZES else (text, "")
    return int(number) * SIZES.get(unit, 1) if number.isdigit() else 0


def storage(system: System, table: dict[str, str]) -> Value:
    """Return where the log ends up; `auto` means the card when the directory for it is there."""
    sent = [key for key, usual in FORWARDS.items() if (table.get(key) or usual).lower() in YES]
    if sent or there(system, f"/etc/systemd/system/multi-user.target.wants/{UPLOAD}"):
        return "forwarded"
    word = (table.get("Storage") or "auto").lower()
    if word == "auto":
        word = "persistent" if there(system, "/var/log/journal") else "volatile"
    return {"none": "volatile", "volatile": "volatile", "persistent": "persistent"}.get(word, ANY)


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
    return (passed.days * DAY + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000
