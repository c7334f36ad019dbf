"""The guard's sockets on a real device: who may do what, by account; forged requests."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent.core.role import ACTS, OWNER, VIEWER
from tests.device.lab import Lab
from tests.device.people import PEOPLE, asked, become, peopled, resident, uid
from tests.device.whole import ACCOUNT, Whole

# One account connects, another one asks: by handing the connection over, or by changing its own account in between.
OTHERS = """
import json, os, socket, sys
who = int(sys.argv[1])

def said(wire):
    wire.settimeout(20)
    wire.sendall(b'{"op": "version"}\\n')
    answer = json.loads(wire.makefile().readline())
    return answer.get("role", "none")

def joined(uid):
    os.seteuid(uid)
    wire = socket.socket(socket.AF_UNIX)
    wire.connect("/run/privet/control.sock")
    os.seteuid(0)
    return wire

found = {"connected, then root": said(joined(who))}
wire = joined(0)
os.seteuid(who)
found["root, then somebody"] = said(wire)
os.seteuid(0)
for first, second, name in ((who, 0, "handed to root"), (0, who, "handed by root")):
    mine, yours = socket.socketpair()
    child = os.fork()
    if not child:
        os.setuid(first)
        wire = socket.socket(socket.AF_UNIX)
        wire.connect("/run/privet/control.sock")
        socket.send_fds(mine, [b"x"], [wire.fileno()])
        os._exit(0)
    os.waitpid(child, 0)
    _, (number,), _, _ = socket.recv_fds(yours, 1, 1)
    os.seteuid(second)
    found[name] = said(socket.socket(fileno=number))
    os.seteuid(0)
print(json.dumps(found))
"""
FORGED: dict[str, bytes] = {
    "no JSON": b"loosen everything\n",
    "no object": b"[1, 2]\n",
    "nothing": b"\n",
    "NUL": b'{"op": "version\0"}\n',
    "invalid UTF-8": b'{"op": "\xff\xfe"}\n',
    "lone surrogate": b'{"op": "\\ud800"}\n',
    "huge number": b'{"op": ' + b"9" * 6000 + b"}\n",
    "huge exponent": b'{"op": "explain", "setting": 1e999999}\n',
    "not a number": b'{"op": "explain", "setting": NaN}\n',
    "an op of the wrong type": b'{"op": {"op": "status"}}\n',
    "an op of Python": b'{"op": "__class__"}\n',
    "arguments of the wrong type": b'{"op": "loosen", "setting": ["ssh.password"], "value": {"a": 1}}\n',
    "a setting that is a path": b'{"op": "explain", "setting": "../../etc/shadow"}\n',
    "deep": b'{"op": ' + b"[" * 20000 + b"]" * 20000 + b"}\n",
    "deep objects": b'{"op":' * 10000 + b"1" + b"}" * 10000 + b"\n",
    "twice the same key": b'{"op": "version", "op": "loosen"}\n',
    "64 KiB and one": b'{"op": "' + b"x" * 65536 + b'"}\n',
    "an endless line": b"x" * (10 << 20),
}


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Give a device with a running guard, and people with every role."""
    with lab.device() as device:
        made = Whole(device, tmp_path_factory.mktemp("whole"))
        peopled(made)
        yield made


def test_every_act_by_every_account(whole: Whole) -> None:
    """Each account may do what its role may, no act more and none less; no act is left out of the table."""
    (unknown,) = asked(whole.device, "root", "control", [b'{"op": "?"}\n'])
    acts = json.loads(unknown)["error"].partition("known: ")[2].split(", ")
    assert set(acts) == {act for role in ACTS.values() for act in role} and len(acts) >= 10
    before, allowed = whole.statuses(), 0
    for name, role in PEOPLE.items():
        answers = asked(whole.device, name, "control", [json.dumps({"op": act}).encode() + b"\n" for act in acts])
        for act, text in zip(acts, answers, strict=True):
            answer: dict[str, Any] = json.loads(text)
            refused = f"{act} is not allowed to you (your role here: {role})" in str(answer.get("error"))
            assert refused == (act not in ACTS[role]), (name, act, answer)
            assert not refused or answer["code"] == 77
            allowed += not refused
    assert allowed >= len(acts) * 2
    assert whole.statuses() == before


def test_who_reaches_the_other_sockets(whole: Whole) -> None:
    """Readings are taken from root and the group of the courier; the courier's own door opens for it and root only."""
    reading = b'{"send": {"temperature": "21.5"}}\n'
    for name in PEOPLE:
        (answer,) = asked(whole.device, name, "telemetry", [reading])
        assert (answer == "PermissionError") == (name not in {"root", ACCOUNT, "app"}), (name, answer)
        (answer,) = asked(whole.device, name, "courier", [b"\0\0\0\2\x81\x01"])
        assert name in {"root", ACCOUNT, "app"} or answer == "PermissionError", (name, answer)
    assert taken_in(whole, "root") and taken_in(whole, ACCOUNT) and not taken_in(whole, "app")


def taken_in(whole: Whole, name: str) -> bool:
    """Say whether the courier's socket speaks to an account: it says first where the broker is."""
    source = (
        "import socket; w = socket.socket(socket.AF_UNIX); w.settimeout(20); "
        "w.connect('/run/privet/courier.sock'); print(len(w.recv(4)))"
    )
    done = whole.device.run(become(whole.device, name, *whole.device.python("-c", source)))
    return done.stdout.strip() == b"4"


def test_the_account_that_connected_counts(whole: Whole) -> None:
    """A connection handed on, or used after a change of account, speaks for the account that made it."""
    found = whole.device.ask(OTHERS, uid(whole.device, "vera"))
    assert found == {
        "connected, then root": VIEWER,
        "root, then somebody": OWNER,
        "handed to root": VIEWER,
        "handed by root": OWNER,
    }


def test_forged_lines_change_nothing(whole: Whole) -> None:
    """Each is answered with one sentence or cut off, for root and for nobody; the guard goes on."""
    pid, before, statuses = whole.pid("agent.guard"), resident(whole), whole.statuses()
    for name in ("nobody", "root"):
        answers = dict(zip(FORGED, asked(whole.device, name, "control", list(FORGED.values())), strict=True))
        for what, text in answers.items():
            if text in {"BrokenPipeError", "ConnectionResetError"}:
                assert what in {"64 KiB and one", "an endless line"}, (name, what)
                continue
            answer = json.loads(text)
            assert answer["ok"] is False and "Traceback" not in answer["error"] and answer["code"] > 1, (what, answer)
    for name in ("root", "app"):
        for text in asked(whole.device, name, "telemetry", [*FORGED.values(), b'{"send": {"a": [1]}}\n']):
            assert text.endswith("Error") or json.loads(text)["ok"] is False
    asked(whole.device, ACCOUNT, "courier", [b"\xff" * 70000, b"\0\0\0\1\xff", b"\0\5\0\0", *FORGED.values()])
    assert (whole.pid("agent.guard"), whole.statuses()) == (pid, statuses)
    assert resident(whole) - before < 6000
