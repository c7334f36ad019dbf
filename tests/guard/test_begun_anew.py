"""Who began the device anew is told to its owner: whoever erased it, or whoever laid the recovery file."""

import pytest

from agent.core.clock import Clock
from agent.core.warn import told
from agent.guard import glass, words
from tests.guard.conftest import Kept
from tests.guard.test_erasure import erase, meadow_home, restarted, used

__all__ = ["meadow_home", "used"]
NOON = Clock(wall=1_767_225_600, boot=1, uptime=60)


@pytest.mark.parametrize(
    ("erased", "title", "risk"),
    [
        (True, "This device was erased by its owner", "It belongs to whoever takes the new password."),
        (
            False,
            "This device was set back to private with its recovery file",
            "Whoever had the device in hand and its recovery code is its owner now.",
        ),
    ],
)
def test_who_began_it_anew_is_said(erased: bool, title: str, risk: str) -> None:
    """Erased by its owner is told as that and names no code; a recovery file is told as one; both say what to do."""
    made = words.begun_anew(erased, NOON)
    assert (made.title, made.risk) == (title, risk)
    assert (
        made.outcome
        == "Passwords and keys of the people before no longer open it; what they allowed or agreed to is off."
    )
    assert made.undo.endswith("privet credentials show --once")
    assert ("recovery file" in told(made)) is not erased


def test_an_erased_device_says_so_at_its_next_start(used: Kept) -> None:
    """After `privet erase --all` the new owner is told of an erasure, not of a recovery file that nobody laid."""
    erase(used)
    restarted(used)
    said = [row["text"] for row in used.told()]
    assert [text for text in said if "erased by its owner" in text]
    assert not [text for text in said if "set back to private with its recovery file" in text]


def test_a_recovery_file_is_told_as_one(used: Kept) -> None:
    """The known-bad twin: the same start without the owner's word is told as the recovery file's."""
    glass.keep(used.system, glass.ASKED, {"state": "asked"})
    restarted(used)
    said = [row["text"] for row in used.told()]
    assert [text for text in said if "set back to private with its recovery file" in text]
    assert not [text for text in said if "erased by its owner" in text]
