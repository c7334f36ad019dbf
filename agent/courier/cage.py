"""What the courier gives up before it meets the network: its user, its rights, its memory, its view of the disk.

The service manager does all of this too where there is one; here it holds however the courier is started.
"""

import ctypes
import os
import pwd
import resource
import struct
import sys
from pathlib import Path

from agent.core.errors import Failed, Missing, Refused

MEMORY = 192 << 20  # bytes of address space; about 60 are in use
DESCRIPTORS = 64
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38  # prctl(2)
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # landlock(7); the same numbers on every architecture
VERSION_ONLY = 1  # LANDLOCK_CREATE_RULESET_VERSION
BENEATH, PORT = 1, 2  # LANDLOCK_RULE_PATH_BENEATH, LANDLOCK_RULE_NET_PORT
READ_FILE, READ_DIR = 1 << 2, 1 << 3
RIGHTS = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)  # of the file system, known to each version of Landlock
BIND_TCP = 1  # since version 4: takes no port of its choice
ABSTRACT_SOCKETS, SIGNALS = 1, 2  # since version 6: reaches no other process by these
# What resolving a name and loading a part of Python or OpenSSL reads.
SYSTEM = (
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
)


def drop(user: str) -> None:
    """Become an unprivileged user for good, when we are root; Missing when there is none, Refused when it is root."""
    if os.geteuid() == 0:
        uid, gid = _ids(user)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if 0 in {*os.getresuid(), *os.getresgid()}:
        raise Refused("the courier does not run as root or in root's group; start it as an unprivileged user")
    os.umask(0o077)


def confine(home: Path) -> tuple[str, ...]:
    """Give up new privileges, programs, core dumps, most memory and most files; return what this kernel cannot do."""
    library = ctypes.CDLL(None, use_errno=True)
    for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_DUMPABLE, 0)):
        if library.prctl(option, value, 0, 0, 0) != 0:
            raise Failed(f"prctl {option} failed ({os.strerror(ctypes.get_errno())}); use a Linux kernel from 4.0")
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_NOFILE, DESCRIPTORS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    return _landlock(library, [str(home), *SYSTEM, sys.prefix, sys.base_prefix, *(p for p in sys.path if p)])


def _ids(user: str) -> tuple[int, int]:
    if user.isdecimal():
        return int(user), int(user)
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Missing(f"there is no user {user} for the courier; make it, or name another with --user") from None
    return entry.pw_uid, entry.pw_gid


def _limit(which: int, most: int) -> None:
    """Lower a limit, soft and hard; one that is lower already stays."""
    hard = resource.getrlimit(which)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def _landlock(library: ctypes.CDLL, readable: list[str]) -> tuple[str, ...]:
    """Leave these paths readable, and nothing anywhere writable; return what the kernel is too old for."""
    version = library.syscall(CREATE_RULESET, None, 0, VERSION_ONLY)
    if version < 1:
        return ("this kernel has no Landlock: only file rights keep the courier from other files",)
    rights = RIGHTS[min(version, len(RIGHTS) - 1)]
    network = BIND_TCP if version >= 4 else 0
    scope = ABSTRACT_SOCKETS | SIGNALS if version >= 6 else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = struct.pack("=QQQ", rights, network, scope)[:size]
    ruleset = library.syscall(CREATE_RULESET, rules, size, 0)
    if ruleset < 0:
        raise Failed(f"Landlock refused its rules ({os.strerror(ctypes.get_errno())}); report this kernel's version")
    try:
        for path in readable:
            _allow(library, ruleset, path)
        # Port 0: paho binds to "any" before it connects, and that is all the binding there is.
        if network and library.syscall(ADD_RULE, ruleset, PORT, struct.pack("=QQ", BIND_TCP, 0), 0) != 0:
            raise Failed(f"Landlock refused a port ({os.strerror(ctypes.get_errno())}); report this kernel's version")
        if library.syscall(RESTRICT_SELF, ruleset, 0) != 0:
            raise Failed(f"Landlock did not start ({os.strerror(ctypes.get_errno())}); report this kernel's version")
    finally:
        os.close(ruleset)
    return (
        ()
        if version >= 6
        else (f"this kernel has Landlock {version}: it cannot keep the courier from other processes",)
    )


def _allow(library: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there: nothing to allow
    try:
        rights = READ_FILE | READ_DIR if Path(path).is_dir() else READ_FILE
        rule = struct.pack("=Qi", rights, held)
        if library.syscall(ADD_RULE, ruleset, BENEATH, rule, 0) != 0:
            raise Failed(f"Landlock refused {path} ({os.strerror(ctypes.get_errno())}); report this kernel's version")
    finally:
        os.close(held)
