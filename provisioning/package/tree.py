"""The tree that the package unpacks: laid out in a folder, every file placed by name, with fixed modes and dates."""

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

from agent.core.errors import Failed
from provisioning.package import words
from provisioning.package.policy import shipped_policy
from provisioning.package.target import Target, foreign, lend

LIBRARY = "usr/lib/privet"
HERE = Path(__file__).resolve().parent
SOURCES = (".py", ".toml", ".txt")  # what of agent/ a device needs; its README files stay here
HOST_ONLY = ("system/simulated",)  # rooms of agent/ for simulated devices
UNNEEDED = (".pyi", ".typed", ".h", ".cfg")  # of the wheels: for type checkers and compilers
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
# Ending of a file beside this module -> the folder it goes to; what has no ending and begins with "privet-" is a start
# script of a unit and goes to the library.
PLACES = {
    ".service": "lib/systemd/system",
    ".socket": "lib/systemd/system",
    ".nft": LIBRARY,
    ".toml": "etc/privet",
    ".5": "usr/share/man/man5",
    ".8": "usr/share/man/man8",
}


def placed() -> dict[str, tuple[str, int]]:
    """Say where each file beside this module goes, and with which mode."""
    found = {
        "privet": ("usr/bin/privet", 0o755),
        "privet.lintian": ("usr/share/lintian/overrides/privet", 0o644),
        "privet.sysusers": ("usr/lib/sysusers.d/privet.conf", 0o644),
    }
    for path in sorted(HERE.iterdir()):
        if path.suffix in PLACES:
            found[path.name] = (f"{PLACES[path.suffix]}/{path.name}", 0o644)
        elif path.name in SCRIPTS:
            found[path.name] = (f"DEBIAN/{path.name}", 0o755)
        elif not path.suffix and path.name.startswith("privet-"):
            found[path.name] = (f"{LIBRARY}/{path.name}", 0o644)
    return found


def units() -> tuple[str, ...]:
    """Name the units that start by themselves, in their order; what is not known yet comes last.

    A unit without an [Install] section is started by another one only.
    """
    order = ("privet-early.service", "privet-firstboot.service", "privet-guard.service", "privet-courier.service")
    shipped = {name for name in placed() if name.endswith(".service")}
    here = {name for name in shipped if "\n[Install]\n" in (HERE / name).read_text(encoding="utf-8")}
    return (*(name for name in order if name in here), *sorted(here - set(order)))


def lay_out(repository: Path, wheels: Path, tree: Path, version: str, moment: int, target: Target) -> None:
    """Fill an empty folder with all but the control file and the checksums; `wheels` is what `fetch` filled."""
    library = tree / LIBRARY
    library.mkdir(parents=True)
    day = time.strftime("%Y-%m-%d", time.gmtime(moment))
    for path in agent_files(repository):
        put(library / path.relative_to(repository), path.read_bytes())
    take_over(wheels, library)
    for name, (place, mode) in sorted(placed().items()):
        lay(tree / place, (HERE / name).read_bytes(), mode, version, day)
    put(library / "compiled.py", (HERE / "compiled.py").read_bytes())  # for a Python that is newer than the one here
    put(library / "policy.cbor", shipped_policy(repository, moment))
    document = tree / "usr/share/doc/privet"
    put(document / "copyright", words.copyright_of(wheels).encode())
    put(document / "changelog.gz", packed((repository / "CHANGELOG.md").read_bytes()))
    put(tree / "usr/share/man/man1/privet.1.gz", packed(words.manual(library, version, day).encode()))
    for shell, place in words.COMPLETIONS.items():
        put(tree / place, words.completion(library, shell).encode())
    settings = sorted(path.relative_to(tree).as_posix() for path in (tree / "etc").rglob("*") if path.is_file())
    put(tree / "DEBIAN/conffiles", "".join(f"/{name}\n" for name in settings).encode())
    compile_all(library)
    lend(library, target)
    wrong = foreign(library, target)
    if wrong:
        raise Failed(f"{wrong[0]} is not for {target.debian}; look at its wheel in requirements/device.txt")


def lay(path: Path, content: bytes, mode: int, version: str, day: str) -> None:
    """Put a file of this folder in its place: what stands between @ is filled in, manuals are compressed."""
    if b"@" in content:
        for word, said in (("@UNITS@", " ".join(units())), ("@VERSION@", version), ("@DAY@", day)):
            content = content.replace(word.encode(), said.encode())
    if "/man/" in str(path):
        path, content = path.with_name(path.name + ".gz"), packed(content)
    put(path, content, mode)


def agent_files(repository: Path) -> list[Path]:
    """Return the files of agent/ that a device needs, sorted."""
    agent = repository / "agent"
    rooms = [agent / name for name in HOST_ONLY]
    return [
        path
        for path in sorted(agent.rglob("*"))
        if path.is_file() and path.suffix in SOURCES and not any(path.is_relative_to(room) for room in rooms)
    ]


def take_over(wheels: Path, library: Path) -> None:
    """Copy what runs; the licences stand in the copyright file."""
    for path in sorted(wheels.rglob("*")):
        inside = path.relative_to(wheels)
        runs = inside.parts[0] != "bin" and not inside.parts[0].endswith(".dist-info")
        if path.is_file() and runs and path.suffix not in UNNEEDED:
            put(library / inside, path.read_bytes())


def compile_all(library: Path) -> None:
    """Compile as written, and for `python -OO -X no_debug_ranges`, so that whoever starts it so compiles nothing."""
    for level, options in (("0", []), ("2", ["-X", "no_debug_ranges"])):
        subprocess.run(
            [sys.executable, *options, "-PBSs", str(HERE / "compiled.py"), level, str(library), f"/{LIBRARY}"],
            env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
            check=True,
        )


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file; folders appear."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def packed(content: bytes) -> bytes:
    """Compress without a date or a name."""
    return gzip.compress(content, 9, mtime=0)


def settle(tree: Path, moment: int) -> None:
    """Give every file and folder its mode and one date, seconds since 1970; a link has no mode of its own."""
    scripts = {tree / place for place, mode in placed().values() if mode == 0o755}
    for path in [tree, *sorted(tree.rglob("*"))]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in scripts else 0o644)
        os.utime(path, (moment, moment), follow_symlinks=False)
