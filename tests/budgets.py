"""The budgets and bans that no linter knows, each a function from a file's text to its complaints."""

import ast
import functools
import itertools
import re
from collections.abc import Iterator

MODULE_LINES = 300
CORE_LINES = 200
FUNCTION_LINES = 40
NAMES = ("manager", "helper", "utils", "handler", "data", "info", "plugin", "exception", "alert", "audit_log")
SWITCHES = {"verify": False, "shell": True, "check_hostname": False}

# Written in pieces, so that this file does not find itself.
MACHINES = re.compile(
    "|".join(
        (
            "/" + "work/",
            "/" + r"root/(?:main|work|\.(?:cache|config|local))\b",
            r"\." + "pyenv",
            "/tmp/" + "privet/",
            "pypi" + r"\.org",
            "python" + r"hosted\.org",
            "deb" + r"\.debian\.org",
            "snapshot" + r"\.debian\.org",
            "registry" + r"\.npmjs",
            "proxy" + r"\.golang",
            r"\b" + "far" + r"m\b",
            r"\bissue" + r" #?\d",
        )
    )
)
UNDONE = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")


@functools.cache
def nodes(text: str) -> tuple[ast.AST, ...]:
    """Return every node of a module; many rules look at the same ones."""
    return tuple(ast.walk(ast.parse(text)))


def parts_of(name: str) -> set[str]:
    """Split an identifier or file name into its words: snake, kebab and camel case."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
    return {*words, *(f"{a}_{b}" for a, b in itertools.pairwise(words))}


@functools.cache
def banned(name: str) -> list[str]:
    """Return the banned words in a name; the plural is banned too."""
    return [word for word in NAMES if {word, word + "s"} & parts_of(name)]


def given_names(text: str) -> Iterator[tuple[int, str]]:
    """Yield each name that the code gives to something of its own, with its line."""
    for node in nodes(text):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def bad_names(path: str, text: str) -> list[str]:
    """Find banned words in the names a module gives."""
    return [
        f"{path}:{line}: {name!r} holds the banned word {word!r}"
        for line, name in given_names(text)
        for word in banned(name)
    ]


def too_long(path: str, text: str) -> list[str]:
    """Find modules and functions over their budget of lines."""
    lines = len(text.splitlines())
    limit = CORE_LINES if path.startswith("agent/core/") else MODULE_LINES
    complaints = [f"{path}: {lines} lines, at most {limit}"] if lines > limit else []
    for node in nodes(text):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                complaints.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}")
    return complaints


def patched(path: str, text: str) -> list[str]:
    """Find mock objects and patching: the simulated device is what tests use."""
    complaints = []
    for node in nodes(text):
        names: list[str] = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
        elif isinstance(node, ast.arg):
            names = [node.arg]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        found = {"mock", "monkeypatch", "MonkeyPatch", "mocker"} & {part for name in names for part in name.split(".")}
        if found:
            complaints.append(f"{path}:{getattr(node, 'lineno', 0)}: {min(found)}; run it on the simulated device")
    return complaints


def unsafe(path: str, text: str) -> list[str]:
    """Find switched-off verification, shells, guessable randomness and unfinished code."""
    complaints = []
    for node in nodes(text):
        found = ""
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            found = name if name in ("CERT_NONE", "CERT_OPTIONAL", "NotImplementedError") else ""
            # The one server that a device reaches before it has a certificate; its desk asks for one where it matters.
            found = "" if (path, name) == ("provisioning/fleet/serving.py", "CERT_OPTIONAL") else found
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            off = node.arg in SWITCHES and node.value.value is SWITCHES[node.arg]
            found = f"{node.arg}={node.value.value!r}" if off else ""
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found = "the random module; use secrets or the system's entropy" if "random" in names else ""
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            attributes = [target.attr for target in node.targets if isinstance(target, ast.Attribute)]
            off = any(name in SWITCHES and node.value.value is SWITCHES[name] for name in attributes)
            found = f"{attributes} = {node.value.value!r}" if off else ""
        if found:
            complaints.append(f"{path}:{getattr(node, 'lineno', 0)}: {found}")
    return complaints


def undocumented_tests(path: str, text: str) -> list[str]:
    """Find tests that do not say what they prove."""
    return [
        f"{path}:{node.lineno}: {node.name} has no docstring"
        for node in nodes(text)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]


def foreign(path: str, text: str) -> list[str]:
    """Find what belongs to one machine, and notes of unfinished work, in any kind of file."""
    return [
        f"{path}:{number}: {found[0]!r} does not belong in the product"
        for number, line in enumerate(text.splitlines(), 1)
        for found in (*MACHINES.finditer(line), *UNDONE.finditer(line))
    ]


def unpinned(path: str, text: str) -> list[str]:
    """Find addresses in a requirements export, and packages without a version and a hash."""
    complaints = [f"{path}: {line.strip()!r} holds an address" for line in text.splitlines() if "://" in line]
    for entry in text.replace("\\\n", " ").splitlines():
        if (
            entry.strip()
            and not entry.lstrip().startswith("#")
            and ("==" not in entry or "--hash=sha256:" not in entry)
        ):
            complaints.append(f"{path}: {entry.split()[0]} is not pinned by version and hash")
    return complaints
