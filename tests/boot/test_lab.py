"""The lab keeps its promises: nothing of a device shows on this machine, and all of it ends with the test process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.boot.lab import Booted, Lab
from tests.house import ROOT

ALONE = """
import sys, time
from pathlib import Path
from tests.boot.lab import Lab
lab = Lab(Path(sys.argv[1]), clean=False)
device = lab.device(name="orphan")
device.start()
print(device.pid, device.inner, flush=True)
time.sleep(1000)
"""


def there(pid: int) -> bool:
    """Say whether a process lives."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def interfaces() -> set[str]:
    """Return the network interfaces of this machine."""
    return set(os.listdir("/sys/class/net"))


def listening(table: str) -> set[str]:
    """Return the addresses and ports that wait for connections, from the kernel's table of them."""
    rows = [row.split() for row in table.splitlines()[1:]]
    return {row[1] for row in rows if row[3] == "0A"}


def test_a_device_is_invisible_here(factory: Booted):
    """While it runs, this machine has no interface or mount that it had not, and none of what waits on the device.

    Others may begin to listen here meanwhile.
    """
    before = interfaces(), Path("/proc/self/mounts").read_text()
    known = listening(Path("/proc/net/tcp").read_text())
    factory.start()
    theirs, new = (
        listening(factory.must(["cat", "/proc/net/tcp"])),
        listening(Path("/proc/net/tcp").read_text()) - known,
    )
    assert (interfaces(), Path("/proc/self/mounts").read_text()) == before
    assert "00000000:0016" in theirs and not theirs & new


def test_everything_ends_with_the_test_process(lab: Lab, tmp_path: Path):
    """A test process that is killed takes systemd-nspawn and the whole container with it."""
    argv = [sys.executable, "-c", ALONE, str(tmp_path)]
    child = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    pids = [int(word) for word in child.stdout.readline().split()]
    assert len(pids) == 2
    assert all(there(pid) for pid in pids)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    end = time.monotonic() + 20
    while any(there(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(there(pid) for pid in pids)
    assert lab.tree.is_dir()
