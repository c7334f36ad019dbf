"""How a command ends when it is stopped, or when nobody takes its output: one sentence at most, never a traceback.

For both commands: it is about a terminal and knows nothing of a device, so the host's may import it.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from agent.core.errors import Unreadable

STOPPED, PIPE = 130, 141  # what a shell says of a program that SIGINT or SIGPIPE ended


def ended(program: str, run: Callable[[], Any]) -> Any:
    """Run a command; end with an exit code of its own when Ctrl-C, a closed pipe or a full disk stops it."""
    if sys.stdout is None:  # begun with its output closed
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no such letter shows another
    try:
        try:
            return run()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        tell(f"{program}: stopped")
        sys.exit(STOPPED)
    except BrokenPipeError:
        forget_output()
        sys.exit(PIPE)
    except OSError as error:
        what = f"{error.filename} cannot be used" if error.filename else "the output cannot be written"
        tell(f"{program}: {what} ({error.strerror}); put that right and run it again")
        forget_output()
        sys.exit(Unreadable.exit_code)


def tell(sentence: str) -> None:
    """Say a sentence on the error output, where there is one."""
    if sys.stderr is not None:
        sys.stderr.write(sentence + "\n")


def forget_output() -> None:
    """Let what could not be written go, so that the end of Python does not try it again."""
    number = os.open(os.devnull, os.O_WRONLY)
    os.dup2(number, 1)
    os.close(number)
