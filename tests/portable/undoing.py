"""The vectors about putting things back; part of `runner.py`, with the same limits."""

from agent.core.original import remembered, state, things, verdict
from agent.core.plan import Append, Overwrite, Own, Reload, Remove, Run, Unlist, Write


def step_of(row):
    """Make a step from [kind, the field names that matter …]."""
    kind, name, more = row[:3]
    if kind == "write":
        return Write(path=name, content=more.encode(), mode=0o644, uid=0, gid=0)
    if kind in ("overwrite", "append"):
        made = Overwrite if kind == "overwrite" else Append
        return made(path=name, before=b"", content=more.encode())
    if kind == "remove":
        return Remove(path=name)
    if kind == "own":
        return Own(path=name, mode=0o644, uid=0, gid=0)
    if kind == "unlist":
        return Unlist(path=name)
    if kind == "run":
        return Run(argv=tuple([name] + more.split()), stdin="".join(row[3:]).encode())
    return Reload(unit=name, pidfile=more)


def do_things(a):
    """Name what steps change."""
    return [[t.kind, t.name, t.more] for t in things(tuple([step_of(row) for row in a["steps"]]))]


def do_original(a):
    """Say what becomes of a thing when all is put back: each state is [form, content, mode]."""
    before, now = [state(form, text.encode(), mode) for form, text, mode in (a["before"], a["now"])]
    ours = ()
    for text in a["ours"]:
        ours = remembered(ours, text.encode())
    return [verdict(before, now, ours, now.content), len(ours)]
