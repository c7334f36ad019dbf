"""The programs of Debian that read and write file systems inside an image, without root and without a mount."""

import os
import shutil
import subprocess
from pathlib import Path

from agent.core.errors import Failed, Missing

PACKAGES = {
    "debugfs": "e2fsprogs", "e2fsck": "e2fsprogs", "dpkg-deb": "dpkg", "dpkg": "dpkg",
    "fsck.vfat": "dosfstools", "mcopy": "mtools", "mdel": "mtools", "mdir": "mtools", "mshowfat": "mtools",
    "mtype": "mtools",
}  # fmt: skip
FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin"
ENOUGH = 1800  # seconds: a program that hangs ends, whatever the reason


def there(*names: str) -> None:
    """Missing names the package of the first program that is not on this machine."""
    for name in names:
        if shutil.which(name, path=FOLDERS) is None:
            raise Missing(f"there is no {name} on this machine; install the package {PACKAGES.get(name, name)}")


def ran(*argv: str | Path, moment: int = 0) -> bytes:
    """Run a program and return what it printed; Failed when it ends with another code than 0.

    `moment` (Unix seconds) is the time that the program takes for now.
    """
    code, printed, complained = ended(*argv, moment=moment)
    if code != 0:
        said = " ".join((complained + printed).decode("utf-8", "replace").split())[-300:]
        raise Failed(f"{argv[0]} ended with {code} ({said}); look at the image and at the free space")
    return printed


def ended(*argv: str | Path, moment: int = 0) -> tuple[int, bytes, bytes]:
    """Run a program and return its code, what it printed and what it complained of."""
    name = str(argv[0])
    there(name)
    environment = {"PATH": FOLDERS, "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull, "TZ": "UTC"}
    if moment:
        environment |= {"E2FSPROGS_FAKE_TIME": str(moment), "SOURCE_DATE_EPOCH": str(moment)}
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, check=False, timeout=ENOUGH, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} does not come to an end; look at the disk that the image is on") from None
    return done.returncode, done.stdout, done.stderr
