"""Links of /sys, followed by hand where openat2(2) is not to be had: as far as RESOLVE_BENEATH would, and no further.

Every name is looked at in a directory that was itself reached through no link, from the handle of the top. `..` takes
back the last name of that way; an absolute link, or one that leads above the top, is refused. What is opened in the
end is the way without any link, name by name with O_NOFOLLOW: whatever is swapped meanwhile is refused, not followed.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from agent.system.calls import Calls

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
MOST = 40  # as many links as Linux follows


def straight(calls: Calls, top: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the way beneath a directory to where these names lead, without links; OSError as openat2 says."""
    way: list[str] = []
    rest = list(reversed(names))
    followed = 0
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if not way:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), "/".join(names))
            way.pop()
            continue
        with directory(calls, top, way) as above:
            if calls.look(above, name).kind != "link":
                way.append(name)
                continue
            text = calls.readlink(above, name)
        followed += 1
        if followed > MOST:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), "/".join(names))
        if text.startswith("/"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), "/".join(names))
        rest += reversed(text.split("/"))
    if not way:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), "/".join(names))
    return tuple(way)


@contextmanager
def directory(calls: Calls, top: int, way: list[str]) -> Iterator[int]:
    """Hold a directory further down, each name from the handle before it and through no link."""
    here = top
    try:
        for name in way:
            above, here = here, calls.open(here, name, DIRECTORY)
            if above != top:
                with suppress(OSError):
                    calls.close(above)
        yield here
    finally:
        if here != top:
            with suppress(OSError):
                calls.close(here)
