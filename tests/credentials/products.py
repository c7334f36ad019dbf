"""Products with a factory secret of their own, on simulated devices: how each is laid down, tried, and what is told.

`tests/guard/test_firstboot_products.py` ends a first boot of each of them at every call.
"""

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from agent.core.credential import Memory
from agent.credentials import access_point, grafana, mosquitto, node_red, samba, vnc
from agent.credentials.grafana import door
from agent.credentials.mosquitto import connect
from agent.system import crypt
from agent.system.simulated.programs import (
    grafana_server,
    hostapd,
    nmcli,
    pdbedit,
    sleep,
    smbclient,
    smbd,
    smbpasswd,
    x11vnc,
)
from agent.system.simulated.programs import mosquitto as broker
from agent.system.simulated.programs import node_red as editor
from agent.system.simulated.system import SimulatedSystem

Lay = Callable[[SimulatedSystem], None]
PASSWD = "/etc/mosquitto/passwd"
MOSQUITTO = b"""# Place your local configuration in /etc/mosquitto/conf.d/
pid_file /run/mosquitto/mosquitto.pid
listener 1883 127.0.0.1
password_file /etc/mosquitto/passwd
"""


class Product(NamedTuple):
    """One product: its kind, params, how an image with it is laid, and how a password is tried at its door."""

    kind: ModuleType
    label: str
    old: bytes
    lay: Lay
    opens: Callable[[SimulatedSystem, bytes], bool]
    tools: dict[str, Any]
    params: dict[str, Any]

    def made(self, system: type[SimulatedSystem] = SimulatedSystem, **given: Any) -> SimulatedSystem:
        """Make a device that has this product alone."""

        def lay(device: SimulatedSystem) -> None:
            """Lay it down."""
            device.programs.update({"sleep": sleep, **self.tools})
            self.lay(device)

        return system(image=lay, shipped=False, **given)


def fresh() -> Memory:
    """Return what a kind remembers on a new device."""
    return Memory(set(), set(), True)


def field(password: bytes, rounds: int = 101, salt: bytes = b"twelve bytes") -> bytes:
    """Make a field of a mosquitto password file, as mosquitto_passwd of 2.0 does."""
    made = hashlib.pbkdf2_hmac("sha512", password, salt, rounds)
    return b"$7$%d$%s$%s" % (rounds, base64.b64encode(salt), base64.b64encode(made))


def lay_mosquitto(device: SimulatedSystem) -> None:
    """Lay down a broker with one factory user and a private one."""
    device.edit("/etc/mosquitto/mosquitto.conf", MOSQUITTO)
    users = b"sensor:%s\nmine:%s\n" % (field(b"raspberry", 1), field(b"my own secret", 1))
    device.edit(PASSWD, users, mode=0o640, gid=115)
    device.edit(PASSWD + "~", users)


def at_broker(device: SimulatedSystem, password: bytes, user: bytes = b"sensor") -> bool:
    """Say whether the running broker lets a user in."""
    return device.talk(1883, connect(user, password)) == 0


def samba_row(name: str, password: bytes, flags: str = "[U          ]", uid: str = "1000") -> str:
    """Return a line of Samba's database, as pdbedit prints it."""
    return f"{name}:{uid}:{'X' * 32}:{smbpasswd.hashed(password)}:{flags}:LCT-6B09563F:\n"


def lay_samba(device: SimulatedSystem) -> None:
    """Lay down a file server with a factory user and a private one."""
    device.edit(samba.CONFIGURATION, b"[global]\n   map to guest = bad user\n")
    table = samba_row("pi", b"raspberry") + samba_row("mine", b"my own secret")
    device.edit(samba.PASSDB, table.encode(), mode=0o600)
    device.edit(samba.PASSDB + ".bak", table.encode(), mode=0o600)


def at_samba(device: SimulatedSystem, password: bytes, user: bytes = b"pi") -> bool:
    """Say whether the file server lets a user in."""
    argv = ("smbclient", "-p", "445", "-L", "127.0.0.1", "-A", "/dev/stdin")
    return device.run(argv, b"username=%s\npassword=%s\n" % (user, password)).code == 0


SAMBA_TOOLS = {"pdbedit": pdbedit, "smbclient": smbclient, "smbd": smbd, "smbpasswd": smbpasswd}

HOSTAPD = b"""interface=wlan0
driver=nl80211
# wpa_passphrase=raspberry
ssid=RaspAP
wpa=2
wpa_key_mgmt=WPA-PSK
wpa_passphrase=ChangeMe
rsn_pairwise=CCMP
"""


def lay_hostapd(device: SimulatedSystem) -> None:
    """Lay down an access point as hostapd has it."""
    device.edit(hostapd.FILE, HOSTAPD)
    device.edit(hostapd.FILE + ".orig", HOSTAPD)


def at_hostapd(device: SimulatedSystem, passphrase: bytes) -> bool:
    """Say whether the running hostapd would take a station with this passphrase."""
    return (b"RaspAP", hostapd.derived(passphrase, b"RaspAP")) in hostapd.offered(device)


