"""Who may do what: a refusal says what to do next."""

import pytest

from agent.core.errors import Refused
from agent.core.role import ACTS, NOBODY, OWNER, require


def test_whoever_is_refused_reads_how_to_do_it_all_the_same():
    """The owner types a command without sudo before anything else: the sentence has no riddle in it, and names sudo."""
    for act in ACTS[OWNER]:
        require(OWNER, act)
        if act in ACTS[NOBODY]:
            continue
        with pytest.raises(Refused) as refused:
            require(NOBODY, act)
        assert str(refused.value) == (
            f"{act} is not allowed to you (your role here: nobody); run it with sudo, or ask the owner"
        )
