"""Building an image: what is in it afterwards, the same from every form of its base; every bad input by its name."""

import hashlib
import json
import lzma
import struct
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import cbor2
import pytest
import zstandard

from agent.core import slot
from agent.core.errors import BadInput, Missing, PrivetError, Refused
from provisioning.card import build as building
from provisioning.card import manifest
from provisioning.card.bootfs import Bootfs
from provisioning.card.build import build, planned
from provisioning.card.disk import look
from provisioning.card.programs import there
from provisioning.card.rootfs import FILE, FOLDER, LINK, Rootfs
from tests.card import making

SECOND = 8 * making.MIB + making.BOOT
LINE = "dtparam=act_led_trigger=heartbeat"


def names(folder: Path) -> list[str]:
    """Return what a folder holds, drafts included; nothing when it is not there."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_an_image_holds_what_was_asked_for(bench, asked):
    """Package, dpkg's records, account, unit links, fleet, policy, slot and line are there, and all four files fit."""
    request = asked(lines=(LINE,))
    _, made = build(request, bench.fleet.signing_key())
    assert names(request.output.parent) == ["card.img", "card.img.bmap", "card.img.manifest", "card.img.sbom.json"]
    disk = look(request.output)
    root, boot = Rootfs(disk, 0), Bootfs(disk, 0)
    assert json.loads(request.output.with_name("card.img.sbom.json").read_bytes())["components"][-1]["name"] == "privet"
    assert manifest.open_manifest(request.output, (bench.fleet.policy_key(),)) == made
    with request.output.open("rb") as file:
        assert manifest.first_wrong(made, lambda at, length: (file.seek(at), file.read(length))[1]) is None
        file.seek(made.slot)
        assert file.read(slot.SIZE) == slot.blank()
    found = root.stats(
        ["/etc/privet", "/etc/privet/fleet.cbor", "/usr/lib/privet/large", "/var/lib/privet-courier/ca.pem"]
    )
    assert [(one.kind, one.mode, one.uid) for one in found.values()] == [
        (FOLDER, 0o700, 0), (FILE, 0o600, 0), (FILE, 0o644, 0), (FILE, 0o600, 998),
    ]  # fmt: skip
    fleet = cbor2.loads(root.read("/etc/privet/fleet.cbor"))
    assert (fleet["fleet"], fleet["class"], fleet["policy_keys"]) == ("meadow", "base", [bench.fleet.policy_key()])
    assert root.read("/etc/privet/policy.cbor") == bench.issue.policy
    link = root.stats(["/etc/systemd/system/multi-user.target.wants/privet-guard.service"])
    assert [(one.kind, one.target) for one in link.values()] == [(LINK, "/lib/systemd/system/privet-guard.service")]
    assert root.read("/usr/lib/systemd/system/privet-guard.service") == making.UNIT
    assert b"privet:x:998:998:Privet courier" in root.read("/etc/passwd")
    assert root.stats(["/etc/shadow"])["/etc/shadow"].mode == 0o640
    status = root.read("/var/lib/dpkg/status").decode()
    assert [part.split("\n")[0] for part in status.strip().split("\n\n")] == [
        "Package: dpkg", "Package: nftables", "Package: privet", "Package: python3", "Package: systemd",
    ]  # fmt: skip
    assert boot.read("config.txt").decode().splitlines()[-2:] == ["[all]", LINE]
    assert "privet.slot" in boot.names() and not [name for name in boot.names() if name.endswith(".pad")]


def test_every_form_of_the_base_gives_the_same_image(bench, asked, place):
    """Plain, .xz and .zst are unpacked to the same bytes, and the same request gives the same image again."""
    plain = bench.base.read_bytes()
    forms = {"b.img": plain, "b.img.xz": lzma.compress(plain, preset=0), "b.img.zst": zstandard.compress(plain)}
    outside = set()
    for name, content in forms.items():
        (place / name).write_bytes(content)
        _, made = build(asked(base=place / name), bench.fleet.signing_key())
        outside.add(made.outside)
        for path in (place / "out").iterdir():
            path.unlink()
    assert len(outside) == 1


@pytest.mark.parametrize("layout", ["raspios-bookworm", "raspios-trixie"])
def test_the_other_layouts_are_known(layout, bench, asked, place):
    """An image in a layout of Raspberry Pi OS is built upon; its slot lies on a block whatever its clusters are."""
    words = making.WORDS + (
        " resize" if layout == "raspios-trixie" else " init=/usr/lib/raspberrypi-sys-mods/firstboot"
    )
    features = "^huge_file,orphan_file,metadata_csum_seed" if layout == "raspios-trixie" else "^huge_file,^64bit"
    root = making.tree(place / "t", layout)
    base = making.image(place / "b.img", root, layout=layout, words=words, features=features)
    plan, made = build(asked(base=base), bench.fleet.signing_key())
    assert plan.layout.name == made.layout == layout and made.slot % 4096 == 0


