"""What the owner is told, and what became of it."""

import time

from agent.core.assess import OK, WAIVED, Finding
from agent.core.clock import Clock
from agent.core.egress import Count
from agent.core.record import replace
from agent.core.setting import Setting
from agent.core.shown import brief, many, spell, typed
from agent.core.trial import AFAR, SHUT, Trial
from agent.core.waiver import Waiver
from agent.core.warn import PrivacyWarning, notable, told, warning_of
from agent.guard.books import Journal
from agent.system.moments import moment

CONFIRM_BY = "sign in anew (by SSH, or at the device) and run: sudo privet confirm"
NAMES = {"console": "at the device", "ssh_key": "SSH with a key", "ssh_password": "SSH with a password"}


def terms(left: int, clock: Clock) -> str:
    """Say until when a change is on trial, and how to keep it."""
    at = moment(clock.wall + left, "%H:%M")
    return f"it is undone at {at} (in {many(max(1, (left + 30) // 60), 'minute')}) unless you {CONFIRM_BY}"


def waiting(trial: Trial, left: int, clock: Clock) -> PrivacyWarning:
    """Write that the owner is waited for."""
    lost = [NAMES.get(way.name, way.name) for way in trial.before if way.reach == AFAR and way.state != SHUT]
    risk = f"It may be that you cannot get in from another computer any more ({', '.join(lost)})." if lost else ""
    title = f"On trial: {trial.title}"
    return notable("trial", trial.setting, title, risk, f"Made private; {terms(left, clock)}", clock)


def damaged(said: str, clock: Clock) -> PrivacyWarning:
    """Write that a record is damaged."""
    return notable("trial", "", "A change on trial can no longer be judged", "", said, clock)


def undone(
    trial: Trial, setting: Setting | None, why: str, left: tuple[str, ...], by_itself: bool, clock: Clock
) -> PrivacyWarning:
    """Write that a change was set back, and who tries it again."""
    again = "Privet tries it again by itself" if by_itself else f"To try again: privet tighten {trial.setting}"
    done = f"It is less private than it should be, because {why}. {again}"
    if left:
        done += f". Not everything could be set back: {', '.join(left)}"
    risk = setting.risk if setting else ""
    return notable("trial", trial.setting, f"Set back to what it was before: {trial.title}", risk, done, clock)


def stuck(trial: Trial, cause: str, clock: Clock) -> PrivacyWarning:
    """Write that a trial cannot be ended now."""
    title = f"A change on trial can be neither kept nor set back now: {trial.title}"
    done = f"It is tried again every minute, and at the next start of this device. The reason given: {cause}"
    return notable("trial", trial.setting, title, "", done, clock)


def contested(setting: Setting, writers: tuple[str, ...], clock: Clock) -> PrivacyWarning:
    """Write that another program keeps undoing a setting, and which."""
    by = ", ".join(writers) if writers else "a program that could not be identified"
    title = f"Something keeps undoing: {setting.title}"
    done = f"Privet has set it back 5 times within 10 minutes and now leaves it for an hour. It is written by {by}."
    return notable("contested", setting.id, title, setting.risk, done, clock)


def ended(setting: Setting, finding: Finding, clock: Clock) -> PrivacyWarning:
    """Write that a leave is over and what came of it."""
    done = "It is private again." if finding.status == OK else f"But: {finding.cause or finding.status}."
    return notable("ended", setting.id, f"The time you gave is over: {setting.title}", "", done, clock)


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


def begun_anew(erased: bool, clock: Clock) -> PrivacyWarning:
    """Write that the device was reset: erased by its owner, else by its recovery file."""
    title = f"This device was {'erased by its owner' if erased else 'set back to private with its recovery file'}"
    taken = "It belongs to whoever takes the new password."
    risk = taken if erased else "Whoever had the device in hand and its recovery code is its owner now."
    done = "Passwords and keys of the people before no longer open it; what they allowed or agreed to is off."
    undo = "The new password and recovery code, once: privet credentials show --once"
    return replace(notable("policy", "", title, risk, done, clock), undo=undo)


def unlinked(cause: str, clock: Clock) -> PrivacyWarning:
    """Write that the broker, which was reached before, is out of reach."""
    title = "Your receiver cannot be reached since this device started; before, it could"
    done = f"Readings you agreed to wait here, sealed. The reason given: {cause or 'none'}"
    return notable("failed", "", title, "", done, clock)


def no_room(cause: str, clock: Clock) -> PrivacyWarning:
    """Write that the disk takes nothing, and what that means."""
    title = "Nothing can be written on this device now: its disk is full, read-only or failing"
    risk = "What is told and journaled meanwhile is lost if power goes; until then it waits and is written later."
    done = (
        "Privet goes on: what it can set back without the disk, it sets back. It changes no way of signing in, and "
        f"takes no new leave or consent. The reason given: {cause}. See df -h and the log; free some space"
    )
    return notable("failed", "", title, risk, done, clock)


