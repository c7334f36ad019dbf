"""What this device tells about itself to everybody on the network, where it announces its name at all (avahi-daemon).

No params. The value is the set of what is published: addresses · aaaa (its IPv6 address to askers over IPv4) ·
workstation (its name with its hardware number) · hinfo (its processor and system) · domain (its home domain) ·
services (of its files in /etc/avahi/services, by name) · wide-area (it asks servers on the internet) ·
reflector (it carries announcements from one network into the other).

Kept is what avahi-daemon.conf and the folder of services say. Live is the same, unless the daemon started before they
changed. Avahi has no drop-ins: its own file is changed in place, its other lines as they were.
"""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.order import words
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.system import conf
from agent.system.door import System

PARAMS: tuple[str, ...] = ()
FOLDER = "/etc/avahi"
MAIN = f"{FOLDER}/avahi-daemon.conf"
SERVICES = f"{FOLDER}/services"
PROGRAM = "/usr/sbin/avahi-daemon"
UNIT = "avahi-daemon.service"
PIDFILE = "/run/avahi-daemon/pid"
# word: section, key, and whether it is published when nothing says so (avahi-daemon.conf(5))
SWITCHES = {
    "aaaa": ("publish", "publish-aaaa-on-ipv4", True),
    "addresses": ("publish", "publish-addresses", True),
    "domain": ("publish", "publish-domain", True),
    "hinfo": ("publish", "publish-hinfo", False),
    "reflector": ("reflector", "enable-reflector", False),
    "wide-area": ("wide-area", "enable-wide-area", True),
    "workstation": ("publish", "publish-workstation", False),
}
YES = ("y", "1", "t")  # avahi looks at the first letter of a word


def probe(system: System, params: Params) -> Reading:
    """Say what is published after the next start, and now if the daemon has read its files as they are."""
    try:
        system.stat(PROGRAM)
        text = system.read(MAIN).decode("utf-8", "replace")
        kept = published(text, services(system))
        newest = max(changed(system, path) for path in (MAIN, SERVICES))
    except Missing:
        return absent("avahi-daemon is not installed")
    except PrivetError as error:
        return unread(str(error))
    try:
        began = system.stat(PIDFILE).changed if runs(system) else newest
    except PrivetError as error:
        return unread(str(error), kept=kept)
    if newest > began:
        return unread(f"avahi-daemon has not read its files since they changed; restart {UNIT}", kept=kept)
    return Reading(live=kept, kept=kept, cause="", absent=False)


def runs(system: System) -> bool:
    """Say whether the daemon runs; one that has ended may leave its number behind."""
    try:
        number = system.read(PIDFILE, 64).decode("ascii", "replace").strip()
        return number.isdecimal() and b"avahi-daemon" in system.read(f"/proc/{number}/cmdline", 4096)
    except Missing:  # mdns.announce says whether it will be started
        return False


def published(text: str, listed: tuple[str, ...]) -> Value:
    """Return what a configuration publishes."""
    if is_on(text, "publish", "disable-publishing", usual=False):
        return words([word for word in ("reflector", "wide-area") if is_on(text, *SWITCHES[word])])
    found = [word for word, switch in SWITCHES.items() if is_on(text, *switch)]
    users = not is_on(text, "publish", "disable-user-service-publishing", usual=False)
    return words([*found, *(["programs"] if users else []), *(f"service:{name}" for name in listed)])


def is_on(text: str, section: str, key: str, usual: bool) -> bool:
    """Say whether a switch is on."""
    found = conf.value(text, section, key, fold=True)
    return usual if found is None else found.lower().startswith(YES)


def services(system: System) -> tuple[str, ...]:
    """Return the names of the services that files announce."""
    try:
        names = system.entries(SERVICES)
    except Missing:
        return ()
    return tuple(name.removesuffix(".service") for name in names if name.endswith(".service"))


def changed(system: System, path: str) -> int:
    """Return when a path last changed (ns since 1970), 0 when it is not there."""
    try:
        return system.stat(path).changed
    except Missing:
        return 0


def prepare(system: System, params: Params) -> Params:
    """Add the file as it is."""
    return {**params, "main": system.read(MAIN), "systemd": "yes" if changed(system, "/run/systemd/system") else "no"}


def steps(params: Params, option: Value) -> tuple[Write | Run, ...]:
    """Write the switches, and start the daemon anew where it runs; what files announce is not ours to remove."""
    text = params.get("main", b"")
    if not isinstance(text, bytes) or not text:
        raise Failed(f"{MAIN} was not looked at first; run privet enforce again")
    wanted = option if isinstance(option, tuple) else ()
    made = text.decode("utf-8", "surrogateescape")
    for section in ("publish", "wide-area", "reflector"):
        mine = {key: word for word, (where, key, _) in SWITCHES.items() if where == section}
        values: dict[str, str | None] = {key: "yes" if word in wanted else "no" for key, word in mine.items()}
        if section == "publish":
            silent = not any(word not in {"reflector", "wide-area"} for word in wanted)
            values["disable-publishing"] = "yes" if silent else None
            values["disable-user-service-publishing"] = "no" if "programs" in wanted else "yes"
        made = conf.changed(made, section, values, fold=True)
    restart = Run(argv=("systemctl", "try-restart", UNIT), stdin=b"")
    write = Write(path=MAIN, content=made.encode("utf-8", "surrogateescape"), mode=0o644, uid=0, gid=0)
    return (write, restart) if params.get("systemd") == "yes" else (write,)


def watches(params: Params) -> tuple[str, ...]:
    """Name where the files and the number of the running daemon are."""
    return (FOLDER, SERVICES, "/run/avahi-daemon")
