"""The rows of the house: what import-linter cannot say, and proof that its contracts catch a breach.

The contracts stand in pyproject.toml and are checked by `make check`. Here each of them is shown a planted breach in
a copy of the tree; beside that stand the core's own imports, and what the guard's process loads.
"""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT, none_of, python_files, within

LINTER = Path(sys.executable).parent / "lint-imports"
# Modules of CPython that MicroPython has too, with the same meaning for what the core asks of them.
EVERYWHERE = {"binascii", "hashlib", "struct"}
RESIDENT = (
    *("agent/core/", "agent/system/", "agent/registry.py"),
    *("agent/providers/linux/", "agent/credentials/", "agent/channels/", "agent/ways/", "agent/guard/"),
)
# What the guard's resident process must not load when it starts: each costs megabytes for as long as it runs.
HEAVY = ("cbor2", "click", "cryptography", "paho", "pydantic", "rich")
ROOMS = (
    "agent/__main__.py",
    "agent/cli/main.py",
    "agent/courier/link.py",
    "agent/credentials/accounts.py",
    "agent/hand/words.py",
    "agent/page/page.py",
    "agent/providers/linux/nft/__init__.py",
    "agent/registry.py",
    "agent/ways/console.py",
    "provisioning/opener/outlets/node_red.py",
    "provisioning/simulate/run.py",
)
BREACHES = {
    "a provider that calls the guard": ("agent/providers/linux/sysctl.py", "import agent.guard\n"),
    "the system that asks a provider": ("agent/system/door.py", "import agent.providers.linux\n"),
    "a guard that speaks to the network": ("agent/guard/__init__.py", "import agent.courier\n"),
    "a guard that is its own hand": ("agent/guard/__init__.py", "import agent.hand\n"),
    "a channel that replaces credentials": ("agent/channels/__init__.py", "import agent.credentials\n"),
    "a part that borrows from its sibling": ("agent/providers/linux/sysctl.py", "import agent.providers.linux.nft\n"),
    "an agent that needs the host": ("agent/guard/__init__.py", "import provisioning\n"),
    "an agent that needs pydantic": ("agent/core/order.py", "import pydantic\n"),
    "a core that asks the system": ("agent/core/order.py", "import agent.system.door\n"),
    "a host that opens the device's door": ("provisioning/fleet/__init__.py", "import agent.system.door\n"),
}


def sketched(tree: Path, breach: tuple[str, str] = ("", "")) -> Path:
    """Sketch the house in an empty folder: every room of the contracts with nothing in it, and one breach."""
    shutil.copy(ROOT / "pyproject.toml", tree)
    for path in (*(path for path, _ in BREACHES.values()), *ROOMS):
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        for folder in file.relative_to(tree).parents[:-1]:
            (tree / folder / "__init__.py").touch()
        file.write_text(breach[1] if path == breach[0] else "")
    return tree


def lint(tree: Path) -> tuple[int, str]:
    """Run the contracts over a tree; return the exit code and what was said, on one line."""
    answer = subprocess.run((LINTER, "--no-cache"), cwd=tree, capture_output=True, text=True, check=False)
    return answer.returncode, " ".join(answer.stdout.split())


def test_a_house_without_a_breach_passes(tmp_path: Path):
    """The contracts let the plain house stand: what the next test sees comes from the breach alone."""
    code, told = lint(sketched(tmp_path))
    assert code == 0, told


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
def test_a_breach_of_the_rows_is_caught(tmp_path: Path, breach: tuple[str, str]):
    """Every kind of forbidden import is caught, and the contracts name who imports what."""
    code, told = lint(sketched(tmp_path, breach))
    importer = breach[0].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert code == 1
    assert f"{importer} -> {breach[1].split()[1]}" in told


def test_the_core_imports_the_core_alone():
    """A core module imports its siblings, and otherwise only what MicroPython has as well."""
    wrong = []
    for path in python_files():
        if not within(path).startswith("agent/core/"):
            continue
        for node in at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                continue
            wrong += [f"{within(path)}:{node.lineno}: {name}" for name in names if name not in EVERYWHERE]
    none_of(wrong)


def at_run_time(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """Return the imports that must succeed: not those under `if TYPE_CHECKING:`, nor a `try:` that can do without."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                found += [other] if isinstance(other, ast.Import | ast.ImportFrom) else at_run_time(other)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not (isinstance(node, ast.Try) and any("ImportError" in ast.dump(other) for other in node.handlers)):
            found += at_run_time(node)
    return found


def resident() -> list[str]:
    """Name the modules that may live in the guard's process."""
    names = [within(path) for path in python_files() if within(path).startswith(RESIDENT)]
    names = [
        name
        for name in names
        if "/simulated/" not in name and not name.endswith(("sealing.py", "certifying.py", "__main__.py"))
    ]
    return [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]


def loaded(modules: list[str]) -> set[str]:
    """Import modules in a fresh interpreter and return the top names of all it then holds."""
    code = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    command = (sys.executable, "-c", code, *modules)
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def test_the_resident_guard_loads_nothing_heavy():
    """Importing all that may live in the guard's process brings in neither cryptography nor any other heavy library."""
    modules = resident()
    assert "agent.core.assess" in modules
    heavy = loaded(modules) & set(HEAVY)
    none_of([f"{name} is loaded; import it on first use, in a child process" for name in heavy])
    assert loaded(["cryptography"]) & set(HEAVY) == {"cryptography"}


def test_every_folder_of_modules_is_a_package():
    """The contracts see packages alone: a folder without __init__.py would be outside every rule."""
    paths = [path for path in python_files() if within(path).startswith(("agent/", "provisioning/"))]
    none_of(sorted({within(path.parent) for path in paths if not (path.parent / "__init__.py").exists()}))
