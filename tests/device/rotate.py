"""Runs on the device under test: one first boot with the real door, the real store and the real tools.

`run` goes to the end and prints what it reached; `die K` is killed in place of the K-th call of the door; `cut COUNT
SYNC` (yes or no) moves /etc to an ext4 image, runs whole first boots and pulls the plug right after each.
"""

import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.core.errors import PrivetError
from agent.core.secret import Secret
from agent.credentials import boot_files, host_name, linux_account, machine_id, ssh_host_key
from agent.guard.firstboot import FirstBoot
from agent.system.calls import Calls
from agent.system.door import Outcome
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import DirectVault

STATE = "/var/lib/privet"
GATE = STATE + "/gate"
OWNER: dict[str, Any] = {"owner_account": "pi"}
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)  # EXT4_IOC_SHUTDOWN: nothing cached reaches the disk
IMAGE, PLACE = "/run/etc.img", "/run/etc"


class Gate:
    """A gate that is one file of the device; its being loaded into the firewall is tested where the firewall is."""

    def __init__(self, system: RealSystem) -> None:
        self.system = system

    def shut(self) -> None:
        """Let nothing in."""
        self.system.write(GATE, b"shut", 0o600)

    def open(self) -> None:
        """Let in what is allowed."""
        self.system.write(GATE, b"open", 0o600)


class Kept:
    """A store in memory, which a cut does not touch."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return a value."""
        return self.values.get(key)

    def put(self, values: dict[str, Any], journal: Any = ()) -> None:
        """Keep values."""
        self.values.update(values)

    def append(self, kind: str, body: dict[str, Any]) -> int:
        """Keep no journal."""
        return 0


class Unsynced(RealSystem):
    """The known-bad twin: a door whose sync does nothing."""

    def sync(self, path: str) -> None:
        """Do not make durable what another program wrote."""


class Dying(RealSystem):
    """A door that kills this process in place of its k-th call; calls of programs count by being started."""

    def __init__(self, k: int) -> None:
        self.left = k
        step = self.step

        class Counted(Calls):
            """The kernel's calls, counted."""

            def __getattribute__(self, name: str) -> Any:
                """Count each call when it is asked for."""
                if not name.startswith("_"):
                    step()
                return super().__getattribute__(name)

        super().__init__(calls=Counted())

    def step(self) -> None:
        """Count, and die when it is time."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Run a program."""
        self.step()
        return super().run(argv, stdin, seconds)


def boot(system: RealSystem) -> dict[str, Any]:
    """Run the first boot over the real store and return what came of it, with the owner's new secrets."""
    system.make_directory(STATE, 0o700)
    with contextlib.closing(Store(STATE + "/state.db", DirectVault(Secret(bytes(32))), system.clock)) as store:
        kinds: Any = (
            ("linux_account", linux_account, OWNER),
            ("ssh_host_key", ssh_host_key, {}),
            ("machine_id", machine_id, {}),
            ("host_name", host_name, {}),
            ("boot_files", boot_files, {}),
        )
        answer: dict[str, Any] = {"failed": ""}
        try:
            reached = FirstBoot(system, store, Gate(system), kinds).run()
            answer |= {"phase": reached.phase, "returned": reached.returned}
        except PrivetError as error:
            answer["failed"] = str(error)
        names = store.keys("credential/linux_account/")
        answer["secrets"] = {name.rpartition("/")[2]: store.get(name).decode() for name in names}
        answer["gate"] = system.read(GATE).decode()
        answer["journal"] = [[entry.kind, entry.body] for entry in store.entries()]
        answer["sound"] = store.verify().damage == ""
    return answer


def mounted() -> None:
    """Mount the image as /etc."""
    Path(PLACE).mkdir(exist_ok=True)
    subprocess.run(("mount", "-o", "loop", IMAGE, PLACE), check=True)
    subprocess.run(("mount", "--bind", PLACE, "/etc"), check=True)


def unmounted() -> None:
    """Give /etc back."""
    subprocess.run(("umount", "/etc"), check=True)
    subprocess.run(("umount", PLACE), check=True)


def cut(synced: bool) -> dict[str, Any]:
    """Run a first boot in a process of its own, pull the plug on /etc as soon as it says provisioned, look again."""
    system = RealSystem() if synced else Unsynced()
    kept = Kept()
    reading, writing = os.pipe()
    writer = os.fork()
    if not writer:
        FirstBoot(system, kept, Silent(), (("linux_account", linux_account, OWNER),)).run()
        os.write(writing, kept.get("credential/linux_account/pi"))
        signal.pause()
    os.close(writing)
    new = os.read(reading, 100)
    os.close(reading)
    os.kill(writer, signal.SIGSTOP)
    os.waitpid(writer, os.WUNTRACED)
    number = os.open("/etc", os.O_RDONLY)
    fcntl.ioctl(number, SHUTDOWN, NO_LOG_FLUSH)
    os.close(number)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    unmounted()
    mounted()
    opens = linux_account.opens
    fresh = RealSystem()
    return {"old": opens(fresh, "pi", Secret(b"raspberry")), "new": bool(new) and opens(fresh, "pi", Secret(new))}


class Silent:
    """No gate: what is tested is the password."""

    def shut(self) -> None:
        """Do nothing."""

    def open(self) -> None:
        """Do nothing."""


def cuts(count: int, synced: bool) -> list[dict[str, Any]]:
    """Do so many cuts, each over the factory's /etc, and return what was found after each."""
    Path("/run/factory").mkdir()
    subprocess.run(("cp", "-a", "/etc/.", "/run/factory"), check=True)
    mounted()
    found = []
    for _ in range(count):
        subprocess.run(("cp", "-a", "/run/factory/.", "/etc"), check=True)
        os.sync()
        found.append(cut(synced))
    unmounted()
    return found


def main(act: str, *rest: str) -> None:
    """Do one act and print its result as JSON."""
    if act == "run":
        print(json.dumps(boot(RealSystem())))
    elif act == "die":
        print(json.dumps(boot(Dying(int(rest[0])))))
    elif act == "cut":
        print(json.dumps(cuts(int(rest[0]), rest[1] == "yes")))


if __name__ == "__main__":
    main(*sys.argv[1:])
