"""A package that was put into an image without running anything is what `dpkg -i` would have left, byte for byte."""

import hashlib
import subprocess
import time
from pathlib import Path

import pytest

from agent.core.record import replace
from provisioning.card.build import build
from provisioning.card.disk import look
from provisioning.card.installed import ACCOUNTS, STATUS
from provisioning.card.rootfs import FILE, FOLDER, LINK, Rootfs
from provisioning.fleet.identity import Fleet
from tests.card import making
from tests.device import tree
from tests.device.lab import Device
from tests.device.test_package import built, install, names
from tests.house import ROOT

ROOM = 700 * making.MIB
OURS = {"/etc/privet/fleet.cbor", "/etc/privet/policy.cbor", "/var/lib/privet-courier/ca.pem"}
# Notes that programs keep of what they did here: copies of before, a log, a lock.
NOTES = {"/etc/.pwd.lock", "/var/log/dpkg.log", "/var/lib/dpkg/status-old", *(f"{path}-" for path in ACCOUNTS)}
KINDS = {"f": FILE, "d": FOLDER, "l": LINK}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give the image built from a real Debian with the package of this checkout, and that package."""
    folder = tmp_path_factory.mktemp("image")
    root = folder / "tree"
    subprocess.run(["cp", "-a", tree.built(), root], check=True)
    for path in (root / "etc/dpkg/dpkg.cfg.d").iterdir():
        if "path-exclude" in path.read_text():
            path.unlink()
    (root / "etc/fstab").write_text(making.FSTAB)
    deb = built(ROOT, folder / "deb")
    base = making.image(folder / "base.img", root, size=ROOM)
    fleet = Fleet.create(folder / "fleet", "meadow")
    request = making.request(base, deb, folder / "out" / "card.img", making.issue(fleet))
    request = replace(request, moment=int(time.time()))  # the day is in /etc/shadow
    build(request, fleet.signing_key())
    return request.output, deb


def test_an_image_is_what_dpkg_would_have_left(device: Device, pieces: tuple[Path, Path]):
    """New names, kinds, rights, owners, links and contents are those after dpkg -i, accounts and records too."""
    image, deb = pieces
    device.must(["sh", "-c", "grep -rl path-exclude /etc/dpkg/dpkg.cfg.d | xargs -r rm --"])
    before = names(device)
    install(device, deb)
    fresh = sorted((names(device) - before) - NOTES)
    wanted = [*fresh, STATUS, *ACCOUNTS]
    assert len(fresh) > 1000
    root = Rootfs(look(image), 0)
    found = root.stats(wanted)
    form = "%p\\t%y\\t%m\\t%U\\t%G\\t%l\\n"
    said = device.must(["find", *wanted, "-maxdepth", "0", "-printf", form])
    differing = []
    for line in said.splitlines():
        path, kind, mode, uid, gid, target = line.split("\t")
        one = found.get(path)
        mine = one and (one.kind, one.mode, one.uid, one.gid, one.target)
        if mine != (KINDS[kind], int(mode, 8), int(uid), int(gid), target):
            differing.append((path, mine))
    assert differing == [("/etc/privet", (FOLDER, 0o700, 0, 0, ""))]  # closer than the package alone leaves it
    regular = [path for path in wanted if found[path].kind == FILE]
    sums = dict(line.split("  ", 1)[::-1] for line in device.must(["sha256sum", *regular]).splitlines())
    contents = root.reads(regular)
    assert [path for path in regular if hashlib.sha256(contents[path]).hexdigest() != sums[path]] == []
    assert set(root.reads(OURS)) == OURS


def test_a_real_dpkg_believes_its_records(pieces: tuple[Path, Path], device: Device):
    """The records of the image satisfy dpkg itself: it lists the package as installed and finds no broken file list."""
    image, _ = pieces
    root = Rootfs(look(image), 0)
    where = "/var/lib/dpkg/info"
    records = [f"{where}/{name}" for name in root.names(where) if name.startswith("privet.")]
    for path, content in root.reads([STATUS, *records]).items():
        device.write(path, content)
    assert device.must(["dpkg-query", "-W", "-f", "${Status}", "privet"]) == "install ok installed"
    assert device.must(["dpkg", "--audit"]) == ""
    assert "/usr/lib/privet/policy.cbor" in device.must(["dpkg", "-L", "privet"])
