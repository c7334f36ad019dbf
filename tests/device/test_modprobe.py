"""Our file for modules, obeyed by the real modprobe; no module is loaded here."""

import subprocess
from pathlib import Path

from agent.core.plan import Write
from agent.core.record import Params
from agent.providers.linux import kernel_module

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
