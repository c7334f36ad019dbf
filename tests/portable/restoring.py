"""The cases of the shared vectors about restoring (in vain, fought over, asked for at once), clocks, the long run."""

from agent.core import contest, egress, journal, longrun, owed
from agent.core.assess import Finding
from agent.core.clock import Clock, Least, carried, floor, worth
from agent.core.plan import Reload, Run, Write
from agent.core.record import frozen, replace


def clock(row):
    """Make a clock from [wall, boot, uptime]."""
    return Clock(wall=row[0], boot=row[1], uptime=row[2])


def findings(row):
    """Make a finding from [status, found, live, kept, cause]."""
    status, found, live, kept, cause = frozen(row)
    return Finding(setting="x", status=status, wanted="no", found=found, live=live, kept=kept, cause=cause)


def do_vain(a):
    """Make restorations, [before, after, steps, uptime]; say how many were in vain, until when, and what of now."""
    last = None
    for before, after, steps, uptime in a["made"]:
        last = contest.attempted(last, findings(before), findings(after), frozen(steps), uptime)
    now, steps, uptime, stirred, undone = a["now"]
    return [last.vain, last.again, contest.in_vain(last, findings(now), frozen(steps), uptime, stirred, undone)]


def steps_of(rows):
    """Make steps: a path is written, "@unit" reloads it, all else runs."""
    made = []
    for row in rows:
        if row[0] == "@":
            made.append(Reload(unit=row[1:], pidfile=""))
        elif " " not in row:
            made.append(Write(path=row, content=b"", mode=420, uid=0, gid=0))
        else:
            made.append(Run(argv=tuple(row.split(" ")), stdin=b""))
    return tuple(made)


def shown(step):
    """Return a step as steps_of takes it."""
    if isinstance(step, Run):
        return " ".join(step.argv)
    return "@" + step.unit if isinstance(step, Reload) else step.path


def do_owed(a):
    """Part the steps of each setting; return what each makes at once, and what is made in the end, and for whom."""
    made = [(name, owed.parted(steps_of(rows))) for name, rows in a["settings"]]
    rest = owed.once(tuple([(name, later) for name, (_, later) in made]))
    return [[[shown(s) for s in now] for _, (now, _) in made], [[shown(s), list(names)] for s, names in rest]]


def do_contest(a):
    """Restore at these moments and say when the contest stops."""
    now = contest.fresh("x", clock(a["at"][0]))
    said = []
    for at in a["at"]:
        now = contest.restored(now, clock(at))
        said.append(contest.stopped(now, clock(at)))
    return [said, contest.stopped(now, clock(a["later"]))]


def do_clock(a):
    """Apply the time floor, or carry the earliest that it can be on through these looks."""
    if "looks" in a:
        known, said = Least(wall=a["known"][0], boot=a["known"][1], uptime=a["known"][2]), []
        for look in a["looks"]:
            before, known = known, carried(known, a["sure"], clock(look))
            said.append([known.wall, known.boot, known.uptime, worth(before, known)])
        return said
    return floor(clock(a["clock"]), a["known"])


def do_longrun(a):
    """Add so many days each of these rows; say how many are kept, how long they lasted, and what is too much."""
    rows = ()
    for times, row in a["days"]:
        for _ in range(times):
            rows = longrun.added(rows, frozen(row))
    return [len(rows), sum([row[0] for row in rows]), longrun.excess(rows)]


def do_span(a):
    """Return the row of a span."""
    return longrun.row(replace(egress.begin(0, a["begun"], 0, 0), **a["add"]), a["uptime"])


def do_overdue(a):
    """Say how many of the oldest entries of a journal are to go."""
    return journal.overdue([(wall, size) for wall, size in a["oldest"]], a["kept"], a["sure"], a["least"], a["longest"])
