"""How every verb answers: one JSON object on request, else text for people; and the options many verbs share."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agent.core.errors import BadInput, Missing, Refused

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])
WIDTH = 100  # columns when the output is no terminal
MOST_WORDS = 500  # letters


def note_json(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    """Remember that JSON was asked for, so that errors are JSON too."""
    ctx.find_root().meta["json"] = value


def answers(command: F) -> F:
    """Give a verb the option --json."""
    text = "Answer with one JSON object."
    return click.option("--json", is_flag=True, expose_value=False, callback=note_json, is_eager=True, help=text)(
        command
    )


def answer(result: dict[str, Any], show: Callable[["Console"], None]) -> None:
    """Print a result: as JSON, or by the given function for people."""
    if wants_json():
        click.echo(json.dumps({"ok": True, **result}, ensure_ascii=False, default=str))
    else:
        show(console())


def wants_json() -> bool:
    """Say whether the running verb was asked for JSON."""
    return bool(click.get_current_context().find_root().meta.get("json"))


def console(*, err: bool = False) -> "Console":
    """Open the terminal for text: colours where there is a terminal that wants them, plain elsewhere."""
    from provisioning.cli.terminal import Terminal  # noqa: PLC0415 - 40 ms that --json and --help do not need

    stream = sys.stderr if err else sys.stdout
    return Terminal(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)


def with_fleet(command: F) -> F:
    """Give a verb the options that find a fleet and unlock its keys."""
    directory = click.option(
        "--fleet", "fleet_directory", type=click.Path(path_type=Path, file_okay=False), default=Path("fleet"),
        envvar="PRIVET_FLEET", show_default=True, show_envvar=True, help="Directory of the fleet.",
    )  # fmt: skip
    descriptor = click.option(
        "--passphrase-fd", type=int, help="Read the fleet's passphrase from this file descriptor instead of asking."
    )
    return directory(descriptor(command))


def with_profiles(command: F) -> F:
    """Give a verb the option that finds the device profiles."""
    return click.option(
        "--profiles", "profiles", type=click.Path(path_type=Path, file_okay=False), envvar="PRIVET_PROFILES",
        show_envvar=True, help="Directory of the device profiles.  [default: device_profiles]",
    )(command)  # fmt: skip


def profile_directory(given: Path | None) -> Path:
    """Return where the profiles are: as given, here, or beside the installed package."""
    if given is not None:
        return given
    here, beside = Path("device_profiles"), Path(__file__).parents[2] / "device_profiles"
    for folder in (here, beside):
        if folder.is_dir():
            return folder
    raise Missing("there is no directory device_profiles here; go to where it is or give --profiles")


def profile_path(name: str, given: Path | None) -> Path:
    """Return the file of a profile that was named, or given as a path."""
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    return profile_directory(given) / f"{name}.toml"


def few_words(_ctx: click.Context, option: click.Parameter, said: str | None) -> str | None:
    """Take what a person says for the ledger: some words, on one line, without letters that hide others."""
    if said is None or said == option.default:
        return said
    if not said.strip() or len(said) > MOST_WORDS or not said.isprintable():
        raise BadInput(f"--{option.name} takes 1 to {MOST_WORDS} letters on one line; say it in a few words")
    return said.strip()


def put(path: Path, content: bytes) -> None:
    """Write what `-o` names, whole or not at all. Refused for a device or a link: the new file would take its place."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise Refused(f"{path} is there and is no file; choose another name")
    from provisioning.fleet.safe import whole_file  # noqa: PLC0415 - cryptography, which --help does not need

    whole_file(path, content, 0o644)
