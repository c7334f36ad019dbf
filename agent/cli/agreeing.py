"""What the owner is asked and answers: `privet notice`, `privet consent`."""

import json
from typing import Any

import click

from agent.cli import show
from agent.cli.asking import agrees
from agent.cli.call import call
from agent.core.errors import BadInput
from agent.system.moments import moment

WORDS = {"given": "you agreed", "refused": "you refused", "withdrawn": "you took it back"}
ASK = "off: you were not asked yet"
STATES = {"give": "given", "refuse": "refused", "withdraw": "withdrawn"}


@click.command(short_help="What may be collected, why, and who gets it.", epilog="\b\nExample:\n  sudo privet notice")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON, for programs.")
def notice(*, as_json: bool) -> None:
    """Show what this device may collect, why, who gets it, and whether you agreed."""
    answer = call("control", {"op": "notice"})
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    if not answer["purposes"]:
        click.echo("This device's profile declares no telemetry: nothing is collected or sent.")
    for row in answer["purposes"]:
        title(row)
        click.echo(str(row["notice"]))
        for one in row["recipients"]:
            click.echo(stands(one))
        show.withheld(answer, row["fields"])
        click.echo()
    show.withheld(answer, [""])


@click.command(
    short_help="Agree, refuse, or take back what you agreed to.",
    epilog="\b\nExamples:\n  sudo privet consent\n  sudo privet consent give climate\n"
    "  sudo privet consent give climate --to collector\n  sudo privet consent withdraw climate",
)
@click.argument("what", type=click.Choice(sorted(STATES)), required=False)
@click.argument("purpose", required=False)
@click.option("--to", multiple=True, help="This recipient alone, by the name in brackets; otherwise all of them.")
@click.option("--yes", "agreed", is_flag=True, help="Agree without being asked; the notice is printed all the same.")
def consent(what: str | None, purpose: str | None, to: tuple[str, ...], *, agreed: bool) -> None:
    """Give, refuse or withdraw your consent to PURPOSE; without anything, show what you answered."""
    if what is None or purpose is None:
        if what is not None:
            raise BadInput(f"name the purpose: privet consent {what} PURPOSE; privet notice lists them")
        answers(call("control", {"op": "notice"}))
        return
    request: dict[str, Any] = {"purpose": purpose, "to": list(to)}
    seen = ""
    if what == "give":
        row = call("control", {"op": "notice", **request})["purposes"][0]
        click.echo(row["notice"])
        if not agreed and not agrees("Do you agree?"):
            return
        seen = row["seen"]
    done = call("control", {"op": "consent", "state": STATES[what], "seen": seen, **request})
    click.echo(f"Noted: {WORDS[STATES[what]]}: {purpose}{', for ' + ', '.join(to) if to else ''}.")
    if done["asked"]:
        click.echo(f"Asked to delete what they have: {', '.join(done['asked'])}. Whether they did: privet consent")


def answers(answer: dict[str, Any]) -> None:
    """Show what was answered, a line for each recipient."""
    for row in answer["purposes"]:
        title(row)
        for one in row["recipients"]:
            click.echo(stands(one))
    if not answer["purposes"]:
        click.echo("This device's profile declares no telemetry: there is nothing to agree to.")


def title(row: dict[str, Any]) -> None:
    """Show a purpose and how it stands as a whole."""
    given = [one for one in row["recipients"] if one["state"] == "given"]
    some = f", for {len(given)} of {len(row['recipients'])} recipients" if len(given) < len(row["recipients"]) else ""
    click.secho(f"[{row['purpose']}]  {WORDS.get(row['state'], ASK)}{some if given else ''}", bold=True)


def stands(one: dict[str, Any]) -> str:
    """Write how one recipient stands."""
    said = WORDS.get(one["state"], ASK)
    if one["answer"] and one["state"] == one["answer"]["state"]:
        said += f" on {moment(int(one['answer']['at']))}"
    line = f"  {one['name']} ({one['country']}) [{one['id']}]: {said}"
    return line + (f"\n    {show.deletion(one['deletion'])}" if one["deletion"] else "")
