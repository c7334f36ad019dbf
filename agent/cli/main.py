"""The verbs of `privet`."""

import json
import sys
from typing import Any

import click

from agent import VERSION
from agent.cli import agreeing, local, rights, show
from agent.cli.asking import agrees, said
from agent.cli.call import Answered, call, first_boot
from agent.cli.ending import ended
from agent.cli.erase import erase
from agent.core.errors import BadInput, PrivetError, Refused, Tampered
from agent.core.shown import many
from agent.core.waiver import LONGEST
from agent.system.moments import moment

UNITS = {"m": 60, "h": 3600, "d": 86400}


class Verbs(click.Group):
    """A group that ends with the sentence and the exit code of a PrivetError, never with a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; a full disk or a closed pipe behind its output ends it in one sentence too."""
        return ended("privet", lambda: super(Verbs, self).main(*args, **kwargs))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        try:
            return ended("privet", lambda: super(Verbs, self).invoke(ctx))
        except PrivetError as error:
            click.echo(f"privet: {error}", err=True)
            ctx.exit(error.exit_code)


def seconds_of(text: str) -> int:
    """Read a time span: 30m, 2h, 1d."""
    unit = UNITS.get(text[-1:])
    if unit is None or not text[:-1].isascii() or not text[:-1].isdigit() or len(text) > 8:
        raise BadInput(f"{text[:20]!r} is no time span; write 30m, 2h or 1d")
    if int(text[:-1]) * unit > LONGEST:
        raise BadInput(f"{text} is too long: a loosening ends by itself after 30d at most")
    return int(text[:-1]) * unit


def out(answer: dict[str, Any], *, as_json: bool) -> bool:
    """Print JSON if that was asked for, and say whether it was."""
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
    return as_json


json_option = click.option("--json", "as_json", is_flag=True, help="Answer as JSON, for programs.")


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  privet status\n  privet explain ssh.password\n"
    '  privet loosen ssh.password yes --for 2h --reason "copying a backup"\n  privet tighten ssh.password',
)
@click.version_option(VERSION, prog_name="privet")
def main() -> None:
    """Keep this device private, and say so in plain words when it is not."""


main.add_command(local.setup)
main.add_command(local.restore)
main.add_command(local.board_key)
main.add_command(rights.preview)
main.add_command(rights.export)
main.add_command(erase)
main.add_command(agreeing.notice)
main.add_command(agreeing.consent)


@main.command(
    short_help="How private this device is now, and the latest warnings.",
    epilog="\b\nExamples:\n  sudo privet status\n  sudo privet status --all\n  sudo privet status --json",
)
@click.option("--all", "every", is_flag=True, help="Also name what is not on this device.")
@json_option
def status(*, every: bool, as_json: bool) -> None:
    """Show how every setting stands, what is allowed for a while, and the latest warnings."""
    begun = first_boot()
    if begun:
        out({"first_boot": begun}, as_json=True) if as_json else click.echo(begun)
        sys.exit(75)
    answer = call("control", {"op": "status"})
    if not out(answer, as_json=as_json):
        show.status(answer, every=every)
    if any(r["status"] in ("loosened", "unknown") for r in answer["findings"]):
        sys.exit(3)


@main.command(
    short_help="What a setting is, and what may follow from each choice.",
    epilog="\b\nExample:\n  privet explain firewall.inbound",
)
@click.argument("setting")
@json_option
def explain(setting: str, *, as_json: bool) -> None:
    """Explain SETTING: what it is, its options, what may follow from each."""
    answer = call("control", {"op": "explain", "setting": setting})
    if not out(answer, as_json=as_json):
        show.explained(answer)


@main.command(
    short_help="Allow something for a while, after reading the risk.",
    epilog='\b\nExamples:\n  privet loosen ssh.password yes --for 2h --reason "copying a backup"\n'
    '  privet loosen ssh.password yes --context "user bob" --for 2h --reason "his first key"',
)
@click.argument("setting")
@click.argument("value")
@click.option("--for", "span", required=True, help="How long: 30m, 2h, 1d; at most 30d.")
@click.option("--context", default="", help="Only there: 'user bob', 'interface eth0'; privet explain names them.")
@click.option("--reason", default="", help="Why, in your own words; it is kept in the journal. Asked for if not given.")
@click.option(
    "--yes", "agreed", is_flag=True, help="Agree to the risk without being asked; it is printed all the same."
)
@json_option
def loosen(setting: str, value: str, span: str, context: str, reason: str, *, agreed: bool, as_json: bool) -> None:
    """Run SETTING at the looser VALUE for a while, after showing the risk."""
    seconds = seconds_of(span)
    told = call("control", {"op": "explain", "setting": setting, "value": value})
    if value == told["wanted"]:
        raise BadInput(f"{setting} is meant to be {value} already, so there is nothing to loosen; see privet status")
    if not as_json:
        show.risk(told, value, seconds, context)
    if not agreed and not agrees("Do you want this?"):
        return
    reason = reason or said("Why, in a few words?", "--reason")
    request = {"op": "loosen", "setting": setting, "value": value, "seconds": seconds, "reason": reason}
    request |= {"context": context} if context else {}
    answer = call("control", {**request, "seen": told["seen"]})
    if not out(answer, as_json=as_json):
        click.echo(f"Done. To end it early: privet tighten {setting}")


