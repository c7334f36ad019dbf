"""Looks that take what is not there as an answer: no names, no text, not there. All else is still raised."""

from posixpath import normpath

from agent.core.errors import Missing, PrivetError, Unreadable
from agent.system.door import System

LINKS = 8  # one after the other


def names(system: System, directory: str) -> tuple[str, ...]:
    """Return the sorted names in a directory, none when it is not there; Unreadable."""
    try:
        return system.entries(directory)
    except Missing:
        return ()


def there(system: System, path: str) -> bool:
    """Say whether a path is there, itself, not behind a link; Unreadable."""
    try:
        system.stat(path)
    except Missing:
        return False
    return True


def content(system: System, path: str) -> bytes | None:
    """Return what a file holds, None when it is not there, nothing for a link to /dev/null (a mask); Unreadable."""
    try:
        return system.read(path)
    except Missing:
        return None
    except Unreadable:
        if masked(system, path):
            return b""
        raise


def masked(system: System, path: str) -> bool:
    """Say whether a path is a link to /dev/null, also by way of others: many programs take that for an empty file."""
    try:
        for _ in range(LINKS):
            target = system.target(path)
            if target == "/dev/null":
                return True
            path = target if target.startswith("/") else normpath(f"{path.rpartition('/')[0]}/{target}")
    except PrivetError:
        pass
    return False


def text(system: System, path: str) -> str:
    """Return the text of a file, empty when it is not there or masked; Unreadable."""
    return (content(system, path) or b"").decode("utf-8", "replace")


def booted(system: System) -> bool:
    """Say whether systemd is the first process, as sd_booted(3) does."""
    try:
        return system.stat("/run/systemd/system").kind == "directory"
    except Missing:
        return False
