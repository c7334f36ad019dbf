"""Start the courier (`python -m agent.courier`): it gives up root, then its reach over the disk, then serves."""

import signal
import sys
from pathlib import Path
from typing import NoReturn

from agent.core.errors import PrivetError
from agent.courier import cage
from agent.courier.process import Courier

SOCKET, HOME, USER = Path("/run/privet/courier.sock"), Path("/var/lib/privet-courier"), "privet"


def asked(words: list[str]) -> tuple[Path, Path, str]:
    """Return socket, home and user; what reads words is loaded only where there are any, to spare the memory."""
    if not words:
        return SOCKET, HOME, USER
    import argparse

    parser = argparse.ArgumentParser(prog="privet-courier", description="The network half of Privet.")
    parser.add_argument("--socket", type=Path, default=SOCKET, help="where the guard listens")
    parser.add_argument("--home", type=Path, default=HOME, help="ca.pem, cert.pem, key.pem")
    parser.add_argument("--user", default=USER, help="whom to become when started as root (name or number)")
    options = parser.parse_args(words)
    return options.socket, options.home, options.user


def main() -> int:
    """Run until told to stop; return the exit code."""
    place, home, user = asked(sys.argv[1:])
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        cage.drop(user)
        for lack in cage.confine(home):
            print(f"courier: {lack}", file=sys.stderr, flush=True)  # noqa: T201 - the journal reads standard error
        Courier(place, home).run()
    except PrivetError as error:
        print(f"courier: {error}", file=sys.stderr)  # noqa: T201 - the same
        return error.exit_code
    return 0


def _stop(_number: int, _frame: object) -> NoReturn:
    """Leave wherever we are; what is open is closed on the way out."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
