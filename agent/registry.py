"""Find a part by its checked file name: the file name is the registration."""

import importlib
import os
import re
import sys
from collections.abc import Mapping
from typing import cast

from agent.core.errors import BadInput
from agent.core.setting import Setting, read_setting
from agent.system.parts import Channel, Provider, WayIn


def checked(name: str) -> str:
    """Return a part's name if it is one (a-z, 0-9, _), so that no profile can reach outside the folder."""
    plain = name.replace("_", "a")
    if not plain.isascii() or not plain.isalnum() or not plain.islower() or not name[0].isalpha():
        raise BadInput(f"{name[:40]!r} is no name of a part; use letters, digits and _")
    return name


def part(folder: str, name: str) -> object:
    """Import the module `agent.<folder>.<name>`."""
    full = f"agent.{folder}.{checked(name)}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        raise BadInput(f"this version of Privet has no {folder} called {name}; update it") from error


def provider(kind: str) -> Provider:
    """Return the Linux provider of a kind."""
    return cast(Provider, part("providers.linux", kind))


def channel(name: str) -> Channel:
    """Return a warning channel."""
    return cast(Channel, part("channels", name))


def ways() -> dict[str, WayIn]:
    """Return every way in that this version knows, by name."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ways")
    names = sorted({name.partition(".")[0] for name in os.listdir(folder) if name.endswith((".py", ".pyc"))})
    return {name: cast(WayIn, part("ways", name)) for name in names if not name.startswith("_")}


def settings() -> dict[str, Setting]:
    """Read every setting that ships with this version, by id.

    What reads TOML is let go of again: it would cost each process 0.5 MB for good, and the settings are read once.
    """
    found: dict[str, Setting] = {}
    known = "tomllib" in sys.modules
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".toml"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                setting = read(name, file.read())
            if setting.id in found:
                raise BadInput(f"two setting files are called {setting.id}; remove one")
            found[setting.id] = setting
    if not known:
        for name in [name for name in sys.modules if name.partition(".")[0] == "tomllib"]:
            del sys.modules[name]
        re.purge()
    return found


def read(name: str, text: str) -> Setting:
    """Read one setting file; an error names the file."""
    import tomllib

    try:
        table: Mapping[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{name}: {error}; correct the file") from error
    try:
        return read_setting(dict(table))
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
