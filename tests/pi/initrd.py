"""A small initrd for the emulated Pi, made natively in a moment: static busybox, the card reader's drivers, `init`."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = ("ext4", "crc32c_generic", "mmc_block", "bcm2835", "sdhci_iproc")
FOLDERS = ("bin", "modules", "proc", "sys", "dev", "new")


def kernel(tree: Path) -> Path:
    """Return the one kernel of a tree."""
    (found,) = tree.glob("boot/vmlinuz-*")
    return found


def drivers(tree: Path) -> list[Path]:
    """Return the files of the modules and of all they need, in the order in which they are loaded."""
    version = kernel(tree).name.removeprefix("vmlinuz-")
    found: dict[Path, None] = {}
    for module in MODULES:
        argv = ["modprobe", "--dirname", str(tree), "--set-version", version, "--show-depends", module]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        found.update(dict.fromkeys(Path(path) for path in re.findall(r"^insmod (\S+)", said, re.MULTILINE)))
    return list(found)


def initrd(tree: Path) -> bytes:
    """Return the initrd for a tree's kernel."""
    with tempfile.TemporaryDirectory(prefix="privet-initrd-") as folder:
        root = Path(folder)
        for name in FOLDERS:
            (root / name).mkdir()
        shutil.copy2(tree / "bin/busybox", root / "bin/busybox")
        shutil.copy2(HERE / "init", root / "init")
        (root / "init").chmod(0o755)
        order = drivers(tree)
        for path in order:
            shutil.copy2(path, root / "modules" / path.name)
        (root / "modules/order").write_text("".join(f"{path.name}\n" for path in order), encoding="ascii")
        names = "\0".join(sorted(path.relative_to(root).as_posix() for path in root.rglob("*")))
        argv = ["cpio", "--quiet", "--null", "--create", "--format=newc"]
        packed = subprocess.run(argv, cwd=root, input=names.encode(), capture_output=True, check=True).stdout
    return subprocess.run(["zstd", "-q", "-3"], input=packed, capture_output=True, check=True).stdout
