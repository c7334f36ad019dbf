"""What lies in the place of the guard's own records and is none: set aside before anything reads it, and told.

Only root can plant a pipe, a directory or a link there; a card that breaks can, too. A start must not hang or end for
it. What has the right form and the wrong content is for whoever reads it.
"""

from agent.core.errors import Missing, PrivetError
from agent.system.door import System

STATE = "/var/lib/privet"
RECORD = 1 << 20  # bytes; no record of ours is longer
RECORDS = (
    "trial.cbor",
    "trial-2.cbor",
    "starts.cbor",
    "recovery.cbor",
    "recovery.sealed",
    "glass.cbor",
    "glass-wrong.cbor",
    "provisioned",
    "later",
    "keys/state.key",
)
FOLDERS = ("keys", "queue", "originals")


def cleared(system: System) -> tuple[str, ...]:
    """Set aside what is no record or folder of ours; say so, one sentence each."""
    found = []
    for name in (*FOLDERS, *RECORDS):  # the folders first: a record in one that is a link is not looked at through it
        path = f"{STATE}/{name}"
        what = wrong(system, path, "directory" if name in FOLDERS else "file")
        if not what:
            continue
        try:
            found.append(f"{path} was {what}, and is set aside as {system.aside(path)}; Privet goes on without it")
        except PrivetError as error:
            found.append(f"{path} is {what} and could not be set aside ({error})")
    return tuple(found)


def queues(system: System, folder: str) -> tuple[str, ...]:
    """Set aside what lies in the place of a queue and is none."""
    try:
        names = system.entries(folder)
    except PrivetError:
        return ()
    return tuple(
        f"{folder}/{name} was no directory, and is set aside as {system.aside(f'{folder}/{name}')}"
        for name in names
        if ".damaged-" not in name and wrong(system, f"{folder}/{name}", "directory")
    )


def wrong(system: System, path: str, kind: str) -> str:
    """Say what a path is when it is not what it should be."""
    try:
        stat = system.stat(path)
    except Missing:
        return ""
    except PrivetError as error:
        return f"not to be looked at ({error})"
    if stat.kind != kind:
        return f"a {stat.kind}"
    return f"a file of {stat.size} bytes" if kind == "file" and stat.size > RECORD else ""
