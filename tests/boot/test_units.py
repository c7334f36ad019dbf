"""How exposed each unit is by the count of systemd itself, and what it says about their words."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.house import ROOT

# Of 10. First boot lives for moments, before the network, and has the powers that the guard asks hands for.
BUDGETS = {"courier": 1.3, "early": 2.1, "firstboot": 3.6, "guard": 2.0, "shut": 1.6}
# /tmp is in memory for them, which the count does not see.
HANDS = {"accounts": 2.4, "door": 1.8, "kernel": 2.4, "look": 1.5, "net": 1.7, "terminal": 1.2}


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


@pytest.mark.parametrize(("name", "budget"), sorted({**BUDGETS, **{f"hand-{n}": b for n, b in HANDS.items()}}.items()))
def test_exposure_keeps_its_budget(tmp_path: Path, name: str, budget: float):
    """`systemd-analyze security` finds no more than this; without the filter of system calls it finds more."""
    shipped = ROOT / "provisioning" / "package" / f"privet-{name}{'@' if name.startswith('hand-') else ''}.service"
    unit = tmp_path / f"privet-{name}.service"  # of a template, one of its units
    unit.write_text(shipped.read_text())
    done = exposure(unit, budget)
    print(done.stdout.decode().strip().splitlines()[-1])
    assert done.returncode == 0
    unit.write_text(re.sub(r"^SystemCallFilter=.*\n", "", unit.read_text(), flags=re.MULTILINE))
    assert exposure(unit, budget).returncode != 0
