"""The machine that works on the cards: Debian's kernel and Python, our code, one card for each workload; no systemd."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.crash.workloads import MARKS, SIZE
from tests.device import tree
from tests.house import ROOT
from tests.vm.disk import VM, initramfs
from tests.vm.qemu import Machine, Start

CODE = ("agent", "tests/crash")
PACKAGES = ("cffi", "cryptography", "_cffi_backend*", "pycparser")  # what sealing needs
DONE = "all cards are done"
# The disk of the machine is only read. Its first program mounts what the workloads need and runs them.
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs devtmpfs /dev
for module in $($b cat /modules); do $b insmod /$module; done
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do $b usleep 50000; done
$b mount -t ext4 -o ro /dev/vda /new || exec $b sh
$b mount -t tmpfs tmpfs /new/run; $b mount -t tmpfs tmpfs /new/tmp; $b mount -t ext4 -o ro /dev/vdb /new/opt
$b mount --move /dev /new/dev; $b mount --move /proc /new/proc; $b mount --move /sys /new/sys
$b chroot /new /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/opt/code:/opt/packages PYTHONHASHSEED=0 \
    /usr/bin/python3 -S -m tests.crash.inside /opt/plan.json
echo "the work ended with $?"
exec $b sleep 600
"""


class Recorded(NamedTuple):
    """A workload on its card: the card before it began, and the record of what was written."""

    name: str
    twin: str
    first: Path
    record: Path


def record(jobs: Sequence[tuple[str, str]], folder: Path) -> list[Recorded]:
    """Let one machine do all these (workload, twin) and return their records."""
    system = system_disk()
    code = code_disk(jobs, folder / "code.img")
    cards = [card(folder, number) for number in range(len(jobs))]
    words = ["-drive", f"file={code},format=raw,if=none,id=code,readonly=on", "-device", "virtio-blk-pci,drive=code"]
    for number, path in enumerate(cards):
        words += ["-blockdev", f"driver=file,node-name=file{number},filename={path}"]
        words += ["-blockdev", f"driver=file,node-name=log{number},filename={path}.record"]
        layer = f"driver=blklogwrites,node-name=card{number},file=file{number},log=log{number},log-sector-size=512"
        words += ["-blockdev", layer, "-device", f"virtio-blk-pci,drive=card{number}"]
    start = Start(system / "kernel", system / "initrd", "quiet loglevel=3 mitigations=off")
    with Machine("pc", start, system / "disk", more=words) as machine:
        machine.until(lambda: "the work ended with" in machine.shown(), "the workloads to end", 1800)
        print(machine.shown()[-2000:])
        if DONE not in machine.shown():
            raise RuntimeError(f"the workloads failed: {machine.last_words()}")
        machine.monitor("quit")  # it closes the records in order; the machine itself gets no chance to write any more
        machine.process.wait(60)
    return [
        Recorded(name, twin, Path(f"{path}.first"), Path(f"{path}.record"))
        for (name, twin), path in zip(jobs, cards, strict=True)
    ]


def card(folder: Path, number: int) -> Path:
    """Make an empty card, a copy of it, and an empty record."""
    path = folder / f"card{number}"
    with path.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-b", "1024", str(path), str(MARKS >> 10)], check=True)
    shutil.copyfile(path, f"{path}.first")
    with Path(f"{path}.record").open("wb") as file:
        file.truncate(4 << 30)  # with holes; only what is recorded takes room
    return path


def system_disk() -> Path:
    """Return the folder with kernel, initramfs and disk of the machine, made on first use and kept in the cache."""
    base = tree.built(VM)
    folder = tree.cache() / f"crash-{VM.digest()}-{len(INIT)}"
    with (tree.cache() / "crash.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            half = folder.with_name("half-crash")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            (version,) = os.listdir(base / "lib/modules")
            shutil.copy(base / "boot" / f"vmlinuz-{version}", half / "kernel")
            (half / "initrd").write_bytes(initramfs(base, version, INIT))
            file_system(base, half / "disk", "1200M")
            half.rename(folder)
    return folder


def code_disk(jobs: Sequence[tuple[str, str]], path: Path) -> Path:
    """Make a small disk with our code, the packages it needs and the plan of what to do."""
    laid = path.with_suffix(".laid")
    for name in CODE:
        shutil.copytree(ROOT / name, laid / "code" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (laid / "packages").mkdir()
    packages = Path(sysconfig.get_path("purelib"))
    for pattern in PACKAGES:
        for one in packages.glob(pattern):
            place = laid / "packages" / one.name
            if one.is_dir():
                shutil.copytree(one, place)
            else:
                shutil.copy(one, place)
    plan = [{"name": name, "twin": twin, "device": f"/dev/vd{chr(99 + n)}"} for n, (name, twin) in enumerate(jobs)]
    (laid / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    file_system(laid, path, "64M")
    shutil.rmtree(laid)
    return path


def file_system(folder: Path, path: Path, size: str) -> None:
    """Make an ext4 file system of a folder, in a file."""
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "nodiscard", "-d", str(folder), str(path), size]
    subprocess.run(argv, stdout=sys.stderr, check=True)
