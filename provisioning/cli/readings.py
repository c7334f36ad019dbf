"""Verbs about the readings that a collector keeps: hand them to other programs, forget what is over its time."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import click

from agent.core.errors import BadInput, Unreadable
from agent.core.shown import many
from provisioning.cli.answer import answer, answers, console, profile_path, with_fleet, with_profiles
from provisioning.cli.opened import hand_out, open_fleet, opened_store, with_reader, with_recipient, with_store
from provisioning.cli.readers import grant, who, withdraw
from provisioning.collector.forms import form, forms
from provisioning.collector.pseudonym import Pseudonyms
from provisioning.collector.receive import Collector, Reading
from provisioning.fleet.identity import Fleet
from provisioning.profile.catalogue import shipped
from provisioning.profile.inherit import load
from provisioning.profile.issue import pseudonym_spans

DAY = 86400


@click.group(
    short_help="Hand out received readings, or forget those over their time.",
    epilog="\b\nExamples:\n  privet-fleet readings export climate.csv --purpose climate\n"
    "  privet-fleet readings forget --profile base",
)
def readings() -> None:
    """Hand received readings to other programs, and forget those over their time; say who may read them."""


for verb in (grant, withdraw, who):
    readings.add_command(verb)


@readings.command(
    epilog="\b\nExamples:\n  privet-fleet readings export climate.csv --purpose climate\n"
    "  privet-fleet readings export all.parquet --as parquet --after 1200"
)
@with_fleet
@answers
@with_recipient
@with_store
@with_reader
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--as", "name", type=click.Choice(forms()), default="csv", show_default=True, help="The form.")
@click.option("--purpose", help="Only of this purpose.")
@click.option("--device", help="Only of this device.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only what arrived after this number; see --json.")
@click.option("--named", is_flag=True, help="With the devices' own names, counts and seconds instead of pseudonyms.")
def export(
    fleet_directory: Path, passphrase_fd: int | None, recipient: str, store: str | None, reader: str, file: Path,
    name: str, purpose: str | None, device: str | None, after: int, named: bool,
) -> None:  # fmt: skip
    """Open what was received and write it to FILE, which you alone can read; an existing one is not overwritten.

    Devices have pseudonyms in it that change as their purpose promises, every 30 days if it says nothing; with --named
    they have their names. Which device a pseudonym is, only the recipient's key can tell.

    The answer names the number of the last arrival, so that the next export can go on --after it.
    """
    fleet = open_fleet(fleet_directory, passphrase_fd)
    troubles: list[str] = []
    collector = opened(fleet, recipient, store, troubles)
    names = Pseudonyms(fleet.pseudonym_key(recipient), pseudonym_spans(fleet))
    until = max(after, collector.store.last())

    def wanted() -> Iterator[Reading]:
        for one in collector.readings(after):
            if one.arrival > until:
                return
            if purpose in (None, one.place.purpose) and device in (None, one.place.device):
                yield one

    try:
        if file.exists():
            raise BadInput(f"{file} is there already; choose another name")
        hand_out(collector, reader, "export", purpose, after)
        count = put(file, lambda out: form(name).write(wanted() if named else names.renamed(wanted()), out))
    finally:
        collector.store.close()
    for text in troubles:
        console(err=True).print(f"privet-fleet: {text}", markup=False)
    result = {"file": str(file), "form": name, "readings": count, "after": until, "troubles": troubles}
    answer({**result, "named": named}, lambda to: to.print(f"✓ {many(count, 'reading')}: {file}", markup=False))


def put(file: Path, write: Callable[[BinaryIO], int]) -> int:
    """Write a file whole or not at all, for its owner's eyes; return what `write` says."""
    part = file.with_name(file.name + ".part")
    try:
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "wb") as out:
            os.fchmod(out.fileno(), 0o600)
            count = write(out)
            out.flush()
            os.fsync(out.fileno())
        part.rename(file)
    except OSError as error:
        raise Unreadable(f"{file} cannot be written ({error.strerror}); choose another place") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return count


@readings.command(
    epilog="\b\nExamples:\n  privet-fleet readings forget --profile base\n"
    "  privet-fleet readings forget --purpose climate --days 7 --dry-run"
)
@with_fleet
@with_profiles
@answers
@with_recipient
@with_store
@click.option("--profile", "profile", help="Keep each purpose as long as this profile promises.")
@click.option("--purpose", help="This purpose alone.")
@click.option("--device", default="", help="This device alone.")
@click.option("--days", type=click.IntRange(0, 3650), help="Keep this many days, with --purpose.")
@click.option("--dry-run", "dry", is_flag=True, help="Say what would be forgotten, and forget nothing.")
def forget(
    fleet_directory: Path, passphrase_fd: int | None, profiles: Path | None, recipient: str, store: str | None,
    profile: str | None, purpose: str | None, device: str, days: int | None, dry: bool,
) -> None:  # fmt: skip
    """Remove readings that are kept longer than promised; their numbers stay known. Meant to run every day."""
    spans = kept_days(profiles, profile, purpose, days)
    fleet = open_fleet(fleet_directory, passphrase_fd)
    kept = opened(fleet, recipient, store, []).store
    now, gone = int(time.time()), {}
    try:
        for name, span in sorted(spans.items()):
            with kept.transaction():
                gone[name] = (
                    kept.over(now - span * DAY, device, name) if dry else kept.forget(now - span * DAY, device, name)
                )
    finally:
        kept.close()
    said = ", ".join(f"{name} {count}" for name, count in gone.items())
    verb = "would be" if dry else "are"
    answer(
        {"forgotten": gone, "dry_run": dry},
        lambda to: to.print(f"✓ Records that {verb} forgotten: {said}", markup=False),
    )


def kept_days(profiles: Path | None, profile: str | None, purpose: str | None, days: int | None) -> dict[str, int]:
    """Return how long each purpose is kept: as a profile promises, or as was given for one purpose."""
    if profile is not None and days is None:
        whole = load(profile_path(profile, profiles), shipped()).profile
        found = {one.id: one.retention_days for one in whole.purpose if purpose in (None, one.id)}
        if purpose is not None and not found:
            raise BadInput(f"the profile {profile} has no purpose {purpose!r}; privet-fleet profile explain {profile}")
        return found
    if purpose is None or days is None or profile is not None:
        raise BadInput("say how long: --profile NAME, or --purpose NAME --days N")
    return {purpose: days}


def opened(fleet: Fleet, recipient: str, store: str | None, troubles: list[str]) -> Collector:
    """Open a recipient's store, which must be there."""
    kept = opened_store(fleet, recipient, store)
    return Collector(fleet.name, recipient, fleet.recipient_key(recipient), kept, troubles.append)
