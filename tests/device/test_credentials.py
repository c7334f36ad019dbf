"""The credential kinds of products on a real Debian: the real daemons take the new secret and refuse the old one."""

import json
from collections.abc import Sequence
from typing import Any

from tests.device.lab import Device, Lab

MOSQUITTO = """pid_file /run/mosquitto/mosquitto.pid
per_listener_settings false
include_dir /etc/mosquitto/conf.d
"""
USERS = """listener 1883
password_file /etc/mosquitto/passwd
"""


def ran(device: Device, kinds: Sequence[Any], *arguments: str, act: str = "run") -> Any:
    """Run a first boot with these kinds on the device and return what it printed."""
    done = device.module("tests.device.credentials", act, json.dumps(kinds), *arguments, seconds=120)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def broker(device: Device, start: bool = True) -> None:
    """Set up a real broker with a known user, a private one, one in the scheme of mosquitto 1, and start it."""
    device.write("/etc/mosquitto/mosquitto.conf", MOSQUITTO)
    device.write("/etc/mosquitto/conf.d/users.conf", USERS)
    device.write("/etc/mosquitto/passwd", "sensor:raspberry\nmine:my own secret\nadmin:mosquitto\n", 0o640)
    device.must(["mosquitto_passwd", "-U", "/etc/mosquitto/passwd"])
    device.must(["cp", "-a", "/etc/mosquitto/passwd", "/etc/mosquitto/passwd~"])
    device.must(["chown", "mosquitto:", "/etc/mosquitto/passwd", "/run/mosquitto"])
    if start:
        begin(device)


def begin(device: Device) -> None:
    """Start the broker and wait until it listens."""
    device.must(["mosquitto", "-d", "-c", "/etc/mosquitto/mosquitto.conf"])
    device.listener(1883)


def publishes(device: Device, user: str, password: str) -> bool:
    """Say whether mosquitto's own client can publish as a user."""
    device.write("/run/client/mosquitto_pub", f"-u {user}\n-P {password}\n", 0o600)
    asked = device.run(["mosquitto_pub", "-V", "311", "-t", "t", "-n"], environment={"XDG_CONFIG_HOME": "/run/client"})
    return asked.returncode == 0


def test_mosquitto(device: Device):
    """The real broker, running: known passwords are refused afterwards, new ones taken, a private one stays."""
    broker(device)
    assert publishes(device, "sensor", "raspberry") and publishes(device, "mine", "my own secret")
    answer = ran(device, [["mosquitto", {}]])
    assert (answer["phase"], answer["gate"], answer["failed"]) == ("provisioned", "open", "")
    assert set(answer["secrets"]) == {"mosquitto/sensor", "mosquitto/admin"}
    for user, old in (("sensor", "raspberry"), ("admin", "mosquitto")):
        assert not publishes(device, user, old)
        assert publishes(device, user, answer["secrets"][f"mosquitto/{user}"])
    assert publishes(device, "mine", "my own secret")


def test_mosquitto_that_starts_later(device: Device):
    """Before the broker runs the file is what is tried; at its first start it refuses the old one and takes the new."""
    broker(device, start=False)
    answer = ran(device, [["mosquitto", {}]])
    assert (answer["gate"], answer["failed"]) == ("open", "")
    begin(device)
    assert not publishes(device, "sensor", "raspberry")
    assert publishes(device, "sensor", answer["secrets"]["mosquitto/sensor"])
    assert ran(device, [["mosquitto", {}]])["returned"] == []


def test_mosquitto_that_does_not_read_again(device: Device):
    """A broker that nobody can tell to read again keeps taking the old password: the gate stays shut until it does."""
    broker(device)
    device.must(["sh", "-c", "mv /run/mosquitto/mosquitto.pid /run/broker.pid"])
    answer = ran(device, [["mosquitto", {}]])
    assert answer["gate"] == "shut" and "mosquitto does not go by the new password" in answer["failed"]
    assert publishes(device, "admin", "mosquitto")
    device.must(["mv", "/run/broker.pid", "/run/mosquitto/mosquitto.pid"])
    answer = ran(device, [["mosquitto", {}]])
    assert (answer["gate"], answer["failed"]) == ("open", "") and not publishes(device, "admin", "mosquitto")


