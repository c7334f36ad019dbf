"""Say in a form of others what a profile declares, and read such a form back: one module each, found by its name."""

from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from agent.core.errors import BadInput
from provisioning.profile.catalogue import parts
from provisioning.profile.schema import Profile

MAX_BYTES = 1 << 20


class Flows(NamedTuple):
    """What the firewall lets through: sorted words `protocol/port@peer`; a peer may be a name if the form has names."""

    inbound: tuple[str, ...]
    outbound: tuple[str, ...]


class Subject(NamedTuple):
    """What is exported: a whole profile, the flows its firewall is made from, the time, and where it is published."""

    profile: Profile
    flows: Flows
    moment: datetime
    url: str


class Form(Protocol):
    """What a module of this folder offers."""

    def written(self, subject: Subject) -> str:
        """Return the text of the export."""

    def read(self, text: str) -> Flows:
        """Return the flows of such a text; BadInput is one sentence about what is wrong with it."""


def forms() -> tuple[str, ...]:
    """Return the names of all forms."""
    return parts(Path(__file__).parent)


def form(name: str) -> Form:
    """Load one form by its name."""
    if name not in forms():
        raise BadInput(f"there is no form {name!r} to export to; choose from: {', '.join(forms())}")
    return cast("Form", import_module(f"provisioning.export.{name}"))
