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

PYTHON = "3.11"  # Debian 12's; compiled files and the wheel of cffi fit no other
GLIBC = range(36, 16, -1)  # 2.36 is Debian 12's; 2.17 is the oldest for which a wheel is made today


class Target(Record):
    """One architecture: Debian's name, the word in wheels, the number in ELF files, and what Debian lends it.

    `lent` are packages of the requirements for which no wheel exists; in their place stands `module`, one extension
    module of the Debian package `lender`.
    """

    __slots__ = ("debian", "elf", "lender", "lent", "machine", "module")
    debian: str
    machine: str
    elf: int
    lent: tuple[str, ...]
    lender: str
    module: str


def whole(debian: str, machine: str, elf: int) -> Target:
    """Make a target that has wheels for everything."""
    return Target(debian=debian, machine=machine, elf=elf, lent=(), lender="", module="")


TARGETS = {
    "amd64": whole("amd64", "x86_64", 62),
    "arm64": whole("arm64", "aarch64", 183),
    "armhf": Target(
        debian="armhf",
        machine="armv7l",
        elf=40,
        lent=("cffi", "pycparser"),
        lender="python3-cffi-backend",
        module="_cffi_backend.cpython-311-arm-linux-gnueabihf.so",
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
    argv += ["--no-compile", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    argv += ["--python-version", PYTHON, "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
    for minor in GLIBC:
        argv += ["--platform", f"manylinux_2_{minor}_{target.machine}"]
    done = subprocess.run(
        [*argv, "--target", str(wheels), "-r", str(chosen)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(f"the wheels of {requirements.name} did not arrive: {done.stderr.strip()[-300:]}; try again")
    shutil.rmtree(wheels / "bin", ignore_errors=True)


def lend(library: Path, target: Target) -> None:
    """Lay the one link by which the module of Debian is found: nothing else of its folder becomes importable."""
    if target.module:
        (library / target.module).symlink_to(f"{DIST}/{target.module}")


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