HOTSPOT = f"{nmcli.FOLDER}/Hotspot.nmconnection"
CONNECTION = b"""[connection]
id=Hotspot
uuid=6f1a0a9c-6c1b-4a47-9f53-6a6f4e1a5b11
type=wifi

[wifi]
mode=ap
ssid=Box

[wifi-security]
key-mgmt=wpa-psk
psk=raspberry

[ipv4]
method=shared
"""
JOINED = CONNECTION.replace(b"mode=ap", b"mode=infrastructure").replace(b"5b11", b"5b12").replace(b"Hotspot", b"Home")


def lay_connection(device: SimulatedSystem) -> None:
    """Lay down an access point as NetworkManager has it, beside a network that the device joins."""
    device.edit(HOTSPOT, CONNECTION, mode=0o600)
    device.edit(HOTSPOT + "~", CONNECTION, mode=0o600)
    device.edit(f"{nmcli.FOLDER}/Home.nmconnection", JOINED, mode=0o600)


def at_connection(device: SimulatedSystem, passphrase: bytes) -> bool:
    """Say whether NetworkManager offers the network with this passphrase."""
    return ("Box", passphrase.decode()) in nmcli.offered(device)


def lay_vnc(device: SimulatedSystem) -> None:
    """Lay down a shared screen with a factory password, and one for looking."""
    device.edit(x11vnc.FILE, vnc.hidden(b"raspberry") + vnc.hidden(b"look"), mode=0o644)
    device.edit(x11vnc.FILE + "~", vnc.hidden(b"raspberry"))


def at_vnc(device: SimulatedSystem, password: bytes) -> bool:
    """Say whether the VNC server takes a password."""
    return bool(device.talk(5900, vnc.login(password)))


# Of the settings that ship with Node-RED 4, shortened: an example in a comment, then a user in force.
SETTINGS = """module.exports = {
    flowFile: 'flows.json', // "adminAuth: {
    //adminAuth: {
    //    users: [{
    //        username: "admin",
    //        password: "$2a$08$zZWtXTja0fB1pzD4sHCMyOCMYz2Z6dNbM6tl8sJogENOMcxWV9DN.",
    //    }]
    //},
    paths: "/api/*", pattern: /["'/*]/,
    adminAuth: {
        type: "credentials",
        users: [{
            username: "pi",
            password: "%s",
            permissions: "*"
        }]
    },
    uiPort: process.env.PORT || 1880,
}
"""


@cache
def bcrypt(password: str) -> str:
    """Hash a password cheaply, as Node-RED takes it."""
    return crypt.hashed(password, crypt.salt("$2b$", bytes(range(16)), 4))


def lay_node_red(device: SimulatedSystem) -> None:
    """Lay down a Node-RED with a factory user."""
    device.edit("/etc/passwd", b"pi:x:1000:1000::/home/pi:/bin/bash\n")
    program = (SETTINGS % bcrypt("raspberry")).encode()
    device.edit(editor.FILE, program, uid=1000, gid=1000)
    device.edit(editor.FILE + ".bak", program, uid=1000, gid=1000)


def at_node_red(device: SimulatedSystem, password: bytes) -> bool:
    """Say whether the running Node-RED gives a token."""
    device.running("node-red")[0].state.refused.clear()  # type: ignore[attr-defined]
    return node_red.knock(device, {}, "pi", password.decode()) is True


CHEAP = {"rounds": 10}  # of a hash, so that a first boot can be ended at every call


def lay_grafana(device: SimulatedSystem) -> None:
    """Lay down a Grafana whose administrator has a known password, and a private user."""
    grafana_server.lay(device)
    device.edit("/usr/share/grafana/rounds", b"10")
    people = {"admin": "raspberry", "mine": "my own secret"}
    device.edit(grafana_server.DATABASE, grafana_server.born(people, 10), mode=0o640, uid=108, gid=115)


def lay_new_grafana(device: SimulatedSystem) -> None:
    """Lay down a Grafana that never ran."""
    lay_grafana(device)
    device.hand.discard(grafana_server.DATABASE)
    device.edit("/usr/share/grafana/bin/grafana", b"", mode=0o755)
    device.hand.discard(grafana_server.PROGRAM)


def at_grafana(device: SimulatedSystem, password: bytes) -> bool:
    """Say whether the running Grafana lets its administrator in."""
    device.running("grafana-server")[0].state.refused.clear()  # type: ignore[attr-defined]
    return bool(door.login(device, {}, "admin", password))


PRODUCTS = {
    "grafana": Product(
        grafana, "admin", b"raspberry", lay_grafana, at_grafana, {"grafana-server": grafana_server}, CHEAP
    ),
    "mosquitto": Product(mosquitto, "sensor", b"raspberry", lay_mosquitto, at_broker, {"mosquitto": broker}, {}),
    "samba": Product(samba, "pi", b"raspberry", lay_samba, at_samba, SAMBA_TOOLS, {}),
    "hostapd": Product(
        access_point, f"RaspAP in {hostapd.FILE}", b"ChangeMe", lay_hostapd, at_hostapd, {"hostapd": hostapd}, {}
    ),
    "node_red": Product(
        node_red, f"pi in {editor.FILE}", b"raspberry", lay_node_red, at_node_red, {"node-red": editor}, {"cost": 4}
    ),
    "vnc": Product(vnc, x11vnc.FILE, b"raspberry", lay_vnc, at_vnc, {"x11vnc": x11vnc}, {}),
    "NetworkManager": Product(
        access_point, f"Box in {HOTSPOT}", b"raspberry", lay_connection, at_connection, {"nmcli": nmcli}, {}
    ),
}
