"""What a list of PAM's modules comes to for somebody who knows no password, by the rules of libpam.

Nobody is asked: each module has the answers it may give to such a person, and every way through the list is followed.
"""

import re
from collections.abc import Callable

from agent.core.errors import Failed
from agent.core.record import Record

Actions = dict[str, str]
Text = Callable[[str], str | None]

SUCCESS, IGNORE = "success", "ignore"
CONTROLS: dict[str, Actions] = {
    "required": {SUCCESS: "ok", "new_authtok_reqd": "ok", IGNORE: "ignore", "default": "bad"},
    "requisite": {SUCCESS: "ok", "new_authtok_reqd": "ok", IGNORE: "ignore", "default": "die"},
    "sufficient": {SUCCESS: "done", "new_authtok_reqd": "done", "default": "ignore"},
    "optional": {SUCCESS: "ok", "new_authtok_reqd": "ok", "default": "ignore"},
}
KINDS = ("auth", "account", "session", "password")
WORD = re.compile(r"\[((?:\\.|[^\]\\])*)\]|\S+")
DEEPEST, MOST = 16, 50_000
NOT_YET, POSITIVE, NEGATIVE = "", "+", "-"
ENTER = "enter"  # not a word of files: here a list of its own begins


class Entry(Record):
    """One module of a list: how deep in lists of their own, what each answer does, its file and its words."""

    __slots__ = ("actions", "level", "module", "words")
    level: int
    actions: Actions
    module: str
    words: tuple[str, ...]


class State(Record):
    """How far a way went: the next module, what the list thinks so far and whether well, by whose word.

    `before`: what was thought when each list of its own began, from the outermost on.
    """

    __slots__ = ("before", "by", "place", "thinks", "well")
    place: int
    thinks: str
    well: bool
    by: frozenset[str]
    before: tuple[tuple[str, bool], ...]


def entries(text: Text, service: str, level: int = 0, depth: int = 0) -> list[Entry]:
    """Return what a program's list asks in turn, the lists it includes in their places."""
    content = text(service) if depth <= DEEPEST else None
    if content is None:
        return [broken(level)]
    found: list[Entry] = []
    for words in lines(content):
        kind = words[0].lstrip("-").lower()
        if kind == "@include" and len(words) > 1:
            found += entries(text, words[1], level, depth + 1)
        elif kind not in KINDS or (kind == "auth" and len(words) < 3):
            found.append(broken(level))
        elif kind == "auth" and words[1].lower() == "include":
            found += entries(text, words[2], level, depth + 1)
        elif kind == "auth" and words[1].lower() == "substack":
            found.append(Entry(level=level, actions={"default": ENTER}, module="", words=()))
            found += entries(text, words[2], level + 1, depth + 1)
        elif kind == "auth":
            found.append(Entry(level=level, actions=actions(words[1]), module=words[2], words=tuple(words[3:])))
    return found


def broken(level: int) -> Entry:
    """Return what libpam puts in the place of what it cannot read: something that never agrees."""
    return Entry(level=level, actions={"default": "bad"}, module="", words=())


def lines(content: str) -> list[list[str]]:
    """Return the words of every line; what stands in brackets is one word, with the brackets in front only."""
    found = []
    for line in content.replace("\\\n", " ").splitlines():
        words = [f"[{one[1]}" if one[0].startswith("[") else one[0] for one in WORD.finditer(line.partition("#")[0])]
        found += [words] if words else []
    return found


def actions(control: str) -> Actions:
    """Return what each answer of a module does; what is not said is bad, as libpam takes it."""
    if not control.startswith("["):
        return CONTROLS.get(control.lower(), {"default": "bad"})
    said = {"default": "bad"}
    for word in control[1:].split():
        answer, _, action = word.partition("=")
        said[answer.strip().lower()] = action.strip().lower()
    return said


def opened(found: list[Entry], answers: Callable[[Entry], tuple[str, ...]]) -> set[frozenset[str]]:
    """Return by whose word each way through the list lets somebody in, least sets only; Failed when it is too long."""
    results: set[frozenset[str]] = set()
    start = State(place=0, thinks=NOT_YET, well=False, by=frozenset(), before=((NOT_YET, False),))
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        if state.place >= len(found):
            results |= {state.by} if state.thinks == POSITIVE and state.well else set()
            continue
        for answer in answers(found[state.place]):
            after = step(found, state, answer)
            if after not in seen:
                seen.add(after)
                todo.append(after)
        if len(seen) > MOST:
            raise Failed("a list of PAM has more ways than can be followed; make it shorter")
    return {one for one in results if not any(other < one for other in results)}


def step(found: list[Entry], state: State, answer: str) -> State:
    """Take one answer of one module."""
    entry = found[state.place]
    action = entry.actions.get(answer, entry.actions["default"])
    thinks, well, by, place = state.thinks, state.well, state.by, state.place + 1
    counts = action in {"ok", "done"} and (thinks == NOT_YET or (thinks == POSITIVE and well))
    if counts:
        thinks, well = POSITIVE, answer == SUCCESS
    elif action in {"bad", "die"} and thinks != NEGATIVE:
        thinks, well = NEGATIVE, False
    elif action == "reset":
        thinks, well = state.before[entry.level]
    elif action.isdigit():
        place = jumped(found, state.place, int(action))
        thinks, well = (NEGATIVE, False) if place < 0 else (thinks, well)
    if answer == SUCCESS and (counts or action.isdigit()):
        by |= {entry.module}
    if action == "die" or (action == "done" and thinks == POSITIVE) or place < 0:
        place = next((n for n in range(state.place + 1, len(found)) if found[n].level < entry.level), len(found))
    before = (*state.before[: entry.level + 1], (thinks, well)) if action == ENTER else state.before
    return State(place=place, thinks=thinks, well=well, by=by, before=before)


def jumped(found: list[Entry], place: int, count: int) -> int:
    """Return where a jump over so many modules of one list leads, a list of its own counted once; -1 is beyond it."""
    level, here = found[place].level, place + 1
    for _ in range(count):
        if here >= len(found) or found[here].level < level:
            return -1
        here += 1
        while here < len(found) and found[here].level > level:
            here += 1
    return here
