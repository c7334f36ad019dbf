"""Every folder of the house has a README of one screen, and its links lead somewhere."""

import re
from pathlib import Path

from tests.house import ROOT, files, folders, none_of, within

SCREEN = 60
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
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
