"""A machine as /sys and /proc tell of it, laid out as files: disks of every kind, as real kernels show them."""

from pathlib import Path

MOUNTS = (
    "22 28 0:21 / /proc rw,nosuid - proc proc rw\n"
    "28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
    "30 28 259:1 / /boot/efi rw - vfat /dev/nvme0n1p1 rw\n"
)
CARD = 31_914_983_424


class Machine:
    """A root directory to look at; every method adds a disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0
        for folder in ("sys/block", "sys/class/block", "sys/dev/block", "proc/self"):
            (root / folder).mkdir(parents=True)
        self.write("proc/self/mountinfo", MOUNTS)
        self.write("proc/swaps", "Filename\t\tType\t\tSize\tUsed\tPriority\n")

    def write(self, path: str, content: str) -> None:
        """Write one file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)

    def append(self, path: str, content: str) -> None:
        """Add to one file."""
        self.write(path, (self.root / path).read_text() + content)

    def disk(self, place: str, numbers: str, size: int, parts: tuple[str, ...] = (), **facts: str) -> None:
        """Add a disk at a place beneath sys/devices, and its partitions; facts are files, `__` stands for a slash."""
        self.count += 1
        name, folder = Path(place).name, f"sys/devices/{place}"
        for file, content in {
            "size": str(size // 512),
            "removable": "0",
            "ro": "0",
            "diskseq": str(self.count),
        }.items():
            self.write(f"{folder}/{file}", content + "\n")
        for file, content in facts.items():
            self.write(f"{folder}/{file.replace('__', '/')}", content)
        (self.root / folder / "holders").mkdir(exist_ok=True)
        (self.root / "sys/block" / name).symlink_to(self.root / folder)
        self.known(folder, numbers)
        major, minor = numbers.split(":")
        for number, part in enumerate(parts, 1):
            self.write(f"{folder}/{part}/partition", f"{number}\n")
            (self.root / folder / part / "holders").mkdir(exist_ok=True)
            self.known(f"{folder}/{part}", f"{major}:{int(minor) + number}")

    def known(self, folder: str, numbers: str) -> None:
        """Let the kernel know a device by name and by numbers."""
        (self.root / "sys/class/block" / Path(folder).name).symlink_to(self.root / folder)
        (self.root / "sys/dev/block" / numbers).symlink_to(self.root / folder)

    def own(self) -> None:
        """Add the disk that the machine runs from."""
        place = "pci0000:00/0000:00:1d.0/0000:03:00.0/nvme/nvme0/nvme0n1"
        self.disk(
            place, "259:0", 512 * 10**9, ("nvme0n1p1", "nvme0n1p2"), device__model="Samsung SSD 980", serial="S64"
        )

    def reader(
        self, name: str = "sdb", port: str = "1-4", unit: int = 0, size: int = 31_914_983_424, **facts: str
    ) -> None:
        """Add a card in a USB reader."""
        usb = f"pci0000:00/0000:00:14.0/usb1/{port}"
        self.write(f"sys/devices/{usb}/idVendor", "05e3\n")
        self.write(f"sys/devices/{usb}/serial", "000000001536\n")
        told = {"removable": "1\n", "device__vendor": "Generic \n", "device__model": "STORAGE DEVICE  \n", **facts}
        place = f"{usb}/{port}:1.0/host6/target6:0:0/6:0:0:{unit}/block/{name}"
        self.disk(place, f"8:{16 * (self.count + 1)}", size, (f"{name}1", f"{name}2"), **told)

    def slot(self, name: str = "mmcblk0", kind: str = "SD", size: int = 15_931_539_456) -> None:
        """Add a card in a slot of its own, or memory that is soldered in."""
        place = f"pci0000:00/0000:00:1c.0/0000:02:00.0/rtsx_pci_sdmmc.0/mmc_host/mmc0/mmc0:aaaa/block/{name}"
        self.disk(
            place, "179:0", size, device__type=f"{kind}\n", device__name="SL16G\n",
            device__cid="035344534c3136478012345678013a00\n",
        )  # fmt: skip
