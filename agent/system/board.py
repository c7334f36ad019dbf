"""What the firmware of a Raspberry Pi reads from its boot partition, and changes to it that no power cut can spoil.

FAT has no atomic replace, so nothing here renames, shortens or makes room: each change is a row of overwrites of the
same length, and each of them is harmless at every byte it may stop at. A line of config.txt goes and comes by its first
byte. A word of cmdline.txt first becomes x's, a word that nothing knows, then blanks. What has to be said anew stands
in slots of a file of a fixed size, which config.txt includes. Why: agent/providers/linux/boot_config/README.md.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import pairwise

from agent.core.errors import Failed, Missing, Refused
from agent.core.plan import Append, Overwrite
from agent.core.record import Record
from agent.system.door import System
from agent.system.seen import content

PLACES = ("/boot/firmware", "/boot")  # bookworm, bullseye
CONFIG, OWN = "config.txt", "privet.txt"
WORD = re.compile(rb"[^\s]+")
LONGEST = 98  # characters of a line of config.txt that count
DEPTH = 8  # of includes
SLOT, SLOTS = 64, 15
HEAD = b"# Slots of Privet: keep the length of this file; see privet explain\n"
BLANK = b"#" * (SLOT - 1) + b"\n"
FILE = HEAD.ljust(SLOT * 2 - 1, b"#") + b"\n" + BLANK * (SLOTS - 1)
INCLUSION = b"\n[all]\ninclude privet.txt\n"
# Never changed by any setting: what this device needs to find its kernel, its disk, its screen and its own boot files.
NEVER_WORDS = (
    "root=*", "rootfstype=*", "rootflags=*", "rootwait*", "rootdelay=*", "ro", "rw", "init=*", "rdinit=*", "resume=*",
    "fsck.*", "cryptdevice=*", "luks.*", "rd.*", "nfsroot=*", "ip=*", "console=tty[0-9]*", "usb-storage.*", "dwc_otg.*",
    "pcie*", "nvme*", "systemd.*", "overlayroot=*", "boot=*", "cma=*", "coherent_pool=*", "8250.*", "vc_mem.*",
)  # fmt: skip
NEVER_LINES = (
    "kernel=*", "initramfs *", "auto_initramfs=*", "ramfsfile=*", "ramfsaddr=*", "arm_64bit=*", "cmdline=*",
    "os_prefix=*", "overlay_prefix=*", "device_tree*", "start_file=*", "fixup_file=*", "total_mem=*", "gpu_mem*",
    "include *", "boot_*", "dtoverlay=vc4-*", "dtoverlay=sd*", "dtoverlay=mmc*", "dtparam=sd*", "dtparam=pcie*",
    "dtparam=nvme*", "dtoverlay=*nvme*", "dtoverlay=dwc2,dr_mode=host*", "otg_mode=*", "program_usb_boot_mode=*",
)  # fmt: skip
NEVER_MODULES = (
    "vfat", "fat", "nls_*", "ext4", "jbd2", "mbcache", "f2fs", "btrfs", "squashfs", "overlay", "dm_*", "mmc_*",
    "sdhci*", "bcm2835*", "bcm2711*", "brcmstb*", "pcie_brcmstb", "nvme*", "sd_mod", "scsi_mod", "xhci*", "ehci*",
    "usb_storage", "uas", "dwc2", "dwc_otg", "phy_generic", "loop", "nf_tables", "nft_*", "nfnetlink", "unix", "ipv6",
)  # fmt: skip
# A filter, and the boards it is for; then those of which nobody here is sure: lines for them may count.
MODELS = {
    "pi0": "*Zero*", "pi0w": "*Zero*W*", "pi02": "*Zero 2*", "pi1": "*Pi Model*", "pi2": "*Pi 2*", "pi3": "*Pi 3*",
    "pi3+": "*Pi 3*Plus*", "pi4": "*Pi 4*", "pi400": "*Pi 400*", "pi5": "*Pi 5*", "pi500": "*Pi 500*",
    "cm0": "*Module 0*", "cm1": "*Module Rev*", "cm3": "*Module 3*", "cm3+": "*Module 3 Plus*", "cm4": "*Module 4*",
    "cm4s": "*Module 4S*", "cm5": "*Module 5*",
}  # fmt: skip
KINDRED = {"pi0": "*Module 0*", "pi1": "*Module Rev*", "pi3": "*[oe] [32]*", "pi4": "*Module 4*", "pi5": "*Module 5*"}


class Line(Record):
    """One line that may count: its file, where it begins there, what it says, and whether it counts for sure."""

    __slots__ = ("at", "path", "sure", "text")
    path: str
    at: int
    text: str
    sure: bool


there = content  # a file's bytes, None when it is not there


def partition(system: System) -> str:
    """Return where the boot partition of a Raspberry Pi is, empty when this device has none."""
    for place in PLACES:
        try:
            if {CONFIG, "cmdline.txt"} <= set(system.entries(place)):
                return place
        except Missing:
            continue
    return ""


def model(system: System) -> str:
    """Return the name of this board, empty when it does not say."""
    return (there(system, "/proc/device-tree/model") or b"").decode("utf-8", "replace").strip("\0\n")


def lines(system: System, place: str, instead: dict[str, bytes] | None = None) -> list[Line]:
    """Return the lines of config.txt and of what it includes, in their order, but for those that cannot count here.

    `instead`: what some files would hold.
    """
    files = dict(instead or {})
    return list(within(system, f"{place}/{CONFIG}", files, {}, 0, model(system)))


def within(
    system: System, path: str, files: dict[str, bytes], filters: dict[str, str], depth: int, board: str
) -> Iterator[Line]:
    """Read one file; whether filters hold on over the end of an included one is not said anywhere, so they may."""
    if path not in files:
        files[path] = there(system, path) or b""
    at = 0
    for raw in files[path].splitlines(keepends=True):
        text = raw.decode("utf-8", "replace").rstrip("\r\n")[:LONGEST].rstrip()
        start, at = at, at + len(raw)
        if text.startswith("["):  # one that does not end may be a filter or none, so what follows may count
            filtered(filters, text[1 : text.index("]")] if "]" in text else "")
        elif text and not text.startswith("#"):
            counts = [holds(kind, word, board) for kind, word in filters.items()]
            if False in counts:
                continue
            if text.startswith("include ") and depth < DEPTH:
                inner, folder = dict(filters), path.rpartition("/")[0]
                yield from within(system, f"{folder}/{text[8:].strip()}", files, inner, depth + 1, board)
                if inner != filters:
                    filters["include"] = "may"
            else:
                yield Line(path=path, at=start, text=text, sure=None not in counts)


def filtered(filters: dict[str, str], word: str) -> None:
    """Take up one filter; those of one kind replace each other, [all] ends them."""
    if word.lower() == "all":
        filters.clear()
        return
    kind = "model" if word.lower() in MODELS or word.lower() == "none" else word.partition("=")[0]
    filters["serial" if kind.startswith("0x") else kind] = word.lower()


def holds(kind: str, word: str, board: str) -> bool | None:
    """Say whether a filter lets lines count on this board; None when that cannot be told from here."""
    if word == "none":
        return False
    if kind != "model" or not board:
        return None
    if fnmatchcase(board, MODELS[word]):
        return True
    return None if word in KINDRED and fnmatchcase(board, KINDRED[word]) else False


def values(found: list[Line], key: str) -> set[str]:
    """Return every value that a key may have: the last line that counts for sure, and those after it that may."""
    possible: set[str] = set()
    for line in found:
        name, equals, value = line.text.partition("=")
        if equals and name == key:
            possible = {value} if line.sure else possible | {value}
    return possible


def matching(found: list[Line], patterns: list[str], but: list[str]) -> list[Line]:
    """Return the lines that say what a pattern describes, and another one does not except, as far as it lasts."""
    hits = []
    for line in found:
        if any(fnmatchcase(line.text, one) for one in patterns) and not any(fnmatchcase(line.text, one) for one in but):
            key, _, value = line.text.partition("=")
            if key in ("dtoverlay", "dtparam") or value in values(found, key):
                hits.append(line)
    return hits


def kernel_line(system: System, place: str) -> tuple[str, bytes]:
    """Return the file whose first line the kernel is given, and its bytes."""
    found = lines(system, place)
    if values(found, "os_prefix"):
        raise Failed(f"{place}/{CONFIG} takes the system from another folder (os_prefix), which is not looked into")
    names = values(found, "cmdline") or {"cmdline.txt"}
    if len(names) > 1:
        raise Failed(f"{place}/{CONFIG} names more than one file for the kernel's line; leave one")
    path = f"{place}/{names.pop()}"
    return path, there(system, path) or b""


def words(content: bytes) -> list[tuple[int, str]]:
    """Return the words of the kernel's line, each with where it begins; only the first line counts."""
    first = content.split(b"\n", 1)[0]
    return [(part.start(), part[0].decode("utf-8", "replace")) for part in WORD.finditer(first)]


