"""A change of access on trial: its owner signs in anew over the cable and keeps it, or nobody does and it goes back.

The device was shipped with SSH passwords allowed. Its maker's next policy takes them away. The owner has a key too, but
one for their own computer only, which the device cannot use itself: so it has to ask.
"""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import issue_policy
from tests.boot.lab import HERE, THERE, Booted, Lab
from tests.boot.shipped import PROFILE, active, findings, flash, login, privet, status

ALLOWED = """
[settings."ssh.password"]
value = "yes"
reason = "Its owner has no key yet."
"""
OPTIONS = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
# Hands a policy to the guard as the courier does.
RECEIVED = """
import socket, struct, sys
sys.path.insert(0, "/usr/lib/privet")
from agent.core import cbor
frame = cbor.encode(["received", "policy", sys.stdin.buffer.read()])
talk = socket.socket(socket.AF_UNIX)
talk.connect("/run/privet/courier.sock")
talk.sendall(struct.pack(">I", len(frame)) + frame)
talk.shutdown(socket.SHUT_WR)
while talk.recv(4096):
    pass
"""
# Lets all but so many seconds of the time to answer pass, while no guard runs.
PASSED = """
import os, sys, time
sys.path.insert(0, "/usr/lib/privet")
os.umask(0o077)
from agent.core.record import replace
from agent.core.trial import pack, unpack
from agent.guard.trial import FIRST, SECOND
trial = unpack(open(FIRST, "rb").read())
now = int(time.clock_gettime(time.CLOCK_BOOTTIME))
assert trial.deadline > now + int(sys.argv[1]), trial
for path in (SECOND, FIRST):
    with open(path, "wb") as file:
        file.write(pack(replace(trial, deadline=now + int(sys.argv[1]))))
"""


class Owner:
    """A device with a change on trial, and its owner at the other end of the cable."""

    def __init__(self, device: Booted, fleet: Fleet, folder: Path) -> None:
        self.device = device
        self.fleet = fleet
        self.folder = folder
        device.start()
        active(device)
        said = privet(device, "credentials", "show", "--once").stdout.decode()
        self.password = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)["linux_account/pi"]
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        allowed = f'from="{THERE[0]}" {self.key.with_suffix(".pub").read_text()}'
        device.must(["install", "-d", "-m", "700", "-o", "pi", "-g", "pi", "/home/pi/.ssh"])
        device.write("/home/pi/.ssh/authorized_keys", allowed, 0o600)
        device.must(["chown", "pi:", "/home/pi/.ssh/authorized_keys"])

    def with_password(self) -> bool:
        """Sign in over the cable with the password; say whether a command ran."""
        said = login(self.device, self.folder, password=self.password)
        assert said in {"let-in", "refused"}, said
        return said == "let-in"

    def with_key(self, *command: str, said: str = "") -> subprocess.CompletedProcess[bytes]:
        """Sign in over the cable with the key and run something there."""
        argv = ["ssh", "-q", "-i", str(self.key), *OPTIONS, f"pi@{HERE[0]}", shlex.join(command)]
        return self.device.neighbour(["sh", "-c", f"printf '%s' {shlex.quote(said)} | {shlex.join(argv)}"])

    def confirm(self) -> subprocess.CompletedProcess[bytes]:
        """Type `sudo privet confirm` in a new session, with the password that sudo asks for."""
        return self.with_key("sudo", "-S", "-p", "", "privet", "confirm", said=f"{self.password}\n")

    def tightened(self) -> None:
        """Let the maker take SSH passwords away, and wait until that is on trial."""
        assert self.with_password(), "the way in must work before, or losing it shows nothing"
        assert findings(self.device)["ssh.password"] == "ok"
        self.device.must(["systemctl", "stop", "privet-courier.service"])
        signed = issue_policy(self.fleet, PROFILE).signed
        done = self.device.run(["python3", "-IBSc", RECEIVED], stdin=signed)
        assert done.returncode == 0, done.stderr.decode()
        self.device.until(lambda: status(self.device).get("trial"), 60, "the change to be on trial")

    def said(self) -> str:
        """Return what `privet status` says."""
        return privet(self.device, "status").stdout.decode()


