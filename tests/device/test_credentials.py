"""The credential kinds of products on a real Debian: the real daemons take the new secret and refuse the old one."""

import json
from collections.abc import Sequence
from typing import Any

from tests.device import tree
from tests.device.lab import Device, Lab

RECIPE = tree.PRODUCTS  # devices with the products whose passwords are replaced

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


HOSTAPD = """interface=wlan0
driver=none
ssid=RaspAP
wpa=2
wpa_key_mgmt=WPA-PSK
wpa_passphrase=ChangeMe
"""


def derived(device: Device) -> list[str]:
    """Return the keys that the running hostapd says it derived, oldest first."""
    told = device.read("/run/hostapd.log")
    lines = [line.split(": ", 1)[1] for line in told.splitlines() if line.startswith("PSK (from passphrase)")]
    return [line.replace(" ", "") for line in lines]


def by_supplicant(device: Device, name: str, passphrase: str) -> str:
    """Return the key that a station derives, by wpa_supplicant's own program."""
    told = device.must(["wpa_passphrase", name], passphrase.encode() + b"\n")
    return next(line.strip()[4:] for line in told.splitlines() if line.strip().startswith("psk="))


def test_hostapd(device: Device):
    """The real hostapd, without a radio: it takes up the new passphrase, and derives the key that a station derives."""
    device.write("/etc/hostapd/hostapd.conf", HOSTAPD)
    device.must(["cp", "/etc/hostapd/hostapd.conf", "/etc/hostapd/hostapd.conf~"])
    told = ["-dd", "-K", "-f", "/run/hostapd.log"]
    device.must(["hostapd", "-B", *told, "-P", "/run/hostapd.pid", "/etc/hostapd/hostapd.conf"])
    assert derived(device) == [by_supplicant(device, "RaspAP", "ChangeMe")]
    answer = ran(device, [["access_point", {}]])
    label = "access_point/RaspAP in /etc/hostapd/hostapd.conf"
    assert (answer["gate"], answer["failed"], list(answer["secrets"])) == ("open", "", [label])
    assert derived(device)[-1] == by_supplicant(device, "RaspAP", answer["secrets"][label])
    assert device.must(["stat", "-c", "%U %a", "/etc/hostapd/hostapd.conf"]) == "root 600\n"
    assert device.run(["grep", "-rl", "ChangeMe", "/etc"]).stdout == b""


def passphrase(device: Device, name: str) -> str:
    """Ask the running NetworkManager which passphrase it goes by; nmcli now and then comes back without an answer."""
    asked = ["nmcli", "-s", "-g", "802-11-wireless-security.psk", "connection", "show", name]
    for _ in range(20):
        told = device.must(asked).strip()
        if told:
            return told
    raise AssertionError(f"NetworkManager tells no passphrase of {name}")


def test_networkmanager(device: Device):
    """The real NetworkManager, without a radio: it goes by the new passphrase, and the joined network stays."""
    device.must(["sh", "-c", "dbus-uuidgen --ensure; mkdir -p /run/dbus; dbus-daemon --system --fork"])
    device.must(["NetworkManager"])
    for name, mode, number in (("Hotspot", "ap", 1), ("Home", "infrastructure", 2)):
        path = f"/etc/NetworkManager/system-connections/{name}.nmconnection"
        text = f"[connection]\nid={name}\nuuid=6f1a0a9c-6c1b-4a47-9f53-6a6f4e1a5b1{number}\ntype=wifi\n"
        text += f"[wifi]\nmode={mode}\nssid={name}\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=raspberry\n"
        device.write(path, text, 0o600)
    device.must(["nmcli", "connection", "reload"])
    assert passphrase(device, "Hotspot") == passphrase(device, "Home") == "raspberry"
    answer = ran(device, [["access_point", {}]])
    assert (answer["gate"], answer["failed"], len(answer["secrets"])) == ("open", "", 1)
    (new,) = answer["secrets"].values()
    assert passphrase(device, "Hotspot") == new
    assert passphrase(device, "Home") == "raspberry"


def screen(device: Device, options: str = "VncAuth") -> None:
    """Start a real Xvnc with the password file of root."""
    display = [":1", "-rfbport", "5901", "-localhost", "-SecurityTypes", options, "-rfbauth", "/root/.vnc/passwd"]
    device.spawn(["Xtigervnc", *display])
    device.listener(5901)


def sees(device: Device, password: str) -> bool:
    """Say whether the running VNC server takes a password."""
    asked = "import json, sys; from agent.credentials.vnc import knock; from agent.system.real import RealSystem"
    told = device.ask(f"{asked}; print(json.dumps(knock(RealSystem(), 5901, sys.argv[1].encode())))", password)
    assert told is not None, "no VNC server answers"
    return bool(told)


def test_vnc(device: Device):
    """The real TigerVNC: the factory's password, and its first 8 letters, open it before and not after."""
    hidden = device.run(["vncpasswd", "-f"], b"raspberry\nviewonly\n").stdout
    device.write("/root/.vnc/passwd", hidden, 0o600)
    device.write("/root/.vnc/passwd~", hidden, 0o600)
    screen(device)
    assert sees(device, "raspberry") and sees(device, "raspberr") and not sees(device, "raspberx")
    answer = ran(device, [["vnc", {}]])
    label = "vnc//root/.vnc/passwd"
    assert (answer["gate"], answer["failed"], list(answer["secrets"])) == ("open", "", [label])
    assert len(answer["secrets"][label]) == 8
    assert sees(device, answer["secrets"][label]) and not sees(device, "raspberry")
    assert device.must(["ls", "-A", "/root/.vnc"]) == "passwd\n"
    assert ran(device, [["vnc", {}]])["returned"] == []


def test_vnc_that_starts_later(device: Device):
    """Before a server runs the file is what is tried; the server that starts then takes the new one alone."""
    device.write("/root/.vnc/passwd", device.run(["vncpasswd", "-f"], b"raspberry\n").stdout, 0o600)
    answer = ran(device, [["vnc", {}]])
    assert (answer["gate"], answer["failed"]) == ("open", "")
    screen(device)
    assert not sees(device, "raspberry") and sees(device, answer["secrets"]["vnc//root/.vnc/passwd"])
