"""To which other machines the log of this one is sent: by rsyslog, by syslog-ng, by systemd's own sender.

No params. Words: `rsyslog:where`, `syslog-ng:where`, `journal:where`. A machine that is this one itself does not count.
Told, not undone: rules for what goes where are somebody's own program. Nothing leaves all the same where
firewall.outbound does not name that machine.

A daemon goes by what it read at its start; where its files changed since, live is not known.
"""

import re

from agent.core.assess import Reading, absent, unread
from agent.core.errors import PrivetError
from agent.core.order import words
from agent.core.record import Params, Value
from agent.system import systemd_conf
from agent.system.door import System
from agent.system.parts import Step
from agent.system.seen import names, text, there

PARAMS: tuple[str, ...] = ()
RSYSLOG, SYSLOG_NG, JOURNAL = "rsyslog", "syslog-ng", "journal"
PROGRAMS = {
    RSYSLOG: ("/usr/sbin/rsyslogd",),
    SYSLOG_NG: ("/usr/sbin/syslog-ng",),
    JOURNAL: ("/usr/lib/systemd/systemd-journal-upload", "/lib/systemd/systemd-journal-upload"),
}
UPLOAD = "journal-upload.conf"
FILES = {
    RSYSLOG: ("/etc/rsyslog.conf", "/etc/rsyslog.d/*"),
    SYSLOG_NG: ("/etc/syslog-ng/syslog-ng.conf", "/etc/syslog-ng/conf.d/*"),
    JOURNAL: tuple(f"{one}/{name}" for one in systemd_conf.FOLDERS for name in (UPLOAD, f"{UPLOAD}.d/*")),
}
UNITS = {RSYSLOG: "rsyslog", SYSLOG_NG: "syslog-ng", JOURNAL: "systemd-journal-upload"}
WANTED = "/etc/systemd/system/multi-user.target.wants/systemd-journal-upload.service"
# A rule that ends in a machine: one @ by UDP, two by TCP, (options) between.
OLD = re.compile(r"^[^#\s$].*?\s@@?(?:\([^)]*\))?(\[[0-9a-fA-F:]+\]|[^\s:;]+)", re.MULTILINE)
SENDERS = re.compile(
    r"action\s*\(([^)]*type\s*=\s*\"(?:omfwd|omrelp|omhttp|omelasticsearch|omkafka|ommail|omamqp1)\"[^)]*)\)",
    re.IGNORECASE,
)
TARGET = re.compile(r"(?:target|server|broker|host)\s*=\s*\[?\s*\"([^\"]+)\"", re.IGNORECASE)
DRIVERS = re.compile(r"\b(?:tcp6?|udp6?|syslog|network)\s*\(\s*\"?([^\s\"();]+)", re.IGNORECASE)
DESTINATION = re.compile(r"destination\s+\S+\s*\{(.*?)\}\s*;", re.DOTALL)
HERE = ("localhost", "127.", "::1", "[::1]", "/")


def probe(system: System, params: Params) -> Reading:
    """Name every machine."""
    try:
        here = [name for name, paths in PROGRAMS.items() if any(there(system, path) for path in paths)]
        if not here:
            return absent("no program that could send the log is installed")
        found = [f"{name}:{plain(one)}" for name in here for one in sent(system, name) if not one.startswith(HERE)]
        kept = words(found)
        late = [name for name in here if newest(system, name) > started(system, name)]
    except PrivetError as error:
        return unread(str(error))
    if late:
        return unread(f"{late[0]} runs and has not read its files anew; restart {UNITS[late[0]]}", kept=kept)
    return Reading(live=kept, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Change nothing."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where it is said, and where systemd notes that a unit has started."""
    places = dict.fromkeys(path.rpartition("/")[0] for paths in FILES.values() for path in paths)
    return (*places, "/run/systemd/units")


def plain(name: str) -> str:
    """Return the name of a machine as a word."""
    return "".join(letter if letter.isprintable() and letter not in " ," else "_" for letter in name.lower())


def files(system: System, name: str) -> list[str]:
    """Return a program's files, in the order in which it reads them."""
    if name == JOURNAL:
        return systemd_conf.files(system, UPLOAD)
    found = []
    for path in FILES[name]:
        folder, _, last = path.rpartition("/")
        listed = [one for one in names(system, folder) if one.endswith(".conf")] if last == "*" else [last]
        found += [f"{folder}/{one}" for one in listed if there(system, f"{folder}/{one}")]
    return found


def sent(system: System, name: str) -> list[str]:
    """Return the machines that a program sends to."""
    contents = [text(system, path) for path in files(system, name)]
    if name == JOURNAL:
        urls = [value for key, value in systemd_conf.said(contents, "Upload") if key == "URL"]
        urls = [] if not urls or not urls[-1] else urls
        return [urls[-1].partition("://")[2] or urls[-1]] if urls and there(system, WANTED) else []
    bare = ["\n".join(line.partition("#")[0] for line in content.splitlines()) for content in contents]
    if name == SYSLOG_NG:
        return [one for content in bare for block in DESTINATION.findall(content) for one in DRIVERS.findall(block)]
    found = [one for content in bare for one in OLD.findall(content)]
    for action in (action for content in bare for action in SENDERS.findall(content)):
        found += TARGET.findall(action) or ["unnamed"]
    return found


def newest(system: System, name: str) -> int:
    """Return when the last of a program's files changed (ns)."""
    return max((system.stat(path).changed for path in files(system, name)), default=0)


def started(system: System, name: str) -> int:
    """Return when a running program started (ns); the end of time for one that does not run."""
    marks = [f"/run/systemd/units/invocation:{UNITS[name]}.service", f"/run/{UNITS[name]}d.pid"]
    return max((system.stat(mark).changed for mark in marks if there(system, mark)), default=1 << 63)