def test_indexed_folders_are_written_to_as_well(bench, asked, place):
    """A kernel keeps large folders as hashed trees, and so does an image of a maker: nothing in them is lost."""
    root = making.tree(place / "t")
    several = [f"a-package-with-a-long-name-{number:04d}.list" for number in range(900)]
    for name in several:
        (root / "var/lib/dpkg/info" / name).touch()
    base = making.image(place / "b.img", root)
    argv = ["e2fsck", "-fyD", f"{base}?offset={SECOND}"]
    subprocess.run(argv, capture_output=True, check=False)  # its code tells what it changed
    argv = ["debugfs", "-R", "htree_dump /var/lib/dpkg/info", f"{base}?offset={SECOND}"]
    assert b"Root node dump" in subprocess.run(argv, capture_output=True, check=True).stdout
    request = asked(base=base)
    build(request, bench.fleet.signing_key())
    found = Rootfs(look(request.output), 0).names("/var/lib/dpkg/info")
    assert set(several) < set(found) and "privet.list" in found


def test_a_dry_run_leaves_nothing(asked):
    """What would be written is told, and the folder stays empty."""
    plan = planned(asked())
    assert plan.layout.name == "debian-bookworm" and plan.bytes > 0
    assert names(asked().output.parent) == []


def test_bmaptool_finds_its_own_checksums(bench, asked):
    """The block map's checksum is that of itself with zeros in its place, each range's digest that of its bytes."""
    request = asked()
    build(request, bench.fleet.signing_key())
    text = request.output.with_name("card.img.bmap").read_text()
    table = ET.fromstring(text)
    checksum = table.findtext("BmapFileChecksum").strip()
    assert hashlib.sha256(text.replace(checksum, "0" * 64).encode()).hexdigest() == checksum
    whole, mapped = bytearray(request.output.read_bytes()), 0
    for one in table.iter("Range"):
        first, _, last = one.text.strip().partition("-")
        start, end = int(first) * 4096, (int(last or first) + 1) * 4096
        assert hashlib.sha256(whole[start:end]).hexdigest() == one.get("chksum")
        whole[start:end] = bytes(end - start)
        mapped += (end - start) // 4096
    assert whole.count(0) == len(whole) and mapped == int(table.findtext("MappedBlocksCount"))


def patched(base: Path, place: Path, at: int, content: bytes) -> Path:
    """Return a copy of the base with other bytes at a place."""
    place.write_bytes(base.read_bytes())
    with place.open("r+b") as file:
        file.seek(at)
        file.write(content)
    return place


def recovery(base: Path) -> bytes:
    """Return the incompatible features of the base's root file system with the mark of one that was not closed."""
    with base.open("rb") as file:
        file.seek(SECOND + 1024 + 96)
        return struct.pack("<I", struct.unpack("<I", file.read(4))[0] | 4)


