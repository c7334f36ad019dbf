"""Running other programs: no shell, nothing inherited, bounded in time and output."""

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress

from agent.core.errors import BadInput, Failed, Unreachable
from agent.system.door import Outcome

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
LIMIT = 8 << 20  # bytes of output and error output together
CHUNK = 1 << 16

Child = subprocess.Popen[bytes]


def run(argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
    """Run a program to its end and return what it did.

    Unreachable when it is not installed or does not end in time; Failed when it prints more than LIMIT. Then it and
    all of its process group are killed. A daemon that it leaves behind in a group of its own goes on.
    """
    if not argv or not argv[0] or any("\0" in word for word in argv):
        raise BadInput("a program needs a name and arguments without NUL bytes; correct the step")
    child = _start(argv)
    try:
        return _attend(child, argv[0], stdin, seconds)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        raise
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        child.wait()


def _start(argv: tuple[str, ...]) -> Child:
    """Start the program in its own process group, with an environment of two words."""
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd="/",
            umask=0o022,
            bufsize=0,
            close_fds=True,
            process_group=0,
        )
    except FileNotFoundError:
        raise Unreachable("the program %s is not installed; install it" % argv[0]) from None
    except OSError as error:
        raise Unreachable("the program %s does not start: %s; correct that" % (argv[0], error.strerror)) from None


class _Talk:
    """What is said to a program and heard from it."""

    def __init__(self, child: Child, stdin: bytes) -> None:
        self.selector = selectors.PollSelector()
        self.rest = memoryview(stdin)
        self.heard: dict[int, bytearray] = {}
        self.said = -1
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self.heard[stream.fileno()] = bytearray()
                self.selector.register(stream.fileno(), selectors.EVENT_READ)
        if child.stdin is not None:
            self.said = os.dup(child.stdin.fileno())  # ours to close as soon as all is said
            child.stdin.close()
            os.set_blocking(self.said, False)
            self.selector.register(self.said, selectors.EVENT_WRITE)

    def feed(self) -> None:
        """Hand over what fits, and close the input when there is no more or nobody listens."""
        try:
            self.rest = self.rest[os.write(self.said, self.rest[:CHUNK]) :] if self.rest else self.rest
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.rest = self.rest[:0]
        if not self.rest:
            self.hush()

    def hush(self) -> None:
        """Close the program's input."""
        if self.said >= 0:
            self.selector.unregister(self.said)
            os.close(self.said)
            self.said = -1

    def listen(self, number: int) -> bool:
        """Take what waits; False when nothing does."""
        try:
            part = os.read(number, CHUNK)
        except BlockingIOError:
            return False
        if not part and number in self.selector.get_map():
            self.selector.unregister(number)
        self.heard[number] += part
        return bool(part)

    def size(self) -> int:
        """Return how much was heard."""
        return sum(len(part) for part in self.heard.values())


def _attend(child: Child, name: str, stdin: bytes, seconds: int) -> Outcome:
    """Feed and listen until the program has ended; not longer, even if a daemon it started keeps its output open."""
    talk = _Talk(child, stdin)
    deadline = time.monotonic() + seconds
    ended = os.pidfd_open(child.pid)
    try:
        talk.selector.register(ended, selectors.EVENT_READ)
        ready: set[int] = set()
        while ended not in ready:
            ready = {key.fd for key, _ in talk.selector.select(max(0.0, deadline - time.monotonic()))}
            if not ready or time.monotonic() > deadline:
                raise Unreachable("%s did not end within %d seconds and was stopped; try again" % (name, seconds))
            if talk.said in ready:
                talk.feed()
            for number in talk.heard:
                while (number in ready or ended in ready) and talk.size() <= LIMIT and talk.listen(number):
                    continue
            if talk.size() > LIMIT:
                raise Failed("%s printed more than %d bytes and was stopped; look at its output" % (name, LIMIT))
        out, err = (bytes(part) for part in talk.heard.values())
        return Outcome(code=child.wait(), out=out, err=err)
    finally:
        talk.hush()
        talk.selector.close()
        os.close(ended)
