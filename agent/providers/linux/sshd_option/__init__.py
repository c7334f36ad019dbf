"""Settings of the SSH server: what its files say to anybody, and what the servers that run now really do.

`kept` joins what sshd itself makes of its files, for every connection its Match lines can tell apart and for every way
a unit starts it. `live` joins the running servers, each with its own command line; one that has not read its files
since they changed is judged by trying its door, and is unknown where the door cannot be tried.
"""

import time
from weakref import WeakKeyDictionary

from agent.core.assess import Reading, unread
from agent.core.errors import PrivetError
from agent.core.plan import Reload, Run, Write
from agent.core.record import Params, Value
from agent.providers.linux.sshd_option import listed
from agent.providers.linux.sshd_option.commands import PROGRAM
from agent.providers.linux.sshd_option.judge import Judge
from agent.providers.linux.sshd_option.kinds import KINDS, Kind
from agent.providers.linux.sshd_option.look import take
from agent.providers.linux.sshd_option.memory import Memory
from agent.providers.linux.sshd_option.parted import excepted, parts
from agent.providers.linux.sshd_option.tree import FOLDER, MAIN, read_tree
from agent.system.door import System
from agent.system.parts import Step

PARAMS = ("option",)  # one of KINDS, or AuthorizedKeys
DROP_INS = FOLDER + "/sshd_config.d"
FIRST = b"Include %s/000-privet-*.conf\n" % DROP_INS.encode()
WATCHED = (
    FOLDER,
    DROP_INS,
    "/etc/default",
    "/etc/systemd/system",
    "/etc/systemd/system/ssh.service.d",
    "/run",  # servers write their number here each time they have loaded their files
    "/run/systemd/system",
)
FLYING = 2  # seconds in which a change may be followed by the reload that belongs to it
PAUSE = 0.05
PAUSES = 20

_memories: WeakKeyDictionary[System, Memory] = WeakKeyDictionary()


def probe(system: System, params: Params) -> Reading:
    """Look at one option of the SSH server in every place it lives."""
    name = str(params["option"])
    kind = KINDS.get(name)
    if name == listed.NAME:
        return whose_keys(system)
    if kind is None:
        return unread(f"this version of Privet knows no SSH option {name}; update it")
    memory = _memories.setdefault(system, Memory())
    try:
        for turn in range(PAUSES):
            look = take(system, memory.running, fresh=turn > 0)
            if turn == 0 and look.key != memory.key:
                look = take(system, memory.running)
            memory.turn(look.key, system.clock().uptime)
            if name not in memory.readings:
                memory.forget(look.daemons, look.directories())
                judge = Judge(system, look, memory)
                if settling(system, judge, turn):
                    time.sleep(PAUSE)
                    continue
                memory.settled = look.key
                memory.readings[name] = judge.reading(kind)
            return memory.readings[name]
    except PrivetError as error:
        return unread(str(error))
    return unread("an SSH server is starting and does not listen yet; look again")


def whose_keys(system: System) -> Reading:
    """Look at the keys that open this device, and watch the places they are in."""
    memory = _memories.setdefault(system, Memory())
    try:
        found, memory.folders = listed.reading(system, take(system, memory.running, fresh=False))
    except PrivetError as error:
        return unread(str(error))
    return found


def contexts(system: System, params: Params) -> tuple[tuple[str, Value], ...]:
    """Return what is found for each account by itself, "" for what is for more than one."""
    kind, memory = KINDS.get(str(params["option"])), _memories.setdefault(system, Memory())
    return parts(Judge(system, take(system, memory.running), memory), kind) if kind is not None else ()


def settling(system: System, judge: Judge, turn: int) -> bool:
    """Say whether a server is about to load its files: it listens nowhere yet, or they changed a moment ago."""
    look, memory = judge.look, judge.memory
    if look.key == memory.settled:
        return False
    if look.starting():
        return True
    fresh = abs(system.clock().wall - look.newest() // 10**9) <= FLYING
    return fresh and turn < PAUSES // 4 and not all(judge.current(daemon) for daemon in look.daemons)


def prepare(system: System, params: Params) -> Params:
    """Return the parameters with what the steps must know about this device.

    `main`: the main file as it is, when our drop-in would not be the first to speak about the option; then the steps
    put a line before all others that reads our drop-ins.
    """
    if params["option"] == listed.NAME:
        return params
    kind = KINDS[str(params["option"])]
    path = drop_in(params)
    tree = read_tree(system, MAIN, {path: content(kind, kind.strictest())})
    for keyword in kind.keywords:
        first = next((line for line in tree.lines if line.keyword == keyword.lower()), None)
        if first is None or first.file != path or first.under:
            return {**params, "main": system.read(MAIN)}
    return params


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Make the option hold for every connection, now and after a reboot; tests the configuration before loading it.

    `main` in the parameters is optional, see prepare(); `spared`: accounts that something else is allowed to.
    """
    if params["option"] == listed.NAME:
        return ()
    kind = KINDS[str(params["option"])]
    found: list[Step] = [
        Write(path=drop_in(params), content=content(kind, option, excepted(kind, params)), mode=0o644, uid=0, gid=0)
    ]
    main = params.get("main")
    if isinstance(main, bytes):
        found.append(Write(path=MAIN, content=FIRST + main, mode=0o644, uid=0, gid=0))
    found.append(Run(argv=(PROGRAM, "-t"), stdin=b""))
    found.append(Reload(unit="ssh.service", pidfile="/run/sshd.pid"))
    return tuple(found)


def watches(params: Params) -> tuple[str, ...]:
    """Name the directories whose change may move the reading."""
    found = {*WATCHED}
    for memory in _memories.values():
        found.update(memory.directories)
        found.update(memory.folders if params["option"] == listed.NAME else ())
    return tuple(sorted(found))


def drop_in(params: Params) -> str:
    """Return the path of the one file we own for an option."""
    return "%s/000-privet-%s.conf" % (DROP_INS, str(params["option"]).lower())


def content(kind: Kind, option: Value, spared: str = "") -> bytes:
    """Write the drop-in: once for everybody, and once more as the first Match, because later ones would override it."""
    lines = kind.written(option)
    text = (
        "".join("%s\n" % line for line in lines) + spared + "Match all\n" + "".join("    %s\n" % line for line in lines)
    )
    return b"# Written by Privet. To undo: remove this file and reload the SSH server.\n" + text.encode()


__all__ = ["PARAMS", "contexts", "prepare", "probe", "steps", "watches"]
