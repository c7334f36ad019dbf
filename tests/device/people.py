"""Accounts with every role on a whole device, and what each of them says to the guard's sockets."""

import json

from agent.core.role import MAINTAINER, NOBODY, OWNER, VIEWER, YEAR
from tests.device.lab import Device
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


def peopled(made: Whole) -> None:
    """Start the guard of a whole device with the accounts and their roles on it."""
    device = made.device
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


def resident(whole: Whole) -> int:
    """Return the memory of the guard's process in KiB."""
    rows = whole.device.read(f"/proc/{whole.pid('agent.guard')}/status").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS"))
