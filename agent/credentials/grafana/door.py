"""Speaking with a Grafana that runs: changing a password as its user, signing in."""

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.core.credential import Found
from agent.core.errors import Failed, PrivetError, Unreachable
from agent.core.secret import Secret
from agent.credentials import number, text
from agent.credentials.grafana.table import KIND, User
from agent.system.door import System
from agent.system.talk import Conversation, post

if TYPE_CHECKING:
    from agent.core.record import Params

NAMES = ("grafana", "grafana-server")


def running(system: System) -> bool:
    """Say whether a Grafana runs."""
    for pid in system.entries("/proc"):
        if pid.isdigit():
            with suppress(PrivetError):
                first = system.read(f"/proc/{pid}/cmdline").split(b"\0", 1)[0].decode("utf-8", "replace")
                if first.rpartition("/")[2] in NAMES:
                    return True
    return False


def ask(system: System, params: "Params", one: User, found: Found, new: Secret) -> None:
    """Ask a running Grafana for the change, as the user; then to forget who is signed in."""
    sentence = f"Grafana does not change the password of {found.label}; stop it and start the device again"
    if found.old is None:
        raise Failed(sentence)
    old, word = (secret.reveal().decode("utf-8", "surrogateescape") for secret in (found.old, new))
    body = {"oldPassword": old, "newPassword": word, "confirmNew": word}
    if send(system, params, "PUT", "/api/user/password", f"{one.login}:{old}", body) != 200:
        raise Failed(sentence)
    send(system, params, "POST", f"/api/admin/users/{one.number}/logout", f"{one.login}:{word}", {})


def send(system: System, params: "Params", verb: str, path: str, who: str, body: dict[str, str]) -> int | None:
    """Send one request as a user; return the status, None when nobody answers."""
    where = text(KIND, params, "root", "/").rstrip("/") + path
    try:
        return system.talk(number(KIND, params, "port", 3000), request(verb, where, who, json.dumps(body).encode()))
    except Unreachable:
        return None


def request(verb: str, path: str, who: str, body: bytes) -> Conversation[int | None]:
    """Speak HTTP as a user (`name:password`)."""
    named = base64.b64encode(who.encode("utf-8", "surrogateescape")).decode()
    kind = f"application/json\r\nAuthorization: Basic {named}"
    talked = post(path, kind, body)
    said = next(talked)
    heard = yield said.replace(b"POST", verb.encode(), 1)
    try:
        while True:
            heard = yield talked.send(heard)
    except StopIteration as end:
        status: int | None = end.value
        return status


def login(system: System, params: "Params", name: str, password: bytes) -> bool | None:
    """Try to sign in; None when nobody answers, or not as Grafana does."""
    body = json.dumps({"user": name, "password": password.decode("utf-8", "surrogateescape")}).encode()
    where = text(KIND, params, "root", "/").rstrip("/") + "/login"
    try:
        status = system.talk(number(KIND, params, "port", 3000), post(where, "application/json", body))
    except Unreachable:
        return None
    return {200: True, 401: False}.get(status or 0)
