"""How exposed each unit is by the count of systemd itself, and what it says about their words."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.house import ROOT

# Of 10; the guard's and the first boot's are what root's work on accounts, firewall, sysctls and daemons leaves.
BUDGETS = {"courier": 1.3, "early": 2.1, "firstboot": 3.8, "guard": 3.7, "shut": 1.4}


def exposure(unit: Path, budget: float) -> subprocess.CompletedProcess[bytes]:
    """Let systemd count; the exit code says whether the budget is kept."""
    argv = [
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={round(budget * 10)}",
        str(unit),
    ]
    return subprocess.run(argv, capture_output=True, check=False)


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_exposure_keeps_its_budget(tmp_path: Path, name: str):
    """`systemd-analyze security` finds no more than this; without the filter of system calls it finds more."""
    unit = ROOT / "provisioning" / "package" / f"privet-{name}.service"
    done = exposure(unit, BUDGETS[name])
    print(done.stdout.decode().strip().splitlines()[-1])
    assert done.returncode == 0
    twin = tmp_path / unit.name
    twin.write_text(re.sub(r"^SystemCallFilter=.*\n", "", unit.read_text(), flags=re.MULTILINE))
    assert exposure(twin, BUDGETS[name]).returncode != 0
