"""Verbs about who may read: grants, their review, and who read what."""

import time
from pathlib import Path

import click
from rich.console import Console

from agent.core.shown import many
from provisioning.cli.answer import answer, answers, with_fleet
from provisioning.cli.opened import open_fleet, opened_store, with_recipient, with_store
from provisioning.collector import readers


@click.command(epilog="\b\nExample:\n  privet-fleet readings grant ada --purpose climate --days 180")
@with_fleet
@answers
@with_recipient
@with_store
@click.argument("name")
@click.option("--purpose", "purposes", multiple=True, required=True, help="What NAME may read; repeat it for each.")
@click.option("--days", type=click.IntRange(1, 365), default=365, show_default=True, help="Days until the review.")
def grant(
    fleet_directory: Path, passphrase_fd: int | None, recipient: str, store: str | None, name: str,
    purposes: tuple[str, ...], days: int,
) -> None:  # fmt: skip
    """Let NAME read purposes, until a review is due; from the first grant on nobody else reads anything.

    NAME is an account of this machine, or with PostgreSQL a role of the database, which then sees these purposes alone.
    """
    kept = opened_store(open_fleet(fleet_directory, passphrase_fd), recipient, store)
    try:
        until = [readers.give(kept, name, purpose, days) for purpose in purposes][-1]
    finally:
        kept.close()
    result = {"reader": name, "purposes": list(purposes), "review_by": until}
    told = f"✓ {name} may read {', '.join(purposes)} until {day(until)}; look at it again before."
    answer(result, lambda to: to.print(told, markup=False))


@click.command(epilog="\b\nExample:\n  privet-fleet readings withdraw ada --purpose climate")
@with_fleet
@answers
@with_recipient
@with_store
@click.argument("name")
@click.option("--purpose", default="", help="This purpose alone.  [default: all]")
def withdraw(
    fleet_directory: Path, passphrase_fd: int | None, recipient: str, store: str | None, name: str, purpose: str
) -> None:
    """Take back what NAME may read, at once."""
    kept = opened_store(open_fleet(fleet_directory, passphrase_fd), recipient, store)
    try:
        count = readers.take(kept, name, purpose)
    finally:
        kept.close()
    answer({"withdrawn": count}, lambda to: to.print(f"✓ {many(count, 'grant')} of {name} ended.", markup=False))


@click.command("readers", epilog="\b\nExample:\n  privet-fleet readings readers")
@with_fleet
@answers
@with_recipient
@with_store
@click.option("--seen", is_flag=True, help="Who read what, and when, instead.")
def who(fleet_directory: Path, passphrase_fd: int | None, recipient: str, store: str | None, seen: bool) -> None:
    """List who may read which purpose, and what is due for review; or who read what."""
    kept = opened_store(open_fleet(fleet_directory, passphrase_fd), recipient, store)
    try:
        granted, noted = readers.grants(kept), readers.notes(kept) if seen else []
    finally:
        kept.close()
    now = time.time()
    rows = [
        {"reader": g.name, "purpose": g.purpose, "review_by": g.review_by, "due": g.review_by <= now} for g in granted
    ]
    lines = [{key: getattr(note, key) for key in readers.Note.__slots__} for note in noted]

    def show(to: Console) -> None:
        for one in granted:
            due = "  DUE FOR REVIEW" if one.review_by <= now else ""
            if not seen:
                to.print(f"{one.name:<20} {one.purpose:<20} until {day(one.review_by)}{due}", markup=False)
        for note in noted:
            when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(note.at))
            to.print(f"{when}  {note.name:<20} {note.act:<8} {note.purposes}  {note.first}-{note.last}", markup=False)
        if not granted and not seen:
            to.print("Nobody was granted anything: the store is its owner's alone.")

    answer({"seen": lines} if seen else {"readers": rows}, show)


def day(at: int) -> str:
    """Return a date."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))
