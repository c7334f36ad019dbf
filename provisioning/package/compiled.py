"""Compile every module beneath a folder, in place: `python compiled.py LEVEL FOLDER PREFIX`.

LEVEL is 0 (as written) or 2 (no assertions, no docstrings: `python -OO`). Of our own modules only the commands, which
show them, keep their docstrings: each process would carry 0.3 MB of them for good. The compiled files say PREFIX where
the folder is now, and are never compared with their source, so that dates do not matter. A process of its own with a
fixed hash seed: what else a process has loaded can show in the bytes.
"""

import py_compile
import sys
from pathlib import Path


def main(level: str, folder: str, prefix: str) -> None:
    """Compile in sorted order; a module that does not compile ends everything."""
    root = Path(folder)
    mark = ".opt-2" if level == "2" else ""
    for path in sorted(root.rglob("*.py")):
        target = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}{mark}.pyc"
        inside = path.relative_to(root).as_posix()
        shown = f"{prefix}/{inside}"
        bare = inside.startswith("agent/") and not inside.startswith("agent/cli/")
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(
            str(path), str(target), shown, doraise=True, optimize=2 if bare else int(level), invalidation_mode=mode
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
