"""Verbs that need no guard, but root. What they do is loaded when it is asked for: the other verbs shall stay quick."""

import click


@click.command(
    short_help="Begin to keep this device private.",
    epilog="\b\nExamples:\n  sudo privet setup --preview\n  sudo privet setup",
)
@click.option("--preview", is_flag=True, help="Only say which programs that others use would be closed to them.")
def setup(*, preview: bool) -> None:
    """Begin to keep a device private that no fleet has flashed; also after privet restore.

    It gets an identity and a policy of its own. Whose account is the owner's can be said in /etc/privet/setup.toml.
    """
    from agent.cli import machine

    machine.preview_setup() if preview else machine.setup()


@click.command(
    "board-key",
    short_help="Print this board's public key, for its maker.",
    epilog="\b\nExample:\n  sudo privet board-key --serial >> boards.csv",
)
@click.option("--serial", is_flag=True, help="With this board's serial number in front: a row for privet-fleet batch.")
def board_key(*, serial: bool) -> None:
    """Print the public key of this board: a seed that is sealed to it opens here and nowhere else.

    The private key is made when there is none, and never leaves this device.
    """
    from agent.cli import machine

    machine.board_key(serial=serial)


@click.command(
    short_help="Undo everything, and end the guarding.",
    epilog="\b\nExamples:\n  sudo privet restore\n  sudo privet restore --yes",
)
@click.option("--yes", "agreed", is_flag=True, help="Do it without being asked; the risk is printed all the same.")
def restore(*, agreed: bool) -> None:
    """Put everything back as it was before Privet, and end the guarding.

    What would be put back, and what may be open then, is shown before. New passwords and host keys stay.
    """
    from agent.cli import machine

    machine.restore(agreed=agreed)