@main.command(short_help="Set it back to private now.", epilog="\b\nExample:\n  sudo privet tighten ssh.password")
@click.argument("setting")
@json_option
def tighten(setting: str, *, as_json: bool) -> None:
    """Set SETTING back to private now, and end its waiver."""
    answer = call("control", {"op": "tighten", "setting": setting})
    if not out(answer, as_json=as_json):
        click.echo(show.finding_line(answer["finding"]))
        show.trial(answer)


@main.command(
    short_help="Look at everything now and set back what is loosened.", epilog="\b\nExample:\n  sudo privet enforce"
)
@json_option
def enforce(*, as_json: bool) -> None:
    """Look at everything now and set back whatever is loosened."""
    answer = call("control", {"op": "enforce"})
    if not out(answer, as_json=as_json):
        show.status(answer)


@main.command(
    short_help="Say that you can still get in, and keep a change.", epilog="\b\nExample:\n  sudo privet confirm"
)
@json_option
def confirm(*, as_json: bool) -> None:
    """Keep the change that is on trial: you have signed in since it was made, so you can still get in."""
    answer = call("control", {"op": "confirm"})
    if not out(answer, as_json=as_json):
        click.echo(f"Kept: {answer['confirmed']}")


@main.command(
    short_help="Show the new passwords, once.",
    epilog="\b\nExamples:\n  sudo privet credentials show --once\n  sudo privet credentials sealed",
)
@click.argument("verb", type=click.Choice(["show", "sealed"]))
@click.option("--once", is_flag=True, help="With show: show the new secrets now; they cannot be shown again.")
def credentials(verb: str, *, once: bool) -> None:
    """Show the passwords that replaced the factory ones, once; or print them sealed, as the profile asked for."""
    if verb == "sealed":
        click.echo(call("control", {"op": "credentials", "sealed": True})["sealed"])
        return
    if not once:
        raise BadInput("the new passwords can be shown once only; when you are ready: privet credentials show --once")
    mine, request = False, {"op": "credentials", "once": once}
    try:
        rows = call("control", request)["credentials"]
    except Answered as error:
        if error.exit_code != Refused.exit_code:
            raise
        mine, request = True, {"op": "password"}  # whoever is not the owner: the new password of the own account
        rows = call("control", request)["credentials"]
    if not rows:
        click.echo("Nothing is waiting to be shown" + (" to you; to the owner: with sudo." if mine else "."))
    for row in rows:
        click.echo(f"{row['label']}: {row['secret']}\n  {show.secret(row['label'])}")
    if rows:
        call("control", {**request, "taken": True if mine else [row["label"] for row in rows]})
        click.echo("Write this down now. It is not kept here any more.")
    if any(row["label"] == "recovery/code" for row in rows):
        click.echo("If you ever lose every way in: the code, in privet-recovery.txt on the boot partition, resets it.")


@main.command(
    short_help="What happened on this device, and whether it is all there.",
    epilog="\b\nExamples:\n  privet journal --since 40\n  privet journal --verify\n  privet journal --egress",
)
@click.option("--verify", is_flag=True, help="Check every entry and the whole chain.")
@click.option("--egress", is_flag=True, help="Show every message that was sealed to leave, a line per day and purpose.")
@click.option("--since", default=0, help="Only entries after this number.")
@json_option
def journal(since: int, *, verify: bool, egress: bool, as_json: bool) -> None:
    """Show what happened on this device, or check that nobody has altered the record of it."""
    if egress:
        rights.show_egress(as_json=as_json)
        return
    answer = call("control", {"op": "journal", "verify": verify, "since": since})
    if out(answer, as_json=as_json):
        return
    if verify:
        if not answer["sound"]:
            raise Tampered(f"the journal is damaged: {answer['why']}; keep a copy of /var/lib/privet and ask for help")
        gone = answer.get("pruned", {"count": 0})
        here = many(answer["count"] - gone["count"], "entry")
        click.echo(f"The journal is sound: {here}, end of chain {answer['head'][:16]}.")
        if gone["count"]:
            span = f"from {moment(int(gone['since']))} to {moment(int(gone['until']))}"
            click.echo(f"Before these, {gone['count']} were let go of, {span}.")
            click.echo("They were too old to be kept, or there was no room; the journal says when, as pruned.")
        return
    for row in answer["entries"]:
        click.echo(f"{row['seq']:>6}  {moment(int(row['wall']))}  {row['kind']:<16} {show.entry(row['body'])}")


@main.command(
    short_help="Hand over a reading, for programs.",
    epilog="\b\nExamples:\n  privet send temperature=21.5 humidity=48\n  privet send position=48.137,11.575",
)
@click.argument("readings", nargs=-1, required=True)
@click.option("--at", type=int, help="When it was measured, Unix seconds; otherwise now.")
def send(readings: tuple[str, ...], at: int | None) -> None:
    """Send READINGS (name=number), as far as they are declared and agreed to."""
    row = dict(reading.partition("=")[::2] for reading in readings)
    if "" in row or "" in row.values():
        raise BadInput("a reading is name=number, for example temperature=21.5")
    request: dict[str, Any] = {"send": row}
    if at is not None:
        request["at"] = at
    answer = call("telemetry", request)
    click.echo(f"Kept for sending: {answer['accepted']}.")
