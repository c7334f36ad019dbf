"""Be one hand (`python -m agent.hand NAME`), started by systemd with one connection, for as long as it is asked."""

import contextlib
import os
import socket
import sys
from typing import Any

from agent.core.errors import BadInput, Failed, PrivetError, Refused
from agent.hand.words import WORDS, allowed
from agent.system import cores, writers
from agent.system.hands import packed, received
from agent.system.real import RealSystem
from agent.system.talk import connected

GIVEN = 3  # sd_listen_fds(3): the first open file
PATIENCE = 10.0  # seconds without a word after which it ends
ASKER = "privet-guard.service"


def main(words: list[str]) -> int:
    """Serve the connection to its end; return the exit code."""
    if len(words) != 1 or words[0] not in WORDS:
        print("privet-hand: systemd starts this, one of: " + " ".join(WORDS), file=sys.stderr)  # noqa: T201
        return 64
    cores.none()
    os.umask(0o077)
    with socket.socket(fileno=GIVEN) as line:
        try:
            vetted(line)
            serve(words[0], line)
        except (OSError, PrivetError) as error:
            print(f"privet-hand: {error}", file=sys.stderr)  # noqa: T201 - the journal reads standard error
            return 70
    return 0


def vetted(line: socket.socket) -> None:
    """Refuse whoever is not root's guard: the kernel says who, and systemd's tree which service that is."""
    pid, uid, _ = (
        int.from_bytes(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[place : place + 4], sys.byteorder)
        for place in (0, 4, 8)
    )
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="ascii") as cgroup:
        place = next((line for line in cgroup if line.startswith("0::")), "").strip()
        if uid == 0 and place == f"0::/system.slice/{ASKER}":
            return
    raise Refused(f"process {pid} of user {uid} is not {ASKER}, so it was not heard")


def serve(hand: str, line: socket.socket) -> None:
    """Answer until nothing more is asked."""
    system = RealSystem(announce=lambda _: None)
    while True:
        line.settimeout(PATIENCE)
        try:
            request, numbers = received(line)
        except TimeoutError:
            return
        for number in numbers:
            os.close(number)
        if not request:
            return
        line.settimeout(None)
        answer(hand, system, line, request)


def answer(hand: str, system: RealSystem, line: socket.socket, request: list[Any]) -> None:
    """Do what was asked, if it is one of our words, and say what came of it."""
    verb, rest = str(request[0]), request[1:]
    lent: list[int] = []
    try:
        if not allowed(hand, verb, rest):
            raise Refused(f"the hand {hand} does not do that ({verb[:20]}); both sides must be of the same version")
        said = done(system, verb, rest, lent)
    except PrivetError as error:
        said = ("refused", type(error).__name__, str(error))
    message = packed(said)
    if lent:
        sent = socket.send_fds(line, [message], lent)
        message = message[sent:]
        os.close(lent[0])
    line.sendall(message)


def done(system: RealSystem, verb: str, rest: list[Any], lent: list[int]) -> tuple[object, ...]:
    """Do it; open files to hand over are put beside the answer."""
    if verb == "run":
        outcome = system.run(tuple(rest[0]), rest[1], rest[2])
        return ("done", outcome.code, outcome.out, outcome.err)
    if verb == "read":
        return ("done", system.read(rest[0]))
    if verb == "entries":
        return ("done", list(system.entries(rest[0])))
    if verb == "targets":
        return ("done", system.targets(rest[0]))
    if verb == "target":
        return ("done", system.target(rest[0]))
    if verb == "stat":
        found = system.stat(rest[0])
        return ("done", {name: getattr(found, name) for name in type(found).__slots__})
    if verb == "kernel":
        system.kernel(rest[0], rest[1])
    elif verb == "connect":
        lent.append(connected(rest[0], rest[1]).detach())
    elif verb == "writers":
        lent.append(writers.begin())
        if lent[0] < 0:
            lent.clear()
            raise Failed("the kernel does not say who writes; see fanotify(7)")
    else:
        raise BadInput(f"nobody does {verb[:20]}")
    return ("done",)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
