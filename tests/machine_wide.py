"""The kernel's values that settings are about and that devices in namespaces share with this machine."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent import registry


def wanted() -> dict[Path, bytes]:
    """Return the strictest of each, as far as this kernel has them; those below net/ are every namespace's own."""
    found: dict[Path, bytes] = {}
    for setting in registry.settings().values():
        keys = setting.params["keys"] if setting.provider == "sysctl" else ()
        for key in keys if isinstance(keys, tuple) else (str(keys),):
            path = Path("/proc/sys") / key
            if not key.startswith("net/") and path.exists():
                found[path] = str(setting.strictest()).encode()
    return found


@contextmanager
def same_after(*, strict: bool) -> Iterator[None]:
    """Give this machine its own values back afterwards; meanwhile they are strict, if that is asked for."""
    values = wanted()
    before = {path: path.read_bytes() for path in values}
    for path, value in values.items() if strict else ():
        put(path, value)
    try:
        yield
    finally:
        for path, value in before.items():
            put(path, value)


def put(path: Path, value: bytes) -> None:
    """Set one; a machine that lets nobody set it has it as it is, before and after."""
    if path.read_bytes().strip() != value.strip():
        with suppress(OSError):
            path.write_bytes(value)
