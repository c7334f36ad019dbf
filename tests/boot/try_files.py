"""Acts on files that no unit has any business with."""

import errno
import os
import stat

PROGRAM = "/srv/acts/true"  # a copy of true(1) where no program belongs


def _made_in(folder: str) -> None:
    """Make a file in a folder and take it away."""
    path = f"{folder}/acts-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)


def write_accounts(_given: dict[str, str]) -> None:
    """Open /etc/passwd for writing."""
    os.close(os.open("/etc/passwd", os.O_WRONLY | os.O_APPEND))


def write_etc(_given: dict[str, str]) -> None:
    """Make a file in /etc."""
    _made_in("/etc")


def write_usr(_given: dict[str, str]) -> None:
    """Make a file where programs are."""
    _made_in("/usr/lib")


def write_boot(_given: dict[str, str]) -> None:
    """Make a file on the boot partition."""
    _made_in("/boot")


def write_package(_given: dict[str, str]) -> None:
    """Change Privet's own program."""
    os.close(os.open("/usr/lib/privet/privet-guard", os.O_WRONLY | os.O_APPEND))


def write_var(_given: dict[str, str]) -> None:
    """Make a file where other services keep theirs."""
    _made_in("/var/lib/dpkg")


def write_run(_given: dict[str, str]) -> None:
    """Make a file in /run."""
    _made_in("/run")


def write_temporary(_given: dict[str, str]) -> None:
    """Make a file in /var/tmp."""
    _made_in("/var/tmp")


def write_home(_given: dict[str, str]) -> None:
    """Make a file in a home."""
    _made_in("/home/pi")


def read_shadow(_given: dict[str, str]) -> None:
    """Read the hashes of passwords."""
    os.close(os.open("/etc/shadow", os.O_RDONLY))


def read_state(_given: dict[str, str]) -> None:
    """Read the guard's sealed state."""
    os.close(os.open("/var/lib/privet/state.db", os.O_RDONLY))


def read_policy(_given: dict[str, str]) -> None:
    """Read the policy of the device."""
    os.close(os.open("/etc/privet/device.cbor", os.O_RDONLY))


def read_home(_given: dict[str, str]) -> None:
    """List the home of a person."""
    os.listdir("/home/pi")


def read_host_key(_given: dict[str, str]) -> None:
    """Read the private host key."""
    os.close(os.open("/etc/ssh/ssh_host_ed25519_key", os.O_RDONLY))


def make_device(_given: dict[str, str]) -> None:
    """Make a device file."""
    path = f"/run/acts-{os.getpid()}"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.unlink(path)


def make_suid(_given: dict[str, str]) -> None:
    """Make a program that runs with the rights of its owner."""
    os.fchmod(os.memfd_create("acts"), 0o4755)


def change_owner(_given: dict[str, str]) -> None:
    """Give a file to somebody else."""
    os.fchown(os.memfd_create("acts"), 65534, 65534)


def run_program_elsewhere(_given: dict[str, str]) -> None:
    """Run a program that lies where no program belongs."""
    os.execv(PROGRAM, [PROGRAM])


def run_own_program(_given: dict[str, str]) -> None:
    """Lay a program down, wherever that can be done, and run it."""
    why = 0
    state = ("/var/lib/privet", "/var/lib/privet-courier")
    for folder in ("/tmp", "/var/tmp", "/etc", "/run", *state, "/home/pi", "/boot", "/var/log"):
        path = f"{folder}/acts-{os.getpid()}"
        try:
            held = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o700)
            with open("/usr/bin/true", "rb") as source:
                os.write(held, source.read())
            os.close(held)
            os.execv(path, [path])
        except OSError as error:
            why = error.errno or 0
    raise OSError(why, "nowhere")


def run_program(_given: dict[str, str]) -> None:
    """Run a program of the system."""
    os.execv("/usr/bin/true", ["true"])


def open_memory(_given: dict[str, str]) -> None:
    """Open the memory of the machine."""
    os.close(os.open("/dev/mem", os.O_RDONLY))


def write_kernel_log(_given: dict[str, str]) -> None:
    """Write into the kernel's log."""
    held = os.open("/dev/kmsg", os.O_WRONLY | os.O_NONBLOCK)
    if not stat.S_ISCHR(os.fstat(held).st_mode):
        raise OSError(errno.ENOENT, "this is no kernel log")


def make_group(_given: dict[str, str]) -> None:
    """Make a control group."""
    path = f"/sys/fs/cgroup/acts-{os.getpid()}"
    os.mkdir(path)
    os.rmdir(path)


def write_sysctl(_given: dict[str, str]) -> None:
    """Write a value of the kernel, the one it has."""
    with open("/proc/sys/net/ipv4/ip_default_ttl", "r+", encoding="ascii") as value:
        value.write(value.read())
