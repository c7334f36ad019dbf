"""Commands as our texts write them, held against the two programs: is each verb, option and word known to them?"""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from agent.cli.main import main as privet
from provisioning.cli.main import cli as privet_fleet

PROGRAMS = {"privet": privet, "privet-fleet": privet_fleet}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:sudo )?privet(?:-fleet)? [^`]+)`")
HINT = re.compile(r"(?:: |\b(?:run|use|see|with) )(?:sudo )?(privet(?:-fleet)?) ([a-z][a-z-]+)")
ENDS = {"|", ";", "&&", ">", ">>", "<", "#"}
OPEN = re.compile(r"[A-Z…]")  # NAME, …: whoever reads it puts something there


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command of a program with the words that call it, the program itself first."""
    yield words, group
    context = click.Context(group)
    for name in group.list_commands(context):
        made = group.get_command(context, name)
        if isinstance(made, click.Group):
            yield from commands(made, (*words, name))
        elif made is not None:
            yield (*words, name), made


def calls(text: str) -> Iterator[list[str]]:
    """Yield the words of every call of a program of ours in shell text; what comes behind # is none."""
    for line in text.replace("\\\n", " ").splitlines():
        yield from calls_of(line)


def calls_of(line: str) -> Iterator[list[str]]:
    """Yield the calls in one line, also behind a pipe or sudo."""
    lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars="|;<>&")
    lexer.whitespace_split = True
    found: list[str] = []
    for word in [*lexer, ";"]:
        if word not in ENDS:
            found.append(word)
            continue
        while found and found[0] == "sudo":
            del found[0]
        if found and found[0] in PROGRAMS:
            yield found
        found = []


def fault(words: list[str], *, whole: bool) -> str:
    """Say what of a call its program does not know, "" if it knows all; `whole`: it must also lack nothing."""
    at: click.Command = PROGRAMS[words[0]]
    rest, context = words[1:], click.Context(at, info_name=words[0])
    while isinstance(at, click.Group) and rest and not rest[0].startswith("-") and not OPEN.match(rest[0]):
        made = at.get_command(context, rest[0])
        if made is None:
            return f"{' '.join(words)}: there is no {rest[0]}"
        at, context, rest = made, click.Context(made, context, rest[0]), rest[1:]
    if any(OPEN.match(word) for word in rest) and not whole:
        rest = [word for word in rest if not OPEN.match(word)]
    try:
        values, extra, _ = at.make_parser(context).parse_args(list(rest))
    except click.BadOptionUsage as error:  # in running text `--for` stands without its value
        return f"{' '.join(words)}: {error.format_message()}" if whole else ""
    except click.UsageError as error:
        return f"{' '.join(words)}: {error.format_message()}"
    if extra and not isinstance(at, click.Group):
        return f"{' '.join(words)}: {' '.join(extra)} is too much"
    return wrong_value(words, at, context, values, whole)


def wrong_value(
    words: list[str], at: click.Command, context: click.Context, values: dict[str, object], whole: bool
) -> str:
    """Say which word is none of those to choose from, or which is missing."""
    for param in at.params:
        value = values.get(str(param.name))
        given = value if isinstance(value, tuple | list) else [value]
        missing = [one for one in given if one is None or not isinstance(one, str)]
        if param.required and whole and (not given or missing == list(given)):
            return f"{' '.join(words)}: {param.get_error_hint(context)} is missing"
        for one in given:
            if isinstance(param.type, click.Choice | click.IntRange) and isinstance(one, str) and not OPEN.match(one):
                try:
                    param.type.convert(one, param, context)
                except click.UsageError as error:
                    return f"{' '.join(words)}: {error.format_message()}"
    return ""


def written(path: Path) -> Iterator[tuple[list[str], bool]]:
    """Yield every call in a Markdown file: whole ones from blocks of code, parts of them from the running text."""
    text = path.read_text(encoding="utf-8")
    for language, block in FENCED.findall(text):
        yield from ((words, True) for words in calls(block) if language != "text")
    prose = FENCED.sub("", text)
    for block in re.findall(r"(?:^ {4,}privet.*\n)+", prose, re.MULTILINE):
        yield from ((words, False) for words in calls(re.sub(r" {3,}.*", "", block.replace("    privet", "privet"))))
    for span in INLINE.findall(prose):
        yield from ((words, False) for words in calls(re.sub(r",.*", "", span.replace("\n", " "))))


def hinted(path: Path) -> Iterator[list[str]]:
    """Yield what the sentences in a Python file tell people to type: program and verb."""
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield from (list(words) for words in HINT.findall(part.value))
