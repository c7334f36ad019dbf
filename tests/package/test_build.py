"""What is in the package: laid out once from this checkout and the wheels that this environment already has."""

import fcntl
import gzip
import importlib.metadata
import importlib.util
import marshal
import re
import shutil
import stat
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import Failed
from provisioning.package import build, tree, words
from tests.house import ROOT, files, none_of, within

MOMENT = 1_700_000_000
DAY = "2023-11-14"
LIBRARY = tree.LIBRARY
TAG = sys.implementation.cache_tag
PAIR = ("privet-guard", "privet-courier")
STARTING = ("privet-early", "privet-firstboot")  # before the network, once per start
BUDGETS = {"privet-courier": 1.3, "privet-early": 2.1, "privet-firstboot": 3.7, "privet-guard": 3.7, "privet-shut": 1.4}


def wheels_here(folder: Path) -> None:
    """Lay the pinned wheels out as pip does, from what is installed here: no network."""
    pinned = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/device.txt").read_text(), re.MULTILINE)
    assert len(pinned) >= 5
    for name, version in pinned:
        found = importlib.metadata.distribution(name)
        assert found.version == version
        for part in found.files or ():
            if ".." not in part.parts and "__pycache__" not in part.parts:
                target = folder / part
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(part.locate()), target)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Give the laid-out tree, made by the first process that asks."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "package"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "tree/DEBIAN/control").exists():
            wheels_here(folder / "wheels")
            tree.lay_out(ROOT, folder / "wheels", folder / "tree", "1.2.3", DAY)
            build.control(folder / "tree", "1.2.3", "amd64")
            tree.settle(folder / "tree", MOMENT)
    return folder / "tree"


def shipped(package: Path) -> list[str]:
    """Return the files of the package, as they are called once installed."""
    return sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file())


def fields(text: str) -> dict[str, str]:
    """Read the fields of a control file."""
    return dict(re.findall(r"^([A-Z][A-Za-z-]+): (.*)$", text, re.MULTILINE))


def test_all_of_the_agent_is_in_it_and_nothing_of_the_host(package: Path):
    """Every module and setting that git tracks is shipped; no test, host tool, simulated device or README is."""
    tracked = {within(path) for path in files() if within(path).startswith("agent/") and path.suffix in tree.SOURCES}
    tracked = {name for name in tracked if not name.startswith("agent/system/simulated/")}
    found = {name.removeprefix(f"{LIBRARY}/") for name in shipped(package) if name.startswith(f"{LIBRARY}/agent/")}
    assert {name for name in found if "__pycache__" not in name} == tracked
    foreign = re.compile(r"(^|/)(tests?|provisioning|simulated|pip|pydantic|rich)(/|$)|README|dist-info|\.pyi$")
    none_of([name for name in shipped(package) if foreign.search(name)])


def test_what_lies_outside_the_library_is_exactly_this(package: Path):
    """The list of all other files; nothing lies in /etc, so purge has no foreign words to keep."""
    assert [name for name in shipped(package) if not name.startswith(f"{LIBRARY}/")] == [
        "DEBIAN/control",
        "DEBIAN/md5sums",
        "DEBIAN/postinst",
        "DEBIAN/postrm",
        "DEBIAN/prerm",
        "lib/systemd/system/privet-courier.service",
        "lib/systemd/system/privet-early.service",
        "lib/systemd/system/privet-firstboot.service",
        "lib/systemd/system/privet-guard.service",
        "lib/systemd/system/privet-shut.service",
        "usr/bin/privet",
        "usr/lib/sysusers.d/privet.conf",
        "usr/share/bash-completion/completions/privet",
        "usr/share/doc/privet/changelog.gz",
        "usr/share/doc/privet/copyright",
        "usr/share/man/man1/privet.1.gz",
    ]


