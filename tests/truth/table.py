"""The results: kept row by row while the states are tried, then written as tables: `python -m tests.truth.table`.

The scanners' words are kept under .cache/ by all that they depend on (the state, how they are asked, the Debian tree),
so a second run asks only us. What a complete run found is written to `results.json`, from which the tables of the
README files are made.
"""

import hashlib
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.device import tree
from tests.house import ROOT
from tests.truth.states import HERE, State, loaded

CACHE = ROOT / ".cache" / "truth"
RESULTS = HERE / "results.json"
WHO = ("ours", "lynis", "openscap")
NAMES = {"ours": "Privet", "lynis": "Lynis", "openscap": "OpenSCAP"}


def place(state: State, kind: str) -> Path:
    """Return where a row is kept; the name changes with all that the row depends on."""
    asking = (HERE / "peers.py").read_bytes() if kind == "peers" else b""
    made = hashlib.sha256(asking + state.digest().encode() + tree.TRUTH.digest().encode()).hexdigest()[:16]
    return CACHE / kind / f"{made}.json"


def kept(state: State) -> dict[str, Any] | None:
    """Return what the scanners said of the state when it was last tried."""
    path = place(state, "peers")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def keep(state: State, row: dict[str, Any]) -> None:
    """Keep what the scanners said."""
    write(place(state, "peers"), row)


def put(state: State, row: dict[str, Any]) -> None:
    """Keep the whole row."""
    write(place(state, "rows"), row)


def write(path: Path, row: dict[str, Any]) -> None:
    """Write a row whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    half.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    half.replace(path)


def verdict(row: dict[str, Any], who: str) -> str:
    """Say in a word how good an answer was."""
    said, truth = row[who], "open" if row["open"] else "shut"
    if said in ("no test", "unknown"):
        return str(said)
    return "right" if said == truth else "false pass" if row["open"] else "false finding"


def tally(rows: list[dict[str, Any]], who: str) -> Counter[str]:
    """Count how good the answers were."""
    return Counter(verdict(row, who) for row in rows)


def versions() -> dict[str, str]:
    """Return the versions of the scanners in the tree."""
    found = {}
    text = (tree.place(tree.TRUTH) / "var/lib/dpkg/status").read_text(encoding="utf-8")
    for stanza in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if lines.get("Package") in ("lynis", "openscap-scanner", "ssg-debian"):
            found[lines["Package"]] = lines["Version"]
    return found


def gathered() -> dict[str, Any] | None:
    """Put the rows of all states together; None, and their names, where some are missing."""
    rows, missing = [], []
    for state in loaded():
        path = place(state, "rows")
        if not path.is_file():
            missing.append(f"{state.area}: {state.name}")
            continue
        row = json.loads(path.read_text(encoding="utf-8"))
        asked = {"lynis_asked": list(state.lynis.ids), "openscap_asked": state.openscap}
        told = {"area": state.area, "name": state.name, "settings": list(state.settings), "tried": state.behaviour}
        rows.append({**told, **{key: row[key] for key in ("open", *WHO)}, **asked})
    if missing:
        print("not tried, so no table: " + ", ".join(missing), file=sys.stderr)
        return None
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions(), "rows": rows}


def main() -> int:
    """Write results.json and print the table; exit code 1 when a state was not tried or we were wrong."""
    found = gathered()
    if found is None:
        return 1
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in found["rows"]:
        words = "  ".join(f"{NAMES[who]}: {verdict(row, who):13}" for who in WHO)
        print(f"{row['area']:9} {row['name']:62} {'open' if row['open'] else 'shut'}  {words}".rstrip())
    counts = {who: tally(found["rows"], who) for who in WHO}
    for who in WHO:
        print(
            f"{NAMES[who]:9} of {len(found['rows'])}: " + ", ".join(f"{n} {w}" for w, n in sorted(counts[who].items()))
        )
    return 1 if counts["ours"]["false pass"] + counts["ours"]["false finding"] else 0


if __name__ == "__main__":
    sys.exit(main())
