"""From the text of a profile to its model, or to faults that name file, line and fix."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from agent.core.errors import BadInput, Missing, Unreadable
from provisioning.profile.schema import Profile

MAX_BYTES = 64 * 1024
Place = tuple[str | int, ...]


class Fault(NamedTuple):
    """One thing wrong in a profile: file name, line from 1, one sentence with the fix."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Source:
    """The text of one profile, able to say on which line a key stands."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.lines = [line + "\n" for line in text.split("\n")]
        self.parsed: dict[int, dict[str, Any] | None] = {}

    def fault(self, place: Place, text: str) -> Fault:
        """Make a fault at the line of a key."""
        return Fault(self.name, self.line_of(place), text)

    def line_of(self, place: Place) -> int:
        """Return the line on which a key is written, or that of the nearest table around it.

        The TOML parser itself is asked: the first beginning of the text that holds the key ends where the key ends.
        """
        while place:
            last = self.first_with(place)
            if last:
                return self.narrowed(place, last)
            place = place[:-1]
        return 1

    def first_with(self, place: Place) -> int:
        """Return the number of lines of the shortest readable beginning that holds the key, 0 when none does."""
        low, high = 0, self.readable(len(self.lines))
        if not self.holds(high, place):
            return 0
        while high - low > 1:
            middle = self.readable((low + high) // 2)
            if middle == low:
                middle = self.readable_after((low + high) // 2 + 1, high)
                if middle == high:
                    break
            if self.holds(middle, place):
                high = middle
            else:
                low = middle
        return high

    def readable(self, count: int) -> int:
        """Return the longest readable beginning of at most this many lines."""
        while count > 0 and self.beginning(count) is None:
            count -= 1
        return count

    def readable_after(self, count: int, limit: int) -> int:
        """Return the shortest readable beginning of at least this many lines, `limit` at most."""
        while count < limit and self.beginning(count) is None:
            count += 1
        return count

    def beginning(self, count: int) -> dict[str, Any] | None:
        """Parse the first lines; None when they end inside a value."""
        if count not in self.parsed:
            self.parsed[count] = parsed_or_none("".join(self.lines[:count]))
        return self.parsed[count]

    def holds(self, count: int, place: Place) -> bool:
        """Say whether the first lines define the key."""
        here: Any = self.beginning(count)
        for part in place:
            inside = isinstance(here, list) and isinstance(part, int) and part < len(here)
            if not inside and not (isinstance(here, dict) and part in here):
                return False
            here = here[part]
        return True

    def narrowed(self, place: Place, last: int) -> int:
        """Find the key inside the lines that its value spans."""
        first = self.readable(last - 1) + 1
        span = [line for line in range(first, last + 1) if self.lines[line - 1].split("#")[0].strip()] or [last]
        keys = [part for part in place if isinstance(part, str)]
        counts = [part for part in place if isinstance(part, int)]
        pattern = rf"(?<![\w.]){re.escape(keys[-1])}[\"']?\s*="
        written = [line for line in span if re.search(pattern, self.lines[line - 1])]
        rows = [line for line in span if "{" in self.lines[line - 1]]
        for found in (written, rows):
            if counts and len(found) > 1 and counts[-1] < len(found):
                return found[counts[-1]]
        return written[0] if written else span[0]


def parsed_or_none(text: str) -> dict[str, Any] | None:
    """Parse TOML; None when it is not readable."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def syntax_fault(name: str, text: str) -> Fault | None:
    """Return what the TOML parser dislikes, or None."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r"\(at line (\d+), column (\d+)\)", message)
        line = int(found[1]) if found else text.count("\n", 0, len(text.rstrip())) + 1
        said = re.sub(r"\s*\(at [^)]*\)$", "", message)
        return Fault(name, line, f"this is not readable as TOML ({printable(said)}); correct the line")
    except (ValueError, RecursionError):
        return Fault(name, 1, "a number or a nesting in this file is absurdly large; remove it")
    return None


def printable(text: str) -> str:
    """Show foreign text harmlessly and briefly."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= 80 else shown[:79] + "…"


def read_text(path: Path) -> Source:
    """Read a profile's text; Missing, Unreadable or BadInput."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Missing(f"there is no device profile {path.name} in {path.parent}; check the name or create it") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); check its rights") from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"{path.name}:1: a profile is at most {MAX_BYTES // 1024} KiB; shorten it")
    try:
        return Source(path.name, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path.name}:{line}: this is not UTF-8 text; save the file as UTF-8") from None


def parse(source: Source) -> tuple[Profile | None, list[Fault]]:
    """Turn text into a profile, or say everything that is wrong with its form."""
    broken = syntax_fault(source.name, source.text)
    if broken:
        return None, [broken]
    try:
        return Profile.model_validate(tomllib.loads(source.text)), []
    except ValidationError as error:
        faults = [form_fault(source, problem) for problem in error.errors(include_url=False, include_input=False)]
        return None, sorted(set(faults), key=lambda fault: (fault.line, fault.text))


def form_fault(source: Source, problem: Any) -> Fault:
    """Put one finding of the schema into plain words, with the line it is about."""
    place = Place(problem["loc"])
    name = printable(".".join(str(part) for part in place if isinstance(part, str))) or "the file"
    kind, said = problem["type"], problem["msg"]
    leaf = printable(str(place[-1])) if place else ""
    if kind == "extra_forbidden":
        return source.fault(place, f'"{leaf}" is not known here; remove it{meant(place)}')
    if kind == "missing":
        return source.fault(place[:-1], f'"{leaf}" is missing; add a line {leaf} = …')
    if kind == "value_error":
        return source.fault(place, f"{name} {problem['ctx']['error']}")
    wanted = WANTED.get(kind)
    if wanted:
        return source.fault(place, f"{name} must be {wanted}; correct it")
    return source.fault(place, f"{name}: {printable(said[:1].lower() + said[1:])}; correct it")


WANTED = {
    "bool_type": "true or false",
    "date_type": "a date without quotes, such as 2031-12-31",
    "date_from_datetime_inexact": "a date without a time, such as 2031-12-31",
    "dict_type": "a table",
    "int_type": "a whole number without quotes",
    "list_type": "a list in [ ]",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_type": "text in quotes",
}


def meant(place: Place) -> str:
    """Suggest the known key nearest to an unknown one."""
    model: Any = Profile
    for part in place[:-1]:
        if isinstance(part, str) and model is not None:
            model = model_below(model, part)
    known = list(model.model_fields) if model is not None else []
    close = difflib.get_close_matches(str(place[-1]), known, 1)
    return f', or did you mean "{close[0]}"?' if close else (f"; known here: {', '.join(known)}" if known else "")


def model_below(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model of the tables under a key, None when there is none."""
    field = model.model_fields.get(key)
    if field is None:
        return None
    candidates: list[Any] = [field.annotation]
    while candidates:
        candidate = candidates.pop()
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
        candidates.extend(getattr(candidate, "__args__", ()))
    return None
