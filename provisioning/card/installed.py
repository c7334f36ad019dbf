"""What an installed package leaves behind beside its files, as dpkg and the package's script would: computed, not run.

Nothing of the image is executed: its processor may not be this machine's, nor its programs to be trusted here.
"""

import hashlib
import re
from collections.abc import Mapping

from agent.core.errors import BadInput, Refused
from agent.core.record import Record, replace
from provisioning.card.deb import Deb, paragraphs
from provisioning.card.programs import ended
from provisioning.card.rootfs import FILE, FOLDER, LINK, Entry

STATUS, RECORDS = "/var/lib/dpkg/status", "/var/lib/dpkg/info"
STATE = "/var/lib/systemd/deb-systemd-helper-enabled"
SYSTEM = "/etc/systemd/system"
ACCOUNT, HOME = "privet", "/var/lib/privet-courier"
ACCOUNTS = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
HIGHEST, LOWEST = 999, 100  # numbers of system accounts that are free to take, from above
ORDER = (
    "Package", "Status", "Priority", "Section", "Installed-Size", "Maintainer", "Architecture", "Version", "Depends",
    "Recommends", "Conffiles", "Description",
)  # fmt: skip
NEED = re.compile(r"([a-z0-9.+-]+)(?::\w+)?(?: \((<<|<=|=|>=|>>) ([^)]+)\))?")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
DAY = 86400


class Account(Record):
    """The courier's account: its numbers, and the four files with it in them."""

    __slots__ = ("files", "gid", "uid")
    uid: int
    gid: int
    files: dict[str, bytes]


def fitting(deb: Deb, status: str) -> None:
    """Refuse a package that the image cannot run: for another processor, or without what it needs."""
    there = {one["Package"]: one for one in paragraphs(status) if one.get("Status", "").endswith(" installed")}
    machine = there.get("dpkg", {}).get("Architecture", "")
    name, ours = deb.control["Package"], deb.control["Architecture"]
    if ours not in {machine, "all"}:
        raise Refused(f"the package is for {ours} and the image is {machine}; build it with: make deb ARCH={machine}")
    if name in there:
        raise Refused(f"the image has {name} {there[name]['Version']} already; take the image of the maker")
    offered = {word for one in there.values() for word in re.findall(r"[a-z0-9.+-]+", one.get("Provides", ""))}
    for need in filter(None, deb.control.get("Depends", "").split(",")):
        found = NEED.fullmatch(need.strip())
        if found is None:
            raise BadInput(f"the package needs {need.strip()!r}, which cannot be judged here; build the package again")
        wanted, relation, version = found.groups()
        has = there.get(wanted, {}).get("Version", "")
        if not has and wanted not in offered:
            raise Refused(f"the image has no {wanted}, which {name} needs; take an image that has it")
        if relation and not satisfied(has, relation, version):
            raise Refused(f"the image has {wanted} {has}, and {name} needs {relation} {version}; take another release")


def satisfied(has: str, relation: str, version: str) -> bool:
    """Say whether a version stands in this relation to another, by dpkg's own word."""
    words = {"<<": "lt", "<=": "le", "=": "eq", ">=": "ge", ">>": "gt"}
    return bool(has) and ended("dpkg", "--compare-versions", has, words[relation], version)[0] == 0


def unpacked(deb: Deb, merged: bool) -> tuple[Entry, ...]:
    """Return what the package unpacks, at its real places: on a merged system /lib is a link to /usr/lib."""
    moved = {f"/{name}": f"/usr/{name}" for name in ("bin", "lib", "sbin")} if merged else {}
    found = []
    for one in deb.entries:
        top, rest = "/" + one.path.split("/")[1], one.path[len("/" + one.path.split("/")[1]) :]
        found.append(replace(one, path=moved.get(top, top) + rest))
    return tuple(sorted(found, key=lambda one: one.path))


def registered(deb: Deb, status: bytes, moment: int) -> tuple[Entry, ...]:
    """Return dpkg's own records with the package in them, so that updates and removal work as after `dpkg -i`."""
    name = deb.control["Package"]
    kept = deb.beside.get("conffiles", b"").decode().split()
    control = {**deb.control, "Status": "install ok installed"}
    if kept:
        contents = {one.path: one.content for one in deb.entries}
        rows = [f" {path} {hashlib.md5(contents[path], usedforsecurity=False).hexdigest()}" for path in kept]
        control["Conffiles"] = "\n" + "\n".join(rows)
    names = [word for word in ORDER if word in control] + sorted(set(control) - set(ORDER))
    paragraph = "".join(f"{word}:{'' if control[word][:1] == chr(10) else ' '}{control[word]}\n" for word in names)
    listed = "/.\n" + "".join(f"{one.path}\n" for one in deb.entries)
    files = {**deb.beside, "list": listed.encode()}
    records = [
        file(f"{RECORDS}/{name}.{word}", content, moment, 0o755 if word in SCRIPTS else 0o644)
        for word, content in sorted(files.items())
    ]
    return (file(STATUS, among(status, paragraph.encode()), moment), *records)


