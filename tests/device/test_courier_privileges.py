"""The courier's account on a real device: it carries sealed bytes, and is refused everything else it tries."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import Refused
from agent.courier.trust import NOBODY
from tests.device.lab import Device
from tests.device.whole import ACCOUNT, Whole

# Tries one act after the other and prints what came of each. A refusal is an OSError, or the code of a refusing answer.
TRY = """
import json, os, signal, socket, sys
from pathlib import Path

def ask(**request):
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(30)
        wire.connect("/run/privet/control.sock")
        wire.sendall(json.dumps(request).encode() + b"\\n")
        answer = json.loads(wire.makefile().readline())
    return answer if answer["ok"] is True else answer["code"]

guard = int(sys.argv[1])
raw = (socket.AF_INET, socket.SOCK_RAW, 1)
acts = {
    "own key": lambda: len(Path("/var/lib/privet-courier/key.pem").read_bytes()) > 0,
    "list state": lambda: os.listdir("/var/lib/privet"),
    "read state": lambda: Path("/var/lib/privet/state.db").read_bytes(),
    "read state key": lambda: Path("/var/lib/privet/keys/state.key").read_bytes(),
    "read queue": lambda: os.listdir("/var/lib/privet/queue"),
    "read shadow": lambda: Path("/etc/shadow").read_bytes(),
    "read seed": lambda: Path("/etc/privet/policy.cbor").read_bytes(),
    "read guard memory": lambda: Path(f"/proc/{guard}/mem").open("rb"),
    "read guard environment": lambda: Path(f"/proc/{guard}/environ").read_bytes(),
    "write etc": lambda: Path("/etc/privet-was-here").write_text("x"),
    "write sshd": lambda: Path("/etc/ssh/sshd_config.d/0.conf").write_text("PasswordAuthentication yes"),
    "write seed": lambda: Path("/etc/privet/policy.cbor").write_bytes(b"x"),
    "write agent": lambda: Path("/run/privet/new").write_text("x"),
    "replace socket": lambda: os.unlink("/run/privet/control.sock"),
    "stop guard": lambda: os.kill(guard, signal.SIGSTOP),
    "become root": lambda: os.setuid(0),
    "raw socket": lambda: socket.socket(*raw).close(),
    "low port": lambda: socket.create_server(("127.0.0.1", 23)).close(),
    "loosen": lambda: ask(op="loosen", setting="ssh.password", option="yes", seconds=3600, reason="x", yes=True),
    "consent": lambda: ask(op="consent", purpose="comfort", state="given"),
}
for op in ("status", "explain", "tighten", "enforce", "notice", "credentials", "journal", "version"):
    acts["ask " + op] = lambda op=op: ask(op=op, setting="ssh.password")
for name, act in acts.items():
    try:
        outcome = act()
    except OSError as error:
        outcome = "refused: " + type(error).__name__
    print(json.dumps([name, outcome if type(outcome) in (bool, int, str) else "done"]))
"""


@pytest.fixture
def whole(device: Device, tmp_path: Path) -> Whole:
    """Give a device with a running guard and a courier that the guard has taken in."""
    made = Whole(device, tmp_path)
    made.start()
    made.deliver()
    made.until(lambda: made.ask("status")["link"]["cause"] == NOBODY, 20, "the courier to report")
    return made


def tried(whole: Whole, user: str) -> dict[str, Any]:
    """Try every act on the device as a user."""
    argv = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--", *whole.device.python("-c", TRY)]
    done = whole.device.run([*argv, str(whole.pid("agent.guard"))])
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.decode().splitlines())


def test_the_courier_can_do_nothing_but_carry(whole: Whole):
    """As the courier's account: its own key is read, every other act is refused, and no setting has moved."""
    before = whole.statuses()
    outcome = tried(whole, ACCOUNT)
    assert outcome.pop("own key") is True
    # Either the socket itself is closed to the account, or the guard answers that this role may not.
    done = {name: what for name, what in outcome.items() if what != Refused.exit_code and "refused" not in str(what)}
    assert done == {}
    assert len(outcome) >= 25
    assert whole.statuses() == before
    assert whole.device.run(["test", "-e", "/etc/privet-was-here"]).returncode == 1


def test_root_could_do_what_the_courier_cannot(whole: Whole):
    """The known-bad twin: the same acts as root succeed, so the refusals above are the account's."""
    outcome = tried(whole, "root")
    for name in ("read shadow", "read state key", "write etc", "low port", "raw socket", "read guard memory"):
        assert outcome[name] == "done" or isinstance(outcome[name], int), (name, outcome[name])


def test_the_running_courier_is_caged(whole: Whole):
    """The process itself: unprivileged, without capabilities or new privileges, no file open but its sockets."""
    pid = whole.pid("agent.courier")
    status = whole.device.read(f"/proc/{pid}/status")
    uid = whole.device.must(["id", "-u", ACCOUNT]).strip()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == [uid] * 4
    assert facts["Groups"].strip() == ""
    assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    links = whole.device.must(["sh", "-c", f"for f in /proc/{pid}/fd/*; do readlink $f; done"]).splitlines()
    assert not [link for link in links if link.startswith("/") and link != "/dev/null"], links
