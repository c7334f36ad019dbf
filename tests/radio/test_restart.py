"""What stands after a real restart: radios that were blocked, cameras that were shut, modules that were kept out."""

import json
from pathlib import Path

from tests.radio.asked import enforce, look
from tests.radio.test_eyes import CAMERA, opens
from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.qemu import Machine
from tests.vm.saved import Saved

GUARD = "privet-guard.service"
OURS = "/etc/modprobe.d/00-privet-protocols.conf"
# Address families that an ordinary program can ask the kernel for, which then loads the module (socket(2)).
FAMILIES = {"can": (29, 3, 1), "sctp": (2, 1, 132), "tipc": (30, 2, 0), "rds": (21, 5, 0), "phonet": (35, 2, 0)}
ASK = """
import json, socket, sys
for family, kind, protocol in json.loads(sys.argv[1]).values():
    try:
        socket.socket(family, kind, protocol).close()
    except OSError:
        pass
print(json.dumps([row.split(" ")[0] for row in open("/proc/modules")]))
"""


def loaded(guest: Guest) -> set[str]:
    """Ask for every family as an ordinary person; return which of their modules the kernel then has."""
    argv = ["setpriv", "--reuid=other", "--regid=other", "--init-groups", "python3", "-Sc", ASK, json.dumps(FAMILIES)]
    return set(FAMILIES) & set(json.loads(guest.must(argv)))


def prepared(guest: Guest) -> None:
    """Leave the guard out, and have the hardware there at every start."""
    guest.must(["systemctl", "--quiet", "disable", "--now", GUARD])
    guest.write("/etc/modules-load.d/hardware.conf", "mac80211_hwsim\nvivid\n")
    guest.write("/etc/modprobe.d/hardware.conf", "options vivid n_devs=1 node_types=0x1\n")
    for name in ("mac80211_hwsim", "vivid"):
        guest.must(["modprobe", name])
    guest.must(["udevadm", "settle"])


def again(guest: Guest, settled: Saved, disk: Path) -> Machine:
    """Cut the machine's power, all being on its disk, and start it anew."""
    guest.must(["sync"])
    guest.machine.cut()
    return Machine("pc", settled.disk.start, disk, form="qcow2")


def states(guest: Guest) -> set[str]:
    """Return what the kernel says of its radios."""
    return set(guest.must(["sh", "-c", "cat /sys/class/rfkill/*/soft"]).split())


def blocked(machine: Machine) -> Guest:
    """Give a machine whose Wi-Fi was on until its owner blocked it, which systemd has noted."""
    guest = Guest(machine)
    guest.set_clock()
    prepared(guest)
    assert {look(guest, "radio.wifi")[part] for part in ("live", "kept")} == {"on"}
    guest.must(["rfkill", "block", "wlan"])
    machine.until(lambda: look(guest, "radio.wifi")["kept"] == "off", "systemd to note it", pause=1)
    return guest


def test_what_is_shut_is_shut_after_a_restart(settled: Saved, tmp_path: Path) -> None:
    """Wi-Fi that its owner blocked, a camera that we closed, protocols that we keep out: all as we said."""
    disk = tmp_path / "disk"
    with settled.resume(disk) as machine:
        guest = blocked(machine)
        assert look(guest, "radio.wifi")["live"] == "off" and states(guest) == {"1"}
        assert enforce(guest, "camera.access", "closed") == ""
        assert enforce(guest, "kernel.modules", []) == ""
        with again(guest, settled, disk) as cold:
            guest = Guest(cold)
            guest.until_active("NetworkManager.service")
            guest.must(["udevadm", "settle"])
            assert states(guest) == {"1"} and look(guest, "radio.wifi")["live"] == "off"
            assert not opens(guest, "seer", CAMERA) and look(guest, "camera.access")["live"] == "closed"
            assert loaded(guest) == set() and look(guest, "kernel.modules")["live"] == []


def test_twin_what_is_said_to_come_back_does(settled: Saved, tmp_path: Path) -> None:
    """Known bad: nothing starts what takes up the notes, the rule and the file are gone; each is found, and is so."""
    disk = tmp_path / "disk"
    with settled.resume(disk) as machine:
        guest = blocked(machine)
        guest.must(["systemctl", "--quiet", "mask", "systemd-rfkill.socket"])
        assert enforce(guest, "camera.access", "group") == ""
        guest.must(["rm", "-f", OURS])
        found = {name: look(guest, name)["kept"] for name in ("radio.wifi", "camera.access", "kernel.modules")}
        assert found["radio.wifi"] == "on" and found["camera.access"] == "group"
        assert set(FAMILIES) <= set(found["kernel.modules"])
        with again(guest, settled, disk) as cold:
            guest = Guest(cold)
            guest.until_active("NetworkManager.service")
            guest.must(["udevadm", "settle"])
            assert "0" in states(guest) and look(guest, "radio.wifi")["live"] == "on"
            assert opens(guest, "seer", CAMERA) and not opens(guest, "other", CAMERA)
            came = loaded(guest)
            tell(f"kept out by a file of ours, loaded for anybody without it: {', '.join(sorted(came))}")
            assert "can" in came and came <= set(look(guest, "kernel.modules")["live"])
