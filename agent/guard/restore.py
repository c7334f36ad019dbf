"""Putting everything back as it was before Privet, and ending the guarding: `privet restore`.

It runs in a process of its own, as root, and needs no guard: the guard may be what is broken. First of all the marker
RELEASED is durable; from then on no start of the guard changes anything, so a power cut in the middle ends in a device
that nobody guards and on which `privet restore` goes on where it was. The records are let go of when all is back.

What somebody else changed since is put back too, but a copy of it stays beside it (`….privet-kept`; no program reads a
drop-in of that name). Passwords and host keys stay new: the old ones are known to the world, and are gone.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from agent import registry
from agent.core import cbor
from agent.core.errors import Failed, Missing, PrivetError, Unreachable
from agent.core.original import (
    ABSENT,
    DAEMON,
    FILE,
    KEEP,
    KERNEL,
    LINK,
    LISTED,
    OTHER,
    PLACE,
    RESTART,
    RIGHTS,
    SAME,
    UNIT,
    State,
    Thing,
    things,
    verdict,
)
from agent.core.record import Record
from agent.core.setting import Setting
from agent.guard.originals import PROC, Kept, all_kept, fingerprint, look, path_of, spread
from agent.guard.posture import Posture
from agent.guard.setup import RELEASED
from agent.system.door import System
from agent.system.seen import there

ASIDE = ".privet-kept"
TABLE = ("inet", "privet")
UNITS = ("privet-courier.service", "privet-guard.service")
SYSTEMD = "/etc/systemd/system/"
BOOTED = "/run/systemd/system"
ORDER = (FILE, PLACE, LISTED, RIGHTS, KERNEL, DAEMON, UNIT)
MOTD = "/run/motd.d/50-privet"

Work = Callable[[], object]


class Item(Record):
    """One thing to put back: its record, how it is now, and what to do (`agent.core.original`)."""

    __slots__ = ("act", "kept", "now")
    kept: Kept
    now: State
    act: str


class Plan(Record):
    """What `privet restore` would do: every record, the items that differ, and a sentence for each lost record."""

    __slots__ = ("items", "kept", "lost")
    kept: tuple[Kept, ...]
    items: tuple[Item, ...]
    lost: tuple[str, ...]


def plan(system: System) -> Plan:
    """Look at every original and say what is to do; changes nothing."""
    kept, lost = all_kept(system)
    items = []
    for one in sorted(kept, key=lambda row: ORDER.index(row.thing.kind)):
        now = look(system, one.thing)
        if now is not None:
            act = verdict(one.before, now, one.ours, fingerprint(now))
            if act != SAME:
                items.append(Item(kept=one, now=now, act=act))
    return Plan(kept=kept, items=tuple(items), lost=lost)


def opened(system: System, wanted: Plan) -> tuple[Setting, ...]:
    """Name the settings that are held by what would be put back: they may be open then."""
    names = {(item.kept.thing.kind, item.kept.thing.name) for item in wanted.items}
    settings = registry.settings()
    posture = Posture(system, settings, {})
    found = []
    for name in sorted(settings):
        with suppress(PrivetError):  # a kind that cannot look at this device has not changed it either
            mine = things(posture.steps(name, settings[name].strictest()))
            if any((one.kind, one.name) in names for part in mine for one in spread(system, part)):
                found.append(settings[name])
    return tuple(found)


def described(item: Item) -> str:
    """Say in one line what would become of a thing."""
    one, before = item.kept.thing, item.kept.before
    since = "; somebody else has changed it since" if item.act == KEEP else ""
    if one.kind == FILE:
        end = "is removed" if before.form == ABSENT else "gets its former content back"
        return f"{one.name} {end}" + (f"{since}: a copy stays as {one.name}{ASIDE}" if since else "")
    if one.kind == PLACE and since:
        return f"{one.name} stays as it is{since}, and a mistake in it could keep this device from starting"
    if one.kind == PLACE:
        return f"{one.name} is as before at the next start of this device"
    if one.kind == RIGHTS:
        return f"{one.name} gets its former owner and rights back ({before.mode:04o}){since}"
    if one.kind == LISTED:
        return f"{one.name} gets its access list back"
    if one.kind == KERNEL:
        return f"{one.name.replace('/', '.')} becomes {before.content.decode('ascii', 'replace').strip()} again"
    return f"{one.name} {'runs' if before.form == 'active' else 'stops'}, as before"


def release(system: System) -> None:
    """End the guarding: nothing that starts from now on changes a setting, then both services stop."""
    system.write(RELEASED, b"privet restore ended the guarding; privet setup begins it again.\n", 0o600)
    if there(system, BOOTED):
        stopped = system.run(("systemctl", "stop", *UNITS), seconds=180)
        if stopped.code not in (0, 5):  # 5: no such unit
            raise Failed("systemd could not stop privet-guard; run systemctl stop privet-guard, then try again")


def carry_out(system: System, wanted: Plan) -> tuple[str, ...]:
    """Put everything back, as far as it goes; returns one sentence for each thing that did not.

    Files and kernel values first, then whatever reads them; units last. A second run finishes what a first one left.
    """
    works: list[Work] = [partial(put_back, system, item) for item in wanted.items if item.kept.thing.kind != UNIT]
    if there(system, BOOTED) and any(one.thing.name.startswith(SYSTEMD) for one in wanted.kept):
        works.append(partial(ran, system, ("systemctl", "daemon-reload")))
    works.append(partial(drop_table, system))
    works += [partial(reread, system, one.thing) for one in wanted.kept if one.thing.kind == DAEMON]
    works += [partial(put_back, system, item) for item in wanted.items if item.kept.thing.kind == UNIT]
    failed = [sentence for work in works for sentence in tried(work)]
    system.remove(MOTD)
    if not failed:
        for one in wanted.kept:
            system.remove(path_of(one.thing))
    return tuple(failed)


def tried(work: Work) -> tuple[str, ...]:
    """Do one part; a failure becomes its sentence, and the other parts go on."""
    try:
        work()
    except PrivetError as error:
        return (str(error),)
    return ()


def put_back(system: System, item: Item) -> None:
    """Make one thing what it was; durable on return where it is a file."""
    one, before = item.kept.thing, item.kept.before
    if one.kind == FILE:
        put_file(system, item)
    elif one.kind == PLACE:
        put_in_place(system, item)
    elif one.kind == RIGHTS:
        with suppress(Missing):  # what was put back just now may have taken it away: it was ours
            system.own(one.name, before.mode, before.uid, before.gid)
    elif one.kind == LISTED:
        access, default = cbor.decode(before.content)
        system.list_access(one.name, access, default)
    elif one.kind == KERNEL:
        system.kernel(PROC + one.name, before.content)
    elif one.kind == UNIT:
        ran(system, ("systemctl", "start" if before.form == "active" else "stop", one.name))


def put_file(system: System, item: Item) -> None:
    """Put one file back, or take it away; what somebody else made of it stays beside it."""
    path, before, now = item.kept.thing.name, item.kept.before, item.now
    if OTHER in (before.form, now.form):
        raise Failed(f"{path} is not a file any more; move it away, then run privet restore again")
    if item.act == KEEP and now.form == FILE:
        system.write(path + ASIDE, now.content, now.mode, now.uid, now.gid)
    elif item.act == KEEP:
        link(system, path + ASIDE, now.content)
    if before.form == ABSENT:
        system.remove(path)
    elif before.form == LINK:
        link(system, path, before.content)
    else:
        system.write(path, before.content, before.mode, before.uid, before.gid)


def put_in_place(system: System, item: Item) -> None:
    """Give a file on FAT its former bytes where it lies; what it grew by becomes empty lines, or the file goes.

    What somebody else changed since is left: an old kernel line on a card that was copied meanwhile would not start.
    """
    path, before, now = item.kept.thing.name, item.kept.before, item.now
    if item.act == KEEP or now.form != FILE:
        return
    if before.form == ABSENT:
        system.remove(path)
        return
    room = len(now.content) - len(before.content)
    if room < 0:
        raise Failed(f"{path} became shorter since; put back by hand what is missing in it, then run privet restore")
    system.overwrite(path, before.content + b"\n" * room)


def link(system: System, path: str, target: bytes) -> None:
    """Make a link; that of a masked unit by systemd's own program."""
    folder, _, name = path.rpartition("/")
    if path.startswith(SYSTEMD) and target == b"/dev/null":
        ran(system, ("systemctl", "--root=/", "mask", name))
    else:
        ran(system, ("ln", "-sfn", "--", target.decode("utf-8", "surrogateescape"), path))
    system.sync(folder)


