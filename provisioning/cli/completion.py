"""The verb that prints shell completion."""

import click
from click.shell_completion import get_completion_class

from agent.core.errors import BadInput


@click.command(
    epilog="""\b
Examples:
  privet-fleet completion bash > ~/.local/share/bash-completion/completions/privet-fleet
  privet-fleet completion fish > ~/.config/fish/completions/privet-fleet.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what your shell needs to complete privet-fleet commands."""
    made = get_completion_class(shell)
    if made is None:
        raise BadInput(f"there is no completion for {shell}; use bash, zsh or fish")
    click.echo(
        made(click.get_current_context().find_root().command, {}, "privet-fleet", "_PRIVET_FLEET_COMPLETE").source()
    )
