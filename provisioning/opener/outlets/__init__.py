"""Opened readings in the ways of neighbours: one module each, found by its name."""

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from agent.core.errors import BadInput
from provisioning.collector.receive import Reading
from provisioning.opener.effects import Effect, Kept
from provisioning.profile.catalogue import parts

DEVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
PURPOSE = re.compile(r"[a-z0-9_-]{1,64}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}(/[a-z]{1,8})?")  # a field, or a figure of one


class Outlet(Protocol):
    """What a module of this folder offers. `kept` is its memory: it changes it, whoever calls keeps it."""

    TAKES: str  # "broker": its effects are messages; "pages": they are files

    def opened(self, fleet: str, readings: Sequence[Reading], kept: Kept) -> list[Effect]:
        """Return what these readings lead to."""

    def resumed(self, fleet: str, kept: Kept) -> list[Effect]:
        """Return what has to be there again after a start, or on a broker that may have forgotten it."""

    def forgotten(self, fleet: str, kept: Kept, device: str, purpose: str) -> list[Effect]:
        """Return what takes back all that stays of a device and a purpose, of every one where it is ""; forget it."""


def outlets() -> tuple[str, ...]:
    """Return the names of all outlets."""
    return parts(Path(__file__).parent)


def outlet(name: str) -> Outlet:
    """Load one outlet by its name."""
    if name not in outlets():
        raise BadInput(f"there is no outlet {name!r}; choose from: {', '.join(outlets())}")
    return cast("Outlet", import_module(f"{__name__}.{name}"))


def fit(reading: Reading) -> bool:
    """Say whether the names of a reading are such as a profile can declare: safe in a topic and in a label."""
    place = reading.place
    sound = DEVICE.fullmatch(place.device) and PURPOSE.fullmatch(place.purpose) and NAME.fullmatch(reading.name)
    return sound is not None
