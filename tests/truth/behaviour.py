"""What settles a state: a real login, a real packet from a second namespace, sudo that really runs a command.

Each behaviour has two halves: `ready` makes what the try will need before the state comes about (a key, a neighbour on
a cable), the other half tries the door and says whether it opened. Nothing here reads a configuration.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.device.lab import PASSWORD, Device, Lab

MINE, THEIRS = "192.168.77.2", "192.168.77.3"
MINE6, THEIRS6 = "fd77::2", "fd77::3"
LISTEN = """
import socket, threading
for family in (socket.AF_INET, socket.AF_INET6):
    door = socket.socket(family)
    if family == socket.AF_INET6:
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    door.bind(("", 8080)); door.listen()
    def serve(door=door):
        while True:
            guest, _ = door.accept(); guest.sendall(b"hello"); guest.close()
    threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
KNOCK = """
import json, socket, sys
found = []
for host in sys.argv[2:]:
    try:
        with socket.create_connection((host, int(sys.argv[1])), 0.6) as talk:
            talk.settimeout(3)
            found.append(sys.argv[1] != "8080" or talk.recv(5) == b"hello")
    except OSError:
        found.append(False)
print(json.dumps(any(found)))
"""
HEAR = """
import json, select, socket, sys
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(("", 7777))
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(bool(select.select([ear], [], [], 0.3)[0])), flush=True)
"""
# An answer to a question that was never asked of this address: the sender's is written by hand, or the route is.
CLAIM = """
import socket, struct, sys
what, target = sys.argv[1:]
if what == "source":
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    datagram = struct.pack("!HHHH", 7777, 7777, 12, 0) + b"here"
    source, goal = socket.inet_aton("10.99.0.5"), socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 32, 1, 0, 64, 17, 0, source, goal)
    out.sendto(head + datagram, (target, 0))
else:
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    hop = socket.inet_aton(target)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\\x83\\x07\\x04" + hop + b"\\x00")
    out.sendto(b"here", ("192.0.2.7", 7777))
"""

# A question to all for one name, asked from a port of one's own, so that the answer comes back there.
NAME = """
import json, socket, struct, sys
mine, name = sys.argv[1:]
ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(mine))
ask.bind((mine, 0)); ask.settimeout(0.5)
words = b"".join(bytes([len(part)]) + part.encode() for part in (name, "local")) + b"\\0"
found = False
for _ in range(6):
    ask.sendto(struct.pack("!6H", 7, 0, 1, 0, 0, 0) + words + struct.pack("!HH", 1, 1), ("224.0.0.251", 5353))
    try:
        found = struct.unpack("!6H", ask.recvfrom(2048)[0][:12])[3] > 0
        break
    except TimeoutError:
        pass
print(json.dumps(found))
"""


@dataclass
class Place:
    """A device, perhaps a neighbour on its cable, and what the try needs."""

    lab: Lab
    device: Device
    where: dict[str, str | int]
    key: str = ""
    neighbour: Device | None = field(default=None)

    def near(self) -> Device:
        """Return the neighbour, joining it on first use; the device then has two addresses on the cable."""
        if self.neighbour is None:
            self.neighbour = self.lab.device()
            self.device.link(self.neighbour, MINE, THEIRS)
            for one, six in ((self.device, MINE6), (self.neighbour, THEIRS6)):
                end = next(n for n in one.must(["ls", "/sys/class/net"]).split() if n.startswith("lan"))
                if one is self.device:
                    one.must(["ip", "link", "set", end, "down"])
                    one.must(["ip", "link", "set", end, "name", "lan0"])
                    one.must(["ip", "link", "set", "lan0", "up"])
                    end = "lan0"
                one.must(["ip", "-6", "address", "add", f"{six}/64", "dev", end, "nodad"])
        return self.neighbour


def ready_key(place: Place) -> None:
    """Make a key of the account that is tried."""
    place.key = place.device.key(str(place.where.get("user", "root")))


def login_key(place: Place) -> bool:
    """Sign in over SSH with a key."""
    user, port = str(place.where.get("user", "root")), int(place.where.get("port", 22))
    if place.where.get("host") == "::1":
        return place.device.login(user, key=place.key, port=port, options=["-o", "HostName=::1"])
    return place.device.login(user, key=place.key, port=port)


def login_password(place: Place) -> bool:
    """Sign in over SSH with the factory password, or the one the state gives."""
    user, port = str(place.where.get("user", "pi")), int(place.where.get("port", 22))
    return place.device.login(user, password=str(place.where.get("password", PASSWORD)), port=port)


