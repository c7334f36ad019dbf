"""The tables of the README files, written from what they tell about: `python -m tests.docs_tables [--check]`.

A table stands between `<!-- table:NAME -->` and `<!-- end -->` in any README.md; NAME is a key of TABLES. Without
`--check` the files are rewritten; with it nothing is written, and exit code 1 says which file is behind. Both ways
end with the promises: each numbered line of SECURITY.md must name a test that exists.
"""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agent.core import errors
from tests.house import ROOT, folders
from tests.truth.table import NAMES, WHO, tally, verdict

MARKED = re.compile(r"(<!-- table:([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
PROMISE = re.compile(r"^(?:\*\*)?(\d+)\. |^\| *(\d+) *\|")
TEST = re.compile(r"tests/[\w./-]+\.py(?:::\w+)?")


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def default(setting: dict[str, Any]) -> str:
    """Return a setting's first option in words."""
    first = setting["option"][0]["value"]
    return ", ".join(first) or "none" if isinstance(first, list) else str(first)


def settings_table() -> str:
    """List every setting, from agent/settings/*.toml."""
    rows = []
    for path in sorted((ROOT / "agent/settings").glob("*.toml")):
        setting = tomllib.loads(path.read_text(encoding="utf-8"))
        serves = ", ".join(setting["satisfies"])
        told = (setting["title"], default(setting), setting["order"], setting["provider"], serves)
        rows.append((f"`{setting['id']}`", *told))
    return table(("Setting", "What it holds", "Private default", "Order", "Provider", "Serves"), rows)


def errors_table() -> str:
    """List every error with its exit code, from agent/core/errors.py, the general before the special."""
    rows: list[tuple[str, ...]] = []

    def visit(kind: type[errors.PrivetError], depth: int) -> None:
        told = (kind.__doc__ or "").strip().splitlines()[0]
        rows.append((str(kind.exit_code), "&nbsp;" * 4 * depth + kind.__name__, told))
        for below in kind.__subclasses__():
            if below.__module__ == errors.__name__:
                visit(below, depth + 1)

    visit(errors.PrivetError, 0)
    return table(("Exit code", "Error", "What happened"), rows)


def targets_table() -> str:
    """List what `make` can do, from the Makefile's own one-line helps."""
    found = re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return table(("Command", "What it does"), ((f"`make {name}`", told) for name, told in found))


def truth() -> dict[str, Any]:
    """Return what the last complete run of the truth table found."""
    found: dict[str, Any] = json.loads((ROOT / "tests/truth/results.json").read_text(encoding="utf-8"))
    return found


def truth_table() -> str:
    """List every state of the truth table, from tests/truth/results.json."""
    found, rows = truth(), []
    for row in found["rows"]:
        asked = {"ours": row["settings"], "lynis": row["lynis_asked"], "openscap": [row["openscap_asked"]]}
        cells = []
        for who in WHO:
            word = verdict(row, who)
            loud = f"**{word}**" if word.startswith("false") else word
            cells.append(loud if word == "no test" else f"{loud} ({', '.join(f'`{one}`' for one in asked[who])})")
        rows.append((row["area"], row["name"], row["tried"], "open" if row["open"] else "shut", *cells))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found["versions"].items()))
    heads = ("Area", "State", "Settled by", "Really", "Privet", "Lynis", "OpenSCAP")
    return f"`make test-truth`, {found['date']}, Debian 12; {versions}.\n\n" + table(heads, rows)


def truth_tally() -> str:
    """Count the verdicts of each tool over all states of the truth table."""
    rows = truth()["rows"]
    kinds = ("right", "false pass", "false finding", "unknown", "no test")
    counts = {who: tally(rows, who) for who in WHO}
    lines = [(NAMES[who], *(str(counts[who][kind]) for kind in kinds)) for who in WHO]
    return table((f"Of {len(rows)} states", *kinds), lines)


def peers_table() -> str:
    """List every setting with its default and how right the scanners and we were about its states."""
    rows, all_rows = [], truth()["rows"]
    for path in sorted((ROOT / "agent/settings").glob("*.toml")):
        setting = tomllib.loads(path.read_text(encoding="utf-8"))
        states = [row for row in all_rows if setting["id"] in row["settings"]]
        cells = [score(states, who) for who in ("lynis", "openscap", "ours")]
        rows.append((f"`{setting['id']}`", default(setting), str(len(states)), *cells))
    return table(("Setting", "Private default", "States tried", "Lynis", "OpenSCAP", "Privet"), rows)


def score(states: list[dict[str, Any]], who: str) -> str:
    """Say how many states a tool was right about, and how it was wrong."""
    found = tally(states, who)
    if not states:
        return "-"
    if found["no test"] == len(states):
        return "no test"
    wrong = [f"{found[kind]} {kind}" for kind in ("false pass", "false finding", "unknown", "no test") if found[kind]]
    return ", ".join([f"{found['right']} right", *wrong])


TABLES: dict[str, Callable[[], str]] = {
    "errors": errors_table,
    "settings": settings_table,
    "targets": targets_table,
    "truth": truth_table,
    "truth-peers": peers_table,
    "truth-tally": truth_tally,
}


def renewed(text: str) -> str:
    """Return a README's text with every table in it written anew; KeyError names an unknown table."""
    return MARKED.sub(lambda found: found[1] + "\n" + TABLES[found[2]]() + "\n" + found[4], text)


def tests_in(path: Path) -> set[str]:
    """Name the test functions of a file, in classes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def unkept(text: str, root: Path) -> list[str]:
    """Say which promises of SECURITY.md name no test, and which tests they name are not there."""
    complaints = []
    for reference in sorted(set(TEST.findall(text))):
        name, _, function = reference.partition("::")
        path = root / name
        if not path.is_file() or (function and function not in tests_in(path)):
            complaints.append(f"SECURITY.md names {reference}, which does not exist")
    number, named = "", True
    for line in [*text.splitlines(), "0. "]:
        found = PROMISE.match(line)
        if found:
            if not named:
                complaints.append(f"SECURITY.md: promise {number} names no test")
            number, named = found[1] or found[2], False
        named = named or bool(TEST.search(line))
    return complaints


def main(arguments: list[str]) -> int:
    """Renew or check all tables; return the exit code."""
    check = arguments == ["--check"]
    complaints = []
    for folder in folders():
        path = folder / "README.md"
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        try:
            new = renewed(text)
        except KeyError as unknown:
            complaints.append(f"{path.relative_to(ROOT)}: no table is called {unknown}; known: {', '.join(TABLES)}")
            continue
        if new != text and check:
            complaints.append(f"{path.relative_to(ROOT)}: a table is behind; run `make docs`")
        elif new != text:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: written")
    security = ROOT / "SECURITY.md"
    if security.is_file():
        complaints += unkept(security.read_text(encoding="utf-8"), ROOT)
    print("".join(f"{line}\n" for line in complaints), end="")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
