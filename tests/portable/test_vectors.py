"""The shared vectors say the same on CPython and on a real MicroPython with a Pico-sized heap."""

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FILES = sorted((HERE / "vectors").glob("*.json"))
CORE = sorted((ROOT / "agent" / "core").glob("*.py"))
HEAP = "190k"


def tool(name: str) -> str:
    """Return a program of the test environment; a machine it is not made for says so by name, never in silence."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        if platform.machine() == "x86_64":
            pytest.fail(f"{name} is missing: make test installs it from requirements/test.txt")
        pytest.skip(f"{name} has no wheel for {platform.machine()}: the MicroPython tier did not run")
    return found


@pytest.fixture(scope="session")
def flashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules as a firmware holds them, compiled by its own compiler: the heap is for what they do."""
    folder: Path = tmp_path_factory.mktemp("flashed")
    for path in (*CORE, *(p for p in HERE.glob("*.py") if p.stem not in {"runner", "test_vectors"})):
        out = folder / path.relative_to(ROOT).with_suffix(".mpy")
        out.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([tool("mpy-cross"), "-o", str(out), str(path)], check=True)
    return folder


def ran(argv: list[str], path: Path, modules: Path = ROOT) -> list[str]:
    """Run the runner over one file and return its lines."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": str(modules)}
    done = subprocess.run([*argv, str(HERE / "runner.py"), str(path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-800:]
    return done.stdout.splitlines()


def wanted(path: Path) -> list[object]:
    """Return what a vector file says must come out."""
    return [[case["name"], case["want"]] for case in json.loads(path.read_text()) if "do" in case]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_vectors_on_cpython(path: Path) -> None:
    """Every case comes out as written."""
    assert [json.loads(line) for line in ran([sys.executable], path)] == wanted(path)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_vectors_on_micropython(path: Path, flashed: Path) -> None:
    """The same, on MicroPython with 190 KB of heap."""
    lines = ran([tool("micropython"), "-X", f"heapsize={HEAP}"], path, flashed)
    assert [json.loads(line) for line in lines] == wanted(path)


@pytest.mark.parametrize("half", [0, 1])
def test_every_core_module_has_vectors(flashed: Path, half: int) -> None:
    """No module of the core escapes MicroPython: each is imported there, in two halves: none needs them all."""
    names = sorted(p.stem for p in CORE if p.stem != "__init__")
    listing = "import sys\n" + "".join(f"import agent.core.{name}\n" for name in names[half::2])
    environment = {**os.environ, "MICROPYPATH": str(flashed)}
    argv = [tool("micropython"), "-X", f"heapsize={HEAP}", "-c", listing + "print('all')"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "all", done.stdout + done.stderr


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.stem)
def test_core_compiles_for_the_firmware(path: Path, tmp_path: Path) -> None:
    """The firmware's own compiler takes every module."""
    argv = [tool("mpy-cross"), "-o", str(tmp_path / "out.mpy"), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ALLOWED = {"binascii", "hashlib", "hmac", "typing", "collections.abc"}
BANNED = {"removeprefix", "removesuffix", "casefold", "zfill", "isidentifier", "fullmatch", "hexdigest", "bit_length"}


def problems(tree: ast.Module) -> list[str]:
    """Name what compiles on MicroPython and then means something else."""
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.If)
            and "TYPE_CHECKING" in ast.unparse(node.test)
            and "not" not in ast.unparse(node.test)
        ):
            guarded.update(sub for part in node.body for sub in ast.walk(part))
    said = []
    found: list[Any] = [node for node in ast.walk(tree) if node not in guarded]
    for node in found:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        said += [f"{node.lineno}: imports {n}" for n in names if n not in ALLOWED]
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            said.append(f"{node.lineno}: a float is single precision there")
        if isinstance(node, ast.Attribute) and node.attr in BANNED:
            said.append(f"{node.lineno}: .{node.attr} is missing there")
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            keywords = {k.arg for k in node.keywords}
            if called in {"sorted", "sort"} and keywords & {"key", "reverse"}:
                said.append(f"{node.lineno}: sort is not stable there")
            if called == "isinstance" and "int" in ast.unparse(node.args[1]).split():
                said.append(f"{node.lineno}: True is an int on CPython only")
    return said


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.stem)
def test_core_keeps_to_the_common_language(path: Path) -> None:
    """Nothing that means one thing here and another there."""
    assert problems(ast.parse(path.read_text())) == []


def test_the_language_check_sees_what_it_should() -> None:
    """A module with every banned thing is caught, so an empty list above means something."""
    bad = "import re\nx = 1.5\ny = sorted(z, key=len)\n'a'.zfill(3)\nisinstance(x, int)\n"
    assert len(problems(ast.parse(bad))) == 5
