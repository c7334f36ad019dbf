"""The checkout as the gates see it: which files belong to it, and where."""

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def files() -> tuple[Path, ...]:
    """Return every file of the checkout that git tracks or would track, sorted."""
    # safe.directory: the tests may run as root in a person's checkout
    listed = subprocess.run(
        ("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    paths = sorted({ROOT / name for name in listed.split("\0") if name})
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def python_files() -> tuple[Path, ...]:
    """Return the Python modules among them."""
    return tuple(path for path in files() if path.suffix == ".py")


def folders() -> tuple[Path, ...]:
    """Return every folder that holds a file of the checkout or another such folder, the top one first."""
    found = {ROOT}
    for path in files():
        found.update(parent for parent in path.parents if parent.is_relative_to(ROOT))
    return tuple(sorted(found))


def within(path: Path) -> str:
    """Return a path as it is written in the checkout."""
    return path.relative_to(ROOT).as_posix()


def none_of(complaints: list[str]) -> None:
    """Fail with every complaint on a line of its own."""
    assert not complaints, "\n" + "\n".join(complaints)
