"""What stands around a booted device: the keeper of its namespaces, its cable, its control group."""

import subprocess
from contextlib import suppress
from pathlib import Path

GROUP = "privet-boot-"

# Beyond what systemd-nspawn leaves to a container: what the package's own protection is made of, and what it protects
# from; nothing by which a device could reach this machine's clock, modules or kernel.
POWERS = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF,CAP_PERFMON"
CALLS = (
    "landlock_create_ruleset landlock_add_rule landlock_restrict_self bpf fanotify_init fanotify_mark @keyring "
    "perf_event_open io_uring_setup personality userfaultfd"
)

# Arguments: name, group, lower directories of the overlay, powers, system calls. Each line on standard input is one
# press of the power button; what happened stands in /mnt/story. systemd-nspawn would register with a systemd that this
# machine may lack, and shares the groups `payload` and `supervisor` of the group it is started in: so it gets one of
# its own. A pure version 2 of control groups, as on Debian 12 itself, whatever this machine uses.
KEEPER = """
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$3,upperdir=/mnt/up,workdir=/mnt/work" /mnt/root
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$2"
echo 0 >"/sys/fs/cgroup/$2/cgroup.procs"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/netns
ip netns add device
ip link add lan type veth peer name eth0 netns device
ip link set lo up
ip address add 10.88.0.1/24 dev lan
ip address add fd88::1/64 dev lan nodad
ip link set lan up
: >/mnt/console
echo ready >/mnt/story
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_NSPAWN_LOCK=0
while read -r press; do
  rc=133
  while [ "$rc" = 133 ]; do
    echo on >>/mnt/story
    rc=0
    systemd-nspawn --quiet --boot --register=no --keep-unit --machine="$1" --directory=/mnt/root \\
      --network-namespace-path=/run/netns/device --capability="$4" --system-call-filter="$5" --resolv-conf=off \\
      --timezone=off --link-journal=no --console=pipe </dev/null >>/mnt/console 2>&1 || rc=$?
    echo "ended $rc" >>/mnt/story
  done
done
"""

# The address comes from a file that the device's own networkd reads, so it is there after every start.
NETWORK = """[Match]
Name=eth0
[Network]
Address=10.88.0.2/24
Address=fd88::2/64
IPv6AcceptRA=no
LinkLocalAddressing=ipv6
"""

# A program on the disk of a device that is off.
CHROOT = """
cd /mnt/root
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --bind /dev dev
exec chroot . "$@"
"""


def children(pid: int) -> list[int]:
    """Return the children of a process, oldest first."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def child_of(pid: int) -> int:
    """Return the one child of a process, 0 as long as there is none."""
    return next(iter(children(pid)), 0)


def remove_groups(name: str = f"{GROUP}*") -> None:
    """Remove empty control groups that a device left; one that is in use stays."""
    script = "mount -t cgroup2 cgroup2 /sys/fs/cgroup; for group in /sys/fs/cgroup/$1; do "
    script += 'find "$group" -depth -type d -exec rmdir {} + ; done 2>/dev/null; true'
    subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", name], check=False, capture_output=True)
