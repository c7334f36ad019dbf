"""Every folder of the house has a README of one screen, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests import typed
from tests.house import ROOT, files, folders, none_of, within

SCREEN = 60
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
MODULE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.py)(?:::\w+)?`")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def rooms() -> list[Path]:
    """Return the folders that owe a README: all but the top, which has its own rules, and hidden ones."""
    return [folder for folder in folders() if folder != ROOT and not within(folder).startswith(".")]


def test_every_folder_has_a_readme_of_one_screen():
    """A person who opens a folder learns on one screen what lives there."""
    wrong = []
    for folder in rooms():
        path = folder / "README.md"
        if not path.is_file():
            wrong.append(f"{within(folder)}: no README.md")
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > SCREEN + tables_in(lines):
            wrong.append(f"{within(path)}: {len(lines)} lines, at most {SCREEN} beside its tables")
        if not lines or not lines[0].startswith("# "):
            wrong.append(f"{within(path)}: begins without a title")
    none_of(wrong)


def tables_in(lines: list[str]) -> int:
    """Count the lines that `make docs` wrote."""
    count, inside = 0, False
    for line in lines:
        inside = (inside or line.startswith("<!-- table:")) and line != "<!-- end -->"
        count += inside
    return count


def test_links_lead_somewhere():
    """A relative link in any Markdown file names a file or folder of this checkout."""
    wrong = []
    for path in files():
        if path.suffix != ".md":
            continue
        for target in LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8"))):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                wrong.append(f"{within(path)}: {target}")
    none_of(wrong)


def test_a_module_that_a_text_names_is_there():
    """Every Python file that a README names, by its path or by its end, is in this checkout."""
    known = [f"/{within(path)}" for path in files() if path.suffix == ".py"]
    wrong = []
    for path in files():
        if path.suffix != ".md":
            continue
        for name in MODULE.findall(path.read_text(encoding="utf-8")):
            if not any(one.endswith("/" + re.sub(r"^(\.\.?/)+", "", name)) for one in known):
                wrong.append(f"{within(path)}: {name}")
    none_of(wrong)


def test_commands_in_our_texts_are_known():
    """Whoever types a command from a Markdown file is not told that it, its option or its word does not exist."""
    found = [(path, *call) for path in files() if path.suffix == ".md" for call in typed.written(path)]
    assert len(found) > 100
    wrong = [(path, typed.fault(words, whole=whole)) for path, words, whole in found]
    none_of([f"{within(path)}: {said}" for path, said in wrong if said])


@pytest.mark.parametrize("program", typed.PROGRAMS)
def test_examples_in_help_can_be_pasted(program):
    """Every verb and every group of verbs shows at least one example; it is whole, and its program knows it."""
    wrong = []
    for words, command in typed.commands(typed.PROGRAMS[program]):
        shown = list(typed.calls((command.epilog or "").replace("\b", "")))
        wrong += [] if shown else [f"{program} {' '.join(words)}: no example"]
        wrong += [said for said in (typed.fault(call, whole=True) for call in shown) if said]
    none_of(wrong)


def test_what_sentences_tell_people_to_type_is_known():
    """A sentence such as "to agree: privet consent" names a verb that there is."""
    source = [path for part in ("agent", "provisioning") for path in (ROOT / part).rglob("*.py")]
    found = [(path, words) for path in source for words in typed.hinted(path)]
    assert len(found) > 50
    none_of([f"{within(path)}: {said}" for path, words in found if (said := typed.fault(words, whole=False))])


@pytest.mark.parametrize(
    "call",
    [
        "privet identity", "privet status --al", "privet consent agree climate", "privet loosen ssh.password yes",
        "privet-fleet policy push base (goes on)", "privet-fleet simulate --devices many", "cat x | privet-fleet pico",
    ],
)  # fmt: skip
def test_a_command_that_is_none_is_found(call):
    """The same look at calls with a slip each."""
    assert [typed.fault(words, whole=True) for words in typed.calls(call)] != [""]
