"""What this version of Privet knows: its settings, credential kinds and warning channels, found by file name."""

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import agent.core
from agent.core.errors import BadInput
from agent.core.setting import Setting, read_setting


class Catalogue(NamedTuple):
    """Settings by id, and the names of credential kinds and channels."""

    settings: dict[str, Setting]
    credentials: tuple[str, ...]
    channels: tuple[str, ...]


def agent_folder() -> Path:
    """Return the folder of the installed agent."""
    return Path(agent.core.__file__).parent.parent


def read_settings(folder: Path) -> dict[str, Setting]:
    """Read every setting file of a folder; BadInput names the file that breaks a law of settings."""
    settings: dict[str, Setting] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            setting = read_setting(tomllib.loads(path.read_text("utf-8")))
        except (ValueError, BadInput) as error:
            raise BadInput(f"{path.name}: {error}") from None
        if setting.id in settings:
            raise BadInput(f"{path.name}: the setting {setting.id} is defined twice; remove one")
        settings[setting.id] = setting
    return settings


def parts(folder: Path) -> tuple[str, ...]:
    """Return the names of the parts in a folder: one module or one package each."""
    modules = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")]
    return tuple(sorted([*modules, *(path.parent.name for path in folder.glob("*/__init__.py"))]))


def on_platform(catalogue: Catalogue, platform: str | None) -> Catalogue:
    """Return what there is on a platform: a setting is where its kind is; most secrets and channels are Linux's."""
    if platform in {None, "linux"}:
        return catalogue
    kinds = parts(agent_folder() / "providers" / str(platform))
    settings = {name: setting for name, setting in catalogue.settings.items() if setting.provider in kinds}
    return Catalogue(settings, (), tuple(name for name in catalogue.channels if name == "mqtt"))


@cache
def shipped() -> Catalogue:
    """Read what the installed agent ships."""
    folder = agent_folder()
    return Catalogue(read_settings(folder / "settings"), parts(folder / "credentials"), parts(folder / "channels"))
