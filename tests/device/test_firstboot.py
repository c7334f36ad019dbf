"""First boot on a real Debian: real accounts, chpasswd, unix_chkpwd, sshd and logins, kills and power cuts."""

import json
import os
import subprocess
from typing import Any

import pytest

from agent.system import crypt
from tests.device.lab import Device, Lab

# Every scheme that Debian 12's libcrypt still checks, with a low cost where the scheme has one.
SCHEMES = {"yescrypt": "$y$", "gost": "$gy$", "scrypt": "$7$", "sha512": "$6$", "sha256": "$5$", "bcrypt": "$2b$",
           "md5": "$1$", "des": ""}  # fmt: skip
COST = {"scrypt": 6, "bcrypt": 4}
CUTS = {"yes": 100, "no": 20}  # with our sync, and as the stock tool leaves it
SCREEN = """#!/bin/sh
exec strace -f -qq -o /dev/null -e trace=%file,fsync,fcntl,write,rename -e inject={call}:signal=KILL:when={when} \\
  /usr/sbin/chpasswd.real "$@"
"""


def ran(device: Device, *arguments: str, seconds: float = 120) -> Any:
    """Run the first boot on the device and return what it printed."""
    done = device.module("tests.device.rotate", *arguments, seconds=seconds)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def chkpwd(device: Device, name: str, password: str) -> bool:
    """Say whether PAM takes a password."""
    return device.run(["unix_chkpwd", name, "nullok"], password.encode() + b"\0").returncode == 0


def scanned(device: Device) -> set[str]:
    """Return the host keys that the running server answers with."""
    text = device.must(["ssh-keyscan", "127.0.0.1"])
    return {line.split()[2] for line in text.splitlines() if not line.startswith("#")}


def account(device: Device, name: str, field: str) -> None:
    """Make an account with a given password field."""
    device.must(["useradd", "-m", "-s", "/bin/bash", name])
    device.must(["chpasswd", "-e"], f"{name}:{field}".encode())


def test_the_factory_password_is_dead_at_the_ssh_door(device: Device):
    """The whole promise on a real login: raspberry opens the device before, is refused after; the new one opens it."""
    device.refuse_quickly()
    device.must(["ssh-keygen", "-A"])
    device.sshd("-o", "PasswordAuthentication=yes")
    assert device.login("pi", password="raspberry")
    keys = scanned(device)
    assert len(keys) == 3
    answer = ran(device, "run")
    assert (answer["phase"], answer["gate"], answer["failed"]) == ("provisioned", "open", "")
    assert answer["sound"] and "raspberry" not in json.dumps(answer)
    assert not device.login("pi", password="raspberry")
    assert device.login("pi", password=answer["secrets"]["pi"])
    device.listener(22)
    assert len(scanned(device)) == 1 and not scanned(device) & keys
    assert "raspberry" not in device.run(["grep", "-rl", "raspberry", "/etc", "/var/lib/privet"]).stdout.decode()
    again = ran(device, "run")
    assert again["journal"] == answer["journal"] and again["returned"] == []


def test_every_scheme_of_a_real_shadow_file(device: Device):
    """Accounts in each scheme, blank and locked ones: no factory password opens any, private ones are left alone."""
    device.refuse_quickly()
    for name, prefix in SCHEMES.items():
        hashed = crypt.hashed("raspberry", crypt.salt(prefix, os.urandom(32), COST.get(name, 0)))
        account(device, name, hashed)
        assert chkpwd(device, name, "raspberry")
    account(device, "blank", "")
    account(device, "shut", "!" + crypt.hashed("raspberry", crypt.salt("$6$", os.urandom(32))))
    account(device, "mine", crypt.hashed("my own secret", crypt.salt("$6$", os.urandom(32))))
    before = device.must(["getent", "shadow", "mine"])
    assert chkpwd(device, "blank", "")
    answer = ran(device, "run")
    assert answer["failed"] == ""
    assert set(answer["secrets"]) == {"pi"}
    for name in (*SCHEMES, "blank", "shut", "pi"):
        assert not chkpwd(device, name, "raspberry") and not chkpwd(device, name, "")
    assert device.must(["getent", "shadow", "shut"]).split(":")[1] == "!"
    assert device.must(["getent", "shadow", "mine"]) == before and chkpwd(device, "mine", "my own secret")
    device.sshd("-o", "PasswordAuthentication=yes")
    assert not device.login("sha512", password="raspberry")
    assert not device.login("blank", password="")
    assert device.login("pi", password=answer["secrets"]["pi"])


def test_the_old_hash_is_in_no_copy(device: Device):
    """After the real tools ran, neither /etc/shadow- nor any other file below /etc holds a factory hash."""
    account(device, "admin", crypt.hashed("admin", crypt.salt("$6$", os.urandom(32))))
    hashes = [device.must(["getent", "shadow", name]).split(":")[1] for name in ("pi", "admin")]
    device.must(["sh", "-c", "cp /etc/shadow /etc/shadow-; cp /etc/shadow /etc/nshadow"])
    assert ran(device, "run")["failed"] == ""
    for old in hashes:
        assert device.run(["grep", "-rFl", "--", old, "/etc", "/var"]).stdout == b""


def test_a_password_in_etc_passwd(device: Device):
    """A real passwd file with the hash in it, and a blank one: converted by the real pwconv, replaced, refused."""
    old = device.must(["getent", "shadow", "pi"]).split(":")[1]
    device.must(["useradd", "-m", "open"])
    passwd = device.read("/etc/passwd").replace("pi:x:", f"pi:{old}:").replace("open:x:", "open::")
    device.write("/etc/passwd", passwd)
    assert chkpwd(device, "pi", "raspberry") and chkpwd(device, "open", "anything")
    answer = ran(device, "run")
    assert answer["failed"] == ""
    assert not chkpwd(device, "pi", "raspberry") and not chkpwd(device, "open", "anything")
    assert chkpwd(device, "pi", answer["secrets"]["pi"])
    assert old not in device.read("/etc/passwd-")


