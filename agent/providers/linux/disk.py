"""Whether what this device keeps is readable for whoever takes its card.

No params. `yes` when every file system that keeps something lies, itself or by what is beneath it, on dm-crypt; `no` as
soon as one does not. Which ones: those on block devices that may be written, but for the boot partition (the firmware
has to read it) and what is plugged in for a while (/media, /mnt, /run). What is mounted is what is kept. Told, not
undone: only whoever makes the card can encrypt it.
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import Missing, PrivetError
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.parts import Step
from agent.system.seen import names, text

PARAMS: tuple[str, ...] = ()
MOUNTS = "/proc/self/mountinfo"
NUMBERS = "/sys/dev/block"
ELSEWHERE = ("/boot", "/media", "/run", "/mnt")
READ_ONLY = {"squashfs", "iso9660", "erofs"}
DEPTH = 4  # of devices made of devices
ENCRYPTED, READABLE = "yes", "no"


def probe(system: System, params: Params) -> Reading:
    """Look at what every mounted file system lies on."""
    try:
        numbers = sorted(set(mounted(system)))
        if not numbers:
            return absent("this device keeps nothing on a disk of its own")
        value = ENCRYPTED if all(encrypted(system, number) for number in numbers) else READABLE
    except PrivetError as error:
        return unread(str(error))
    return seen(value, value)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Change nothing."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where mounts are written down (the kernel sends no news of them)."""
    return ("/etc",)


def mounted(system: System) -> list[str]:
    """Return the numbers of the block devices whose file systems keep something."""
    found = []
    for row in (line.split() for line in text(system, MOUNTS).splitlines()):
        if "-" not in row or len(row) < 7:
            continue
        number, place, kind = row[2], row[4], row[row.index("-") + 1]
        near = any(place == one or place.startswith(f"{one}/") for one in ELSEWHERE)
        if not number.startswith("0:") and not near and kind not in READ_ONLY:
            found.append(number)
    return found


def encrypted(system: System, number: str, depth: int = 0) -> bool:
    """Say whether a block device is a mapping of dm-crypt, or is made of such alone."""
    place = f"{NUMBERS}/{number}"
    try:
        kind = system.read(f"{place}/dm/uuid").decode("utf-8", "replace")
    except Missing:
        return False
    if kind.startswith("CRYPT-"):
        return True
    below = names(system, f"{place}/slaves") if depth < DEPTH else ()
    parts = [text(system, f"{place}/slaves/{one}/dev").strip() for one in below]
    return bool(parts) and all(encrypted(system, part, depth + 1) for part in parts)
