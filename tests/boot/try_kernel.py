"""Acts on the kernel and the machine that no unit has any business with."""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": {"bpf": 321, "perf": 298, "keyctl": 250, "kexec": 246, "module": 175, "iopl": 172},
    "aarch64": {"bpf": 280, "perf": 241, "keyctl": 219, "kexec": 104, "module": 105, "iopl": -1},
}


def _checked(done: int) -> int:
    """Raise what the kernel said when a call failed."""
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def _native(name: str, *words: object) -> int:
    """Make a system call whose number depends on the machine."""
    return _checked(LIBC.syscall(NUMBERS[os.uname().machine][name], *words))


def _harmless(what: Callable[[], object], *fine: int) -> None:
    """Do something aimed at nothing: the answers in `fine` say that rights were not what stopped it."""
    try:
        what()
    except OSError as error:
        if error.errno not in fine:
            raise


def use_keyring(_given: dict[str, str]) -> None:
    """Look into the kernel's keyring of the session."""
    _native("keyctl", 0, -3, 0)


def load_filter(_given: dict[str, str]) -> None:
    """Load a program into the kernel (bpf)."""
    _native("bpf", 0, struct.pack("=IIII", 2, 4, 4, 1) + bytes(64), 80)


def watch_performance(_given: dict[str, str]) -> None:
    """Watch the machine's counters, and through them others."""
    _native("perf", struct.pack("=IIQ", 1, 112, 0) + bytes(96), 0, -1, -1, 0)


def use_ring(_given: dict[str, str]) -> None:
    """Make calls past the filter of calls (io_uring)."""
    _checked(LIBC.syscall(425, 1, bytes(120)))


def watch_files(_given: dict[str, str]) -> None:
    """See who opens which file (fanotify)."""
    _checked(LIBC.fanotify_init(0, os.O_RDONLY))


def set_name(_given: dict[str, str]) -> None:
    """Give the device another name, the one it has."""
    socket.sethostname(socket.gethostname())


def set_clock(_given: dict[str, str]) -> None:
    """Set the clock, to what it shows."""
    time.clock_settime(time.CLOCK_REALTIME, time.time())


def load_module(_given: dict[str, str]) -> None:
    """Load a module that is none."""
    _harmless(lambda: _native("module", bytes(8), 8, b""), errno.ENOEXEC, errno.EINVAL)


def replace_kernel(_given: dict[str, str]) -> None:
    """Load another kernel, none."""
    _harmless(lambda: _native("kexec", 0, 17, None, 0), errno.EINVAL)


def reboot_device(_given: dict[str, str]) -> None:
    """Restart the device: only what Ctrl-Alt-Del does is touched."""
    if LIBC.reboot(0) < 0 and ctypes.get_errno() != errno.EINVAL:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def swap_memory(_given: dict[str, str]) -> None:
    """Write memory to a disk, one that is not there."""
    if LIBC.swapon(b"/nowhere", 0) < 0 and ctypes.get_errno() != errno.ENOENT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def read_kernel_log(_given: dict[str, str]) -> None:
    """Read the kernel's log."""
    _checked(LIBC.klogctl(3, ctypes.create_string_buffer(64), 64))


def use_hardware(_given: dict[str, str]) -> None:
    """Speak to hardware past the kernel."""
    _native("iopl", 3)


def type_into_terminal(_given: dict[str, str]) -> None:
    """Type into a terminal as if it were the person there."""
    first, second = os.openpty()
    fcntl.ioctl(second, 0x5412, b"x")
    os.close(first)
