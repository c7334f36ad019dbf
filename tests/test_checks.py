"""The budgets of the house, held over every file; each rule is first shown to catch what it forbids.

Here stand the gates that we wrote ourselves. Those with a program of their own (ruff, mypy, import-linter, codespell,
the tables of the README files) are run by `make check` and `make test` before pytest, and not again here.
"""

import re
from collections.abc import Callable

import pytest

from tests import budgets, docs_tables
from tests.house import ROOT, files, none_of, python_files, within

BAD_CODE = {
    budgets.too_long: ("agent/core/x.py", "x = 1\n" * (budgets.CORE_LINES + 1)),
    budgets.bad_names: ("agent/x.py", "def key_" + "manager(): ...\n"),
    budgets.patched: ("tests/test_x.py", "def test_a(monkey" + "patch): ...\n"),
    budgets.unsafe: ("agent/x.py", "run('ls', sh" + "ell=True)\n"),
    budgets.undocumented_tests: ("tests/test_x.py", "def test_a(): ...\n"),
}
MORE_BAD_CODE = (
    (budgets.too_long, "def f():\n" + "    x = 1\n" * budgets.FUNCTION_LINES),
    (budgets.bad_names, "class Alert" + "Box: ...\n"),
    (budgets.bad_names, "self.audit_log = 1\n"),
    (budgets.patched, "from unittest import mock\n"),
    (budgets.patched, "import unittest.mock\n"),
    (budgets.unsafe, "context.verify_mode = ssl.CERT_NONE\n"),
    (budgets.unsafe, "context.check_hostname = False\n"),
    (budgets.unsafe, "get(url, verify=False)\n"),
    (budgets.unsafe, "import random\n"),
    (budgets.unsafe, "from random import choice\n"),
    (budgets.unsafe, "raise NotImplementedError\n"),
)
Rule = Callable[[str, str], list[str]]


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [(rule, *bad) for rule, bad in BAD_CODE.items()] + [(rule, "agent/x.py", text) for rule, text in MORE_BAD_CODE],
)
def test_each_rule_catches_what_it_forbids(rule: Rule, path: str, text: str):
    """A gate that cannot fail proves nothing: every rule complains about a planted breach."""
    assert rule(path, text)


@pytest.mark.parametrize("rule", BAD_CODE, ids=lambda rule: rule.__name__)
def test_code_keeps_the_budgets(rule: Rule):
    """No module of the checkout breaks the rule."""
    none_of([line for path in python_files() for line in rule(within(path), path.read_text(encoding="utf-8"))])


def test_file_names_avoid_the_banned_words():
    """A file or folder is named for what it is."""
    assert budgets.banned("data_store.py") == ["data"]
    none_of([within(path) for path in files() if any(budgets.banned(part) for part in path.relative_to(ROOT).parts)])


def test_nothing_of_one_machine_is_in_the_tree():
    """No file names a path, a package index or a task of the machine it was written on, or leaves work for later."""
    assert budgets.foreign("x", "see /" + "work/main")
    assert budgets.foreign("x", "# TO" + "DO: later")
    texts = ((within(path), path.read_bytes().decode("utf-8", "replace")) for path in files())
    none_of([line for name, text in texts for line in budgets.foreign(name, text)])


def test_requirements_are_pinned_by_hash_and_name_no_index():
    """Each export pins versions and hashes, and holds no address; each plain list has its export."""
    assert budgets.unpinned("x", "click==8.5.1\n")
    assert budgets.unpinned("x", "--index-url https://example.org/simple\n")
    folder = ROOT / "requirements"
    none_of([line for path in folder.glob("*.txt") for line in budgets.unpinned(path.name, path.read_text())])
    assert {path.stem for path in folder.glob("*.in")} == {path.stem for path in folder.glob("*.txt")}


@pytest.mark.parametrize("name", ["device", "host", "test", "lock", "octoprint"])
def test_exports_hold_every_package_asked_for(name: str):
    """What a plain list asks for stands in its export: `make lock` was run after the last change."""
    asked = re.findall(r"^([a-z0-9][\w.-]*)", (ROOT / f"requirements/{name}.in").read_text(), re.MULTILINE)
    export = (ROOT / f"requirements/{name}.txt").read_text()
    none_of([f"{package} is not in {name}.txt" for package in asked if f"\n{package}==" not in "\n" + export])


def test_a_promise_without_a_test_is_found():
    """The check of SECURITY.md complains about a promise that names no test, and a test that is not there."""
    here = f"tests/{ROOT.joinpath('tests/test_checks.py').name}::test_a_promise_without_a_test_is_found"
    assert docs_tables.unkept(f"1. Kept: `{here}`.\n", ROOT) == []
    assert docs_tables.unkept("1. Only words.\n", ROOT) != []
    assert docs_tables.unkept(f"1. Kept: `{here}_not`.\n", ROOT) != []
    assert docs_tables.unkept("| 1 | Only words | |\n| 2 | Kept | tests/test_gone.py |\n", ROOT) != []


def test_tables_are_found_and_renewed():
    """A stale table between markers is replaced, the text around it is kept, and an unknown name is an error."""
    stale = "before\n<!-- table:errors -->\nold\n<!-- end -->\nafter\n"
    fresh = docs_tables.renewed(stale)
    assert fresh.startswith("before\n")
    assert fresh.endswith("after\n")
    assert "old" not in fresh
    assert "| 10 | " in fresh
    assert docs_tables.renewed(fresh) == fresh
    with pytest.raises(KeyError):
        docs_tables.renewed(stale.replace("errors", "nothing"))
