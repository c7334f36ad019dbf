"""What leaves, what has left, what can be taken away: `privet preview`, `privet journal --egress`, `privet export`."""

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import click

from agent.cli import show
from agent.cli.call import call
from agent.core.errors import BadInput, Unreadable
from agent.system.moments import moment

README = """What this device keeps about you, as of {at}.

settings.json    every setting, how it was found, what you allowed, every warning
policy.json      the rules this device was given: what is declared, for whom
consents.json    what you were asked, and answered
consents.jsonld  the same as consent records for other programs (ISO/IEC TS 27560, W3C DPV)
deletions.json   which recipients were asked to delete what they have: the request as it was signed, and the receipt
telemetry.json   what waits to be sent; it is sealed to its recipients, nobody on the device can read it any more
withheld.json    how many readings did not leave, of which field and why; none of their values is kept
egress.jsonl     every message that was sealed to leave: why, to whom, how large, the sha256 of its content
journal.jsonl    everything that happened on this device, as Privet saw it

Ask the recipients named in consents.json for what they hold.
"""
BEYOND = 1 << 62  # after every entry: what is not kept yet
STAMP = (1980, 1, 1, 0, 0, 0)  # a ZIP has no time zone; when it was made stands in README.txt


def ledger() -> Iterator[dict[str, Any]]:
    """Return every entry of the egress ledger there is now, oldest first; a journal that grows meanwhile has an end."""
    page: dict[str, Any] = {"next": 0}
    end = 0
    while page["next"] is not None:
        since = page["next"] if not end or page["next"] < end else BEYOND
        page = call("control", {"op": "egress", "since": since})
        end = end or page.get("head", 0)
        yield from page["rows"]


def show_egress(*, as_json: bool) -> None:
    """Show what was sealed to leave, a line per day and purpose."""
    rows = list(ledger())
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    days: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        for line in row["lines"]:
            key = (moment(int(line["at"]))[:10], row["purpose"], ", ".join(row["to"]))
            count = days.setdefault(key, [0, 0])
            count[0] += 1
            count[1] += line["bytes"]
    for (day, purpose, to), (messages, size) in sorted(days.items()):
        click.echo(f"{day}  {purpose:<16} {messages:>6} message(s) {size:>9} bytes  sealed to {to}")
    lost = sum(row["lost"] for row in rows)
    if lost:
        click.echo(f"{lost} more could not be written down, because the disk took nothing for too long.")
    if not days:
        click.echo("Nothing was sealed to leave this device.")
    counted = call("control", {"op": "egress", "counted": True})["counted"]
    if counted:
        click.echo(f"What left: {show.reconciled(counted)}")
        for name, size in counted.get("parts", {}).items():
            click.echo(f"  {name:<12} explains up to {size:>9} bytes")


@click.command(
    short_help="Exactly what would leave, before it does.",
    epilog="\b\nExamples:\n  sudo privet preview\n  sudo privet preview temperature=21.537 --json",
)
@click.argument("readings", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON, for programs.")
def preview(readings: tuple[str, ...], *, as_json: bool) -> None:
    """Show exactly what would leave for READINGS (name=number), before it is sealed; nothing is sent.

    Without readings: the latest message of each purpose.
    """
    row = dict(reading.partition("=")[::2] for reading in readings)
    if "" in row or "" in row.values():
        raise BadInput("a reading is name=number, for example temperature=21.5")
    answer = call("control", {"op": "preview", **({"send": row} if row else {})})
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    for message in answer["messages"]:
        to = ", ".join(f"{one['name']} ({one['country']})" for one in message["to"])
        click.secho(f"[{message['purpose']}]  {message['title']}, to {to}", bold=True)
        base = 0
        for entry in message["pack"]:
            base = entry.get("bt", base)
            click.echo(f"  {moment(base + entry.get('t', 0))}  {entry['n']} = {entry['v']} {entry['u']}")
        if not message["pack"]:
            click.echo("  Nothing was sealed since the guard started.")
        else:
            click.echo(f"  {message['bytes']} bytes before sealing, sha256 {message['digest'][:16]}…")
        if message["refused"]:
            click.echo(f"  It would not leave: {message['refused']}")
    if not answer["messages"]:
        click.echo("This device's profile declares no telemetry: nothing is collected or sent.")


@click.command(
    short_help="Everything that is kept here about you, in one file.",
    epilog="\b\nExample:\n  sudo privet export everything.zip",
)
@click.argument("file", type=click.Path(dir_okay=False))
def export(file: str) -> None:
    """Write everything that is kept here about you into FILE, one ZIP of open formats.

    Passwords and keys are not in it. The file can be read by you alone; an existing one is not overwritten.
    """
    import zipfile  # here, and the receipts below: the other verbs shall stay quick

    from agent.cli.receipts import records

    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise BadInput(f"{file} is there already; choose another name") from None
    except OSError as error:
        raise Unreadable(f"{file} cannot be written ({error.strerror}); choose another place") from None
    try:
        with os.fdopen(number, "wb") as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            add(archive, "README.txt", README.format(at=moment(int(time.time()))))
            standing = call("control", {"op": "status"})
            add(archive, "settings.json", told(standing))
            add(archive, "policy.json", told(part("policy")["policy"]))
            consents = part("consents")
            add(archive, "consents.json", told(consents["rows"]))
            add(archive, "consents.jsonld", told(records(consents)))
            add(archive, "deletions.json", told(consents["deletions"]))
            telemetry = part("telemetry")
            add(archive, "telemetry.json", told(telemetry["rows"]))
            add(archive, "withheld.json", told(telemetry["withheld"]))
            add(archive, "egress.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ledger()))
            add(archive, "journal.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in entries()))
    except BaseException as error:
        os.unlink(file)
        if isinstance(error, OSError):
            raise Unreadable(f"{file} cannot be written ({error.strerror}); choose another place") from None
        raise
    click.echo(f"Everything kept here about you is in {file}. Look at README.txt in it first.")


def part(name: str, **more: object) -> dict[str, Any]:
    """Ask for one part."""
    return call("control", {"op": "export", "part": name, **more})


def entries() -> Iterator[dict[str, Any]]:
    """Return the whole journal, oldest first."""
    after = 0
    while rows := part("journal", after=after)["entries"]:
        yield from rows
        after = int(rows[-1]["seq"])


def told(value: object) -> str:
    """Write JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def add(archive: Any, name: str, text: str) -> None:
    """Add one file to a ZIP."""
    import zipfile

    made = zipfile.ZipInfo(name, STAMP)
    made.compress_type = zipfile.ZIP_DEFLATED
    made.external_attr = 0o600 << 16
    archive.writestr(made, text)
