"""What is in the package: laid out once from this checkout and the wheels that this environment already has."""

import fcntl
import gzip
import importlib.metadata
import importlib.util
import marshal
import platform
import re
import shutil
import stat
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core import cbor
from agent.guard.setup import WISHES, read_wishes
from agent.system.simulated import SimulatedSystem
from provisioning.package import build, target, tree, words
from provisioning.profile import catalogue
from provisioning.profile.inherit import load
from tests.house import ROOT, files, none_of, within

MOMENT = 1_700_000_000
DAY = "2023-11-14"
HERE = target.TARGETS[{"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]]
LIBRARY = tree.LIBRARY
TAG = sys.implementation.cache_tag
PAIR = ("privet-guard", "privet-courier")


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
            tree.lay_out(ROOT, folder / "wheels", folder / "tree", "1.2.3", MOMENT, HERE)
            build.control(folder / "tree", "1.2.3", HERE)
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
    """The list of all other files; of them only the conffile lies in /etc."""
    assert [name for name in shipped(package) if not name.startswith(f"{LIBRARY}/")] == [
        "DEBIAN/conffiles",
        "DEBIAN/control",
        "DEBIAN/md5sums",
        "DEBIAN/postinst",
        "DEBIAN/postrm",
        "DEBIAN/preinst",
        "DEBIAN/prerm",
        "etc/privet/setup.toml",
        *sorted(f"lib/systemd/system/{unit}" for unit in tree.placed() if unit.endswith((".service", ".socket"))),
        "usr/bin/privet",
        "usr/lib/sysusers.d/privet.conf",
        "usr/share/bash-completion/completions/privet",
        "usr/share/doc/privet/changelog.gz",
        "usr/share/doc/privet/copyright",
        "usr/share/fish/vendor_completions.d/privet.fish",
        "usr/share/lintian/overrides/privet",
        "usr/share/man/man1/privet.1.gz",
        "usr/share/man/man5/setup.toml.5.gz",
        "usr/share/man/man8/privet-courier.8.gz",
        "usr/share/man/man8/privet-guard.8.gz",
        "usr/share/zsh/vendor-completions/_privet",
    ]


def test_modes_and_dates_are_fixed(package: Path):
    """Programs and scripts are 0755, all else 0644, folders 0755; every date is the commit's."""
    scripts = {"usr/bin/privet", *(f"DEBIAN/{name}" for name in tree.SCRIPTS)}
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
    found = list(compiled(package, level))
    assert len(found) > 150
    for name, content in found:
        assert content[:4] == importlib.util.MAGIC_NUMBER, name
        assert int.from_bytes(content[4:8], "little") == 1, name
        code = marshal.loads(content[16:])
        assert isinstance(code, types.CodeType) and code.co_filename == f"/{name}"


def words_of(code: types.CodeType) -> set[object]:
    """Return every constant in a module."""
    return set(code.co_consts).union(*(words_of(one) for one in code.co_consts if isinstance(one, types.CodeType)))


def test_only_the_commands_keep_their_docstrings_and_types(package: Path):
    """They show them; in every process that runs for good they would be memory for nothing."""
    codes = {name: marshal.loads(content[16:]) for name, content in compiled(package, "") if "/privet/agent/" in name}
    ours = {name: code for name, code in codes.items() if (package / name).read_text()}
    assert any("return" in words_of(code) for code in ours.values()) and len(ours) > 100
    none_of([name for name, code in ours.items() if ("__doc__" in code.co_names) != ("/agent/cli/" in name)])
    none_of([name for name, code in ours.items() if "return" in words_of(code) and "/agent/cli/" not in name])


def test_control_fields(package: Path):
    """The package says what it needs and nothing that would be downloaded; no field is left unfilled."""
    text = (package / "DEBIAN/control").read_text()
    found = fields(text)
    assert found["Package"] == "privet"
    assert found["Version"] == "1.2.3"
    assert found["Architecture"] == HERE.debian
    assert found["Depends"] == "python3 (>= 3.11), python3 (<< 3.14), nftables, systemd"
    assert "openssh-client" in found["Recommends"]
    assert 10_000 < int(found["Installed-Size"]) < 40_000
    assert "{" not in text


def test_checksums_cover_every_file(package: Path):
    """Every installed file can be compared by `dpkg --verify`; dpkg itself keeps the sum of the conffile."""
    listed = [line.split("  ", 1)[1] for line in (package / "DEBIAN/md5sums").read_text().splitlines()]
    assert listed == [name for name in shipped(package) if not name.startswith(("DEBIAN/", "etc/"))]
    assert (package / "DEBIAN/conffiles").read_text() == "/etc/privet/setup.toml\n"


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


@pytest.mark.parametrize("shell", words.COMPLETIONS)
def test_completion_is_for_this_command(package: Path, shell: str):
    """Each shell's completion asks the command itself, so it is never behind."""
    text = (package / words.COMPLETIONS[shell]).read_text()
    assert f"_PRIVET_COMPLETE={shell}_complete" in text
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_every_manual_is_dated_and_names_the_others(package: Path):
    """Nothing is left to fill in, and each page says the version and day of the package."""
    pages = sorted(name for name in shipped(package) if "/man/" in name)
    assert len(pages) == 4
    for name in pages:
        page = gzip.decompress((package / name).read_bytes()).decode()
        assert f'"{DAY}" "Privet 1.2.3"' in page.splitlines()[0], name
        assert "@" not in page, name


def test_the_shipped_policy_collects_nothing_and_is_dated_by_the_commit(package: Path):
    """The device without a fleet gets the profile alone, whose first second is that of the commit."""
    found = cbor.decode((package / LIBRARY / "policy.cbor").read_bytes())
    assert (found["fleet"], found["class"], found["issued"], found["sequence"]) == ("alone", "alone", MOMENT, 1)
    assert (found["purposes"], found["fields"], found["recipients"]) == ([], [], [])
    base = load(ROOT / "device_profiles/base.toml", catalogue.shipped()).profile
    assert [row["kind"] for row in found["credentials"]] == [one.kind for one in base.credential]


def test_the_conffile_says_what_is_so_without_it(package: Path):
    """What stands in setup.toml as shipped means the same as no file at all."""
    system = SimulatedSystem()
    without = read_wishes(system)
    system.edit(WISHES, (package / "etc/privet/setup.toml").read_bytes())
    shipped_one = read_wishes(system)
    assert (shipped_one.automatic, shipped_one.owner_account) == (without.automatic, without.owner_account)
    assert shipped_one.automatic


def test_a_part_for_another_machine_stops_the_build(package: Path):
    """The machine is read from each file's own header: for this one there is none, for another each is named."""
    other = target.TARGETS["arm64" if HERE.debian == "amd64" else "amd64"]
    assert target.foreign(package / LIBRARY, HERE) == []
    wrong = target.foreign(package / LIBRARY, other)
    assert "cryptography/hazmat/bindings/_rust.abi3.so" in wrong
    assert any(name.startswith("_cffi_backend") for name in wrong)


def test_every_wheel_has_its_licence_in_the_copyright_file(package: Path):
    """Each pinned package stands there with its version; one without a licence stops the build."""
    text = (package / "usr/share/doc/privet/copyright").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/device.txt").read_text(), re.MULTILINE)
    none_of([f"{name} {version}" for name, version in pinned if f"{name.replace('-', '_')} {version}: " not in text])


@pytest.mark.parametrize("name", tree.SCRIPTS)
def test_maintainer_scripts_are_sound_shell(package: Path, name: str):
    """Each parses, stops at the first error and runs in the plainest shell."""
    text = (package / "DEBIAN" / name).read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert "@" not in text
    assert name == "preinst" or f'UNITS="{" ".join(tree.units())}"' in text
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("unit", PAIR)
def test_units_start_what_is_shipped(package: Path, unit: str):
    """Each unit waits for what it needs and starts a file of the package, by the system's own Python, isolated."""
    text = (package / f"lib/systemd/system/{unit}.service").read_text()
    needs = {"privet-guard": "/etc/privet/device.cbor", "privet-courier": "|/var/lib/privet-courier/key.pem"}
    assert f"\nConditionPathExists={needs[unit]}\n" in text
    started = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert len(started) == 1
    argv = started[0].split()
    assert argv[:2] == ["/usr/bin/python3", "-IBS"]
    assert (package / argv[-1].lstrip("/")).is_file()


@pytest.mark.parametrize("unit", PAIR)
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