BAD = {
    "not there": (lambda b, p: p, Missing, "is not there"),
    "cut": (lambda b, p: p.write_bytes(b.read_bytes()[: SECOND + 4096]), BadInput, "bytes before its partition 2"),
    "empty": (lambda b, p: p.write_bytes(b""), BadInput, "no table of partitions"),
    "garbage": (lambda b, p: p.write_bytes(bytes(range(7, 247)) * 9000), BadInput, "no table of partitions"),
    "cut xz": (lambda b, p: p.write_bytes(lzma.compress(b.read_bytes(), preset=0)[:-999]), BadInput, "ends too early"),
    "cut zst": (lambda b, p: p.write_bytes(zstandard.compress(b.read_bytes())[:-99]), BadInput, "ends too early"),
    "bad zst": (lambda b, p: p.write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 99), BadInput, "damaged"),
    "gzip": (lambda b, p: p.write_bytes(b"\x1f\x8b" + bytes(99)), BadInput, "packed with gzip"),
    "GPT": (lambda b, p: patched(b, p, 446 + 4, b"\xee"), Refused, "has a GPT"),
    "one partition": (lambda b, p: patched(b, p, 446 + 16, bytes(16)), Refused, "has 1 partitions"),
    "no FAT": (lambda b, p: patched(b, p, 8 * making.MIB, bytes(512)), BadInput, "no FAT file system"),
    "encrypted": (lambda b, p: patched(b, p, SECOND, b"LUKS\xba\xbe"), Refused, "encrypted"),
    "no ext4": (lambda b, p: patched(b, p, SECOND + 1024 + 56, b"\0\0"), BadInput, "no ext4 file system"),
    "not closed": (lambda b, p: patched(b, p, SECOND + 1024 + 96, recovery(b)), Refused, "was not closed"),
    "another disk": (lambda b, p: patched(b, p, 440, b"\0"), Refused, "does not name partition 2 of this very disk"),
    "damaged root": (lambda b, p: patched(b, p, SECOND + 4096, bytes(64)), PrivetError, "is not sound"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_base_is_named_and_nothing_is_left(name, bench, asked, place):
    """Absent, cut, packed, foreign, encrypted and damaged images: one sentence, and no file anywhere."""
    make, kind, said = BAD[name]
    base = place / "bad.img"
    make(bench.base, base)
    request = asked(base=base)
    with pytest.raises(kind, match=said) as caught:
        build(request, bench.fleet.signing_key())
    assert "\n" not in str(caught.value) and names(request.output.parent) == []


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"machine": "amd64"}, "the package is for amd64 and the image is arm64"),
        ({"depends": "python3 (>= 3.13)"}, "the image has python3 3.11.2-1"),
        ({"depends": "mosquitto"}, "the image has no mosquitto"),
        ({"more": 16 << 20}, "MiB free, and Privet needs"),
    ],
)
def test_a_package_that_does_not_fit_is_refused(parts, said, bench, asked, place):
    """Another processor or release of Python, something missing, no room: refused before anything is written."""
    (place / "p").mkdir()
    request = asked(deb=making.package(place / "p", **parts))
    with pytest.raises(Refused, match=said):
        build(request, bench.fleet.signing_key())
    assert names(request.output.parent) == []


def test_an_image_of_an_unknown_system_is_refused_loudly(bench, asked, place):
    """A release that layouts.toml does not know is named, with those it does know; so is one fact that differs."""
    other = making.image(place / "l.img", bench.tree, label="other")
    with pytest.raises(Refused, match="the root file system is called other and not rootfs"):
        build(asked(base=other), bench.fleet.signing_key())
    root = making.tree(place / "t")
    (root / "usr/lib/os-release").write_text(making.RELEASE.format("sid"))
    with pytest.raises(Refused, match="no layout is known for Debian GNU/Linux 'sid'; take one of: Raspberry Pi OS 12"):
        build(asked(base=making.image(place / "b.img", root)), bench.fleet.signing_key())


def test_an_image_is_never_overwritten(bench, asked):
    """A file that has the name of the image, or of what lies beside it, stays."""
    request = asked()
    request.output.parent.mkdir()
    request.output.with_name("card.img.bmap").write_text("mine")
    with pytest.raises(Refused, match="is there already"):
        build(request, bench.fleet.signing_key())
    assert names(request.output.parent) == ["card.img.bmap"]


def test_a_package_that_is_none_and_an_absent_program_are_named(bench, asked, place):
    """A file that is no package, one that is not there, and a machine without a program: one sentence each."""
    (place / "x.deb").write_bytes(b"no package")
    with pytest.raises(BadInput, match="is no Debian package"):
        build(asked(deb=place / "x.deb"), bench.fleet.signing_key())
    with pytest.raises(Missing, match="make deb ARCH=arm64"):
        build(asked(deb=place / "y.deb"), bench.fleet.signing_key())
    with pytest.raises(Missing, match="there is no mshowfat-of-nobody"):
        there("mshowfat-of-nobody")


def test_a_write_that_did_not_happen_is_noticed(bench, place):
    """The exit code is 0 on a full file system: reading back is what finds that nothing was written."""
    base = place / "b.img"
    base.write_bytes(bench.base.read_bytes())
    root = Rootfs(look(base), 1_790_000_000)
    large = building.contents(root, building.read_deb(bench.deb), bench.issue)[0]
    grown = [
        type(large)(**{**fields(large), "path": "/etc/huge", "kind": FILE, "content": bytes(range(1, 256)) * 90_000})
    ]
    with pytest.raises(PrivetError, match="is not in the image as it was written"):
        root.write(grown)
    argv = ["debugfs", "-w", "-R", f"write {bench.deb} x", f"{base}?offset={SECOND}"]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


def fields(record) -> dict:
    """Return a record's fields."""
    return {name: getattr(record, name) for name in type(record).__slots__}
