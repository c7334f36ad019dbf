"""Files of systemd's own programs, drawn: main files and drop-ins in every folder, in good spelling and in bad."""

from tests.device.differing import Draw

PLACES = ("/etc", "/etc", "/run", "/usr/local/lib", "/usr/lib")
NAMES = ("a.conf", "m.conf", "z.conf", "zz-privet-x.conf", "zzz.conf", ".hidden.conf", "z.conf~", "other", "A.conf")
HEADS = ("[{section}]",) * 24 + (
    "[{section}] ", " [{section}]", "[{section} ]", "[{capital}]", "[{section}]\r", "[X]", "[X\udcff]", "[{section}",
    "[[{section}]]", "[{section}] # x", "", "",
)  # fmt: skip
LINES = ("{key}={value}",) * 20 + (
    "{key} = {value}", "\t{key}\t=\t{value}\t", "#{key}={value}", "; {key}={value}", "{key}={value} # a note",
    "{key}={value}\r", "{key}=\\\n{value}", "{key}\\\n={value}", "X=\\\n{key}={value}", "# a note \\\n{key}={value}",
    "{key}={value}\\\n# a note\n", "{key}={value} \\\n\n", "{capital}={value}", '{key}="{value}"', "{key}={value}\f",
    "{key}={value}\udcff", "\udcff\n{key}={value}", "{key}={value}\n{key}={other}", "{key}:{value}", "+{key}={value}",
    "{key}={value}\n{key}=", "{key}=={value}", "{key} {value}", "[X]\n{key}={value}\n[{section}]",
    "\ufeff{key}={value}",
)  # fmt: skip
LINKS = (">/dev/null", ">/nowhere", ">/srv/empty", ">/etc", ">z.conf")
DOUBTFUL = {">/etc", ">z.conf"}  # of a link to a directory or to itself we may say that we cannot tell
# Lays files down inside the device, and what was there before goes: `name` is that of the main file.
LAY = r"""
import os, shutil
FOLDERS = ("/etc", "/run", "/usr/local/lib", "/usr/lib")
def lay(name, files):
    os.makedirs("/srv", exist_ok=True)
    open("/srv/empty", "w").close()
    for place in FOLDERS:
        shutil.rmtree(f"{place}/systemd/{name}.d", ignore_errors=True)
        if os.path.lexists(f"{place}/systemd/{name}"):
            os.unlink(f"{place}/systemd/{name}")
    for path, said in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if said.startswith(">"):
            os.symlink(said[1:], path)
        else:
            with open(path, "wb") as file:
                file.write(said.encode("utf-8", "surrogateescape"))
"""

Words = dict[str, tuple[str, ...]]


def body(draw: Draw, section: str, words: Words) -> str:
    """Draw the text of one file: assignments of these keys, each with one of its values."""
    text = draw.one(("",) * 12 + ("\ufeff",))
    for _ in range(1 + draw.below(2)):
        text += draw.one(HEADS).format(section=section, capital=section.upper()) + "\n"
        for _ in range(draw.below(5)):
            key = draw.one(tuple(words))
            said = {"key": key, "value": draw.one(words[key]), "other": draw.one(words[key]), "capital": key.upper()}
            text += draw.one(LINES).format(section=section, **said) + "\n"
    return text


def files(draw: Draw, name: str, section: str, words: Words, first: str = "") -> dict[str, str]:
    """Draw the files of one round; often the main file begins with `first`."""
    made = {}
    for _ in range(1 + draw.below(4)):
        path = f"{draw.one(PLACES)}/systemd/{name}.d/{draw.one(NAMES)}"
        made[path] = draw.one(LINKS) if draw.maybe(1) else body(draw, section, words)
    if draw.maybe(6):
        made[f"/etc/systemd/{name}"] = first + body(draw, section, words)
    elif draw.maybe(7):
        main = f"{draw.one(PLACES)}/systemd/{name}"
        made[main] = draw.one(LINKS[:3]) if draw.maybe(1) else body(draw, section, words)
    return made


def shown(made: dict[str, str]) -> str:
    """Return the files of one round as lines."""
    return "\n".join(f"{path}: {text!r}" for path, text in made.items())