def test_mosquitto_leaves_no_copy(device: Device):
    """No file of the device holds a factory hash afterwards; the private user's line in the copy stays as it was."""
    broker(device)
    rows = dict(line.split(":", 1) for line in device.read("/etc/mosquitto/passwd").splitlines())
    assert ran(device, [["mosquitto", {}]])["failed"] == ""
    for user in ("sensor", "admin"):
        assert device.run(["grep", "-rFl", "--", rows[user], "/etc", "/var"]).stdout == b""
    assert rows["mine"] in device.read("/etc/mosquitto/passwd~")
    assert device.must(["stat", "-c", "%U %a", "/etc/mosquitto/passwd"]) == "mosquitto 640\n"


def test_killed_at_many_calls(lab: Lab):
    """Our process is killed at calls all over a first boot beside a real broker: each time the next start ends well."""
    fired = 0
    for k in (5, 60, 120, 180, 220, 260, 300, 340):
        with lab.device() as device:
            broker(device)
            done = device.module("tests.device.credentials", "die", '[["mosquitto", {}]]', str(k), seconds=120)
            fired += done.returncode in (-9, 137)
            answer = ran(device, [["mosquitto", {}]])
            assert (answer["gate"], answer["failed"]) == ("open", ""), k
            assert not publishes(device, "sensor", "raspberry")
            assert publishes(device, "sensor", answer["secrets"]["mosquitto/sensor"])
    assert fired >= 6


def server(device: Device) -> None:
    """Set up a real Samba with a known user, a disabled one, one without a password and a private one."""
    for name, password in (("pi", "raspberry"), ("off", "raspberry"), ("mine", "my own secret")):
        device.run(["useradd", "-M", name])
        device.must(["smbpasswd", "-s", "-a", name], f"{password}\n{password}\n".encode())
    device.must(["smbpasswd", "-d", "off"])
    device.must(["sh", "-c", "cd /var/lib/samba/private && cp passdb.tdb passdb.tdb.bak"])


def shares(device: Device, user: str, password: str) -> bool:
    """Say whether the real client can list the shares as a user."""
    given = f"username={user}\npassword={password}\n".encode()
    return device.run(["smbclient", "-L", "127.0.0.1", "-A", "/dev/stdin"], given).returncode == 0


def test_samba(device: Device):
    """The real file server: the factory password is refused afterwards, the new one taken, the disabled user gone."""
    server(device)
    device.must(["smbd", "-D"])
    device.listener(445)
    assert shares(device, "pi", "raspberry") and shares(device, "mine", "my own secret")
    answer = ran(device, [["samba", {}]])
    assert (answer["gate"], answer["failed"], set(answer["secrets"])) == ("open", "", {"samba/pi"})
    assert not shares(device, "pi", "raspberry")
    assert shares(device, "pi", answer["secrets"]["samba/pi"]) and shares(device, "mine", "my own secret")
    told = device.must(["pdbedit", "-L"])
    assert "off:" not in told and "pi:" in told
    assert "passdb.tdb.bak" not in device.must(["ls", "/var/lib/samba/private"])
    assert ran(device, [["samba", {}]])["returned"] == []


def test_samba_that_starts_later(device: Device):
    """Before the server runs its database is what is tried; at its first start it refuses the old one."""
    server(device)
    answer = ran(device, [["samba", {}]])
    assert (answer["gate"], answer["failed"]) == ("open", "")
    device.must(["smbd", "-D"])
    device.listener(445)
    assert not shares(device, "pi", "raspberry") and shares(device, "pi", answer["secrets"]["samba/pi"])


def test_samba_killed_in_the_middle(lab: Lab):
    """Our process is killed around the real smbpasswd: old and shut in, or new and known; the next start ends well."""
    fired = 0
    for k in (100, 140, 160, 190):
        with lab.device() as device:
            server(device)
            done = device.module("tests.device.credentials", "die", '[["samba", {}]]', str(k), seconds=120)
            fired += done.returncode in (-9, 137)
            answer = ran(device, [["samba", {}]])
            assert (answer["gate"], answer["failed"]) == ("open", ""), k
            device.must(["smbd", "-D"])
            device.listener(445)
            assert not shares(device, "pi", "raspberry") and shares(device, "pi", answer["secrets"]["samba/pi"])
    assert fired == 4
