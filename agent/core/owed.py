"""What makes programs take up their files: asked for by several settings in one look, it is done once, after them all.

A restart loses what a program holds in memory, and takes time. Each setting's own look afterwards is its proof as ever.
Only for changes that need no trial: what touches access is applied, taken up and proven by itself.
"""

from .plan import Reload, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .plan import Append, Overwrite, Own, Remove, Unlist, Write

    Step = Write | Overwrite | Append | Remove | Own | Unlist | Run | Reload

FIRST, THEN = 1, 2  # files are read and checked before anything starts anew
VERBS = {"daemon-reload": FIRST, "try-restart": THEN, "restart": THEN}


def rank(step: "Step") -> int:
    """Return when a step is to be made that several settings may share, 0 for one that each makes for itself."""
    if isinstance(step, Reload):
        return THEN
    if not isinstance(step, Run) or step.stdin or len(step.argv) < 2:
        return 0
    if step.argv[0] == "systemctl":
        return VERBS.get(step.argv[1], 0)
    return FIRST if step.argv[1:] in (("-t",), ("control", "--reload")) else 0


def parted(steps: "tuple[Step, ...]") -> "tuple[tuple[Step, ...], tuple[Step, ...]]":
    """Part steps in those that change the device and, from the first that can be shared on, those that are owed.

    Nothing is put off where a file is changed after that, or nothing starts anew: another setting may build on it.
    """
    for place in range(len(steps)):
        if rank(steps[place]):
            rest = steps[place:]
            programs = all([isinstance(step, (Run, Reload)) for step in rest])
            again = any([rank(step) == THEN for step in rest])
            return (steps[:place], rest) if programs and again else (steps, ())
    return steps, ()


def once(owed: "tuple[tuple[str, tuple[Step, ...]], ...]") -> "tuple[tuple[Step, tuple[str, ...]], ...]":
    """Return what is owed to settings, [name, steps], in the order to make it, each with the names it is for."""
    rows: "list[tuple[Step, list[str]]]" = []
    for name, steps in owed:
        for step in steps:
            same = [names for known, names in rows if rank(step) and known == step]
            if not same:
                rows.append((step, [name]))
            elif name not in same[0]:
                same[0].append(name)
    made = [(step, tuple(names)) for step, names in rows]
    return tuple([row for row in made if rank(row[0]) == FIRST] + [row for row in made if rank(row[0]) != FIRST])
