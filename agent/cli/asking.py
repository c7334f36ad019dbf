"""Ask the owner for a yes or a word. Without anybody there to say it, the answer is no, in words."""

import click

from agent.core.errors import BadInput, Refused


def agrees(question: str) -> bool:
    """Ask, and say what was answered; Refused when nobody answers."""
    try:
        if click.confirm(question, default=False):
            return True
    except click.Abort:
        click.echo()
        raise Refused("nobody answered, so nothing was changed; to agree without being asked, add --yes") from None
    click.echo("Nothing was changed.")
    return False


def said(question: str, option: str) -> str:
    """Ask for a few words; BadInput, which names the option that says them, when nobody answers."""
    try:
        return str(click.prompt(question, type=str, err=True))
    except click.Abort:
        click.echo(err=True)
        raise BadInput(f"nobody answered, so nothing was changed; say it with {option}") from None
