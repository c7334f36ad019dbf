"""Processes on one fleet at the same moment: whole enrolment servers, and operators' commands."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.core.record import Record
from provisioning.broker.mosquitto import free_port
from provisioning.fleet.registry import Planned
from tests.fleet.enrolling import HOST, KIND, Office, login, request

Answer = tuple[int, bytes]
COMMAND = (sys.executable, "-m", "provisioning.cli")


class Told(Record):
    """How a command ended, and the one object it said."""

    __slots__ = ("code", "said")
    code: int
    said: dict[str, Any]


def commands(office: Office, *many: Sequence[str]) -> list[Told]:
    """Let operators type their commands at once; return how each ended, in their order. None may end in a traceback."""
    fleet = str(office.fleet.safe.directory)
    environment = os.environ | {"PRIVET_FLEET": fleet, "PRIVET_PROFILES": str(Path(fleet).with_name("profiles"))}
    running = [
        subprocess.Popen(
            [*COMMAND, *words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for words in many
    ]
    ended = []
    for one in running:
        out, err = one.communicate(timeout=120)
        assert "Traceback" not in err, err
        ended.append(Told(code=one.returncode, said=json.loads(out)))
    return ended


@contextlib.contextmanager
def servers(office: Office, count: int = 2) -> Iterator[list[int]]:
    """Run enrolment servers on one fleet and one registry; give their ports."""
    ports = [free_port() for _ in range(count)]
    fleet = str(office.fleet.safe.directory)
    running = [
        subprocess.Popen(
            [*COMMAND, "serve", "--json", "--fleet", fleet, "--port", str(port)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for port in ports
    ]  # fmt: skip
    try:
        for one in running:
            assert one.stdout is not None and b'"ok": true' in one.stdout.readline()
        yield ports
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.communicate(timeout=60)


def posted(
    office: Office, port: int, path: str, body: bytes, head: dict[str, str], home: Path | None = None
) -> Callable[[], Answer]:
    """Connect to a server; return what then asks it, so that several ask at the same moment."""
    trust = ssl.create_default_context(cadata=office.fleet.trust_anchor().decode())
    if home is not None:
        trust.load_cert_chain(home / "cert.pem", home / "key.pem")
    link = http.client.HTTPSConnection(HOST, port, timeout=60, context=trust)
    link.connect()

    def ask() -> Answer:
        with contextlib.closing(link):
            link.request("POST", "/.well-known/est/" + path, body, head)
            answer = link.getresponse()
            return answer.status, answer.read()

    return ask


def claims(office: Office, ports: Sequence[int], one: Planned, *keys: Any) -> list[Answer]:
    """Come with one token at several servers at once, each with a key."""
    asks = [
        posted(office, port, "simpleenroll", base64.b64encode(request(mine)), {**KIND, **login(one)})
        for port, mine in zip(ports, keys, strict=True)
    ]
    return at_once(asks)


def at_once(asks: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Ask all of it at the same moment."""
    with concurrent.futures.ThreadPoolExecutor(len(asks)) as crowd:
        return list(crowd.map(lambda ask: ask(), asks))
