"""The device lab: light Debian 12 devices with real daemons, one per test, each ready in well under a second.

`Lab` owns a read-only Debian tree, built once with mmdebstrap and cached. `Lab.device()` lays a memory-backed overlay
over it in mount, pid, uts, ipc and network namespaces of its own: files, daemons, firewall and addresses of a device
are invisible to this machine and to the other devices. Nothing is ever mounted in the namespace of the test process,
so there is nothing to unmount: when the device's first process dies, and the kernel kills it together with the test
process however that one ends, everything it was goes with it.

A device has no systemd as first process. Needs root.
"""

import json
import os
import secrets
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.device import tree

PASSWORD = "raspberry"  # the published factory password
AGENT = "/opt/privet"
PACKAGES = "/opt/site-packages"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root"}
REPOSITORY = Path(__file__).resolve().parents[2]

# What the first process does: prepare what an early boot would have prepared, say its own pid as this machine sees it
# (the /proc still mounted is this machine's), then reap orphans for ever. Arguments: tree, repository, packages, name.
FIRST_PROCESS = """
set -e
read -r pid rest </proc/self/stat
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/up,workdir=/mnt/work" /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p dev/pts dev/shm run/sshd run/mosquitto run/lock opt/privet opt/site-packages
mount --bind -o ro "$2" opt/privet
mount --bind -o ro "$3" opt/site-packages
for d in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${d%:*}" c 1 "${d#*:}"; done
mknod -m 666 dev/tty c 5 0
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
hostname "$4"; echo "$4" >etc/hostname; printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$4" >etc/hosts
mkdir old; pivot_root . old; cd /
exec chroot . /bin/sh -c '
  ip link set lo up
  ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
  umount -l /old; rmdir /old
  echo "$0"; exec >/dev/null
  while :; do sleep 1000 & wait $!; done' "$pid" </dev/null
"""


class LabError(RuntimeError):
    """The lab cannot do what a test asked; the text says why."""


