"""Readings in the forms of other programs: one module each, found by its name."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from agent.core.errors import BadInput
from provisioning.collector.receive import Reading
from provisioning.profile.catalogue import parts


class Form(Protocol):
    """What a module of this folder offers."""

    def write(self, readings: Iterable[Reading], out: BinaryIO) -> int:
        """Write readings as they come; return how many."""


def forms() -> tuple[str, ...]:
    """Return the names of all forms."""
    return parts(Path(__file__).parent)


def form(name: str) -> Form:
    """Load one form by its name."""
    if name not in forms():
        raise BadInput(f"there is no form {name!r} for readings; choose from: {', '.join(forms())}")
    return cast("Form", import_module(f"{__name__}.{name}"))
