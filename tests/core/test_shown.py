"""What a warning says to type is taken by the shell and by `privet`."""

import shlex

import pytest

from agent import registry
from agent.core.clock import Clock
from agent.core.shown import many, typed
from agent.core.warn import notable
from agent.guard.wire import parse
from tests.typed import calls, fault

SETTINGS = registry.settings()
VALUES = [(name, option.value) for name, setting in sorted(SETTINGS.items()) for option in setting.options]


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_every_value_can_be_typed(name, value):
    """Through a shell and our own reading each option comes back as it was, spaces, stars and pipes included."""
    if value == ():
        assert typed(value) == "VALUE"
        return
    words = shlex.split(typed(value))
    assert len(words) == 1
    assert parse(SETTINGS[name], words[0]) == value


@pytest.mark.parametrize("setting", ["", "ssh.password"])
def test_how_to_look_is_a_command(setting):
    """A warning about an event ends with a command that there is."""
    warning = notable(
        "ended", setting, "The time you gave is over", "", "It is private again.", Clock(wall=1, boot=1, uptime=1)
    )
    said = list(calls(warning.undo.removeprefix("To look: ")))
    assert [fault(words, whole=True) for words in said] == [""]


@pytest.mark.parametrize(
    ("count", "thing", "said"),
    [(1, "device", "1 device"), (0, "device", "0 devices"), (2, "entry", "2 entries"), (1, "entry", "1 entry")],
)
def test_one_is_no_many(count: int, thing: str, said: str) -> None:
    """A person reads of 1 device, not of 1 devices."""
    assert many(count, thing) == said