def test_modes_and_dates_are_fixed(package: Path):
    """Programs and scripts are 0755, all else 0644, folders 0755; every date is the commit's."""
    scripts = {"usr/bin/privet", "DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm"}
    wrong = []
    for path in [package, *package.rglob("*")]:
        name, found = path.relative_to(package).as_posix(), path.lstat()
        right = 0o755 if path.is_dir() or name in scripts else 0o644
        if stat.S_IMODE(found.st_mode) != right or found.st_mtime != MOMENT or path.is_symlink():
            wrong.append(f"{name}: {found.st_mode:o} {found.st_mtime}")
    none_of(wrong)


def marks(package: Path) -> list[bytes]:
    """Return what would betray the building machine: folders of the checkout, of the build and of its Python."""
    own = {ROOT, package, package.parent, Path(sys.prefix), Path(sys.base_prefix)}
    return [str(path).encode() for path in own if len(path.parts) > 2]


def test_nothing_of_the_building_machine_shows(package: Path):
    """No file holds a path of this machine; a planted one is found."""
    looked = marks(package)
    assert str(ROOT).encode() in looked
    planted = compile("1", str(ROOT / "agent/x.py"), "exec")
    assert any(mark in marshal.dumps(planted) for mark in looked)
    wrong = []
    for name in shipped(package):
        content = (package / name).read_bytes()
        content = gzip.decompress(content) if name.endswith(".gz") else content
        wrong += [f"{name}: {mark!r}" for mark in looked if mark in content]
    none_of(wrong)


def compiled(package: Path, level: str) -> Iterator[tuple[str, bytes]]:
    """Yield each module's source name and its compiled bytes."""
    for name in shipped(package):
        if name.endswith(".py"):
            path = package / name
            yield name, (path.parent / f"__pycache__/{path.stem}.{TAG}{level}.pyc").read_bytes()


@pytest.mark.parametrize("level", ["", ".opt-2"])
def test_every_module_is_compiled_and_never_compared_with_its_source(package: Path, level: str):
    """Both kinds are there for every module, unchecked (PEP 552 flags 1), naming the installed path."""
    seen = 0
    for name, content in compiled(package, level):
        assert content[:4] == importlib.util.MAGIC_NUMBER, name
        assert int.from_bytes(content[4:8], "little") == 1, name
        code = marshal.loads(content[16:])
        assert isinstance(code, types.CodeType)
        assert code.co_filename == f"/{name}"
        seen += 1
    assert seen > 150


def test_control_fields(package: Path):
    """The package says what it needs and nothing that would be downloaded; no field is left unfilled."""
    text = (package / "DEBIAN/control").read_text()
    found = fields(text)
    assert found["Package"] == "privet"
    assert found["Version"] == "1.2.3"
    assert found["Architecture"] == "amd64"
    assert found["Depends"] == "python3 (>= 3.11), python3 (<< 3.12), nftables, systemd"
    assert "openssh-client" in found["Recommends"]
    assert 10_000 < int(found["Installed-Size"]) < 40_000
    assert "{" not in text


def test_checksums_cover_every_file(package: Path):
    """Every installed file can be compared by `dpkg --verify`."""
    listed = [line.split("  ", 1)[1] for line in (package / "DEBIAN/md5sums").read_text().splitlines()]
    assert listed == [name for name in shipped(package) if not name.startswith("DEBIAN/")]


def test_the_manual_is_the_commands_own_help(package: Path):
    """Printed, the manual page holds every verb's help line by line; a changed help changes the page."""
    page = gzip.decompress((package / "usr/share/man/man1/privet.1.gz").read_bytes()).decode()
    library = package / LIBRARY
    overview = words.told(library, "--help")
    verbs = re.findall(r"^  ([a-z]+) ", overview.partition("Commands:")[2], re.MULTILINE)
    assert {"status", "loosen", "send"} <= set(verbs)
    for text in (overview, *(words.told(library, verb, "--help") for verb in verbs)):
        assert words.verbatim(text) in page
    assert words.verbatim(overview + "x") not in page


