"""Whose a socket is: the process that holds it open, its program, and the unit that it belongs to."""

from typing import TYPE_CHECKING

from agent.core.errors import Missing, PrivetError, Unreadable
from agent.core.record import Record, replace
from agent.system.door import System

if TYPE_CHECKING:
    from agent.system.listening import Listener

PERSONS = range(1000, 60000)
# What runs programs of others: then the program is named besides.
READERS = ("python", "node", "nodejs", "perl", "ruby", "java", "php", "bash", "dash", "sh", "lua", "busybox")


class Owner(Record):
    """A process: number, when it began, program, unit."""

    __slots__ = ("began", "pid", "program", "unit")
    pid: int
    began: str
    program: str
    unit: str


def owners(system: System, inodes: dict[int, int]) -> dict[int, Owner]:
    """Find who holds these sockets (inode: account); of several the lowest number, which is the one that opened it.

    Where not every process may be looked into (the guard's hand sees root's alone), what is left goes by its account.
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, Owner] = {}
    hidden: list[int] = []
    for pid in sorted(int(name) for name in system.entries("/proc") if name.isdigit()):
        if not wanted:
            break
        folder = f"/proc/{pid}/fd"
        try:
            mine = [wanted.pop(text) for text in system.targets(folder).values() if text in wanted]
        except Unreadable:
            hidden.append(pid)
            continue
        except Missing:  # ended meanwhile
            continue
        if mine:
            found.update(dict.fromkeys(mine, owner(system, pid)))
    if wanted and hidden:
        found.update(by_account(system, {inode: inodes[inode] for inode in wanted.values()}, hidden))
    return found


def by_account(system: System, inodes: dict[int, int], hidden: list[int]) -> dict[int, Owner]:
    """Name sockets by whose account opened them: the only program of a service's account, else the account's number.

    What root opened and gave to another account is `unseen`: a finding, not a silence.
    """
    programs: dict[int, dict[str, int]] = {}
    for pid in hidden:
        lines = text(system, f"/proc/{pid}/status").splitlines()
        said = next((line.split()[1] for line in lines if line.startswith("Uid:")), "")
        if said.isdigit():
            programs.setdefault(int(said), {}).setdefault(program(system, pid), pid)
    found = {}
    for inode, uid in inodes.items():
        theirs = programs.get(uid, {})
        if len(theirs) == 1 and uid and uid not in PERSONS:
            found[inode] = owner(system, next(iter(theirs.values())))
        else:
            found[inode] = Owner(pid=0, began="", program=f"uid+{uid}" if uid else "unseen", unit="")
    return found


def owner(system: System, pid: int) -> Owner:
    """Describe a process."""
    words = text(system, f"/proc/{pid}/stat").rpartition(")")[2].split()
    return Owner(
        pid=pid, began=words[19] if len(words) > 19 else "", program=program(system, pid), unit=unit(system, pid)
    )


def program(system: System, pid: int) -> str:
    """Name a program: by its file, not by what it calls itself; one that reads others' texts names that text too."""
    try:
        name = system.target(f"/proc/{pid}/exe").removesuffix(" (deleted)").rpartition("/")[2]
    except PrivetError:
        name = text(system, f"/proc/{pid}/comm").strip()
    stem = name.rstrip("0123456789.") or name
    if stem not in READERS:
        return plain(name)
    words = text(system, f"/proc/{pid}/cmdline").split("\0")[1:]
    script = next((word for word in words if word and not word.startswith("-")), "")
    return plain(f"{stem}+{script.rpartition('/')[2]}" if script else stem)


def plain(name: str) -> str:
    """Return a name that can be part of a word: printable, without what words are made of."""
    fits = [letter.isascii() and letter.isprintable() and letter not in " ,@:" for letter in name]
    kept = "".join(letter if good else "_" for letter, good in zip(name, fits, strict=True))
    return kept[:60] or "_"


def unit(system: System, pid: int) -> str:
    """Return the unit of a process by its control group; empty when it has none."""
    for line in text(system, f"/proc/{pid}/cgroup").splitlines():
        parts = [part for part in line.split("/") if part.endswith((".service", ".scope", ".socket"))]
        if parts:
            return parts[-1]
    return ""


def text(system: System, path: str) -> str:
    """Return the text of a file of /proc, empty when the process has ended."""
    try:
        return system.read(path, 1 << 18).decode("utf-8", "replace")
    except PrivetError:
        return ""


def systemd_names(system: System, some: "list[Listener]") -> "dict[str, Listener]":
    """Name for each socket that systemd holds the unit it holds it for; a person's own systemd is named as that."""
    if not some:
        return {}
    shown = system.run(("systemctl", "show", "*.socket", "--property=Id,Listen,ActiveState"))
    blocks = shown.out.decode("utf-8", "replace").split("\n\n") if shown.code == 0 else []
    found = {}
    for one in some:
        name = "systemd+" + plain(one.unit) if one.pid != 1 else "systemd"
        for block in blocks if one.pid == 1 else []:
            lines = block.splitlines()
            kind = "Stream" if one.protocol == "tcp" else "Datagram"
            if any(line.startswith("Listen=") and line.endswith(f":{one.port} ({kind})") for line in lines):
                name = next((plain(line[3:]) for line in lines if line.startswith("Id=")), name)
        found[one.word] = replace(one, program=name, word=one.word.rpartition(":")[0] + ":" + name)
    return found
