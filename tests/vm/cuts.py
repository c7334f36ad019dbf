"""Power cuts: random instants that can be replayed, what a disk holds after one, and a second start from it.

The machine is frozen at each instant and its disk copied (`Machine.freeze`): that copy is what a cut at this instant
leaves. So one run of the machine is cut at many instants, and still by a real kill at its end. The second start is made
in a container of tests/boot, in seconds, over the file system mounted after its journal was replayed.
"""

import hashlib
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.boot.lab import Booted
from tests.vm.figures import tell
from tests.vm.qemu import Machine

CUTS = int(os.environ.get("PRIVET_CUTS", "30"))
STARTS = int(os.environ.get("PRIVET_STARTS", "10"))  # of these, how many devices are started again
SEED = os.environ.get("PRIVET_SEED", "") or secrets.token_hex(8)
IDLE, LEAST = 10.0, 0.5  # a machine that has done all it was asked for spends next to no processor seconds any more
FACTORY = "raspberry"
LEFT_OVER = r"find /etc /root /home /var/lib/privet -name '.privet-*.tmp' -o -path '/etc/*.lock' ! -name .pwd.lock"
LEFT_OVER += " -o -path /etc/nshadow -o -path /etc/npasswd -o -path /etc/shadow+ -o -path /etc/passwd+"

# What stands on a disk, read by the package's own parts from a copy of its state: looking must not mend anything.
LOOK = """
import json, os, shutil, subprocess, sys
sys.path.insert(0, "/usr/lib/privet")
from agent.core.errors import PrivetError
from agent.credentials.linux_account import accounts
from agent.system import crypt
from agent.system.keys import FileSlot
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import DirectVault
STATE = "/var/lib/privet"
found = {"marker": os.path.exists(STATE + "/provisioned"), "phase": "", "damage": "", "waivers": [], "new": False}
found["over"] = []
system = RealSystem()
field = accounts(system)["pi"].field
found["old"] = crypt.matches(sys.argv[1], field)
if os.path.exists(STATE + "/state.db"):
    shutil.copytree(STATE, "/tmp/look")
    subprocess.run(["mount", "--bind", "/tmp/look", STATE], check=True)
    try:
        store = Store(STATE + "/state.db", DirectVault(FileSlot(system).open()[0]), system.clock)
        found["damage"] = store.verify().damage or ""
        found["phase"] = (store.get("first_boot") or {}).get("phase", "")
        secret = store.get("credential/linux_account/pi")
        found["new"] = secret is not None and crypt.matches(secret.decode(), field)
        found["waivers"] = [row["setting"] for row in store.get("waivers") or []]
        found["over"] = [entry.body["setting"] for entry in store.entries() if entry.kind == "waiver_ended"]
    except PrivetError as error:
        found["damage"] = str(error)
folder = "/etc/ssh/sshd_config.d/"
texts = [open(folder + name).read() for name in sorted(os.listdir(folder))]
found["ssh"] = any("passwordauthentication yes" in text.lower() for text in texts)
print(json.dumps(found))
"""


def instants(name: str, length: float, count: int) -> list[float]:
    """Return random instants within a length, in order; the same seed gives the same ones."""
    tell(f"{name}: PRIVET_SEED={SEED} PRIVET_CUTS={count}, within {length:.1f} processor seconds")
    numbers = [hashlib.sha256(f"{SEED} {name} {place}".encode()).digest() for place in range(count)]
    return sorted(int.from_bytes(number[:6], "big") / (1 << 48) * length for number in numbers)


def until_spent(machine: Machine, end: float) -> None:
    """Wait until a machine has spent these processor seconds, or spends none any more."""
    looked, before = time.monotonic(), machine.processor_seconds()
    while (spent := machine.processor_seconds()) < end:
        if time.monotonic() - looked > IDLE:
            if spent - before < LEAST:
                return
            looked, before = time.monotonic(), spent
        time.sleep(0.005)


def photographs(machine: Machine, disk: Path, when: list[float], name: str = "cut") -> Iterator[tuple[str, Path]]:
    """Cut the power of a running machine at each instant; give the name of the instant and the disk as it stands."""
    begun = machine.processor_seconds()
    for number, instant in enumerate(when):
        until_spent(machine, begun + instant)
        copy = disk.with_name(f"{disk.name}.{name}.{number}".replace(" ", "-"))
        machine.freeze(disk, copy)
        yield f"{name} {number} at {instant:.2f}", copy


