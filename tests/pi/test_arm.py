"""The packages for ARM inside Debian of that architecture, one program at a time under the emulator; nothing boots."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioning.collector.open import open_key, open_record, read_message
from provisioning.fleet.identity import Fleet
from tests.pi import arm
from tests.pi.factory import LIBRARY, Tree, deb_for, writable

NAME = "d1"
MACHINES = {"arm64": 183, "armhf": 40}  # e_machine of an ELF file: EM_AARCH64, EM_ARM
PYTHON = ("/usr/bin/python3", "-IBS", "-X", "no_debug_ranges", "-c")
EVERY_MODULE = """
import importlib, json, pathlib
here = pathlib.Path("/usr/lib/privet")
names = sorted(".".join(p.relative_to(here).with_suffix("").parts) for p in (here / "agent").rglob("*.py"))
names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(json.dumps(names))
"""
SEAL = """
import json
from agent.core.cose import Stream, message
from agent.core.secret import Secret
from agent.system.vault import WorkerVault
vault = WorkerVault(Secret(b"k" * 32))
stream = Stream(fleet="home", device=sys.argv[1], purpose="climate", boot=1, epoch=1)
epoch = vault.new_epoch(stream, [("collector", bytes.fromhex(sys.argv[2]))])
(sealed,) = vault.seal_records(epoch.key, stream, [(2, b"what the sensor saw")])
kept = vault.seal(b"state", b"place")
print(json.dumps({
    "key": message(1, 1, epoch.body).hex(),
    "record": message(1, 2, sealed).hex(),
    "opened": vault.open(kept, b"place").decode(),
}))
vault.close()
"""


@pytest.fixture(scope="module", params=sorted(MACHINES))
def installed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    needs: None,
    say: Callable[[str], None],
) -> Iterator[tuple[str, Tree]]:
    """Give a Debian of each architecture with our package in it."""
    architecture = str(request.param)
    folder = tmp_path_factory.mktemp(architecture)
    with writable(arm.built(architecture), folder / "tree") as tree:
        said = tree.install(deb_for(architecture, folder / "deb"))
        say(f"{architecture}: {said.strip().splitlines()[-1]}")
        yield architecture, tree


def machines(folder: Path) -> dict[str, int]:
    """Return the machine that every ELF file beneath a folder was made for."""
    found = {}
    for path in sorted(folder.rglob("*")):
        start = path.read_bytes()[:20] if path.is_file() and not path.is_symlink() else b""
        if start.startswith(b"\x7fELF"):
            found[path.relative_to(folder).as_posix()] = int(struct.unpack_from("<H", start, 18)[0])
    return found


def test_every_library_is_of_the_architecture(installed: tuple[str, Tree], say: Callable[[str], None]):
    """No library of the machine that built the package slipped in; of this machine they would be something else."""
    architecture, tree = installed
    found = machines(tree.root / "usr/lib/privet")
    say(f"{architecture}: {len(found)} libraries: {', '.join(found)}")
    assert found
    assert set(found.values()) == {MACHINES[architecture]}
    assert not set(machines(Path("/usr/lib/python3.11/lib-dynload")).values()) & set(MACHINES.values())


def test_the_command_answers(installed: tuple[str, Tree], say: Callable[[str], None]):
    """`privet --version` and `privet --help` run on this architecture."""
    architecture, tree = installed
    version = tree.run("privet", "--version").decode().strip()
    say(f"{architecture}: {version}")
    assert version.startswith("privet, version ")
    assert "loosen" in tree.run("privet", "--help").decode()


def test_every_module_is_imported(installed: tuple[str, Tree], say: Callable[[str], None]):
    """Each module of the agent that the package brings finds all it needs on a minimal Debian."""
    architecture, tree = installed
    names = json.loads(tree.run(*PYTHON, LIBRARY + EVERY_MODULE))
    say(f"{architecture}: {len(names)} modules of the agent imported")
    assert {"agent.guard.run", "agent.courier.process", "agent.system.worker", "agent.cli.main"} <= set(names)


def test_what_is_sealed_there_opens_here(installed: tuple[str, Tree], tmp_path: Path, say: Callable[[str], None]):
    """HPKE and record sealing by the vault's child on ARM; the collector's code on this machine opens both."""
    architecture, tree = installed
    fleet = Fleet.create(tmp_path / "fleet", "home")
    public = fleet.add_recipient("collector")
    made = json.loads(tree.run(*PYTHON, LIBRARY + SEAL, NAME, public.hex()))
    topic = f"privet/1/home/{NAME}/up/climate"
    first, second = (read_message("home", topic, bytes.fromhex(made[name])) for name in ("key", "record"))
    assert first.wrapped is not None
    keys = open_key(first.place, first.epoch, "collector", first.wrapped["collector"], fleet.recipient_key("collector"))
    assert open_record("home", second, keys) == b"what the sensor saw"
    assert made["opened"] == "state"
    say(f"{architecture}: sealed there to ML-KEM-768 + X25519, opened here")
