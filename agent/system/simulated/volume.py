"""A FAT partition of a simulated device: clusters that keep what was in them until somebody writes over it.

Directories and files beneath it are nodes like any others. What reaches the disk is also laid into clusters, and the
raw partition can be read, as programs read /dev/mmcblk0p1: a removed or replaced file is still there to be found, a
file that was overwritten in place is not.
"""

from functools import partial
from typing import TYPE_CHECKING

from agent.system.simulated.disk import Disk, Node

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

CLUSTER = 512
TABLE = "/proc/self/mountinfo"
MAPPED = "254:0"


class Volume:
    """The clusters, who holds which, and where the next search for a free one begins."""

    def __init__(self, device: str, clusters: int) -> None:
        self.device = device
        self.bytes = bytearray(clusters * CLUSTER)
        self.held: dict[int, list[int]] = {}  # inode -> its clusters, in order
        self.free = list(range(clusters))

    def room(self, node: Node) -> int:
        """Return how long a file can become."""
        return (len(self.free) + len(self.held.get(node.inode, ()))) * CLUSTER

    def lay(self, node: Node) -> None:
        """Bring a file's content into its clusters: the first ones stay where they are, the last keeps its tail."""
        held = self.held.setdefault(node.inode, [])
        needed = -(-len(node.kept_content) // CLUSTER)
        while len(held) > needed:
            self.free.append(held.pop())  # the freshly freed come last in turn
        while len(held) < needed:
            held.append(self.free.pop(0))
        for place, cluster in enumerate(held):
            part = node.kept_content[place * CLUSTER : (place + 1) * CLUSTER]
            self.bytes[cluster * CLUSTER : cluster * CLUSTER + len(part)] = part

    def release(self, node: Node) -> None:
        """Let go of the clusters of a file that has no name any more; what is in them stays."""
        self.free.extend(self.held.pop(node.inode, ()))

    def keep(self, live: "set[int]") -> None:
        """Let go of the clusters of all files but these."""
        for inode in set(self.held) - live:
            self.free.extend(self.held.pop(inode))


def attach(device: "SimulatedSystem", place: str, name: str = "/dev/mmcblk0p1", clusters: int = 256) -> None:
    """Make a directory the root of a partition of its own; for the image, before files are laid there."""
    device.hand.directory(place)
    device.disk.volumes[place] = Volume(name, clusters)
    device.disk.find(device.disk.root, place, last=True).volume = device.disk.volumes[place]
    show(device)


def show(device: "SimulatedSystem") -> None:
    """Let /dev and /proc show the partitions, as at every start."""
    for volume in device.disk.volumes.values():
        device.hand.produced(volume.device, partial(bytes, volume.bytes), mode=0o660)
        device.disk.find(device.disk.root, volume.device, last=True).kind = "device"
    if device.disk.volumes:
        device.hand.produced(TABLE, partial(table, device.disk))
    if device.disk.encrypted:
        device.hand.produced(f"/sys/dev/block/{MAPPED}/dm/uuid", lambda: b"CRYPT-LUKS2-3f0e4b5a-root\n")


def table(disk: Disk) -> bytes:
    """Write the table of mounts."""
    number, name = (MAPPED, "/dev/mapper/root") if disk.encrypted else ("179:2", "/dev/mmcblk0p2")
    lines = [f"24 1 {number} / / rw,noatime shared:1 - ext4 {name} rw"]
    for order, (place, volume) in enumerate(disk.volumes.items(), 30):
        lines.append("%d 24 179:1 / %s rw,relatime shared:2 - vfat %s rw,fmask=0022" % (order, place, volume.device))
    return "".join(line + "\n" for line in lines).encode()