def reread(system: System, daemon: Thing) -> None:
    """Make a daemon read its files again; one that does not run will read them when it starts."""
    if daemon.more == RESTART:
        if there(system, BOOTED):
            ran(system, ("systemctl", "try-restart", daemon.name))
    else:
        with suppress(Unreachable):
            system.reload(daemon.name, daemon.more)


def drop_table(system: System) -> None:
    """Remove our own table of the firewall, and nothing else of it."""
    try:
        if ours_loaded(system):
            ran(system, ("nft", "delete", "table", *TABLE))
    except Unreachable:  # no nft, no table
        return
    if ours_loaded(system):
        raise Failed("the firewall still has the table inet privet; run nft delete table inet privet")


def ours_loaded(system: System) -> bool:
    """Say whether our table is in the kernel."""
    rows = json.loads(ran(system, ("nft", "-j", "list", "ruleset")) or b"{}").get("nftables", ())
    return any((row["table"]["family"], row["table"]["name"]) == TABLE for row in rows if "table" in row)


def ran(system: System, argv: tuple[str, ...], stdin: bytes = b"") -> bytes:
    """Run a program that must succeed; returns what it printed."""
    outcome = system.run(argv, stdin, 120)
    if outcome.code != 0:
        last = outcome.err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise Failed(f"{' '.join(argv[:3])} failed with {outcome.code} ({last[0][:160]}); try it by hand")
    return outcome.out