@pytest.fixture
def owner(lab: Lab, shipped_layer: str, fleet: Fleet, tmp_path: Path) -> Iterator[Owner]:
    """Give a device whose first policy lets SSH take passwords, through its first boot."""
    profile = tmp_path / "base.toml"
    profile.write_text(PROFILE.read_text() + ALLOWED)
    with lab.device("installed", name="trial") as device:
        flash(device, fleet, profile)
        yield Owner(device, fleet, tmp_path)


def test_the_owner_signs_in_anew_and_keeps_the_change(owner: Owner) -> None:
    """An older session proves nothing; a login that came since, with the new way, does: kept, and across a reboot."""
    typed = "echo in; read line; sudo -S -p '' privet confirm 2>&1"
    old = owner.device.watcher(["ssh", "-q", "-i", str(owner.key), *OPTIONS, f"pi@{HERE[0]}", typed])
    assert old.stdin is not None and old.stdout is not None
    assert old.stdout.readline() == b"in\n"
    owner.tightened()
    assert "sign in anew (by SSH, or at the device) and run: sudo privet confirm" in owner.said()
    assert not owner.with_password(), "the change is applied while it is on trial"
    old.stdin.write(f"go\n{owner.password}\n".encode())
    old.stdin.close()
    assert b"this session is older than the change" in old.stdout.read()
    assert status(owner.device)["trial"]
    done = owner.confirm()
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert status(owner.device)["trial"] is None
    for _ in range(2):
        assert findings(owner.device)["ssh.password"] == "ok"
        assert not owner.with_password()
        assert owner.with_key("echo", "in").stdout == b"in\n"
        owner.device.reboot()
        active(owner.device)
    assert b"nothing to confirm" in owner.confirm().stderr


def test_nobody_confirms_and_it_goes_back(owner: Owner) -> None:
    """When the time is over passwords open the device as before, it is told, and nobody is asked again and again."""
    owner.tightened()
    assert not owner.with_password()
    owner.device.must(["systemctl", "stop", "privet-guard.service"])
    owner.device.must(["python3", "-IBSc", PASSED, "60"])
    owner.device.must(["systemctl", "start", "privet-guard.service"])
    assert status(owner.device)["trial"]["remaining"] <= 60, "the guard counts on, it does not begin anew"
    owner.device.until(lambda: status(owner.device).get("trial", 1) is None, 120, "the time to be over")
    assert owner.with_password()
    assert findings(owner.device)["ssh.password"] == "loosened"
    assert "nobody confirmed it in time" in owner.said()
    assert b"nothing to confirm" in owner.confirm().stderr
    privet(owner.device, "enforce")
    assert owner.with_password(), "what was set back is tried again only when a person asks for it"


@pytest.mark.parametrize("ends", ["in order", "power"])
def test_a_restart_in_the_middle_goes_back(owner: Owner, ends: str) -> None:
    """Whoever restarts the device because nothing lets them in any more gets in again: it was set back before."""
    owner.tightened()
    assert not owner.with_password()
    if ends == "power":
        owner.device.cut()
        owner.device.start()
    else:
        owner.device.reboot()
    active(owner.device)
    assert owner.with_password()
    assert status(owner.device)["trial"] is None
    assert "Set back to what it was before" in owner.said()
    # Where the system ends in order, the guard may set it back itself while it ends: SSH is gone, or the start is over.
    reasons = ["the device was started again before it was proven", "no way in was left that works"]
    reasons += ["nobody confirmed it in time"]
    assert any(reason in owner.said() for reason in reasons[: 3 if ends == "in order" else 1]), owner.said()
