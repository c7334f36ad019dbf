"""What the owner is told about changes on trial."""

import time

from agent.core.clock import Clock
from agent.core.record import replace
from agent.core.setting import Setting
from agent.core.trial import AFAR, SHUT, Trial
from agent.core.warn import PrivacyWarning, notable

CONFIRM_BY = "sign in anew (by SSH, or at the device) and run: sudo privet confirm"
NAMES = {"console": "at the device", "ssh_key": "SSH with a key", "ssh_password": "SSH with a password"}


def terms(left: int, clock: Clock) -> str:
    """Say until when a change is on trial, and how to keep it."""
    at = time.strftime("%H:%M", time.localtime(clock.wall + left))
    return f"it is undone at {at} (in {max(1, (left + 30) // 60)} minutes) unless you {CONFIRM_BY}"


def waiting(trial: Trial, left: int, clock: Clock) -> PrivacyWarning:
    """Write that the owner is waited for."""
    lost = [NAMES.get(way.name, way.name) for way in trial.before if way.reach == AFAR and way.state != SHUT]
    risk = f"It may be that you cannot get in from another computer any more ({', '.join(lost)})." if lost else ""
    title = f"On trial: {trial.title}"
    return notable("trial", trial.setting, title, risk, f"Made private; {terms(left, clock)}", clock)


def damaged(said: str, clock: Clock) -> PrivacyWarning:
    """Write that a record is damaged."""
    return notable("trial", "", "A change on trial can no longer be judged", "", said, clock)


def undone(trial: Trial, setting: Setting | None, why: str, left: tuple[str, ...], clock: Clock) -> PrivacyWarning:
    """Write that a change was set back."""
    done = f"It is less private than it should be, because {why}. To try again: privet tighten {trial.setting}"
    if left:
        done += f". Not everything could be set back: {', '.join(left)}"
    risk = setting.risk if setting else ""
    return notable("trial", trial.setting, f"Set back to what it was before: {trial.title}", risk, done, clock)


def fallen_back(aside: str, bare: bool, unhealthy: int, clock: Clock) -> PrivacyWarning:
    """Write that a policy was set aside because the device did not get well with it."""
    title = f"This device did not start well {unhealthy} times in a row"
    now = (
        "every setting stands at its strictest"
        if bare
        else "the policy before it, with which it was well, counts again"
    )
    done = f"Set aside: {aside}; {now}. Ask whoever sent it for a better one."
    return notable("policy", "", title, "", done, clock)


def begun_anew(clock: Clock) -> PrivacyWarning:
    """Write that the device was reset by its recovery file."""
    title = "This device was set back to private with its recovery file"
    risk = "Whoever had the device in hand and its recovery code is its owner now."
    done = "Passwords and keys of the people before no longer open it; what they allowed or agreed to is off."
    undo = "The new password and recovery code, once: privet credentials show --once"
    return replace(notable("policy", "", title, risk, done, clock), undo=undo)


def unlinked(cause: str, clock: Clock) -> PrivacyWarning:
    """Write that the broker, which was reached before, is out of reach."""
    title = "Your receiver cannot be reached since this device started; before, it could"
    done = f"Readings you agreed to wait here, sealed. The reason given: {cause or 'none'}"
    return notable("failed", "", title, "", done, clock)
