"""The tree that the package unpacks: laid out in a folder, every file placed by name, with fixed modes and dates."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

from agent.core.errors import Failed
from provisioning.package import words

LIBRARY = "usr/lib/privet"
HERE = Path(__file__).resolve().parent
SOURCES = (".py", ".toml", ".txt")  # what of agent/ a device needs; its README files stay here
HOST_ONLY = ("system/simulated",)  # rooms of agent/ for simulated devices
UNNEEDED = (".pyi", ".typed", ".h", ".cfg")  # of the wheels: for type checkers and compilers
# File beside this module -> where it goes and with which mode.
PLACED = {
    "privet": ("usr/bin/privet", 0o755),
    "privet-guard": (f"{LIBRARY}/privet-guard", 0o644),
    "privet-courier": (f"{LIBRARY}/privet-courier", 0o644),
    "privet-early": (f"{LIBRARY}/privet-early", 0o644),
    "privet-firstboot": (f"{LIBRARY}/privet-firstboot", 0o644),
    "shut.nft": (f"{LIBRARY}/shut.nft", 0o644),
    "privet-early.service": ("lib/systemd/system/privet-early.service", 0o644),
    "privet-firstboot.service": ("lib/systemd/system/privet-firstboot.service", 0o644),
    "privet-shut.service": ("lib/systemd/system/privet-shut.service", 0o644),
    "privet-guard.service": ("lib/systemd/system/privet-guard.service", 0o644),
    "privet-courier.service": ("lib/systemd/system/privet-courier.service", 0o644),
    "privet.sysusers": ("usr/lib/sysusers.d/privet.conf", 0o644),
    "postinst": ("DEBIAN/postinst", 0o755),
    "prerm": ("DEBIAN/prerm", 0o755),
    "postrm": ("DEBIAN/postrm", 0o755),
}


def lay_out(repository: Path, wheels: Path, tree: Path, version: str, day: str) -> None:
    """Fill an empty folder with all but the control file and the checksums; `wheels` is what `fetch` filled."""
    library = tree / LIBRARY
    library.mkdir(parents=True)
    for name, (place, mode) in sorted(PLACED.items()):
        put(tree / place, (HERE / name).read_bytes(), mode)
    for path in agent_files(repository):
        put(library / path.relative_to(repository), path.read_bytes())
    take_over(wheels, library)
    document = tree / "usr/share/doc/privet"
    put(document / "copyright", words.copyright_of(wheels).encode())
    put(document / "changelog.gz", packed((repository / "CHANGELOG.md").read_bytes()))
    put(tree / "usr/share/man/man1/privet.1.gz", packed(words.manual(library, version, day).encode()))
    put(tree / "usr/share/bash-completion/completions/privet", words.completion(library).encode())
    compile_all(library)


def agent_files(repository: Path) -> list[Path]:
    """Return the files of agent/ that a device needs, sorted."""
    agent = repository / "agent"
    rooms = [agent / name for name in HOST_ONLY]
    return [
        path
        for path in sorted(agent.rglob("*"))
        if path.is_file() and path.suffix in SOURCES and not any(path.is_relative_to(room) for room in rooms)
    ]


def fetch(requirements: Path, wheels: Path) -> None:
    """Unpack exactly the wheels that are pinned, checked by their hashes; nobody's build script runs."""
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    argv += ["--no-compile", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    done = subprocess.run(
        [*argv, "--target", str(wheels), "-r", str(requirements)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(f"the wheels of {requirements.name} did not arrive: {done.stderr.strip()[-300:]}; try again")


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
    """Give every file and folder its mode and one date, seconds since 1970."""
    scripts = {tree / place for place, mode in PLACED.values() if mode == 0o755}
    for path in [tree, *sorted(tree.rglob("*"))]:
        path.chmod(0o755 if path.is_dir() or path in scripts else 0o644)
        os.utime(path, (moment, moment))