def test_completion_is_for_this_command(package: Path):
    """The completion asks the command itself, so it is never behind."""
    text = (package / "usr/share/bash-completion/completions/privet").read_text()
    assert "_PRIVET_COMPLETE=bash_complete" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_every_wheel_has_its_licence_in_the_copyright_file(package: Path):
    """Each pinned package stands there with its version; one without a licence stops the build."""
    text = (package / "usr/share/doc/privet/copyright").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/device.txt").read_text(), re.MULTILINE)
    none_of([f"{name} {version}" for name, version in pinned if f"{name.replace('-', '_')} {version}: " not in text])


def test_a_wheel_without_a_licence_is_refused(tmp_path: Path):
    """Nothing is shipped whose terms are unknown."""
    (tmp_path / "nobody-1.0.dist-info").mkdir()
    with pytest.raises(Failed, match="no licence"):
        words.copyright_of(tmp_path)


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_maintainer_scripts_are_sound_shell(package: Path, name: str):
    """Each parses, stops at the first error and runs in the plainest shell."""
    text = (package / "DEBIAN" / name).read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("unit", PAIR + STARTING)
def test_units_start_what_is_shipped(package: Path, unit: str):
    """Each unit waits for a policy and starts a file of the package, by the system's own Python, isolated."""
    text = (package / f"lib/systemd/system/{unit}.service").read_text()
    assert "\nConditionPathExists=/etc/privet/device.cbor\n" in text
    started = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert len(started) == 1
    argv = started[0].split()
    assert argv[:2] == ["/usr/bin/python3", "-IBS"]
    assert (package / argv[-1].lstrip("/")).is_file()


@pytest.mark.parametrize("unit", [*PAIR, *STARTING, "privet-shut"])
def test_hardening_left_out_says_why(package: Path, unit: str):
    """Every well-known line of protection is in the unit or is named in a comment that gives the reason."""
    text = (package / f"lib/systemd/system/{unit}.service").read_text()
    wanted = (
        "NoNewPrivileges CapabilityBoundingSet ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateUsers "
        "PrivateNetwork ProtectProc ProcSubset ProtectKernelTunables ProtectKernelModules ProtectKernelLogs "
        "ProtectControlGroups ProtectClock ProtectHostname RestrictAddressFamilies RestrictNamespaces RestrictRealtime "
        "RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute SystemCallArchitectures SystemCallFilter "
        "IPAddressDeny DevicePolicy UMask MemoryMax TasksMax"
    )
    none_of([word for word in wanted.split() if not re.search(rf"^(# Left out: .*\b)?{word}=", text, re.MULTILINE)])


@pytest.mark.parametrize("unit", STARTING)
def test_early_units_stand_before_everything_that_listens(package: Path, unit: str):
    """Without default dependencies, before the network and before all ordinary services, sockets and logins."""
    text = (package / f"lib/systemd/system/{unit}.service").read_text()
    before = set(" ".join(re.findall(r"^Before=(.*)$", text, re.MULTILINE)).split())
    assert {"network-pre.target", "sysinit.target", "systemd-networkd.service", "NetworkManager.service"} <= before
    assert "\nDefaultDependencies=no\n" in text
    assert "\nWants=network-pre.target\n" in text
    assert "\nWantedBy=sysinit.target\n" in text


@pytest.mark.parametrize(("unit", "budget"), sorted(BUDGETS.items()))
def test_units_keep_their_exposure_budget(package: Path, tmp_path: Path, unit: str, budget: float):
    """`systemd-analyze security` finds no more than this; without the filter of system calls it finds more."""
    base = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={round(budget * 10)}"]
    path = package / f"lib/systemd/system/{unit}.service"
    assert subprocess.run([*base, str(path)], capture_output=True, check=False).returncode == 0
    twin = tmp_path / f"{unit}.service"
    twin.write_text(re.sub(r"^SystemCallFilter=.*\n", "", path.read_text(), flags=re.MULTILINE))
    assert subprocess.run([*base, str(twin)], capture_output=True, check=False).returncode != 0
