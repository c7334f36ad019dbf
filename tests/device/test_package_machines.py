"""The packages for all machines: the same bytes twice, small, and in each only what that machine can run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning.package import build, target
from tests.device.lab import Device
from tests.device.test_package import digest
from tests.house import ROOT

ALL = " ".join(target.TARGETS)
DEPENDS = "python3 (>= 3.11), python3 (<< 3.14), nftables, systemd"
LENT = {"amd64": "", "arm64": "", "armhf": ", python3-cffi-backend"}
# e_machine in the header of a shared object.
MACHINES = {"amd64": 62, "arm64": 183, "armhf": 40}


def made(checkout: Path, out: Path, date: str, machines: str) -> dict[str, Path]:
    """Build for these machines from a clean copy of the commit in this folder."""
    checkout.mkdir(parents=True)
    argv = ["git", "-c", "safe.directory=*", "archive", "HEAD"]
    commit = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(checkout)], input=commit, check=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": date, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(checkout)}
    argv = [sys.executable, "-m", "provisioning.package", "--arch", machines, "--out", str(out)]
    subprocess.run(argv, cwd=checkout, env=environment, check=True)
    return {path.stem.rpartition("_")[2]: path for path in out.glob("*.deb")}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give the package of each machine."""
    folder = tmp_path_factory.mktemp("machines")
    return made(folder / "one/checkout", folder / "one/out", "1700000000", ALL)


@pytest.fixture(scope="module")
def unpacked(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give what dpkg-deb unpacks of each."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name, path in packages.items():
        subprocess.run(["dpkg-deb", "-R", str(path), str(folder / name)], check=True)
    return {name: folder / name for name in packages}


def field(root: Path, name: str) -> str:
    """Return a field of the control file."""
    found = re.search(rf"^{name}: (.*)$", (root / "DEBIAN/control").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_two_builds_of_one_commit_are_the_same_bytes(packages: dict[str, Path], tmp_path: Path):
    """From another folder each machine's package has the same digest; from another date it has not."""
    again = made(tmp_path / "another/place/checkout", tmp_path / "again", "1700000000", ALL)
    assert {name: digest(path) for name, path in again.items()} == {name: digest(p) for name, p in packages.items()}
    later = made(tmp_path / "later/checkout", tmp_path / "later/out", "1700000060", "armhf")
    assert digest(later["armhf"]) != digest(packages["armhf"])


@pytest.mark.parametrize("name", target.TARGETS)
def test_each_is_small_and_says_what_it_needs(packages: dict[str, Path], unpacked: dict[str, Path], name: str):
    """At most 7 MB; the fields of dpkg name the machine and exactly what it depends on."""
    size = packages[name].stat().st_size
    print(f"{name}: {size} bytes, sha256 {digest(packages[name])}")
    assert 1_000_000 < size <= build.BUDGET == 7_000_000
    assert field(unpacked[name], "Architecture") == name
    assert field(unpacked[name], "Depends") == DEPENDS + LENT[name]
    assert (unpacked[name] / "DEBIAN/conffiles").read_text() == "/etc/privet/setup.toml\n"


@pytest.mark.parametrize("name", target.TARGETS)
def test_every_shared_object_is_for_its_machine(unpacked: dict[str, Path], name: str):
    """Its own header agrees with the name of the package; cffi's part is there or lent by Debian, never both."""
    library = unpacked[name] / "usr/lib/privet"
    found = sorted(path for path in library.rglob("*.so") if not path.is_symlink())
    lent = sorted(path.name for path in library.rglob("*") if path.is_symlink())
    assert any(path.name == "_rust.abi3.so" for path in found)
    backends = sum(path.name.startswith("_cffi_backend") for path in found)
    assert backends == (0 if name == "armhf" else len(target.PYTHONS))
    assert lent == (list(target.TARGETS["armhf"].modules) if name == "armhf" else [])
    assert (library / "cffi").exists() == (name != "armhf")
    for path in found:
        assert elf(path) == MACHINES[name], path


def elf(path: Path) -> int:
    """Return the machine of a shared object, from its header."""
    header = path.read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert header[5] == 1  # little endian
    return header[18] | header[19] << 8


def test_only_what_must_differ_differs(unpacked: dict[str, Path]):
    """All files of Privet itself, compiled ones too, are the same bytes on every machine."""
    trees = {}
    for name, root in unpacked.items():
        files = [path for path in root.rglob("*") if path.is_file() and path.parent.name != "DEBIAN"]
        ours = [path for path in files if "usr/lib/privet/agent" in str(path) or "usr/lib/privet" not in str(path)]
        trees[name] = {path.relative_to(root).as_posix(): digest(path) for path in ours if path.name != "copyright"}
    assert trees["amd64"] == trees["arm64"] == trees["armhf"]
    assert any(name.endswith(".pyc") for name in trees["amd64"])


def test_a_foreign_package_is_not_installed(device: Device, packages: dict[str, Path]):
    """Dpkg itself refuses a package for another machine, so a wrong file cannot half-install."""
    device.write("/root/privet.deb", packages["armhf"].read_bytes())
    done = device.run(["dpkg", "-i", "/root/privet.deb"], seconds=60)
    assert done.returncode != 0
    assert b"does not match system" in done.stderr


@pytest.mark.parametrize("name", target.TARGETS)
def test_lintian_has_nothing_to_say(packages: dict[str, Path], name: str):
    """Debian's own critic finds no error and no warning beyond the overrides, each of which says why it is there."""
    argv = ["lintian", "--allow-root", "--fail-on", "error,warning"]
    done = subprocess.run([*argv, str(packages[name])], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
