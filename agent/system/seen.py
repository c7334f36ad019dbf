"""Looks that take what is not there as an answer: no names, no text, not there. All else is still raised."""

from agent.core.errors import Missing
from agent.system.door import System


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


def text(system: System, path: str) -> str:
    """Return the text of a file, empty when it is not there; Unreadable."""
    try:
        return system.read(path).decode("utf-8", "replace")
    except Missing:
        return ""


def booted(system: System) -> bool:
    """Say whether systemd is the first process, as sd_booted(3) does."""
    try:
        return system.stat("/run/systemd/system").kind == "directory"
    except Missing:
        return False
