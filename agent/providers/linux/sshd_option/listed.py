"""Whose keys open this device over SSH: every place where any of its servers looks for them, for every account.

Words: `account:SHA256:…` (a listed key), `account:ca:SHA256:…` (whoever this key has certified), `*:ca:SHA256:…` (the
same for all accounts), `*:command:<path>` (a program answers whose keys count). Of a file with more keys than anybody
reads, those beyond are one word, `account:more:SHA256:…`: another key among them is another word. A place that one
Match block or one command line names counts for everybody: that is never less than what is open. Found, told, and not
undone: whose key it is only its owner knows.
"""

import base64
import hashlib

from agent.core.assess import Reading, absent, seen
from agent.core.errors import Missing
from agent.core.order import words
from agent.providers.linux.sshd_option.contexts import Account
from agent.providers.linux.sshd_option.look import Look
from agent.providers.linux.sshd_option.tree import Tree
from agent.providers.linux.sshd_option.words import arguments, statement
from agent.system.door import System

NAME = "AuthorizedKeys"
USUAL = (".ssh/authorized_keys", ".ssh/authorized_keys2")  # sshd_config(5), when nothing names another place
FILES, COMMAND, AUTHORITIES = "authorizedkeysfile", "authorizedkeyscommand", "trustedusercakeys"
KINDS = (b"ssh-", b"ecdsa-", b"sk-")
MOST = 100  # keys of one file that are named one by one: whose file it is decides how many there are


def reading(system: System, look: Look) -> tuple[Reading, set[str]]:
    """Name every key; also the directories they are in."""
    if not look.installed and not look.daemons:
        return absent("no SSH server is installed"), set()
    said = statements(look)
    named = [path for keyword, paths in said if keyword == FILES for path in paths]
    places = tuple(dict.fromkeys(named)) or USUAL
    found: list[str] = []
    folders: set[str] = set()
    for account in look.accounts:
        for place in places if account.may_log_in() else ():
            path = filled(place, account)
            folders.add(path.rpartition("/")[0])
            found += [f"{plain(account.name)}:{key}" for key in keys(system, path)]
    for keyword, values in said:
        if keyword == COMMAND and values and values[0].lower() != "none":
            found.append(f"*:command:{plain(values[0])}")
        if keyword == AUTHORITIES and values and values[0].lower() != "none":
            found += [f"*:ca:{key.removeprefix('ca:')}" for key in keys(system, values[0])]
    value = words(found)
    return seen(value, value), folders


def statements(look: Look) -> list[tuple[str, list[str]]]:
    """Return what any file, in any Match block, and any command line says about keys; no file twice."""
    made = [
        (line.keyword, arguments(line.rest))
        for tree in look.trees.values()
        if isinstance(tree, Tree)
        for line in tree.lines
    ]
    for way in (*look.ways, *(daemon.command for daemon in look.daemons)):
        made += [(keyword, arguments(rest)) for keyword, rest in map(statement, way.options)]
    wanted = [(keyword, list(values)) for keyword, values in made if keyword in {FILES, COMMAND, AUTHORITIES}]
    return [(keyword, [v for v in values if keyword != FILES or v.lower() != "none"]) for keyword, values in wanted]


def filled(place: str, account: Account) -> str:
    """Return a path with the account's own words in it (sshd_config(5), TOKENS)."""
    path = place.replace("%%", "\0").replace("%h", account.home).replace("%u", account.name)
    path = path.replace("%U", str(account.uid)).replace("\0", "%")
    return path if path.startswith("/") else f"{account.home.rstrip('/')}/{path}"


def keys(system: System, path: str) -> list[str]:
    """Return the fingerprints of the keys in a file, as ssh-keygen -l shows them; none when it is not there."""
    try:
        lines = system.read(path).splitlines()
    except Missing:
        return []
    found = sorted({one for one in map(fingerprint, lines) if one})
    rest = hashlib.sha256("\n".join(found[MOST:]).encode()).digest()
    return [*found[:MOST], *([f"more:{named(rest)}"] if found[MOST:] else [])]


def named(digest: bytes) -> str:
    """Write a digest as ssh-keygen does."""
    return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode()


def fingerprint(line: bytes) -> str:
    """Return the fingerprint of one line, empty for a comment; a key that certifies others is marked."""
    fields = line.split()
    if not fields or fields[0].startswith(b"#"):
        return ""
    for place, field in enumerate(fields[:-1]):
        if field.startswith(KINDS) and b'"' not in field:
            try:
                blob = base64.b64decode(fields[place + 1], validate=True)
            except ValueError:
                continue
            marked = b"cert-authority" in b" ".join(fields[:place]).lower()
            return ("ca:" if marked else "") + named(hashlib.sha256(blob).digest())
    return ""


def plain(name: str) -> str:
    """Return a text that can be part of a word."""
    return "".join(letter if letter.isprintable() and letter not in " ," else "_" for letter in name)
