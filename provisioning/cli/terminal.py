"""The text console: what rich prints ends like everything else when nobody reads on."""

from typing import NoReturn

from rich.console import Console


class Terminal(Console):
    """A console that leaves a closed pipe to `ending`."""

    def on_broken_pipe(self) -> NoReturn:
        """Say it as Python does; rich itself would end with 1, the code of an error."""
        raise BrokenPipeError
