"""One look at everything a verdict about SSH rests on; equal keys mean that nothing has changed."""

import hashlib

from agent.core.errors import PrivetError
from agent.core.record import Record
from agent.providers.linux.sshd_option import commands
from agent.providers.linux.sshd_option.commands import Command, content
from agent.providers.linux.sshd_option.contexts import Account, accounts
from agent.providers.linux.sshd_option.daemons import Daemon, Daemons
from agent.providers.linux.sshd_option.tree import Tree, read_tree
from agent.system.door import System

USERS = ("/etc/passwd", "/etc/group")
Trees = dict[str, Tree | str]
"""Main file → configuration, or why it could not be read."""


class Look(Record):
    """What was seen: ways a server is started after a reboot, running servers, files, accounts.

    `people` stands for all accounts and groups, `key` for everything.
    """

    __slots__ = ("accounts", "daemons", "installed", "key", "people", "per_connection", "trees", "ways")
    installed: bool
    ways: tuple[Command, ...]
    daemons: tuple[Daemon, ...]
    per_connection: bool
    trees: Trees
    accounts: tuple[Account, ...]
    people: str
    key: str

    def starting(self) -> bool:
        """Say whether a server is just starting (itself anew): it runs and listens nowhere yet."""
        return any(daemon.starting for daemon in self.daemons)

    def directories(self) -> set[str]:
        """Return the directories that hold a part of any configuration."""
        found = [tree for tree in self.trees.values() if isinstance(tree, Tree)]
        homes = {file.rpartition("/")[0] or "/" for tree in found for file in tree.files}
        return homes.union(*(tree.directories for tree in found))

    def newest(self) -> int:
        """Return when the latest file of any running server changed (ns since 1970)."""
        found = [self.trees.get(daemon.command.file) for daemon in self.daemons]
        return max((tree.newest for tree in found if isinstance(tree, Tree)), default=0)


def take(system: System, running: Daemons, *, fresh: bool = True) -> Look:
    """Look once; costs some reads and runs nothing. Not `fresh`: a server that began this very second may be missed."""
    ways, units = commands.kept(system)
    daemons = running.running(system, fresh=fresh)
    trees: Trees = {}
    digest = hashlib.sha256(units)
    for file in sorted({way.file for way in (*ways, *(d.command for d in daemons)) if way.file}):
        trees[file] = tree = configuration(system, file)
        digest.update(tree.encode() if isinstance(tree, str) else b"%d %s" % (tree.newest, tree.digest.encode()))
    people = hashlib.sha256(b"\0".join(content(system, path) for path in USERS)).hexdigest()
    digest.update(people.encode())
    installed, direct = commands.installed(system), commands.per_connection(system)
    digest.update(repr((installed, direct, [(d.identity, d.command, d.ports) for d in daemons])).encode())
    return Look(
        installed=installed,
        ways=ways,
        daemons=daemons,
        per_connection=direct,
        trees=trees,
        accounts=accounts(system),
        people=people,
        key=digest.hexdigest(),
    )


def configuration(system: System, file: str) -> Tree | str:
    """Read one configuration, or say why it cannot be read."""
    try:
        return read_tree(system, file)
    except PrivetError as error:
        return str(error)
