"""Who can sign in to this device, and whose password the world knows.

Param: `what`:
`known`: accounts with a password on the list of factory passwords (`name:known`), with none at all (`name:blank`), or
with one under a lock that anybody may lift (`name:locked`).
`sign_in`: accounts that a password or an SSH key opens (`name`; `uid:1000` is the first person's, however it is called
now), and those that are root under another name (`name:root`), whatever opens them.

Told and not undone: whether somebody belongs on the device only its owner knows. An account is what its files say, so
live is kept. An account of a directory service elsewhere is beyond this look. Comparing a hash that takes long on
purpose goes on after the look: until it is done the answer is unknown, and `answered` says when to look again.
"""

from weakref import WeakKeyDictionary

from agent.core.assess import Reading, seen, unread
from agent.core.errors import Missing, PrivetError
from agent.core.order import words
from agent.core.record import Params, Value
from agent.system import crypt
from agent.system.door import System
from agent.system.factory import Search
from agent.system.parts import Step

PARAMS = ("what",)
SHUT = ("/nologin", "/false", "/sync", "/shutdown", "/halt")
LOCKED = "!"
FIRST = 1000
KEYS = (".ssh/authorized_keys", ".ssh/authorized_keys2")

Account = tuple[str, int, str, str, str]
"""Name, number, home, shell, password field."""

searches: WeakKeyDictionary[System, Search] = WeakKeyDictionary()


def probe(system: System, params: Params) -> Reading:
    """Name the accounts that the setting is about."""
    try:
        found = accounts(system)
        if params["what"] == "known":
            return known(searches.setdefault(system, Search()), found)
        made = words([word for account in found for word in sign_in(system, account)])
    except PrivetError as error:
        return unread(str(error))
    return seen(made, made)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Change nothing."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where accounts are kept."""
    return ("/etc",)


def rows(system: System, path: str) -> list[list[str]]:
    """Return the rows of a colon file; lines that are no account (comments, a directory service) are left out."""
    lines = system.read(path).decode("utf-8", "surrogateescape").split("\n")
    return [row for row in (line.split(":") for line in lines) if len(row) > 1 and row[0] and row[0][0] not in "+-#"]


def accounts(system: System) -> list[Account]:
    """Return every account; of two lines with one name the first counts for its password, as in libc."""
    secret: dict[str, str] = {}
    try:
        for row in rows(system, "/etc/shadow"):
            secret.setdefault(row[0], row[1])
    except Missing:
        pass  # every password stands in /etc/passwd
    found = []
    for row in rows(system, "/etc/passwd"):
        if len(row) > 6 and row[2].isdigit():
            field = secret.get(row[0], LOCKED) if row[1] == "x" else row[1]
            found.append((row[0], int(row[2]), row[5], row[6].strip(), field))
    return found


def answered(system: System, params: Params) -> bool | None:
    """Say whether what the latest look waits for is there; None when it waits for nothing."""
    search = searches.get(system)
    return search.answered() if search is not None and params["what"] == "known" else None


def known(search: Search, found: list[Account]) -> Reading:
    """Name the accounts with no password, or with one that the world knows, whatever their shell."""
    made = [f"{plain(name)}:blank" for name, _, _, _, field in found if field == ""]
    asked = [(name, field.lstrip(LOCKED), field) for name, _, _, _, field in found if field.lstrip(LOCKED)]
    answers = list(zip(asked, search.known([(name, bare) for name, bare, _ in asked]), strict=True))
    made += [f"{plain(name)}:{'known' if bare == field else 'locked'}" for (name, bare, field), yes in answers if yes]
    left = ", ".join(sorted(plain(name) for (name, _, _), yes in answers if yes is None))
    if not left:
        return seen(words(made), words(made))
    why = f"the password of {left} is still being compared with those that attackers know; this takes a few minutes"
    return unread(why, words(made) if made else None)


def sign_in(system: System, account: Account) -> list[str]:
    """Say whether an account can be entered."""
    name, number, home, shell, field = account
    if number == 0 and name != "root":
        return [f"{plain(name)}:root"]
    if shell.endswith(SHUT):
        return []
    opened = field == "" or crypt.strength(field) != crypt.INVALID
    word = f"uid:{FIRST}" if number == FIRST else plain(name)
    return [word] if opened or any(filled(system, f"{home}/{path}") for path in KEYS) else []


def filled(system: System, path: str) -> bool:
    """Say whether a file of keys holds more than comments."""
    try:
        lines = system.read(path).splitlines()
    except Missing:
        return False
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in lines)


def plain(name: str) -> str:
    """Return a name that can be a word of a value."""
    return "".join(letter if letter.isprintable() and letter not in " ,:" else "_" for letter in name)
