"""Our file for modules, obeyed by the real modprobe; no module is loaded here."""

import subprocess
from pathlib import Path
from typing import cast

import pytest

from agent.core.plan import Write
from agent.core.record import Params
from agent.providers.linux import kernel_module
from agent.system.door import System
from agent.system.simulated import SimulatedSystem
from tests.test_mutants import MUTANTS

PARAMS: Params = {"name": "test", "modules": ("sctp", "tipc")}


def loads(folder: Path, name: str) -> str:
    """Return what modprobe would do for a module, by these files alone."""
    argv = ["modprobe", "--dry-run", "--verbose", "--config", str(folder), name]
    done = subprocess.run(argv, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode().strip()


def test_modprobe_obeys_our_file(tmp_path: Path) -> None:
    """Loading a shut module runs what does nothing, also by name; a blacklist does not; ours comes before another's."""
    (tmp_path / "zz-theirs.conf").write_text("install sctp /sbin/modprobe -i sctp\nblacklist tipc\n", encoding="ascii")
    assert "/bin/false" not in loads(tmp_path, "sctp") + loads(tmp_path, "tipc")
    for step in kernel_module.steps(PARAMS, ()):
        assert isinstance(step, Write)
        (tmp_path / step.path.rpartition("/")[2]).write_bytes(step.content)
    assert loads(tmp_path, "sctp") == "install /bin/false"
    assert loads(tmp_path, "tipc") == "install /bin/false"


def written(mutant: dict[str, object]) -> dict[str, str]:
    """Return the files that a mutant leaves behind, by name."""
    acts = cast(list[dict[str, str]], mutant["acts"])
    gone = {act["discard"] for act in acts if "discard" in act}
    return {act["edit"].rpartition("/")[2]: act["text"] for act in acts if "edit" in act and act["edit"] not in gone}


FILES = [one for one in MUTANTS["kernel_module"] if one["setting"] == "kernel.modules" and written(one)]


@pytest.mark.parametrize("mutant", FILES, ids=[one["name"] for one in FILES])
def test_what_we_say_of_a_mutant_modprobe_says_too(mutant: dict[str, object], tmp_path: Path) -> None:
    """Our reading of each mutant's files is what the real modprobe would do about the two modules they name."""
    params: Params = {"name": "protocols", "modules": ("dccp", "sctp")}
    device = SimulatedSystem()
    files = {step.path.rpartition("/")[2]: step.content.decode() for step in kernel_module.steps(params, ())
             if isinstance(step, Write)}  # fmt: skip
    for name, text in (files | written(mutant)).items():
        file = name.replace("{own}", "00-privet-protocols.conf")
        (tmp_path / file).write_text(text, encoding="ascii")
        device.edit(f"/etc/modprobe.d/{file}", text.encode())
    said = kernel_module.commands(cast(System, device))
    for module in ("dccp", "sctp"):
        theirs = loads(tmp_path, module).split("\n")[0].strip() in {"install /bin/false", "install /bin/true"}
        ours = kernel_module.shut(said, module)
        # Of a module that this machine's kernel lacks modprobe takes the command by its plain name, and no pattern.
        assert theirs == ours or (theirs and any(set(pattern) & set("*?") for pattern, _ in said)), module