def plain(word: str) -> str:
    """Return a word as the kernel takes it: quotes may stand around all of it."""
    return word.strip('"')


def refused(text: str, never: tuple[str, ...]) -> None:
    """Refuse to touch what this device needs to start."""
    if any(fnmatchcase(text, pattern) for pattern in never):
        raise Refused(f"{text[:60]!r} is needed by this device to start, so Privet leaves it; change it by hand")


def put(content: bytes, at: int, new: bytes) -> bytes:
    """Return a file with other bytes at a place, as long as before."""
    return content[:at] + new + content[at + len(new) :]


def overwrites(path: str, states: list[bytes]) -> tuple[Overwrite, ...]:
    """Make the steps from each state of a file to the next."""
    return tuple(Overwrite(path=path, before=old, content=new) for old, new in pairwise(states) if old != new)


def without_words(path: str, content: bytes, patterns: list[str]) -> tuple[Overwrite, ...]:
    """Take words out of the kernel's line: each becomes x's, which mean nothing to anybody, then blanks."""
    crossed = content
    for at, word in words(content):
        if any(fnmatchcase(plain(word), pattern) for pattern in patterns):
            refused(plain(word), NEVER_WORDS)
            crossed = put(crossed, at, b"x" * len(word.encode()))
    return overwrites(path, [content, crossed, without_crossed(crossed)])


