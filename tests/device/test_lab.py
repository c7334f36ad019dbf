"""The lab itself: devices are quick, apart from each other and from this machine, and end with the test process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.device.lab import PASSWORD, Device, Lab

DIES = """
import os, signal, sys
from tests.device.lab import Lab
device = Lab().device()
waiting = device.spawn(["sleep", "1000"])
print(device.pid, flush=True)
signal.pause()
"""


def test_a_device_comes_and_goes(lab: Lab) -> None:
    """It begins, is called by its name, and ends."""
    with lab.device() as device:
        assert device.must(["hostname"]).strip() == device.name


def test_devices_are_apart(lab: Lab, device: Device) -> None:
    """What one device writes, neither another device nor this machine sees."""
    device.write("/etc/lab-was-here", "x")
    with lab.device() as other:
        assert other.run(["test", "-e", "/etc/lab-was-here"]).returncode == 1
    assert not Path("/etc/lab-was-here").exists()
    assert device.read("/etc/lab-was-here") == "x"


def test_real_logins(device: Device) -> None:
    """Key and password logins through a real daemon: the right secret enters, a wrong one does not."""
    device.refuse_quickly()
    device.sshd("-o", "PermitRootLogin=prohibit-password")
    key = device.key("root")
    assert device.login("root", key=key)
    assert not device.login("root", password=PASSWORD)
    assert device.login("pi", password=PASSWORD)
    assert not device.login("pi", password="wrong")


def test_agent_runs_inside(device: Device) -> None:
    """Our own code and its packages are importable inside a device."""
    assert device.ask("import agent.core.order, cbor2, json; print(json.dumps(agent.core.order.ANY))") == "*"


def test_two_devices_on_a_cable(lab: Lab, device: Device) -> None:
    """Linked devices reach each other's daemons."""
    with lab.device() as other:
        device.link(other, "10.88.1.1", "10.88.1.2")
        other.sshd()
        done = device.run(["ssh-keyscan", "-T", "3", "-t", "ed25519", "10.88.1.2"])
        assert b"ssh-ed25519" in done.stdout


def test_a_killed_test_process_leaves_nothing() -> None:
    """After kill -9 of the process that made a device, its processes are gone (seen alive before)."""
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", DIES], stdout=pipe, cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    child.stdout.close()
    assert alive(pid)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    end = time.monotonic() + 5
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that is dead but not yet fetched by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
