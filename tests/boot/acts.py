"""Acts that no part of Privet has any business with: each is really tried, from inside a unit's sandbox and outside.

This file is laid on the device as it is and run there by Python alone: `python3 acts.py '{"acts": […], …}'` tries the
named acts, each in a process of its own, and prints one line of JSON: what became of each, "done" or why not.
`unit_of` turns a shipped unit into one that runs this file under the very same properties.

An act is "done" when the kernel would let it happen, even where it is aimed so that it does no harm: a module that is
none is refused as such, not for want of rights. VM_ONLY cannot be tried in a container, where root is refused too.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import re
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterable

PLACE = "/usr/local/lib/acts.py"
PROGRAM = "/srv/acts/true"  # a copy of true(1) where no program belongs
RESULT = "/run/acts-{}.json"
KERNEL_SAYS_NO = {errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS, errno.EAFNOSUPPORT, errno.ENOENT, errno.ESRCH}
TRIED: dict[str, Callable[[dict[str, str]], object]] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
SYSCALLS = {
    "x86_64": {"bpf": 321, "perf": 298, "keyctl": 250, "kexec": 246, "module": 175, "vm_read": 310, "iopl": 172},
    "aarch64": {"bpf": 280, "perf": 241, "keyctl": 219, "kexec": 104, "module": 105, "vm_read": 270, "iopl": -1},
}
SEIZE, DETACH = 0x4206, 17
NEW_NET, NEW_USER, NEW_MOUNT = 0x40000000, 0x10000000, 0x00020000


def act(made: Callable[[dict[str, str]], object]) -> Callable[[dict[str, str]], object]:
    """Take a function into the list, under its own name."""
    TRIED[made.__name__] = made
    return made


def call(number: int, *words: object) -> int:
    """Make a system call; OSError as the kernel says."""
    done = int(LIBC.syscall(number, *words))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def native(name: str, *words: object) -> int:
    """Make a system call whose number depends on the machine."""
    return call(SYSCALLS[os.uname().machine][name], *words)


def harmless(what: Callable[[], object], *fine: int) -> None:
    """Do something aimed at nothing: the answers in `fine` say that rights were not what stopped it."""
    try:
        what()
    except OSError as error:
        if error.errno not in fine:
            raise


# Files.


def made_in(folder: str) -> None:
    """Make a file in a folder and take it away."""
    path = f"{folder}/acts-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)


@act
def write_accounts(_given: dict[str, str]) -> None:
    """Open /etc/passwd for writing."""
    os.close(os.open("/etc/passwd", os.O_WRONLY | os.O_APPEND))


@act
def write_etc(_given: dict[str, str]) -> None:
    """Make a file in /etc."""
    made_in("/etc")


@act
def write_usr(_given: dict[str, str]) -> None:
    """Make a file where programs are."""
    made_in("/usr/lib")


@act
def write_boot(_given: dict[str, str]) -> None:
    """Make a file on the boot partition."""
    made_in("/boot")


@act
def write_package(_given: dict[str, str]) -> None:
    """Change Privet's own program."""
    os.close(os.open("/usr/lib/privet/privet-guard", os.O_WRONLY | os.O_APPEND))


@act
def write_var(_given: dict[str, str]) -> None:
    """Make a file where other services keep theirs."""
    made_in("/var/lib/systemd")


@act
def write_run(_given: dict[str, str]) -> None:
    """Make a file in /run."""
    made_in("/run")


@act
def write_temporary(_given: dict[str, str]) -> None:
    """Make a file in /var/tmp."""
    made_in("/var/tmp")


@act
def write_home(_given: dict[str, str]) -> None:
    """Make a file in a home."""
    made_in("/home/pi")


@act
def read_shadow(_given: dict[str, str]) -> None:
    """Read the hashes of passwords."""
    os.close(os.open("/etc/shadow", os.O_RDONLY))


@act
def read_state(_given: dict[str, str]) -> None:
    """Read the guard's sealed state."""
    os.close(os.open("/var/lib/privet/state.db", os.O_RDONLY))


@act
def read_policy(_given: dict[str, str]) -> None:
    """Read the policy of the device."""
    os.close(os.open("/etc/privet/device.cbor", os.O_RDONLY))


@act
def read_home(_given: dict[str, str]) -> None:
    """List the home of a person."""
    os.listdir("/home/pi")


@act
def read_host_key(_given: dict[str, str]) -> None:
    """Read the private host key."""
    os.close(os.open("/etc/ssh/ssh_host_ed25519_key", os.O_RDONLY))


@act
def make_device(_given: dict[str, str]) -> None:
    """Make a device file."""
    path = f"/run/acts-{os.getpid()}"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.unlink(path)


