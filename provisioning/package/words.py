"""What a person reads of the package: manual page, completion, copyright. All of it is made from its source."""

import re
import subprocess
import sys
from pathlib import Path

from agent.core.errors import Failed

ASK = "import sys; sys.path.insert(0, sys.argv.pop(1)); from agent.cli.main import main; main(prog_name='privet')"
# Shell -> where it looks for the completions that packages bring.
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/privet",
    "fish": "usr/share/fish/vendor_completions.d/privet.fish",
    "zsh": "usr/share/zsh/vendor-completions/_privet",
}
WHOLE = """Privet is free software under the Apache License, version 2.0; on Debian systems its text is
/usr/share/common-licenses/Apache-2.0. The parts of others that lie beside it in /usr/lib/privet follow, each
with its own terms.
"""


def told(library: Path, *arguments: str, **environment: str) -> str:
    """Return what the `privet` command in `library` prints; Failed when it ends with an error."""
    done = subprocess.run(
        [sys.executable, "-IBS", "-c", ASK, str(library), *arguments],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"privet {' '.join(arguments)} failed while its manual was written: {done.stderr.strip()[-300:]}")
    return done.stdout


def completion(library: Path, shell: str) -> str:
    """Return the completion for a shell, as the command itself gives it."""
    return told(library, _PRIVET_COMPLETE=f"{shell}_source")


def manual(library: Path, version: str, day: str) -> str:
    """Write privet(1) from the command's own help, one section for each verb it lists."""
    overview = told(library, "--help")
    listed = overview.partition("Commands:\n")[2]
    verbs = re.findall(r"^  ([a-z][a-z-]*) ", listed, re.MULTILINE)
    if not verbs:
        raise Failed("privet --help lists no verbs; look at agent/cli/main.py")
    lines = [
        f'.TH PRIVET 1 "{day}" "Privet {version}" "User Commands"',
        ".SH NAME",
        "privet \\- keep this device private, and say so in plain words when it is not",
        ".SH OVERVIEW",
        verbatim(overview),
    ]
    for verb in verbs:
        lines += [f".SH {verb.upper()}", verbatim(told(library, verb, "--help"))]
    lines += [
        ".SH FILES",
        verbatim("/etc/privet      the policy of this device\n/var/lib/privet  state and journal, sealed\n"),
    ]
    return "\n".join(lines) + "\n"


def verbatim(text: str) -> str:
    """Return text that roff prints as it stands."""
    kept = text.rstrip().replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return ".nf\n" + "\n".join("\\&" + line for line in kept.splitlines()) + "\n.fi"


def copyright_of(wheels: Path) -> str:
    """Gather the licences that the installed wheels brought; Failed when one brought none."""
    parts = [WHOLE]
    for folder in sorted(wheels.glob("*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        licences = sorted(path for path in (folder / "licenses").rglob("*") if path.is_file())
        if not licences:
            raise Failed(f"{name} {version} brings no licence; a package cannot be made with it")
        for path in licences:
            title = f"{name} {version}: {path.name}"
            parts.append(f"{title}\n{'=' * len(title)}\n\n{path.read_text(encoding='utf-8').strip()}\n")
    return "\n\n".join(parts)
