"""Small real file systems, ext4 without reserve (`mkfs -m 0`) on loop devices: filled, broken, repaired."""

import subprocess
from contextlib import suppress
from pathlib import Path

SIZE = 24 << 20  # bytes
CHUNK = 64 << 10


def run(*words: str | Path, fine: tuple[int, ...] = (0,)) -> str:
    """Run a tool."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode not in fine:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


class Disk:
    """One disk in a file, mounted at a folder."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image, self.folder = image, folder
        self.mounted = False
        with image.open("wb") as made:
            made.truncate(SIZE)
        run("mkfs.ext4", "-q", "-m", "0", image)
        folder.mkdir(parents=True)
        self.mount()

    def mount(self) -> None:
        """Mount it, as at a start: whole again, if it was not."""
        run("mount", "-o", "loop,errors=remount-ro", self.image, self.folder)
        self.mounted = True

    def unmount(self) -> None:
        """Take it away; whoever used it has ended."""
        if self.mounted:
            run("umount", self.folder)
            self.mounted = False

    def fill(self) -> int:
        """Write until nothing more goes; return the bytes it took."""
        written = 0
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            with suppress(OSError):
                while True:
                    written += ballast.write(b"\xa5" * CHUNK)
            with suppress(OSError):
                while True:
                    written += ballast.write(b"\xa5" * 512)
        return written

    def empty(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink()

    def fail(self) -> None:
        """Let the kernel find an error on it: it is read-only from now on."""
        name = Path(run("findmnt", "--noheadings", "--output", "SOURCE", self.folder)).name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("storm")

    def repair(self) -> None:
        """Do what the next start of a device does: unmount, check, mount."""
        self.unmount()
        run("e2fsck", "-p", self.image, fine=(0, 1))
        self.mount()
