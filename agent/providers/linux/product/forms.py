"""Configuration files of the plain kinds: sections with `key = value`. What is not of that form says nothing here."""

OFF = ("0", "f", "false", "n", "no", "off")
NEAR = ("127.", "localhost", "[::1]", "::1")


def table(text: str) -> dict[str, str]:
    """Read sections and keys into `section.key`; the last one wins, quotes and a comment after a quoted value go."""
    found, section = {}, ""
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith("["):
            section = line.partition("#")[0].strip().strip("[]").strip() + "."
        elif line and line[0] not in "#;" and "=" in line:
            key, _, value = line.partition("=")
            found[section + key.strip()] = bare(value.strip())
    return found


def bare(value: str) -> str:
    """Return a value without its quotes, or without the comment after it."""
    if value[:1] in ('"', "'"):
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].strip()


def is_on(value: str) -> bool:
    """Say whether a switch is on; what is no plain off counts as on."""
    return value.strip().lower() not in OFF


def is_near(address: str) -> bool:
    """Say whether an address (with or without a port) is this device's own; an empty one is every address."""
    return address.strip().startswith(NEAR)
