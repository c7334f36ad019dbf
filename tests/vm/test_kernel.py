"""What only a kernel of one's own can show: limits of units, a network denied, sysctls, clocks, full disks."""

import time
from collections.abc import Iterator

import pytest

from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.saved import Saved

GUARD, COURIER = "privet-guard.service", "privet-courier.service"
SYSCTLS = {
    "kernel.dmesg": ("kernel/dmesg_restrict", "0", "1"),
    "kernel.pointers": ("kernel/kptr_restrict", "0", "2"),
    "kernel.ptrace": ("kernel/yama/ptrace_scope", "0", "2"),
    "kernel.core_dumps": ("fs/suid_dumpable", "2", "0"),
}
# One program for each fault, run under the very limits of a unit; each says how far it got.
EAT = """
kept = []
for _ in range(120):
    kept.append(bytearray(1 << 20))
    print(len(kept), flush=True)
"""
FORK = """
import os, time
count = 0
try:
    while count < 100:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except BlockingIOError:
    pass
print(count, flush=True)
os.killpg(0, 9)
"""
CONNECT = """
import socket, sys
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    wire.sendto(b"x", (sys.argv[1], 9))
    print("sent")
except PermissionError:
    print("refused")
"""


@pytest.fixture(scope="module")
def shared(settled: Saved, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Give one machine to the tests that leave it as they found it."""
    with settled.resume(tmp_path_factory.mktemp("shared") / "disk") as machine:
        guest = Guest(machine)
        guest.set_clock()
        yield guest


def under(guest: Guest, properties: dict[str, str], source: str, *words: str) -> str:
    """Run a program in a unit of its own with these properties; return what it printed."""
    given = [f"--property={name}={value}" for name, value in properties.items() if value]
    argv = ["systemd-run", "--quiet", "--wait", "--pipe", *given, "/usr/bin/python3", "-c", source, *words]
    return guest.run(argv).stdout.decode()


def count(printed: str) -> int:
    """Return the last number that was printed."""
    return int((printed.split() or ["0"])[-1])


@pytest.mark.parametrize("unit", [GUARD, COURIER])
def test_memory_is_limited(shared: Guest, unit: str):
    """A program under the unit's own limit is killed at it; without the limit it gets past it."""
    limit = shared.properties(unit, "MemoryMax")["MemoryMax"]
    group = shared.properties(unit, "ControlGroup")["ControlGroup"]
    assert shared.read(f"/sys/fs/cgroup{group}/memory.max").strip() == limit
    small = str(64 << 20)  # the machine is smaller than the guard's limit: the same property at a size it can reach
    reached = count(under(shared, {"MemoryMax": small, "MemorySwapMax": "0"}, EAT))
    twin = count(under(shared, {"MemoryMax": "infinity"}, EAT))
    tell(f"{unit}: {int(limit) >> 20} MB in its group; of 120 MB under 64 it got {reached}, without {twin}")
    assert reached < 64 < twin == 120


@pytest.mark.parametrize("unit", [GUARD, COURIER])
def test_tasks_are_limited(shared: Guest, unit: str):
    """A program under the unit's own number of tasks cannot fork beyond it; without it, it can."""
    limit = shared.properties(unit, "TasksMax")["TasksMax"]
    group = shared.properties(unit, "ControlGroup")["ControlGroup"]
    assert shared.read(f"/sys/fs/cgroup{group}/pids.max").strip() == limit
    reached = count(under(shared, {"TasksMax": limit}, FORK))
    twin = count(under(shared, {"TasksMax": "infinity"}, FORK))
    tell(f"{unit}: {limit} tasks; of 100 it got {reached}, without {twin}")
    assert reached < int(limit) <= 64 < twin


def test_the_guard_cannot_send_out(shared: Guest):
    """Under the guard's address list a packet is refused by the kernel; the hand that knocks reaches loopback alone."""
    shown = shared.properties(GUARD, "IPAddressDeny", "IPAddressAllow")
    assert set(shown["IPAddressDeny"].split()) == {"0.0.0.0/0", "::/0"} and not shown["IPAddressAllow"], shown
    door = shared.properties("privet-hand-door@x.service", "IPAddressDeny", "IPAddressAllow")
    assert set(door["IPAddressAllow"].split()) == {"127.0.0.0/8", "::1/128"}, door
    shared.must(["nft", "insert", "rule", "inet", "privet", "outbound", "udp", "dport", "9", "accept"])
    try:
        assert under(shared, {"IPAddressDeny": "any"}, CONNECT, "127.0.0.1").strip() == "refused"
        limited = {"IPAddressDeny": "any", "IPAddressAllow": "localhost"}
        assert under(shared, limited, CONNECT, "10.0.2.2").strip() == "refused"
        assert under(shared, limited, CONNECT, "127.0.0.1").strip() == "sent"
        assert under(shared, {}, CONNECT, "10.0.2.2").strip() == "sent"  # the twin: it is the list that refuses
    finally:
        shared.privet("enforce")


@pytest.mark.parametrize("name", sorted(SYSCTLS))
def test_kernel_settings_are_live(shared: Guest, name: str):
    """What somebody loosens in the running kernel is there at once, and `privet enforce` brings it back."""
    path, loose, strict = SYSCTLS[name]
    assert shared.read(f"/proc/sys/{path}").strip() == strict
    shared.must(["sysctl", "-q", "-w", f"{path.replace('/', '.')}={loose}"])
    assert shared.read(f"/proc/sys/{path}").strip() == loose
    shared.privet("enforce")
    assert shared.read(f"/proc/sys/{path}").strip() == strict


def test_pointers_and_messages_are_hidden(shared: Guest):
    """An ordinary account reads no kernel message and no kernel address; with the settings loosened it does."""
    look = ["setpriv", "--reuid=pi", "--clear-groups", "sh", "-c", "dmesg | head -1; head -1 /proc/kallsyms"]
    shown = shared.run(look).stdout.decode().split()
    assert len(shown) == 3 and int(shown[0], 16) == 0, shown
    shared.must(
        ["sysctl", "-q", "-w", "kernel.dmesg_restrict=0", "kernel.kptr_restrict=0", "kernel.perf_event_paranoid=-1"]
    )
    twin = shared.run(look).stdout.decode()
    shared.must(["sysctl", "-q", "-w", "kernel.perf_event_paranoid=3"])
    shared.privet("enforce")
    assert "[" in twin, "dmesg was readable while it was loosened"


def test_a_loosening_ends_by_its_own_time(guest: Guest):
    """However the wall clock is set while it runs, back or forward, a loosening lasts no longer than was said."""
    privet = ("privet", "loosen", "kernel.dmesg", "0", "--for", "2m", "--reason", "test", "--yes")
    begun = time.monotonic()
    guest.must(privet)
    assert guest.read("/proc/sys/kernel/dmesg_restrict").strip() == "0"
    now = time.time()
    for wall in (86400, now - 366 * 86400, now):  # Linux sets no time before its own start: 2 January 1970
        guest.set_clock(wall)
        assert guest.statuses()["kernel.dmesg"] == "waived", f"ended when the clock was set to {wall}"
    guest.set_clock(86400)
    took = guest.machine.until(lambda: guest.read("/proc/sys/kernel/dmesg_restrict").strip() == "1", "its end", pause=1)
    lasted = time.monotonic() - begun
    tell(f"a loosening for 120 s lasted {lasted:.0f} s while the clock stood at 1970 (waited {took:.0f} s)")
    assert 115 <= lasted < 180
    guest.set_clock(now)
    guest.must(privet)
    guest.set_clock(2147483640)
    guest.machine.until(lambda: guest.read("/proc/sys/kernel/dmesg_restrict").strip() == "1", "its end in 2038", 60)


# Whatever anybody gives back is taken at once, to the last block, as long as /fill.on is there.
FILLING = "i=0; while [ -e /fill.on ]; do while mkdir /fill.$i; do i=$((i + 1)); done; sleep 0.1; done"
# One block is left: room for one directory, and for none within it, as systemd makes them for PrivateTmp=.
ONE_LEFT = "rmdir /fill.0; mkdir /tmp/one && ! mkdir /tmp/one/two && rmdir /tmp/one"
NO_HANDS = "rm /fill.on; while systemctl list-units --no-legend 'privet-hand-*.service' | grep -q .; do sleep 1; done"


def set_back(guest: Guest, room: str) -> None:
    """Loosen a value of the kernel, and see that it is set back and told."""
    guest.must(["sysctl", "-q", "-w", "kernel.dmesg_restrict=0"])
    begun = time.monotonic()
    said = guest.privet("enforce").stdout.decode()
    assert guest.read("/proc/sys/kernel/dmesg_restrict").strip() == "1", said
    assert guest.statuses()["kernel.dmesg"] == "ok"
    tell(f"with {room} a sysctl was back after {time.monotonic() - begun:.0f} s")


def test_a_full_disk_stops_nothing(guest: Guest):
    """With no block left, and with one, what somebody loosens is set back and told; with room again all goes on."""
    pid = guest.properties(GUARD, "MainPID")["MainPID"]
    guest.must(["sh", "-c", "touch /fill.on; fallocate -l 2G /fill; cat /dev/zero >>/fill || true"])
    guest.must(["sh", "-c", f"setsid sh -c '{FILLING}' >/dev/null 2>&1 &"])
    guest.must(["timeout", "60", "sh", "-c", "while mkdir /tmp/more; do rmdir /tmp/more; done; sleep 1"])
    assert guest.run(["mkdir", "/tmp/more"]).returncode != 0, "the disk is not full"
    assert guest.statuses()["ssh.password"] in {"ok", "absent"}
    set_back(guest, "no block left")
    guest.must(["timeout", "60", "sh", "-c", NO_HANDS])
    guest.must(["sh", "-c", ONE_LEFT])
    set_back(guest, "one block left")
    guest.must(["sh", "-c", "rm -rf /fill*"])
    set_back(guest, "room again")
    assert guest.privet("journal", "--verify").returncode == 0
    assert guest.properties(GUARD, "MainPID")["MainPID"] == pid, "it was restarted"
    told = [row for row in guest.status()["warnings"] if row["setting"] == "kernel.dmesg"]
    assert told, guest.status()["warnings"]


def test_a_read_only_disk_stops_nothing(guest: Guest):
    """With the disk read-only the guard answers and sets sysctls back; written to again, it goes on by itself."""
    pid = guest.properties(GUARD, "MainPID")["MainPID"]
    guest.must(["sh", "-c", "echo u >/proc/sysrq-trigger; until grep -q ' / ext4 ro' /proc/mounts; do sleep 0.1; done"])
    assert guest.run(["touch", "/etc/x"]).returncode != 0, "the disk is not read-only"
    set_back(guest, "a read-only disk")
    guest.must(["mount", "-o", "remount,rw", "/"])
    assert guest.privet("enforce").returncode == 0
    assert guest.privet("journal", "--verify").returncode == 0
    assert guest.properties(GUARD, "MainPID")["MainPID"] == pid, "it was restarted"
