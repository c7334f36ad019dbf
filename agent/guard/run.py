"""The guard as a process: built from the real parts, turned until it is told to stop."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from agent import registry
from agent.core.assess import LOOSENED, UNKNOWN, WAIVED
from agent.core.errors import PrivetError, Refused, Tampered, Unreadable
from agent.core.secret import Secret
from agent.core.warn import notable
from agent.guard import early, glass, plants
from agent.guard.callers import table
from agent.guard.gate import first_boot
from agent.guard.house import House
from agent.guard.parts import Parts
from agent.guard.rules import read_anchor
from agent.guard.setup import ensure
from agent.system import cores
from agent.system.beneath import walked
from agent.system.copied import CopiedStore, open_copied, takes_nothing
from agent.system.door import System
from agent.system.hands import Hands
from agent.system.keys import STATE_KEY, FileSlot
from agent.system.notify import Pulse, notify, patience
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.spare import give_back
from agent.system.store import Store
from agent.system.vault import Vault, WorkerVault

STATE = "/var/lib/privet"
RUN = "/run/privet"
ACCOUNT = "privet"
UNFINISHED = 75  # exit code of a first boot that is to be tried again
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


def open_store(path: str, vault: Vault, system: System) -> tuple[Store | CopiedStore, str]:
    """Open the state; damaged state is set aside and an empty one begun, in which nothing is allowed or agreed to.

    On a disk that takes nothing, a copy of it.
    """
    try:
        return sound(path, vault, system)
    except Unreadable as error:
        if not takes_nothing(error):
            raise
    return open_copied(path, lambda place: Store(place, vault, system.clock), lambda: sound(path, vault, system)[0])


def sound(path: str, vault: Vault, system: System) -> tuple[Store, str]:
    """Open the state on the disk, or set it aside and begin an empty one; say why."""
    try:
        return Store(path, vault, system.clock), ""
    except Tampered as error:
        return Store.recover(path, vault, system.clock, str(error)), str(error)


def build(system: RealSystem) -> tuple[House, WorkerVault]:
    """Put the house together on this machine, whatever its disk takes and whatever lies there in place of records."""
    anchor = read_anchor(system)
    with bearing():
        system.make_directory(STATE, 0o700)
    told = [*plants.cleared(system), *plants.queues(system, f"{STATE}/queue")]
    with bearing():
        glass.start_over(system, lambda: Store(f"{STATE}/state.db", WorkerVault(open_key(system)[0]), system.clock))
    key, made = open_key(system)
    vault = WorkerVault(key)
    store, lost = open_store(f"{STATE}/state.db", vault, system)
    if store.fresh and not made and not lost:
        lost = f"{STATE}/state.db was removed"
    glass.resume(system, store)
    with bearing():
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
    house.lost = ". ".join([*told, *([lost] if lost else ())])
    return house, vault


@contextmanager
def bearing() -> Iterator[None]:
    """Go on where the disk takes nothing; any other failure is one."""
    try:
        yield
    except Unreadable as error:
        if not takes_nothing(error):
            raise


def open_key(system: System) -> tuple[Secret, bool]:
    """Return the key of the state, and whether it is new; one that is damaged is set aside, and its state with it."""
    try:
        return FileSlot(system).open()
    except Tampered:
        system.aside(STATE_KEY)
        return FileSlot(system).open()


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
    pulse, rest = Pulse(), patience(30.0)
    pulse.ready(spoken(house))
    swept = -1
    while not house.stopping:
        house.turn(rest)
        vault.collect()
        if swept != house.guard.swept:
            swept = house.guard.swept
            give_back()
        pulse.beat(spoken(house))
    notify("STOPPING=1")
    house.selector.unregister(wake)
    house.stop()


def spoken(house: House) -> str:
    """Say in one line how the device stands, for `systemctl status`."""
    found = house.guard.posture.findings
    if house.shut_in:
        return "Shut in: the first start could not be finished, nothing reaches this device from outside"
    waits = {name: house.guard.posture.waits_for(name) for name in sorted(found)}
    for verdict, words in ((LOOSENED, "Not private"), (UNKNOWN, "Cannot be told"), (WAIVED, "Allowed for a while")):
        names = [name for name in sorted(found) if found[name].status == verdict and not waits[name]]
        if names:
            return f"{words}: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    for reason, words in (("restart", "Private after a restart"), ("answer", "Still being checked")):
        if names := [name for name in waits if waits[name] == reason]:
            return f"{words}: {', '.join(names)}"
    return f"Private: all {len(found)} settings are as your policy wants them"


def announce_start(house: House) -> None:
    """Tell the owner what the early start, before the network, could not."""
    for sentence in early.told(house.system):
        title = "Something was not as it should be when this device started"
        house.guard.announce(notable("failed", "", title, "", sentence, house.system.clock()))


def first() -> None:
    """Run the first boot to its end, before the network, and enforce; when it stays shut in, the guard tries again.

    A device that no fleet has flashed is set up before, unless setup.toml leaves that to a person.
    """
    os.umask(0o077)
    cores.none()
    system = RealSystem(announce=walked)
    try:
        if not ensure(system):
            return
        system.make_directory(RUN, 0o755)
        house, _vault = build(system)
        notify("STATUS=Replacing every factory secret; nothing listens and nobody can sign in before that is done")
        house.start()
        house.healthy()
        house.stop()
    except PrivetError as error:
        print(f"privet-firstboot: {error}", file=sys.stderr)  # noqa: T201 - the service's log and the console
        sys.exit(error.exit_code)
    if house.shut_in:
        sentence = "the first start could not be finished; nothing reaches this device from outside, see privet status"
        print(f"privet-firstboot: {sentence}", file=sys.stderr)  # noqa: T201 - the same
        sys.exit(UNFINISHED)


def main() -> None:
    """Run the guard until it is told to stop; a failure to start is one sentence and an exit code."""
    words = sys.argv[1:]
    if words[:1] == ["--help"] or len(words) not in (0, 2) or words[:1] not in ([], ["--courier"]):
        print(USAGE)  # noqa: T201 - asked for
        sys.exit(0 if words == ["--help"] else 64)
    courier = words[1] if words else ACCOUNT
    os.umask(0o077)
    cores.none()
    system = RealSystem(announce=walked, hands=Hands())
    try:
        if not ensure(system):
            raise Refused("nobody asked for this device to be guarded; begin with: privet setup")
        system.make_directory(RUN, 0o755)
        house, vault = build(system)
        house.finishes = False  # privet-firstboot does that, whose sandbox lets it read the raw boot partition
        uid, gid = account(system, courier)
        house.listen(RUN, uid, gid)
        house.enrol((uid, gid))
        house.reconcile(uid)
        notify("STATUS=Looking at every setting")
        house.start()
        announce_start(house)
        serve(house, vault)
    except PrivetError as error:
        print(f"privet-guard: {error}", file=sys.stderr)  # noqa: T201 - the service's log
        sys.exit(error.exit_code)