@act
def make_suid(_given: dict[str, str]) -> None:
    """Make a program that runs with the rights of its owner."""
    os.fchmod(os.memfd_create("acts"), 0o4755)


@act
def change_owner(_given: dict[str, str]) -> None:
    """Give a file to somebody else."""
    os.fchown(os.memfd_create("acts"), 65534, 65534)


@act
def run_program_elsewhere(_given: dict[str, str]) -> None:
    """Run a program that lies where no program belongs."""
    os.execv(PROGRAM, [PROGRAM])


@act
def run_own_program(_given: dict[str, str]) -> None:
    """Lay a program down and run it."""
    path = f"/tmp/acts-{os.getpid()}"
    held = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o700)
    with open("/usr/bin/true", "rb") as source:
        os.write(held, source.read())
    os.close(held)
    os.execv(path, [path])


@act
def run_program(_given: dict[str, str]) -> None:
    """Run a program of the system."""
    os.execv("/usr/bin/true", ["true"])


@act
def open_memory(_given: dict[str, str]) -> None:
    """Open the memory of the machine."""
    os.close(os.open("/dev/mem", os.O_RDONLY))


@act
def write_kernel_log(_given: dict[str, str]) -> None:
    """Write into the kernel's log."""
    held = os.open("/dev/kmsg", os.O_WRONLY | os.O_NONBLOCK)
    if not stat.S_ISCHR(os.fstat(held).st_mode):
        raise OSError(errno.ENOENT, "this is no kernel log")


@act
def make_group(_given: dict[str, str]) -> None:
    """Make a control group."""
    path = f"/sys/fs/cgroup/acts-{os.getpid()}"
    os.mkdir(path)
    os.rmdir(path)


@act
def write_sysctl(_given: dict[str, str]) -> None:
    """Write a value of the kernel, the one it has."""
    with open("/proc/sys/net/ipv4/ip_default_ttl", "r+", encoding="ascii") as value:
        value.write(value.read())


# Processes.


