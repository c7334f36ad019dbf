"""The guard's sockets on a real device: who may do what, by account; and root is heard whatever the others do."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent.core.role import ACTS, MAINTAINER, NOBODY, OWNER, VIEWER, YEAR
from agent.guard import line
from tests.device.lab import Device, Lab
from tests.device.whole import ACCOUNT, Whole

PEOPLE = {
    "root": OWNER, "anna": OWNER, "mia": MAINTAINER, "vera": VIEWER, "late": VIEWER, "both": VIEWER, "pi": NOBODY,
    "nobody": NOBODY, ACCOUNT: NOBODY, "app": NOBODY,
}  # fmt: skip
GRANTS = {"anna": (OWNER, YEAR), "mia": (MAINTAINER, YEAR), "vera": (VIEWER, YEAR), "late": (OWNER, -1)}
GRANT = """
import json, sys
from agent.system.keys import FileSlot
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import DirectVault
system = RealSystem()
key, _ = FileSlot(system).open()
store = Store("/var/lib/privet/state.db", DirectVault(key), system.clock)
now = system.clock().wall
rows = [{"principal": who, "role": role, "review_by": now + left} for who, role, left in json.loads(sys.argv[1])]
store.put({"grants": rows})
store.close()
"""
# Sends lines to a socket, each over a connection of its own, and prints the answers.
ASK = """
import json, os, socket, sys
answers = []
for row in json.load(sys.stdin):
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(sys.argv[1])
            wire.settimeout(2 if "courier" in sys.argv[1] else 20)
            wire.sendall(bytes.fromhex(row))
            answers.append(wire.makefile("rb").readline().decode("latin-1"))
    except OSError as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
"""
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
# Holds as many connections as it can, in the given way, and makes new ones for those that were cut.
FLOOD = """
import selectors, socket, sys, time
way, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
said = {"idle": b"", "drip": b" ", "garbage": b"[" * 900 + b"\\n", "chatter": b'{"op": "status"}\\n' * 400,
        "huge": b"x" * 65000}[way]
end, made, served, cut, wires = time.monotonic() + seconds, 0, 0, 0, []
print("begun", flush=True)
while time.monotonic() < end:
    while len(wires) < count and time.monotonic() < end:
        wire = socket.socket(socket.AF_UNIX)
        wire.setblocking(False)
        try:
            wire.connect("/run/privet/control.sock")
        except BlockingIOError:
            wire.close()
            break
        made += 1
        wires.append(wire)
    for wire in list(wires):
        try:
            wire.send(said)
        except BlockingIOError:
            pass
        except OSError:
            cut += 1
            wire.close()
            wires.remove(wire)
            continue
        try:
            while wire.recv(65536):
                served += 1
        except BlockingIOError:
            pass
        except OSError:
            cut += 1
            wire.close()
            wires.remove(wire)
    time.sleep(0.01)
print(made, served, cut, len(wires))
"""
# Asks as root again and again, as the command does, and prints how long each answer took.
TIMES = """
import json, sys, time
from agent.cli.call import call
took = []
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    begun = time.monotonic()
    assert call("control", {"op": "version"})["role"] == "owner"
    took.append(time.monotonic() - begun)
    time.sleep(0.05)
print(json.dumps(took))
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
        for name in PEOPLE:
            if device.run(["id", name]).returncode != 0:
                device.must(["useradd", "-m", name])
        device.must(["usermod", "-aG", ACCOUNT, "app"])
        device.must(["groupadd", "keepers"])
        device.must(["usermod", "-aG", "keepers", "both"])
        made.start()
        made.stop()
        rows: list[tuple[str, str, int]] = [(f"uid:{uid(device, who)}", *what) for who, what in GRANTS.items()]
        group = device.must(["getent", "group", "keepers"]).split(":")[2]
        rows += [(f"uid:{uid(device, 'both')}", OWNER, YEAR), (f"gid:{group}", VIEWER, YEAR)]
        done = device.agent(GRANT, json.dumps(rows))
        assert done.returncode == 0, done.stderr
        made.start()
        yield made


def uid(device: Device, name: str) -> str:
    """Return the number of an account."""
    return device.must(["id", "-u", name]).strip()


def become(device: Device, name: str, *argv: str) -> list[str]:
    """Return the argument vector that runs a program as an account with its groups."""
    group = device.must(["id", "-g", name]).strip()
    return ["setpriv", "--reuid", name, "--regid", group, "--init-groups", "--", *argv]


def asked(device: Device, name: str, socket: str, rows: list[bytes]) -> list[str]:
    """Send lines as an account; return the answers, or the names of the errors."""
    words = ["-c", ASK, f"/run/privet/{socket}.sock"]
    given = json.dumps([row.hex() for row in rows]).encode()
    done = device.run(become(device, name, *device.python(*words)), given, seconds=120)
    assert done.returncode == 0, done.stderr.decode()
    answers: list[str] = json.loads(done.stdout)
    return answers


def flood(whole: Whole, name: str, way: str, count: int, seconds: float) -> subprocess.Popen[bytes]:
    """Start somebody who floods the control socket."""
    words = ["-c", FLOOD, way, str(count), str(seconds)]
    # It leaves the guard some of the processor, as a service of its own has it under systemd.
    child = whole.device.spawn(["nice", "-n", "19", *become(whole.device, name, *whole.device.python(*words))])
    assert child.stdout is not None and child.stdout.readline() == b"begun\n"
    return child


def resident(whole: Whole) -> int:
    """Return the memory of the guard's process in KiB."""
    rows = whole.device.read(f"/proc/{whole.pid('agent.guard')}/status").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS"))


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
            refused = f"the role {role} may not {act}" in str(answer.get("error"))
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


@pytest.mark.parametrize("way", ["idle", "drip", "garbage", "chatter", "huge"])
def test_root_is_heard_through_a_thousand_clients(whole: Whole, way: str) -> None:
    """Two accounts hold a thousand connections: root and the owner are answered, root within a second."""
    whole.until(lambda: whole.ask("version")["ok"], 10, "the guard")
    before = resident(whole)
    crowd = [flood(whole, name, way, 250, 6) for name in ("nobody", "pi", "nobody", "pi")]
    time.sleep(0.5)
    took = whole.device.ask(TIMES, "4")
    owner = asked(whole.device, "anna", "control", [b'{"op": "version"}\n'])
    assert json.loads(owner[0])["ok"] is True
    ends = [child.communicate(timeout=60)[0].split() for child in crowd]
    made, cut = (sum(int(end[place]) for end in ends) for place in (0, 2))
    assert made > 200 and cut > 0, ends  # the flood came, and the guard cut some of it
    assert max(took) < 1, sorted(took)[-5:]
    grown = resident(whole) - before
    print(f"{way}: {made} connections, {cut} cut; root asked {len(took)} times, {max(took):.3f} s at most; {grown} KiB")
    assert grown < 12000
    assert len(took) > 3 and line.SHARE < line.CLIENTS