class Device:
    """One light device, made by `Lab.device()`; it ends with `close()`, with the test, or with the test process."""

    def __init__(self, root: Path, name: str, packages: Path) -> None:
        self.name = name
        self.keys = 0
        self.spawned: list[subprocess.Popen[bytes]] = []
        argv = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child", "--propagation"]
        argv += ["private", "sh", "-c", FIRST_PROCESS, "sh", str(root), str(REPOSITORY), str(packages), name]
        self.keeper = subprocess.Popen(
            tied(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        assert self.keeper.stdout is not None and self.keeper.stderr is not None
        line = self.keeper.stdout.readline().strip()
        if not line.isdigit():
            self.keeper.kill()
            raise LabError(f"device {name} did not start: {self.keeper.stderr.read().decode()[-800:]}")
        self.pid = int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the device and forget its files."""
        for child in (self.keeper, *self.spawned):
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Return the argument vector that runs `argv` inside the device."""
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-r", "-w", "--", *argv]

    def run(
        self, argv: Sequence[str], stdin: bytes = b"", seconds: float = 30, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end as root inside the device; output is bytes, a failure is the caller's to judge."""
        given = {**ENVIRONMENT, **(environment or {})}
        return subprocess.run(
            self.enter(argv), input=stdin, capture_output=True, timeout=seconds, env=given, check=False
        )

    def must(self, argv: Sequence[str], stdin: bytes = b"", seconds: float = 30) -> str:
        """Run a program that has to succeed; return its output as text."""
        done = self.run(argv, stdin, seconds)
        if done.returncode != 0:
            raise LabError(f"{list(argv)} ended with {done.returncode} on {self.name}: {done.stderr.decode()[-800:]}")
        return done.stdout.decode()

    def spawn(self, argv: Sequence[str], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program inside the device and return it with pipes; it ends with the device at the latest."""
        given = {**ENVIRONMENT, **(environment or {})}
        pipe = subprocess.PIPE
        made = subprocess.Popen(tied(self.enter(argv)), stdin=pipe, stdout=pipe, stderr=pipe, env=given)
        self.spawned.append(made)
        return made

    def python(self, *arguments: str) -> list[str]:
        """Return the argument vector of Python inside the device, with the repository and its packages importable."""
        return ["env", f"PYTHONPATH={AGENT}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE=1", "/usr/bin/python3", *arguments]

    def agent(self, source: str, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run a snippet of Python as root inside the device (a fresh process); `arguments` arrive in sys.argv[1:]."""
        return self.run(self.python("-c", source, *arguments), seconds=seconds)

    def module(self, name: str, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run one of our modules inside the device, as `python -m name arguments`."""
        return self.run(self.python("-m", name, *arguments), seconds=seconds)

    def ask(self, source: str, *arguments: str) -> Any:
        """Run a snippet that prints one JSON value; return the value."""
        done = self.agent(source, *arguments)
        if done.returncode != 0:
            raise LabError(f"the snippet failed on {self.name}: {done.stderr.decode()[-2000:]}")
        return json.loads(done.stdout)

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file inside the device, as an editor on it would; parent directories appear."""
        blob = content.encode() if isinstance(content, str) else content
        script = 'mkdir -p "${1%/*}" && cat >"$1" && chmod "$2" "$1"'
        self.must(["sh", "-c", script, "sh", path, f"{mode:o}"], blob)

    def append(self, path: str, content: str) -> None:
        """Add text at the end of a file inside the device."""
        self.must(["sh", "-c", 'cat >>"$1"', "sh", path], content.encode())

    def read(self, path: str) -> str:
        """Return the text of a file inside the device."""
        return self.must(["cat", path])

    def remove(self, path: str) -> None:
        """Remove a file inside the device."""
        self.must(["rm", "-f", path])

    def address(self, *addresses: str) -> None:
        """Give the device's loopback more addresses, so that logins can come from them."""
        for one in addresses:
            self.must(["ip", "address", "add", one, "dev", "lo"])

    def link(self, other: "Device", mine: str, theirs: str, mask: int = 24) -> None:
        """Join two devices by a cable; each end is called lan<N> and has the given address."""
        name = f"lan{secrets.token_hex(3)}"
        self.must(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}x"])
        host_view = [
            "nsenter",
            "-t",
            str(self.pid),
            "-n",
            "--",
            "ip",
            "link",
            "set",
            f"{name}x",
            "netns",
            str(other.pid),
        ]
        subprocess.run(host_view, check=True, capture_output=True)
        for device, end, own in ((self, name, mine), (other, f"{name}x", theirs)):
            device.must(["ip", "address", "add", f"{own}/{mask}", "dev", end])
            device.must(["ip", "link", "set", end, "up"])

    def sshd(self, *options: str, port: int = 22, later: float = 0) -> int:
        """Start a real OpenSSH daemon with more command line options; return its pid on the device once it listens.

        `later`: seconds after its files were written, for whoever asks a fresh process what it has read: on a busy
        machine nobody can tell that of files that were written while it started.
        """
        time.sleep(later)
        self.must(["/usr/sbin/sshd", *options])
        return self.listener(port)

    def refuse_quickly(self) -> None:
        """Take the two seconds out of each refused password; nothing else changes."""
        self.must(["sed", "-i", "s/pam_unix.so nullok/pam_unix.so nullok nodelay/", "/etc/pam.d/common-auth"])

    def listener(self, port: int, seconds: float = 5) -> int:
        """Wait until something listens on a TCP port of the device; return its pid inside the device."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = self.must(["ss", "-Hltnp", f"sport = :{port}"])
            if "pid=" in text:
                return int(text.split("pid=", 1)[1].split(",", 1)[0])
            time.sleep(0.02)
        raise LabError(f"nothing listens on port {port} of {self.name}")

    def reload_sshd(self, pid: int) -> None:
        """Make a running OpenSSH daemon read its configuration again and wait until it did (it starts itself anew)."""
        stamp = self.must(["cut", "-d ", "-f26-28", f"/proc/{pid}/stat"])
        self.must(["kill", "-HUP", str(pid)])
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if self.must(["cut", "-d ", "-f26-28", f"/proc/{pid}/stat"]) != stamp:
                self.listener(22)
                return
            time.sleep(0.01)
        raise LabError("the OpenSSH daemon did not start itself anew after SIGHUP")

    def key(self, user: str = "root") -> str:
        """Make a key pair, allow its public half for the user; return the path of the private half on the device."""
        self.keys += 1
        home = self.must(["getent", "passwd", user]).split(":")[5]
        path = f"/run/key{self.keys}"
        self.must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path])
        script = 'mkdir -p -m 700 "$1/.ssh" && cat "$2" >>"$1/.ssh/authorized_keys" && chown -R "$3" "$1/.ssh"'
        self.must(["sh", "-c", script, "sh", home, f"{path}.pub", user])
        return path

    def login(
        self, user: str, *, key: str = "", password: str = "", options: Sequence[str] = (), port: int = 22
    ) -> bool:
        """Try a real login over loopback with a key or a password; say whether a command ran."""
        base = ["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5"]
        given = dict(ENVIRONMENT)
        if key:
            base += [
                "-i",
                key,
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                "PreferredAuthentications=publickey",
                "-o",
                "BatchMode=yes",
            ]
        else:
            self.write("/run/askpass", '#!/bin/sh\nprintf "%s\\n" "$LAB_SECRET"\n', 0o700)
            base += ["-o", "PreferredAuthentications=password,keyboard-interactive", "-o", "NumberOfPasswordPrompts=1"]
            given |= {"SSH_ASKPASS": "/run/askpass", "SSH_ASKPASS_REQUIRE": "force", "LAB_SECRET": password}
        argv = ["ssh", *base, "-p", str(port), *options, f"{user}@127.0.0.1", "echo let-in"]
        return self.run(argv, environment=given).stdout.strip() == b"let-in"


class Lab:
    """A source of devices; `directory` is the cached Debian tree, built on first use."""

    def __init__(self, recipe: tree.Recipe = tree.LIGHT) -> None:
        if os.geteuid() != 0:
            raise LabError("the device lab needs root: namespaces and overlays are made by it")
        for program in ("unshare", "nsenter", "mmdebstrap"):
            if shutil.which(program) is None:
                raise LabError(f"the device lab needs the program {program}; install it")
        self.directory = tree.built(recipe)
        self.packages = Path(sysconfig.get_paths()["purelib"])
        self.devices: list[Device] = []

    def device(self, name: str = "") -> Device:
        """Start a device as it leaves the factory: user pi with password raspberry, one host key, no daemon running."""
        made = Device(self.directory, name or f"device{len(self.devices)}", self.packages)
        self.devices.append(made)
        return made

    def close(self) -> None:
        """End every device that is still there."""
        for device in self.devices:
            device.close()


def tied(argv: Sequence[str]) -> list[str]:
    """Return an argument vector whose program the kernel kills when the thread that starts it ends."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]
