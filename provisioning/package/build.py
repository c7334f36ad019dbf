"""Build the Debian package: the same bytes from the same commit on the same kind of machine."""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent.core.errors import BadInput, Failed, Missing, PrivetError
from agent.core.record import Record
from provisioning.package import target, tree
from provisioning.package.target import Target

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = (3, 11)  # Debian 12's, for which compiled files are shipped
CONTENTS = ("agent", "device_profiles", "provisioning/package", "requirements/device.txt", "CHANGELOG.md")
BUDGET = 7_000_000  # bytes


class Origin(Record):
    """What the package is made from: its version, the moment of its commit (Unix seconds), whether more was changed."""

    __slots__ = ("changed", "moment", "version")
    version: str
    moment: int
    changed: bool


def said(*argv: str) -> str:
    """Return what a program prints, empty when it fails."""
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def origin() -> Origin:
    """Look at the commit; in a source archive without one, SOURCE_DATE_EPOCH says the moment. Missing without both."""
    found = re.search(r'^VERSION = "([0-9][0-9.a-z]*)"$', (REPOSITORY / "agent/__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise BadInput('agent/__init__.py says no VERSION; write it as VERSION = "1.2.3"')
    git = ("git", "-c", "safe.directory=*")
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    commit = said(*git, "log", "-1", "--format=%ct %h", "--abbrev=10")
    if not (told.isascii() and told.isdigit()) and not commit:
        raise Missing("there is no commit to take the date from; set SOURCE_DATE_EPOCH to that of the source")
    at, _, short = commit.partition(" ")
    moment = int(told) if told.isascii() and told.isdigit() else int(at)
    changed = bool(commit) and bool(said(*git, "status", "--porcelain", "--", *CONTENTS))
    day = time.strftime("%Y%m%d%H%M%S", time.gmtime(moment))
    version = f"{found[1]}+{day}" + (f".{short}" if short else "") + (".changed" if changed else "")
    return Origin(version=version, moment=moment, changed=changed)


def build(out: Path, source: Origin, goal: Target) -> Path:
    """Build the package into a folder and return its path; Failed says which step did not work."""
    if sys.version_info[:2] != PYTHON or sys.implementation.name != "cpython":
        raise Missing("the package is built by Python 3.11, the one of Debian 12; run this again there")
    if shutil.which("dpkg-deb") is None:
        raise Missing("there is no dpkg-deb; build the package on Debian")
    with tempfile.TemporaryDirectory(prefix="privet-package-") as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        target.fetch(REPOSITORY / "requirements/device.txt", Path(folder) / "wheels", goal)
        tree.lay_out(REPOSITORY, Path(folder) / "wheels", root, source.version, source.moment, goal)
        control(root, source.version, goal)
        tree.settle(root, source.moment)
        made = out.resolve() / f"privet_{source.version}_{goal.debian}.deb"
        made.parent.mkdir(parents=True, exist_ok=True)
        pack(root, made, source.moment)
    size = made.stat().st_size
    if size > BUDGET:
        raise Failed(f"{made.name} has {size} bytes, at most {BUDGET}; find out what grew")
    return made


def control(root: Path, version: str, goal: Target) -> None:
    """Write the control file, and the checksums by which `dpkg --verify` finds changes."""
    found = sorted(path for path in root.rglob("*") if path.parent.name != "DEBIAN")
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    kept = {f"{root}{line}" for line in (root / "DEBIAN/conffiles").read_text().splitlines()}
    sums = [f"{checksum(path)}  {path.relative_to(root)}" for path in files if str(path) not in kept]
    lent = f", {goal.lender}" if goal.lender else ""
    text = (tree.HERE / "control").read_text(encoding="utf-8")
    filled = text.format(version=version, architecture=goal.debian, size=size, lent=lent)
    tree.put(root / "DEBIAN/control", filled.encode())
    tree.put(root / "DEBIAN/md5sums", ("\n".join(sums) + "\n").encode())


def checksum(path: Path) -> str:
    """Return what dpkg compares a file with: MD5, against accidents, not against people."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def pack(root: Path, made: Path, moment: int) -> None:
    """Turn the tree into a package; one thread, because more would show in the compressed bytes."""
    argv = ["dpkg-deb", "--root-owner-group", "--uniform-compression", "--threads-max=1", "-Zxz", "-z9"]
    done = subprocess.run(
        [*argv, "--build", str(root), str(made)],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(moment)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"dpkg-deb failed: {done.stderr.strip()[-300:]}; correct that")


def main(words: list[str]) -> int:
    """Build, and say what was built; return the exit code."""
    parser = argparse.ArgumentParser(prog="provisioning.package", description="Build the Debian package of Privet.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="folder for the package (default: dist)")
    known = ", ".join(target.TARGETS)
    parser.add_argument("--arch", default="", help=f"of {known}; several with blanks between (default: this machine's)")
    options = parser.parse_args(words)
    try:
        source = origin()
        for name in options.arch.split() or [said("dpkg", "--print-architecture")]:
            made = build(options.out, source, target.named(name))
            print(f"{made} ({made.stat().st_size / 1e6:.2f} MB)", flush=True)  # noqa: T201 - asked for
    except PrivetError as error:
        print(f"make deb: {error}", file=sys.stderr)  # noqa: T201 - asked for
        return error.exit_code
    if source.changed:
        print("It holds changes that are not committed; its version says so.")  # noqa: T201 - asked for
    return 0