@pytest.mark.parametrize("lock", ["", "1\n"])
def test_a_lock_file_that_a_cut_left(device: Device, lock: str):
    """The real chpasswd refuses an empty lock file, and one with the number of a live process; first boot goes on."""
    account(device, "admin", crypt.hashed("admin", crypt.salt("$6$", os.urandom(32))))
    device.write("/etc/shadow.lock", lock)
    device.must(["touch", "-d", "2020-01-01", "/etc/shadow.lock"])
    assert device.run(["chpasswd", "-e"], b"admin:!\n").returncode != 0
    answer = ran(device, "run")
    if lock:  # its change time is after this machine's start: it may be in use, and is not taken away
        assert "chpasswd -e ended with" in answer["failed"] and answer["gate"] == "shut"
        device.remove("/etc/shadow.lock")
        answer = ran(device, "run")
    assert answer["failed"] == "" and not chkpwd(device, "admin", "admin")


def test_killed_at_many_calls(lab: Lab):
    """Our process is killed at calls all over a real first boot: each time the next start ends it well."""
    with lab.device() as device:
        answer = ran(device, "die", "1000000")
        assert answer["failed"] == ""
    fired = 0
    for k in (2, 20, 60, 110, 170, 230, 290, 340, 390, 440, 490, 540):
        with lab.device() as device:
            done = device.module("tests.device.rotate", "die", str(k), seconds=120)
            if done.returncode in (-9, 137):
                fired += 1
            answer = ran(device, "run")
            assert (answer["phase"], answer["gate"]) == ("provisioned", "open"), k
            assert not chkpwd(device, "pi", "raspberry")
            assert chkpwd(device, "pi", answer["secrets"]["pi"])
    assert fired >= 10


# The 41st file that it opens is /etc/nshadow, the 43rd comes after the rename: then the new password is in place.
@pytest.mark.parametrize(
    ("call", "when"),
    [("openat", when) for when in (1, 28, 36, 41, 42, 43)]
    + [(call, 1) for call in ("fsync", "rename", "fcntl", "write")],
)
def test_chpasswd_killed_in_the_middle(device: Device, call: str, when: int):
    """The real chpasswd is killed inside a first boot: gate shut, old or new, and the next start ends well."""
    device.must(["mv", "/usr/sbin/chpasswd", "/usr/sbin/chpasswd.real"])
    device.write("/usr/sbin/chpasswd", SCREEN.format(call=call, when=when), 0o755)
    answer = ran(device, "run")
    assert "chpasswd ended with" in answer["failed"], "the kill did not come"
    assert answer["gate"] == "shut"
    old, new = chkpwd(device, "pi", "raspberry"), chkpwd(device, "pi", answer["secrets"]["pi"])
    assert old != new
    device.must(["mv", "/usr/sbin/chpasswd.real", "/usr/sbin/chpasswd"])
    after = ran(device, "run")
    assert (after["phase"], after["gate"]) == ("provisioned", "open")
    assert not chkpwd(device, "pi", "raspberry")
    assert chkpwd(device, "pi", after["secrets"]["pi"])
    assert device.run(["sh", "-c", "ls /etc/nshadow /etc/shadow+"]).stdout == b""


@pytest.mark.parametrize("synced", ["yes", "no"])
def test_power_cut_right_after_provisioned(device: Device, tmp_path, synced: str):
    """/etc on a real ext4: with our sync no cut brings raspberry back; the twin without it shows that cuts do."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(("mkfs.ext4", "-q", "-m", "0", str(image)), check=True)
    device.write("/run/etc.img", image.read_bytes(), 0o600)
    device.must(["mknod", "-m", "600", "/dev/loop-control", "c", "10", "237"])
    for number in range(16):
        device.must(["mknod", "-m", "660", f"/dev/loop{number}", "b", "7", str(number)])
    found = ran(device, "cut", str(CUTS[synced]), synced, seconds=900)
    assert len(found) == CUTS[synced]
    returned = sum(one["old"] for one in found)
    known = sum(one["new"] for one in found)
    print(f"sync {synced}: the factory password was back after {returned} of {CUTS[synced]} cuts")
    if synced == "yes":
        assert (returned, known) == (0, CUTS[synced])
    else:
        assert returned >= 1


def test_the_name_of_the_image(device: Device):
    """On a real kernel without any daemon: the image's name goes, live too; an id written since the start is kept."""
    shipped = "0123456789abcdef0123456789abcdef"
    device.write("/etc/machine-id", shipped + "\n")
    device.write("/etc/hostname", "raspberrypi\n")
    device.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 raspberrypi\n")
    device.must(["hostname", "raspberrypi"])
    answer = ran(device, "run")
    assert answer["failed"] == "" and answer["gate"] == "open"
    name = device.must(["hostname"]).strip()
    assert name.startswith("device-") and device.read("/etc/hostname").strip() == name
    assert device.must(["getent", "hosts", name]).split()[0] == "127.0.1.1"
    assert "raspberrypi" not in device.read("/etc/hosts")
    assert device.read("/etc/machine-id").strip() == shipped  # its change time lies within this machine's start
    again = ran(device, "run")
    assert again["returned"] == [] and device.must(["hostname"]).strip() == name
