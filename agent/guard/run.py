"""The guard as a process: built from the real parts, turned until it is told to stop."""

import os
import signal
import socket
import sys

from agent import registry
from agent.core.errors import PrivetError, Tampered
from agent.guard.callers import table
from agent.guard.gate import first_boot
from agent.guard.house import House, Parts
from agent.guard.rules import read_anchor
from agent.system.keys import FileSlot
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import WorkerVault

STATE = "/var/lib/privet"
RUN = "/run/privet"
ACCOUNT = "privet"
USAGE = """usage: python -m agent.guard [--courier ACCOUNT]

The root process of Privet. ACCOUNT (a name or a number, default privet) is whom the courier runs as."""


def account(system: RealSystem, name: str) -> tuple[int, int]:
    """Return uid and gid of the courier's account; a number stands for itself; root alone when there is none."""
    if name.isdigit():
        return int(name), int(name)
    for row in table(system, "/etc/passwd"):
        if row[0] == name:
            return int(row[2]), int(row[3])
    return 0, 0


def open_store(path: str, vault: WorkerVault, system: RealSystem) -> tuple[Store, str]:
    """Open the state; damaged state is set aside and an empty one begun, in which nothing is allowed or agreed to."""
    try:
        return Store(path, vault, system.clock), ""
    except Tampered as error:
        return Store.recover(path, vault, system.clock, str(error)), str(error)


def build(system: RealSystem) -> tuple[House, WorkerVault]:
    """Put the house together on this machine."""
    anchor = read_anchor(system)
    system.make_directory(STATE, 0o700)
    key, made = FileSlot(system).open()
    vault = WorkerVault(key)
    store, lost = open_store(f"{STATE}/state.db", vault, system)
    if store.fresh and not made and not lost:
        lost = f"{STATE}/state.db was removed"
    system.make_directory(f"{STATE}/queue", 0o700)

    def open_queue(purpose: str, budget: int) -> Queue:
        return Queue(system, f"{STATE}/queue/{purpose}", budget)

    house = House(
        Parts(
            system=system,
            store=store,
            vault=vault,
            settings=registry.settings(),
            anchor=anchor,
            open_queue=open_queue,
            first_boot=first_boot,
        )
    )
    house.lost = lost
    return house, vault


def notify(state: str) -> None:
    """Tell systemd, where it asked to be told (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
        wire.connect("\0" + path[1:] if path.startswith("@") else path)
        wire.send(state.encode())


def serve(house: House, vault: WorkerVault) -> None:
    """Turn until SIGTERM or SIGINT; each turn that ends is progress, and only progress feeds the watchdog."""

    def stop(_number: int, _frame: object) -> None:
        house.stopping = True

    wake, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno())
    house.selector.register(wake, 1, lambda _mask: wake.recv(64))
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    notify("READY=1")
    while not house.stopping:
        house.turn(30.0)
        vault.collect()
        notify("WATCHDOG=1")
    notify("STOPPING=1")
    house.selector.unregister(wake)
    house.stop()


def main() -> None:
    """Run the guard until it is told to stop; a failure to start is one sentence and an exit code."""
    words = sys.argv[1:]
    if words[:1] == ["--help"] or len(words) not in (0, 2) or words[:1] not in ([], ["--courier"]):
        print(USAGE)  # noqa: T201 - asked for
        sys.exit(0 if words == ["--help"] else 64)
    courier = words[1] if words else ACCOUNT
    os.umask(0o077)
    system = RealSystem()
    try:
        system.make_directory(RUN, 0o755)
        house, vault = build(system)
        uid, gid = account(system, courier)
        house.listen(RUN, uid, gid)
        house.start()
        serve(house, vault)
    except PrivetError as error:
        print(f"privet-guard: {error}", file=sys.stderr)  # noqa: T201 - the service's log
        sys.exit(error.exit_code)