def noted(warning: PrivacyWarning) -> Journal:
    """Write the journal entry of a warning."""
    return "warned", {"kind": warning.kind, "setting": warning.setting, "text": told(warning)}


def settled(warning: PrivacyWarning, seen: Finding, final: Finding, attempt: str | None, by: str) -> PrivacyWarning:
    """Complete a warning with what came of it, where it was found, who wrote it, and what is left to do."""
    found = f" Found in: {warning.outcome}." if warning.outcome else ""
    said = attempt or ""
    undo = warning.undo
    if attempt == "":
        said = "Privet tried to set it back and it is still open."
        if final.status != OK and final.cause and final.kept == final.wanted:
            said, found = f"Privet has set it back; {final.cause}.", ""
        if final.status == OK:
            said = "Privet has set it back; nothing is left for you to do."
            undo = f"If you want it for a while: privet loosen {warning.setting} {typed(seen.found)} --for 2h"
    return replace(warning, outcome=(said + found + by).strip(), undo=undo)


def memory_lost(lost: str, clock: Clock) -> PrivacyWarning:
    """Say that the state had to be begun anew."""
    title = "Privet's own memory was damaged or removed, and begun anew"
    risk = "Whoever did it may have wanted to hide something. What you had allowed or agreed to is off again."
    return notable("failed", "", title, risk, lost, clock)


def allowed(finding: Finding, setting: Setting, waiver: Waiver, risk: str, clock: Clock) -> PrivacyWarning:
    """Warn about a loosening that the owner asked for."""
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(waiver.until))
    where = f" for {waiver.context}" if waiver.context else ""
    return replace(
        warning_of(replace(finding, status=WAIVED, found=waiver.ceiling), setting, waiver, clock),
        risk=risk,
        outcome=f"Allowed{where} by {waiver.by} until {until} at the latest, then set back. Reason: {waiver.reason}",
        title=f"{setting.title}: allowed{where} to be {brief(spell(waiver.ceiling))} for a while",
    )


def of_waiver(waiver: Waiver) -> dict[str, str]:
    """Say in the journal which leave is meant."""
    return {"setting": waiver.setting, **({"context": waiver.context} if waiver.context else {})}


def asks_looser(names: tuple[str, ...], clock: Clock) -> PrivacyWarning:
    """Say that a policy from afar wants less than the owner has."""
    title = f"A new policy asks for looser settings: {', '.join(names)}"
    done = "Nothing was loosened. If you want one of them for a while: privet loosen"
    return notable("policy", "", title, "", done, clock)


def other_version(name: str, setting: Setting | None, clock: Clock) -> PrivacyWarning:
    """Say that the version of Privet that is installed now does not know a setting, or knows it with other choices."""
    over = "What you had allowed there is over."
    if setting is not None:
        title = f"This version of Privet has other choices for: {setting.title}"
        return notable("policy", name, title, "", f"It is kept at the strictest of them. {over}", clock)
    title = f"This version of Privet does not know: {name}"
    risk = "Nobody keeps that private any more, and nobody tells you when it is changed."
    done = f"It stays as it is now. {over} Install a version of Privet that knows it."
    return notable("policy", "", title, risk, done, clock)


def unexplained(count: Count, over: int, known: int, clock: Clock) -> PrivacyWarning:
    """Say that more left, by the kernel's count, than what was given to the courier explains."""
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(count.since))
    title = f"The part of Privet that talks to the network sent {size(over)} more than can be explained since {since}"
    risk = "Something may use Privet's own way out to send what you never agreed to."
    done = f"The kernel counted {size(count.sent)}; what it was given to send explains {size(known)} at most."
    undo = "To look: privet journal --egress. To stop it: sudo systemctl stop privet-courier (nothing is lost)"
    return replace(notable("egress", "", title, risk, done, clock), undo=undo)


def seeping(days: int, over: int, clock: Clock) -> PrivacyWarning:
    """Say that more left in many days than can be explained, little by little."""
    title = f"The part of Privet that talks to the network sent {size(over)} more than can be explained in {days} days"
    risk = "Something may use Privet's own way out to send, little by little, what you never agreed to."
    undo = "To look: privet journal --egress. To stop it: sudo systemctl stop privet-courier (nothing is lost)"
    return replace(notable("egress", "", title, risk, "No single day of them stood out.", clock), undo=undo)


def size(count: int) -> str:
    """Say how many bytes."""
    if count < 10_000_000:
        return f"{(count + 500) // 1000} kB"
    return f"{(count + 500_000) // 1_000_000} MB"
