"""Acts on other processes, and on what a process itself is, that no unit has any business with."""

import ctypes
import errno
import mmap
import os
import signal
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
VM_READ = {"x86_64": 310, "aarch64": 270}
SEIZE = 0x4206
NEW_NET, NEW_USER, NEW_MOUNT = 0x40000000, 0x10000000, 0x00020000


def _checked(done: int) -> int:
    """Raise what the kernel said when a call failed."""
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def trace_process(given: dict[str, str]) -> None:
    """Take hold of another process."""
    victim = int(given["victim"])
    LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    _checked(LIBC.ptrace(SEIZE, victim, None, None))


def read_memory(given: dict[str, str]) -> None:
    """Read the memory of another process by a call for it."""
    here = ctypes.create_string_buffer(8)
    mine, theirs = struct.pack("=QQ", ctypes.addressof(here), 8), struct.pack("=QQ", 4096, 8)
    words = (ctypes.c_long(int(given["victim"])), mine, ctypes.c_long(1), theirs, ctypes.c_long(1), ctypes.c_long(0))
    if LIBC.syscall(VM_READ[os.uname().machine], *words) < 0 and ctypes.get_errno() != errno.EFAULT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def open_process_memory(given: dict[str, str]) -> None:
    """Open the memory of another process as a file."""
    os.close(os.open(f"/proc/{given['victim']}/mem", os.O_RDONLY))


def read_environment(given: dict[str, str]) -> None:
    """Read the environment of another process."""
    os.close(os.open(f"/proc/{given['victim']}/environ", os.O_RDONLY))


def see_program(given: dict[str, str]) -> None:
    """See which program another process is."""
    os.readlink(f"/proc/{given['victim']}/exe")


def see_process(given: dict[str, str]) -> None:
    """See that another process is there."""
    os.stat(f"/proc/{given['victim']}")


def kill_process(given: dict[str, str]) -> None:
    """Send a signal to another process."""
    os.kill(int(given["victim"]), signal.SIGCONT)


def change_user(_given: dict[str, str]) -> None:
    """Become somebody else."""
    os.setresuid(65534, 65534, 65534)


def change_groups(_given: dict[str, str]) -> None:
    """Join other groups."""
    os.setgroups([4])


def join_namespace(_given: dict[str, str]) -> None:
    """Enter the namespace of another process."""
    held = os.open("/proc/1/ns/net", os.O_RDONLY)
    _checked(LIBC.setns(held, NEW_NET))


def _unshared(kind: int) -> None:
    """Leave a namespace for a new one."""
    _checked(LIBC.unshare(kind))


def new_user_namespace(_given: dict[str, str]) -> None:
    """Become root in a world of its own."""
    _unshared(NEW_USER)


def new_network_namespace(_given: dict[str, str]) -> None:
    """Leave the network, and with it the firewall."""
    _unshared(NEW_NET)


def mount_disk(_given: dict[str, str]) -> None:
    """Mount a file system."""
    _unshared(NEW_MOUNT)
    _checked(LIBC.mount(b"acts", b"/mnt", b"tmpfs", 0, None))


def change_root(_given: dict[str, str]) -> None:
    """Take another folder for the root."""
    os.chroot("/usr")


def raise_powers(_given: dict[str, str]) -> None:
    """Take up a power of root's: to bind devices (CAP_SYS_CHROOT, CAP_MKNOD, CAP_SYS_BOOT)."""
    header = struct.pack("=Ii", 0x20080522, 0)
    found = ctypes.create_string_buffer(24)
    _checked(LIBC.capget(header, found))
    words = list(struct.unpack("=6I", found.raw))
    wanted = (1 << 18) | (1 << 22) | (1 << 27)
    words[0] |= wanted
    words[1] |= wanted
    _checked(LIBC.capset(header, struct.pack("=6I", *words)))


def be_first(_given: dict[str, str]) -> None:
    """Run before everything else, always."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def hurry(_given: dict[str, str]) -> None:
    """Run before others."""
    os.setpriority(os.PRIO_PROCESS, 0, -5)


def change_personality(_given: dict[str, str]) -> None:
    """Ask for the odd ways of another system."""
    _checked(LIBC.personality(0x0040000))


def write_and_run_memory(_given: dict[str, str]) -> None:
    """Have memory that can be written and run."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