@act
def trace_process(given: dict[str, str]) -> None:
    """Take hold of another process."""
    victim = int(given["victim"])
    LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (SEIZE,):
        if LIBC.ptrace(request, victim, None, None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def read_memory(given: dict[str, str]) -> None:
    """Read the memory of another process by a call for it."""
    native("vm_read", int(given["victim"]), *[ctypes.c_long(0)] * 5)


@act
def open_process_memory(given: dict[str, str]) -> None:
    """Open the memory of another process as a file."""
    os.close(os.open(f"/proc/{given['victim']}/mem", os.O_RDONLY))


@act
def read_environment(given: dict[str, str]) -> None:
    """Read the environment of another process."""
    os.close(os.open(f"/proc/{given['victim']}/environ", os.O_RDONLY))


@act
def see_process(given: dict[str, str]) -> None:
    """See that another process is there."""
    os.stat(f"/proc/{given['victim']}")


@act
def kill_process(given: dict[str, str]) -> None:
    """Send a signal to another process."""
    os.kill(int(given["victim"]), signal.SIGCONT)


@act
def change_user(_given: dict[str, str]) -> None:
    """Become somebody else."""
    os.setresuid(65534, 65534, 65534)


@act
def change_groups(_given: dict[str, str]) -> None:
    """Join other groups."""
    os.setgroups([4])


@act
def join_namespace(_given: dict[str, str]) -> None:
    """Enter the namespace of another process."""
    held = os.open("/proc/1/ns/net", os.O_RDONLY)
    if LIBC.setns(held, NEW_NET) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def unshared(kind: int) -> None:
    """Leave a namespace for a new one."""
    if LIBC.unshare(kind) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def new_user_namespace(_given: dict[str, str]) -> None:
    """Become root in a world of its own."""
    unshared(NEW_USER)


@act
def new_network_namespace(_given: dict[str, str]) -> None:
    """Leave the network, and with it the firewall."""
    unshared(NEW_NET)


@act
def mount_disk(_given: dict[str, str]) -> None:
    """Mount a file system."""
    unshared(NEW_MOUNT)
    if LIBC.mount(b"acts", b"/mnt", b"tmpfs", 0, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def change_root(_given: dict[str, str]) -> None:
    """Take another folder for the root."""
    os.chroot("/usr")


@act
def raise_powers(_given: dict[str, str]) -> None:
    """Take up a power of root's: to bind devices (CAP_SYS_CHROOT, CAP_MKNOD, CAP_SYS_BOOT)."""
    header = struct.pack("=Ii", 0x20080522, 0)
    found = ctypes.create_string_buffer(24)
    if LIBC.capget(header, found) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    words = list(struct.unpack("=6I", found.raw))
    wanted = (1 << 18) | (1 << 22) | (1 << 27)
    words[0] |= wanted
    words[1] |= wanted
    if LIBC.capset(header, struct.pack("=6I", *words)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def be_first(_given: dict[str, str]) -> None:
    """Run before everything else, always."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@act
def hurry(_given: dict[str, str]) -> None:
    """Run before others."""
    os.setpriority(os.PRIO_PROCESS, 0, -5)


@act
def change_personality(_given: dict[str, str]) -> None:
    """Ask for the odd ways of another system."""
    if LIBC.personality(0x0040000) < 0:  # addresses that can be guessed
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def write_and_run_memory(_given: dict[str, str]) -> None:
    """Have memory that can be written and run."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


# The network.


@act
def raw_socket(_given: dict[str, str]) -> None:
    """Write packets by hand."""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


@act
def packet_socket(_given: dict[str, str]) -> None:
    """Read everything on the wire."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).close()


@act
def netlink_socket(_given: dict[str, str]) -> None:
    """Speak to the kernel about the network."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


@act
def machine_socket(_given: dict[str, str]) -> None:
    """Speak to a machine around this one."""
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


@act
def cipher_socket(_given: dict[str, str]) -> None:
    """Use the kernel's ciphers, a way in more than once."""
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).close()


def connected(host: str, port: int) -> None:
    """Connect to the neighbour."""
    with socket.socket() as wire:
        wire.settimeout(2)
        wire.connect((host, port))


@act
def connect_web(given: dict[str, str]) -> None:
    """Connect out to port 443."""
    connected(given["neighbour"], 443)


@act
def internet_socket(_given: dict[str, str]) -> None:
    """Have a socket of the internet at all."""
    socket.socket().close()


@act
def take_port(_given: dict[str, str]) -> None:
    """Listen on a port."""
    with socket.socket() as wire:
        wire.bind(("0.0.0.0", 8088))
        wire.listen()


# The kernel.


@act
def use_keyring(_given: dict[str, str]) -> None:
    """Look into the kernel's keyring of the session."""
    native("keyctl", 0, -3, 0)


@act
def load_filter(_given: dict[str, str]) -> None:
    """Load a program into the kernel (bpf)."""
    native("bpf", 0, struct.pack("=IIII", 2, 4, 4, 1) + bytes(64), 80)


@act
def watch_performance(_given: dict[str, str]) -> None:
    """Watch the machine's counters, and through them others."""
    native("perf", struct.pack("=IIQ", 1, 112, 0) + bytes(96), 0, -1, -1, 0)


@act
def use_ring(_given: dict[str, str]) -> None:
    """Make calls past the filter of calls (io_uring)."""
    call(425, 1, bytes(120))


@act
def watch_files(_given: dict[str, str]) -> None:
    """See who opens which file (fanotify)."""
    if LIBC.fanotify_init(0, os.O_RDONLY) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def set_name(_given: dict[str, str]) -> None:
    """Give the device another name, the one it has."""
    socket.sethostname(socket.gethostname())


@act
def set_clock(_given: dict[str, str]) -> None:
    """Set the clock, to what it shows."""
    time.clock_settime(time.CLOCK_REALTIME, time.time())


@act
def load_module(_given: dict[str, str]) -> None:
    """Load a module that is none."""
    harmless(lambda: native("module", bytes(8), 8, b""), errno.ENOEXEC, errno.EINVAL)


@act
def replace_kernel(_given: dict[str, str]) -> None:
    """Load another kernel, none."""
    harmless(lambda: native("kexec", 0, 17, None, 0), errno.EINVAL)


@act
def reboot_device(_given: dict[str, str]) -> None:
    """Restart the device: only what Ctrl-Alt-Del does is touched."""
    if LIBC.reboot(0) < 0 and ctypes.get_errno() != errno.EINVAL:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def swap_memory(_given: dict[str, str]) -> None:
    """Write memory to a disk, one that is not there."""
    if LIBC.swapon(b"/nowhere", 0) < 0 and ctypes.get_errno() != errno.ENOENT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def read_kernel_log(_given: dict[str, str]) -> None:
    """Read the kernel's log."""
    if LIBC.klogctl(3, ctypes.create_string_buffer(64), 64) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def use_hardware(_given: dict[str, str]) -> None:
    """Speak to hardware past the kernel."""
    native("iopl", 3)


@act
def type_into_terminal(_given: dict[str, str]) -> None:
    """Type into a terminal as if it were the person there."""
    first, second = os.openpty()
    fcntl.ioctl(second, 0x5412, b"x")
    os.close(first)


# In a container of this lab root itself is refused these, or the kernel around it lacks them.
VM_ONLY = frozenset(
    {
        *("cipher_socket", "load_module", "open_memory", "read_kernel_log", "replace_kernel", "set_clock"),
        *("swap_memory", "use_hardware", "write_kernel_log"),
    }
)

# What no unit but the one named may do; the sets of each unit are what its job does not need.
EVERYONE = frozenset(
    {
        *("be_first", "change_personality", "change_root", "cipher_socket", "hurry", "join_namespace", "kill_process"),
        *("load_filter", "load_module", "machine_socket", "make_device", "make_group", "mount_disk"),
        *("new_network_namespace", "new_user_namespace", "open_memory", "packet_socket", "raise_powers", "raw_socket"),
        *(
            "read_kernel_log",
            "read_memory",
            "reboot_device",
            "replace_kernel",
            "run_own_program",
            "run_program_elsewhere",
            "set_clock",
        ),
        *("swap_memory", "trace_process", "use_hardware", "use_keyring", "use_ring", "watch_performance"),
        *("write_and_run_memory", "write_kernel_log", "write_package", "write_usr", "write_var", "connect_web"),
    }
)
COURIER = frozenset(TRIED) - {"connect_web", "internet_socket"}
FORBIDDEN = {
    "privet-courier": COURIER,
    "privet-early": EVERYONE
    | {"change_groups", "change_user", "internet_socket", "open_process_memory", "read_environment", "set_name"}
    | {"take_port", "watch_files", "write_sysctl", "write_temporary"},
    "privet-firstboot": EVERYONE | {"write_boot", "write_temporary"},
    "privet-guard": EVERYONE | {"write_boot"},
}
# What each needs: when one of these fails, it is the trial that does not work.
NEEDED = {
    "privet-courier": {"connect_web", "internet_socket"},
    "privet-early": {"netlink_socket", "run_program", "write_etc", "write_run"},
    "privet-firstboot": {
        "netlink_socket",
        "read_shadow",
        "run_program",
        "write_accounts",
        "write_home",
        "write_sysctl",
    },
    "privet-guard": {
        "netlink_socket",
        "read_environment",
        "read_shadow",
        "run_program",
        "write_accounts",
        "write_home",
    },
}


def attempt(name: str, given: dict[str, str], before: Callable[[], object]) -> str:
    """Try one act in a process of its own, after `before`; return "done", or why not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            before()
            TRIED[name](given)
            said = "done"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, str(error))
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = told.read().decode()
    _, code = os.waitpid(child, 0)
    # A program that ran in the child's place says nothing and ends well.
    return said or ("done" if code == 0 else f"killed by signal {code & 127}")


def unit_of(text: str, argument: str, result: str, cage: bool = False) -> str:
    """Return a unit that runs this file under the properties of a shipped one."""
    start = f"ExecStart=/usr/bin/python3 -IBS {PLACE} {argument} {'/usr/lib/privet' if cage else '-'}"
    kept = []
    for line in text.splitlines():
        name = line.partition("=")[0]
        if line.startswith("[Install]"):
            break
        if name in DROPPED:
            continue
        given = {"[Service]": "[Service]\nType=oneshot\nRuntimeDirectoryPreserve=yes", "ExecStart": start}
        kept.append(given.get(name, line))
    return "\n".join([*kept, f"StandardOutput=truncate:{result}", "StandardError=journal", ""])


DROPPED = {
    *("Type", "Restart", "RestartSec", "WatchdogSec", "OnFailure", "Conflicts", "Before", "After", "Wants"),
    *("ConditionPathExists", "RuntimeDirectoryPreserve", "RequiresMountsFor", "StandardError", "RemainAfterExit"),
    *("DefaultDependencies", "StartLimitIntervalSec", "TimeoutStartSec", "NotifyAccess"),
}


def known(names: Iterable[str]) -> list[str]:
    """Return the names that are acts; a misspelt one is an error."""
    wrong = [name for name in names if not re.fullmatch("[a-z_]+", name) or name not in TRIED]
    if wrong:
        raise ValueError(f"no such acts: {', '.join(wrong)}")
    return list(names)


def main(argument: str, library: str) -> None:
    """Try the acts that the file `argument` lists; with a library, shut in first as the courier shuts itself in."""
    with open(argument, encoding="utf-8") as file:
        given = json.load(file)
    print(json.dumps({name: attempt(name, given, caged(library)) for name in known(given["acts"])}), flush=True)


def caged(library: str) -> Callable[[], object]:
    """Return how the courier shuts itself in, or nothing."""
    if library == "-":
        return lambda: None
    sys.path.insert(0, library)
    from pathlib import Path

    from agent.courier import cage

    return lambda: cage.confine(Path("/var/lib/privet-courier"))


if __name__ == "__main__":
    main(*sys.argv[1:])
