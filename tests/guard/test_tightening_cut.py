"""A power cut while something is tightened: what was private before is private again at the next start."""

import pytest

from agent.core.trial import Trial
from agent.guard import trial as kept_trial
from agent.guard.proving import Proving
from tests.guard.conftest import Kept


class CutError(BaseException):
    """The power goes."""


class Dark(Proving):
    """A guard whose power goes right behind the last step of a change."""

    def judged(self, trial: Trial) -> str:
        """End here."""
        raise CutError


@pytest.mark.parametrize("early", [True, False])
def test_power_that_goes_while_it_is_tightened_keeps_nothing_open(fresh: Kept, early: bool) -> None:
    """The end of a leave is undone by a power cut, and made anew at the next start: it was in force before."""
    fresh.start()
    fresh.turn()
    assert fresh.status("ssh.password") == "ok"
    fresh.loosen("ssh.password", "yes")
    fresh.house.guard.proving.__class__ = Dark
    with pytest.raises(CutError):
        fresh.ask("tighten", setting="ssh.password")
    fresh.stop()
    fresh.system.crash()
    if early:
        assert "is set back" in kept_trial.revert_armed(fresh.system)[0]
    fresh.start()
    fresh.turn()
    assert kept_trial.recorded(fresh.system) is None
    assert fresh.status("ssh.password") == "ok"
    said = [w.outcome for w in fresh.warnings("trial") if w.title.startswith("Set back")]
    assert said and all("Privet tries it again by itself" in one and "privet tighten" not in one for one in said)
