"""Files of modprobe by the hundred: a module that the real modprobe would load, our look at the same files names.

Nothing is loaded: modprobe says what it would do. Each module is a case of its own. Patterns are left out: of a module
that this machine's kernel lacks modprobe takes commands by plain names alone.
"""

import subprocess
from pathlib import Path
from typing import cast

from agent.providers.linux import kernel_module
from agent.system.door import System
from agent.system.simulated import SimulatedSystem
from tests.device.differing import Draw

MODULES = ("sctp", "tipc", "dccp", "rds", "ax25", "can_raw", "nf_x")
NAMES = (
    "00-privet-protocols.conf",
    "a.conf",
    "z.conf",
    ".hidden.conf",
    "a.alias",
    "z.conf~",
    "a.txt",
    "A.conf",
    "10.conf",
)
FORMS = (
    "install {name} /bin/false",
    "install {name} /bin/false",
    "install {dashed} /bin/true",
    "install {name} /usr/bin/false ",
    "\tinstall\t{name}\t/bin/false",
    "install {name} /bin/false; /sbin/modprobe -i {name}",
    "install {name} /sbin/modprobe -i {name}",
    "install {name} /sbin/modprobe --ignore-install {name}",
    "install {name} /bin/false # a note",
    "install {name} /bin/false \\\n || true",
    "install {name} \\\n/bin/false",
    "install \\\n{name} /bin/false",
    "install {name}\\\n /bin/false",
    "# install \\\ninstall {name} /bin/false",
    "# a note \\\ninstall {name} /sbin/modprobe -i {name}",
    "#install {name} /bin/false",
    ";install {name} /bin/false",
    "Install {name} /bin/false",
    "install {name} false",
    "install {name} :",
    "install {name}",
    "install {name}\f/bin/false",
    "install {name} /bin/false\r",
    "install\f{name} /bin/false",
    "x\finstall {name} /bin/false",
    "x\u2028install {name} /bin/false",
    "install {capital} /bin/false",
    "blacklist {name}",
    "options {name} x=1",
    "remove {name} /bin/true",
    "alias x{name} {name}",
    "\ufeffinstall {name} /bin/false",
    "install {name} /bin/false\\",
    "install {name} /bin/false\\\n\\\n",
    "install\u00a0{name}\u00a0/bin/false",
)
ROUNDS = 20


def files(draw: Draw) -> dict[str, str]:
    """Draw the files of one device."""
    made: dict[str, str] = {}
    for _ in range(1 + draw.below(4)):
        lines = []
        for _ in range(draw.below(7)):
            name = draw.one(MODULES)
            words = {"name": name, "dashed": name.replace("_", "-"), "capital": name.upper()}
            lines.append(draw.one(FORMS).format(**words))
        made.setdefault(draw.one(NAMES), "\n".join(lines) + draw.one(("\n", "")))
    return made


def loads(folder: Path, name: str) -> bool:
    """Say whether the real modprobe would do anything but nothing for a module."""
    argv = ["modprobe", "--dry-run", "--verbose", "--config", str(folder), name]
    done = subprocess.run(argv, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace").split("\n")[0].strip().removesuffix(" x=1").strip()
    return said not in {f"install {path}" for path in kernel_module.NOTHING}


def naive(made: dict[str, str], name: str) -> bool:
    """Say what one would say who looks for the line in any file."""
    return not any(f"install {name} /bin/false" in text for text in made.values())


def test_what_modprobe_would_load_is_named(tmp_path: Path) -> None:
    """Each module passes for shut exactly where modprobe does nothing for it."""
    draw, shut_at_all, fooled = Draw("modprobe"), 0, 0
    for turn in range(ROUNDS):
        made, device = files(draw), SimulatedSystem()
        folder = tmp_path / str(turn)
        folder.mkdir()
        for name, text in made.items():
            (folder / name).write_bytes(text.encode())
            device.edit(f"/etc/modprobe.d/{name}", text.encode())
        said = kernel_module.commands(cast(System, device))
        for module in MODULES:
            real = loads(folder, module)
            assert real is not kernel_module.shut(said, module), f"{module}: modprobe loads it: {real}\n{made}"
            shut_at_all += not real
            fooled += naive(made, module) is not real
    assert shut_at_all > ROUNDS // 2
    assert fooled, "the naive reader was never wrong"