@contextmanager
def mounted(copy: Path) -> Iterator[Path]:
    """Mount a disk after a cut, which replays its journal; it is gone afterwards."""
    raw, place = Path(f"{copy}.raw"), Path(f"{copy}.mounted")
    place.mkdir()
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(copy), str(raw)], check=True)
    try:
        subprocess.run(["mount", "-o", "loop", str(raw), str(place)], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
    finally:
        for path in (raw, copy):
            path.unlink()


def look(device: Booted) -> dict[str, Any]:
    """Read what stands on the disk of a device that is off."""
    return dict(json.loads(device.chroot(["python3", "-IBSc", LOOK, FACTORY]).splitlines()[-1]))


def first_boot_verdict(found: dict[str, Any]) -> str:
    """Judge what a cut in the first boot left: old and shut in, new and known to the owner, or else what is wrong."""
    done = found["marker"] or found["phase"] in {"open", "provisioned"}
    if found["damage"]:
        return f"damaged state: {found['damage']}"
    if found["old"]:
        return "open: the gate is open over the factory password" if done else "old, still shut in"
    return "new, known to the owner" if found["new"] else "locked out: a password that nobody knows"


def loosening_verdict(found: dict[str, Any]) -> str:
    """Judge what a cut in a loosening left: the strict value, the loose one with leave, or else what is wrong."""
    if found["damage"]:
        return f"damaged state: {found['damage']}"
    if not found["new"]:
        return "locked out: a password that nobody knows"
    if not found["ssh"]:
        return "strict"
    if "ssh.password" in found["waivers"]:
        return "loose, with leave"
    # To tighten is to end the leave first, so this is what a cut in between leaves.
    return "loose, leave ended" if "ssh.password" in found["over"] else "open: loosened without leave"


def second_start(device: Booted) -> list[str]:
    """Start the device again and say what is wrong with what it comes to; nothing, when all is well."""
    device.start(wait=False)
    device.until(lambda: "active" in states(device), 240, "an active guard after the cut")
    wrong = []
    early = "privet-early.service"
    if device.property(early, "Result") != "success" or device.property(early, "ActiveState") != "active":
        wrong.append("the early start did not shut it in")
    first, network = (stamp(device, unit) for unit in ("privet-firstboot.service", "systemd-networkd.service"))
    if not 0 < stamp(device, early) < network or first > network:
        wrong.append("the network came before the end of first boot")
    if not device.exists("/var/lib/privet/provisioned"):
        wrong.append("first boot was not finished")
    if device.run(["privet", "journal", "--verify"]).returncode != 0:
        wrong.append("the journal is not sound")
    if left := device.run(["sh", "-c", LEFT_OVER]).stdout.decode().split():
        wrong.append(f"left over: {left}")
    if device.run(["sshd", "-t"]).returncode != 0:
        wrong.append("sshd cannot start")
    if opens(device, FACTORY):
        wrong.append("the factory password opens")
    shown = device.run(["privet", "credentials", "show", "--once"]).stdout.decode().splitlines()
    words = [line.split(": ", 1)[1] for line in shown if line.startswith("linux_account/pi: ")]
    if not words or not opens(device, words[0]):
        wrong.append("locked out: the owner's new password does not open")
    return wrong


def states(device: Booted) -> list[str]:
    """Return how systemd finds the guard, nothing while nobody answers."""
    try:
        return [device.property("privet-guard.service", "ActiveState")]
    except (RuntimeError, subprocess.TimeoutExpired):
        return []


def stamp(device: Booted, unit: str) -> int:
    """Return when a unit began to be active, or for one that has ended, when it ended; 0 when it never ran."""
    edges = ("ActiveEnterTimestampMonotonic", "InactiveEnterTimestampMonotonic")
    return max(int(device.property(unit, edge) or 0) for edge in edges)


def opens(device: Booted, password: str) -> bool:
    """Try a password at the program that PAM itself asks."""
    return device.run(["unix_chkpwd", "pi", "nullok"], password.encode() + b"\0").returncode == 0