def ready_quick(place: Place) -> None:
    """Take the two seconds out of each refused password."""
    place.device.refuse_quickly()


def ready_near(place: Place) -> None:
    """Join a neighbour."""
    place.near()


def ready_door(place: Place) -> None:
    """Join a neighbour, and let a program wait on port 8080 of both families."""
    place.near()
    waiting = place.device.spawn(place.device.python("-c", LISTEN))
    assert waiting.stdout is not None and waiting.stdout.readline() == b"ready\n"


def knock(place: Place) -> bool:
    """Knock from the neighbour, at both addresses; open when one of them is answered."""
    return bool(place.near().ask(KNOCK, str(place.where.get("port", 8080)), MINE, MINE6))


def sudo_unasked(place: Place) -> bool:
    """Run a command with all rights as pi, who gives no password."""
    done = place.device.run(["runuser", "-u", "pi", "--", "sudo", "-n", "id", "-u"])
    return done.stdout.strip() == b"0"


def sudo_elsewhere(place: Place) -> bool:
    """Give sudo its password on one terminal, then ask it for a command on another."""
    given = f"echo {PASSWORD} | sudo -S -p '' true"
    first = ["runuser", "-u", "pi", "--", "setsid", "-w", "script", "-qec", given, "/dev/null"]
    place.device.must(first)
    asked = "sudo -n id -u >/tmp/said; true"
    place.device.must(["runuser", "-u", "pi", "--", "setsid", "-w", "script", "-qec", asked, "/dev/null"])
    return place.device.read("/tmp/said").strip() == "0"


def anonymous(place: Place) -> bool:
    """Publish to the broker without a name, from this device and from the neighbour."""
    port = str(place.where.get("port", 1883))
    asked = ["mosquitto_pub", "-V", "311", "-p", port, "-t", "t", "-n", "-h"]
    tries = [(place.device, "127.0.0.1"), (place.device, "::1"), (place.near(), MINE), (place.near(), MINE6)]
    return any(guest.run([*asked, host], seconds=10).returncode == 0 for guest, host in tries)


def reads(place: Place) -> bool:
    """Read a file, or look into a folder, as somebody whom it is no business of."""
    path = str(place.where["path"])
    argv = ["runuser", "-u", str(place.where.get("user", "nobody")), "--", "sh", "-c"]
    return place.device.run([*argv, 'if [ -d "$1" ]; then ls "$1"; else cat "$1"; fi', "sh", path]).returncode == 0


def become(place: Place) -> bool:
    """Become an account with su, as nobody would, by a password that is known or by none."""
    argv = ["runuser", "-u", "nobody", "--", "su", str(place.where.get("user", "pi")), "-c", "id -u"]
    done = place.device.run(argv, f"{place.where.get('password', PASSWORD)}\n".encode())
    return done.stdout.strip().isdigit()


def named(place: Place) -> bool:
    """Ask everybody for the device's name, from the neighbour."""
    return bool(place.near().ask(NAME, THEIRS, place.device.must(["hostname"]).strip()))


def arrives(place: Place) -> bool:
    """Send a datagram whose sender (or whose way) is a lie, and see whether a program on the device gets it."""
    ear = place.device.spawn(place.device.python("-c", HEAR))
    assert ear.stdin is not None and ear.stdout is not None and ear.stdout.readline() == b"ready\n"
    done = place.near().agent(CLAIM, str(place.where["lie"]), MINE)
    assert done.returncode == 0, done.stderr
    ear.stdin.write(b"\n")
    ear.stdin.flush()
    return bool(json.loads(ear.stdout.readline()))


def nothing(_place: Place) -> None:
    """Make nothing ready."""


BEHAVIOURS: dict[str, tuple[Callable[[Place], None], Callable[[Place], bool]]] = {
    "login with a key": (ready_key, login_key),
    "login with a password": (ready_quick, login_password),
    "a knock from a neighbour": (ready_door, knock),
    "a knock at a port from a neighbour": (ready_near, knock),
    "sudo without a password": (nothing, sudo_unasked),
    "sudo on another terminal": (nothing, sudo_elsewhere),
    "a message without a name": (ready_near, anonymous),
    "another account reads": (nothing, reads),
    "su by another account": (nothing, become),
    "a question for its name": (ready_near, named),
    "a lie that arrives": (ready_near, arrives),
}