def among(status: bytes, paragraph: bytes) -> bytes:
    """Return dpkg's list of packages with one more in it, where dpkg would put it: the list is in order of names."""
    listed = [part.strip(b"\n") + b"\n" for part in status.split(b"\n\n") if part.strip()]
    name = paragraph.partition(b"\n")[0]
    later = [number for number, part in enumerate(listed) if part.partition(b"\n")[0] > name]
    at = later[0] if later else len(listed)
    return b"".join(part + b"\n" for part in [*listed[:at], paragraph, *listed[at:]])


def enabled(deb: Deb, moment: int) -> tuple[Entry, ...]:
    """Return the links that start the package's units, and what Debian notes of them."""
    made: list[Entry] = []
    for one in deb.entries:
        path, _, unit = one.path.rpartition("/")
        if not path.endswith("/systemd/system") or one.kind != FILE or b"\n[Install]\n" not in one.content:
            continue
        links = []
        for key, ending in (("WantedBy", "wants"), ("RequiredBy", "requires")):
            for target in re.findall(rf"^{key}=(.*)$", one.content.decode(), re.MULTILINE):
                links += [f"{word}.{ending}" for word in target.split()]
        for folder in links:
            made += [folder_at(f"{SYSTEM}/{folder}", moment), folder_at(f"{STATE}/{folder}", moment)]
            made.append(link(f"{SYSTEM}/{folder}/{unit}", one.path, moment))
            made.append(file(f"{STATE}/{folder}/{unit}", b"", moment))
        listed = "".join(f"{SYSTEM}/{folder}/{unit}\n" for folder in links)
        made.append(file(f"{STATE}/{unit}.dsh-also", listed.encode(), moment))
    unique = {one.path: one for one in made}
    return (folder_at(STATE, moment), *(unique[path] for path in sorted(unique)))


def account(contents: Mapping[str, bytes], moment: int) -> Account:
    """Return the account files of an image with the courier's account in them; its number is the highest free one."""
    lines = {path: contents.get(path, b"").decode("utf-8", "surrogateescape").splitlines() for path in ACCOUNTS}
    known = [line.split(":") for line in lines["/etc/passwd"] if line.startswith(f"{ACCOUNT}:")]
    if known:
        return Account(uid=int(known[0][2]), gid=int(known[0][3]), files={})
    taken = {
        line.split(":")[2] for path in ("/etc/passwd", "/etc/group") for line in lines[path] if line.count(":") > 2
    }
    free = [number for number in range(HIGHEST, LOWEST, -1) if str(number) not in taken]
    if not free:
        raise Refused("the image has no free number for a system account; take a fresh image")
    number = free[0]
    added = {
        "/etc/passwd": f"{ACCOUNT}:x:{number}:{number}:Privet courier:{HOME}:/usr/sbin/nologin",
        "/etc/group": f"{ACCOUNT}:x:{number}:",
        "/etc/shadow": f"{ACCOUNT}:!*:{moment // DAY}::::::",
        "/etc/gshadow": f"{ACCOUNT}:!*::",
    }
    files = {
        path: "".join(f"{line}\n" for line in [*lines[path], added[path]]).encode("utf-8", "surrogateescape")
        for path in ACCOUNTS
        if path in contents
    }
    return Account(uid=number, gid=number, files=files)


def file(path: str, content: bytes, moment: int, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    """Return a file to be written."""
    return Entry(path=path, kind=FILE, mode=mode, uid=uid, gid=gid, mtime=moment, content=content, target="")


def folder_at(path: str, moment: int, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """Return a folder to be made."""
    return Entry(path=path, kind=FOLDER, mode=mode, uid=uid, gid=gid, mtime=moment, content=b"", target="")


def link(path: str, target: str, moment: int) -> Entry:
    """Return a link to be made."""
    return Entry(path=path, kind=LINK, mode=0o777, uid=0, gid=0, mtime=moment, content=b"", target=target)
