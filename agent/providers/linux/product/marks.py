"""Changing a line of somebody's configuration so that it can be changed back: what was there stays, as a comment.

Every line of ours has one above it that says what it was: `#privet NAME: what stood here`. Nothing after the colon:
the line is wholly ours.
"""


def sign(what: str) -> str:
    """Return how our comments about one thing begin."""
    return f"#privet {what}:"


def put(lines: list[str], place: int, what: str, line: str) -> None:
    """Put a line in place of another, unless it is ours already, in which case the oldest text stays."""
    if place and lines[place - 1].lstrip().startswith("#privet "):
        lines[place] = line
        return
    blank = line[: len(line) - len(line.lstrip())]
    lines[place : place + 1] = [f"{blank}{sign(what)}{lines[place]}", line]


def add(lines: list[str], place: int, what: str, line: str) -> None:
    """Put a new line before a place."""
    blank = line[: len(line) - len(line.lstrip())]
    lines[place:place] = [f"{blank}{sign(what)}", line]


def undone(text: str, what: str) -> str:
    """Return a text without our changes about one thing."""
    made: list[str] = []
    skip = False
    for line in text.split("\n"):
        if skip:
            skip = False
            continue
        if line.lstrip().startswith(sign(what)):
            before = line.lstrip()[len(sign(what)) :]
            made += [before] if before else []
            skip = True
        else:
            made.append(line)
    return "\n".join(made)
