"""Once inside: somebody can do everything, through sudo or as root. Sudo itself is asked what it allows."""

from agent.core.errors import PrivetError
from agent.core.trial import KNOWN, RIGHTS, SHUT, TRIED, Way
from agent.system.door import System
from agent.system.openssh import lets_root_in
from agent.system.parts import Tries
from agent.system.people import Person, people


def look(system: System, tries: Tries) -> Way:
    """Find who can do everything, and whether the password that this takes was tried."""
    state, cause = SHUT, "nobody can do everything on this device"
    for person in people(system):
        able, asks = (True, True) if person.uid == 0 else allowed(system, person.name)
        if not able or (asks and not person.has_password() and not by_key(system, person)):
            continue
        if not asks or (person.has_password() and person.digest() in tries.proven):
            return Way(name="sudo", reach=RIGHTS, state=TRIED, flow="", cause=f"{person.name} can do everything")
        state, cause = KNOWN, f"{person.name} can do everything, by what only its owner has"
    return Way(name="sudo", reach=RIGHTS, state=state, flow="", cause=cause)


def allowed(system: System, name: str) -> tuple[bool, bool]:
    """Say whether sudo lets an account run everything as root, and whether it asks for a password."""
    try:
        outcome = system.run(("sudo", "-n", "-l", "-U", name))
    except PrivetError:
        return False, True
    rows = [line.strip() for line in outcome.out.decode("utf-8", "replace").splitlines() if line.startswith("    (")]
    full = [row for row in rows if row.startswith(("(ALL", "(root")) and what(row) in ("ALL", "!ALL")]
    able = bool(full) and what(full[-1]) == "ALL" and outcome.code == 0  # of all rows that match, sudo obeys the last
    return able, not able or "NOPASSWD:" not in full[-1]


def what(row: str) -> str:
    """Return what a row allows, without whether it asks."""
    return row.rpartition(")")[2].replace("NOPASSWD:", "").replace("PASSWD:", "").strip()


def by_key(system: System, person: Person) -> bool:
    """Say whether root is let in by a key."""
    if person.uid != 0:
        return False
    try:
        return bool(system.read(f"{person.home}/.ssh/authorized_keys").strip()) and lets_root_in(system)
    except PrivetError:
        return False
