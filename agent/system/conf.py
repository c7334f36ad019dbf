"""Configuration files of many programs: `[section]`, `key = value`, `#` or `;` before a remark."""

Pairs = list[tuple[str, str, str]]


def pairs(text: str, remarks: str = "#;") -> Pairs:
    """Return (section, key, value) of every assignment in reading order; the section before any heading is empty."""
    found: Pairs = []
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif "=" in line and line[0] not in remarks:
            key, _, value = line.partition("=")
            found.append((section, key.strip(), value.strip()))
    return found


def same(one: str, other: str, fold: bool) -> bool:
    """Say whether two names are one; `fold`: for a program that makes no difference between capitals."""
    return one == other or (fold and one.lower() == other.lower())


def value(text: str, section: str, key: str, fold: bool = False) -> str | None:
    """Return the last value of a key, without its quotes; None when nothing sets it."""
    found = None
    for where, name, said in pairs(text):
        if same(where, section, fold) and same(name, key, fold):
            found = said.strip("\"'")
    return found


def changed(text: str, section: str, wanted: dict[str, str | None], fold: bool = False) -> str:
    """Return a text in which keys of one section have these values (None: are not set), all else as it was."""
    lines, here, made, done = text.splitlines(), "", list[str](), section == ""
    rest = {key: said for key, said in wanted.items() if said is not None}
    added = [f"{key}={said}" for key, said in rest.items()]
    if section == "":
        made += added
    for raw in lines:
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            here = line[1:-1].strip()
            made.append(raw)
            if same(here, section, fold) and not done:
                made += added
                done = True
            continue
        key = line.partition("=")[0].strip() if "=" in line and line[0] not in "#;" else ""
        if key and same(here, section, fold) and any(same(key, one, fold) for one in wanted):
            continue
        made.append(raw)
    if not done:
        made += [f"[{section}]", *added] if added else []
    return "\n".join(made) + "\n"
