"""The machines the package is built for: how each is called by Debian, by Python's wheels and by the kernel.

A package for another machine than this one is put together without running anything of it: wheels are chosen by their
names and hashes, and compiled Python files are the same bytes on every machine.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from agent.core.errors import BadInput, Failed
from agent.core.record import Record

# Debian 12, Ubuntu 24.04, Debian 13. A wheel of cffi fits one of them only, and brings one file for it under its own
# name; all other wheels fit every one. Compiled files are shipped for the first.
PYTHONS = ("3.11", "3.12", "3.13")
GLIBC = range(36, 16, -1)  # 2.36 is Debian 12's; 2.17 is the oldest for which a wheel is made today


class Target(Record):
    """One architecture: Debian's name, the word in wheels, the number in ELF files, and what Debian lends it.

    `lent` are packages of the requirements for which no wheel exists; in their place stand `modules`, one extension
    module of the Debian package `lender` for each Python.
    """

    __slots__ = ("debian", "elf", "lender", "lent", "machine", "modules")
    debian: str
    machine: str
    elf: int
    lent: tuple[str, ...]
    lender: str
    modules: tuple[str, ...]


def whole(debian: str, machine: str, elf: int) -> Target:
    """Make a target that has wheels for everything."""
    return Target(debian=debian, machine=machine, elf=elf, lent=(), lender="", modules=())


TARGETS = {
    "amd64": whole("amd64", "x86_64", 62),
    "arm64": whole("arm64", "aarch64", 183),
    "armhf": Target(
        debian="armhf",
        machine="armv7l",
        elf=40,
        lent=("cffi", "pycparser"),
        lender="python3-cffi-backend",
        modules=tuple(
            f"_cffi_backend.cpython-{version.replace('.', '')}-arm-linux-gnueabihf.so" for version in PYTHONS
        ),
    ),
}
DIST = "../python3/dist-packages"  # as seen from /usr/lib/privet


def named(architecture: str) -> Target:
    """Return the target of this name."""
    if architecture not in TARGETS:
        raise BadInput(f"there is no package for {architecture[:20]!r}; choose from: {', '.join(TARGETS)}")
    return TARGETS[architecture]


def wanted(requirements: str, target: Target) -> str:
    """Return the pinned requirements without what Debian lends."""
    blocks = re.findall(r"^[a-z0-9].*?(?<!\\)\n", requirements, re.MULTILINE | re.DOTALL)
    return "".join(block for block in blocks if re.split(r"[=; ]", block, maxsplit=1)[0] not in target.lent)


def fetch(requirements: Path, wheels: Path, target: Target) -> None:
    """Unpack exactly the wheels that are pinned, checked by their hashes; nobody's build script runs."""
    wheels.mkdir(parents=True)
    chosen = wheels.with_name(f"{wheels.name}.txt")
    chosen.write_text(wanted(requirements.read_text(encoding="utf-8"), target), encoding="utf-8")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    argv += ["--no-compile", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"]
    for minor in GLIBC:
        argv += ["--platform", f"manylinux_2_{minor}_{target.machine}"]
    for version in PYTHONS:
        place = wheels if version == PYTHONS[0] else wheels.with_name(f"{wheels.name}-{version}")
        abi = f"cp{version.replace('.', '')}"
        which = ["--python-version", version, "--abi", abi, "--abi", "abi3", "--abi", "none"]
        words = [*argv, *which, "--target", str(place), "-r", str(chosen)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"the wheels of {requirements.name} did not arrive: {done.stderr.strip()[-300:]}; try again")
        shutil.rmtree(place / "bin", ignore_errors=True)
        if place != wheels:
            join(place, wheels)


def join(more: Path, wheels: Path) -> None:
    """Take what one more Python needs beside the first: its extension modules; Failed when any other file differs."""
    for path in sorted(more.rglob("*")):
        inside = path.relative_to(more)
        if path.is_dir() or inside.parts[0].endswith(".dist-info"):
            continue
        place = wheels / inside
        if not place.exists() and path.suffix == ".so":
            shutil.copyfile(path, place)
        elif not place.exists() or place.read_bytes() != path.read_bytes():
            raise Failed(f"{inside} is not the same for every Python; pin a release of which it is")


def lend(library: Path, target: Target) -> None:
    """Lay the links by which the module of Debian is found: nothing else of its folder becomes importable."""
    for name in target.modules:
        (library / name).symlink_to(f"{DIST}/{name}")


def foreign(library: Path, target: Target) -> list[str]:
    """Name the shared objects that are for another machine; each file's own header says for which (ELF, e_machine)."""
    wrong = []
    for path in sorted(library.rglob("*.so")):
        if not path.is_symlink():
            with path.open("rb") as file:
                header = file.read(20)
            if header[:4] != b"\x7fELF" or int.from_bytes(header[18:20], "little") != target.elf:
                wrong.append(path.relative_to(library).as_posix())
    return wrong