def without_crossed(content: bytes) -> bytes:
    """Return the line with blanks in place of words of x's alone."""
    for at, word in words(content):
        if not word.strip("x"):
            content = put(content, at, b" " * len(word))
    return content


def with_word(path: str, content: bytes, word: str) -> tuple[Overwrite, ...]:
    """Put a word where there are blanks enough, the other way round; Refused where there is no room."""
    found = words(content)
    raw = word.encode()
    if word in [one for _, one in found]:
        return ()
    begun = [
        at for at, one in found if one.endswith("x") and len(one) == len(word) and word.startswith(one.rstrip("x"))
    ]
    if begun:  # power went
        return overwrites(path, [content, put(content, begun[0], raw)])
    blank = without_crossed(content)
    at = (b" " + blank.split(b"\n", 1)[0] + b" ").find(b" " * (len(raw) + 2))
    if at < 0:
        raise Refused(f"{path} has no room for {word}, and it must not grow; write it there by hand")
    crossed = put(blank, at, b"x" * len(raw))
    return overwrites(path, [content, blank, crossed, put(crossed, at, raw)])


def without_lines(found: list[Line], contents: dict[str, bytes]) -> tuple[Overwrite, ...]:
    """Make comments of lines, each by its first byte."""
    made: list[Overwrite] = []
    for path in dict.fromkeys(line.path for line in found):
        states = [contents[path]]
        for line in found:
            if line.path == path:
                refused(line.text, NEVER_LINES)
                states.append(put(states[-1], line.at, b"#"))
        made += overwrites(path, states)
    return tuple(made)


def with_lines_back(path: str, content: bytes, patterns: list[str]) -> tuple[Overwrite, ...]:
    """Make lines of the comments that once were made of lines: all but the first byte is still there."""
    states, at = [content], 0
    for raw in content.splitlines(keepends=True):
        rest = raw.decode("utf-8", "replace").rstrip("\r\n")[1:]
        fits = [one[0] for one in patterns if raw.startswith(b"#") and fnmatchcase(one[0] + rest, one)]
        if fits:
            states.append(put(states[-1], at, fits[0].encode()))
        at += len(raw)
    return overwrites(path, states)


def slot(text: str) -> bytes:
    """Return a slot that says a line: the rest of it is a comment, for nobody promises that blanks are taken off."""
    raw = text.encode() + b"\n"
    return raw + (b"#" * (SLOT - len(raw) - 1) + b"\n" if len(raw) < SLOT else b"")


def with_slot(place: str, config: bytes, own: bytes, text: str) -> tuple[Overwrite | Append, ...]:
    """Say a line in our own file: all of it as a comment first, then its first byte; then let config.txt include it."""
    path = f"{place}/{OWN}"
    made: list[Overwrite | Append] = []
    if not own:
        made.append(Append(path=path, before=b"", content=FILE))
        own = FILE
    if len(own) != len(FILE):
        raise Refused(f"{path} has not the length that Privet gave it; remove it and its line in {CONFIG}")
    wanted = slot(text)
    hidden = b"#" + wanted[1:]
    places = range(SLOT * 2, len(FILE), SLOT)
    if wanted not in [own[at : at + SLOT] for at in places]:
        free = [at for at in places if own[at : at + SLOT] == hidden] or [
            at for at in places if own[at : at + SLOT] == BLANK
        ]
        if not free:
            raise Refused(f"{path} is full; remove from it what is not needed any more")
        first = put(own, free[0], hidden)
        made += overwrites(path, [own, first, put(first, free[0], wanted)])
    return (*made, *included(f"{place}/{CONFIG}", config))


def included(path: str, config: bytes) -> tuple[Append, ...]:
    """Let config.txt include our file, at its end and for every board; once."""
    if INCLUSION in config:
        return ()
    return (Append(path=path, before=config, content=INCLUSION),)
