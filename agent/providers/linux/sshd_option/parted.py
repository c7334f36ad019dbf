"""What the SSH server does for one account alone: leave for that account is no leave for anybody else.

A context is `user NAME`. Something belongs to it only when no other account, and nobody whose name is not known yet,
would meet the same Match lines; all else belongs to no context ("").
"""

import re

from agent.core.errors import BadInput
from agent.core.record import Params, Value
from agent.providers.linux.sshd_option.contexts import STRANGERS, Account, contexts, examples, users
from agent.providers.linux.sshd_option.criteria import Connection, read_criteria
from agent.providers.linux.sshd_option.judge import Judge, met
from agent.providers.linux.sshd_option.kinds import Kind
from agent.providers.linux.sshd_option.tree import Tree

NAME = re.compile(r"user ([A-Za-z_][A-Za-z0-9_.-]{0,31})")


def parts(judge: Judge, kind: Kind) -> tuple[tuple[str, Value], ...]:
    """Return what is found in each context, of the files and of the servers that run by them; () when not all do."""
    look = judge.look
    if not all(judge.current(daemon) for daemon in look.daemons):
        return ()
    found: dict[str, Value] = {}
    ports = tuple(str(port) for daemon in look.daemons for _, port in daemon.ports)
    for way in (*look.ways, *(daemon.command for daemon in look.daemons)):
        tree = judge.tree(way)
        cases = contexts(tree.matches, look.accounts, ports, kind.powerful) if tree.matches else ()
        for case in cases or (None,):
            value = kind.value(judge.answers(way, case))
            context = whose(tree, case, look.accounts, kind) if case is not None else ""
            found[context] = kind.lattice().join(found.get(context, kind.strictest()), value)
    return tuple(sorted(found.items()))


def whose(tree: Tree, case: Connection, accounts: tuple[Account, ...], kind: Kind) -> str:
    """Return the context of a connection: its account, if that alone meets these Match lines."""
    lines = [met(tree, number, case) for number in range(len(tree.matches))]
    wanted = sorted({criterion for text in tree.matches for criterion in read_criteria(text)})
    others = [(account.name, account.groups) for account in accounts if account.uid == 0 or not kind.powerful]
    others += [(one.user, one.groups) for one in users(wanted, accounts, kind.powerful)]
    others += [(name, ()) for name in (*STRANGERS, *examples("user", wanted, ())) if not kind.powerful]
    for name, groups in others:
        facts = {key: getattr(case, key) for key in Connection.__slots__} | {"user": name, "groups": groups}
        if name != case.user and [met(tree, n, Connection(**facts)) for n in range(len(tree.matches))] == lines:
            return ""
    return f"user {case.user}"


def excepted(kind: Kind, params: Params) -> str:
    """Write the Match lines of the accounts that there is leave for; of a Match line the first that fits counts."""
    rows = params.get("spared", ())
    text = ""
    for row in rows if isinstance(rows, tuple) else ():
        context, _, said = row.partition("\t")
        name = NAME.fullmatch(context)
        if not name:
            raise BadInput(f"{context[:60]!r} is no context of the SSH server; write it as: user NAME")
        value: Value = said if kind.meaning else tuple(word for word in said.split(",") if word)
        text += f"Match User {name[1]}\n" + "".join(f"    {line}\n" for line in kind.written(value))
    return text
