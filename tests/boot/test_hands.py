"""The guard of a booted device works by its hands: each comes, does one thing, and goes; nobody else is heard."""

from tests.boot.lab import Booted
from tests.boot.shipped import active, answered, findings, hands, privet
from tests.boot.test_life import greeting

STRANGER = """
import socket, sys
sys.path.insert(0, "/usr/lib/privet")
from agent.system.hands import packed, received
line = socket.socket(socket.AF_UNIX)
line.connect("/run/privet-hands/look.sock")
line.settimeout(20)
try:
    line.sendall(packed(("target", "/proc/1/exe")))
    print(received(line))
except ConnectionError:
    print(([], []))
"""
WRITER = """
import os, sys
with open(sys.argv[1] + "/mine.tmp", "w") as held:
    held.write("Match all\\n    PasswordAuthentication yes\\n")
os.rename(sys.argv[1] + "/mine.tmp", sys.argv[1] + "/00-mine.conf")
print(flush=True)
sys.stdin.read()
"""


def test_the_guard_holds_four_powers_and_no_socket_of_the_internet(shipped: Booted):
    """What the kernel says of the running guard; and that every setting is private all the same, by its hands."""
    shipped.start()
    active(shipped)
    guard = shipped.property("privet-guard.service", "MainPID")
    status = dict(line.split(":\t", 1) for line in shipped.read(f"/proc/{guard}/status").splitlines() if ":\t" in line)
    held = {bit for bit in range(64) if int(status["CapEff"], 16) >> bit & 1}
    assert held == {0, 1, 2, 3}, "CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER"
    assert set(answered(shipped).values()) <= {"ok", "absent"}
    lines = shipped.must(["journalctl", "--no-pager", "-o", "cat", "-u", "system-privet*"])
    assert "Traceback" not in lines


def test_hands_go_when_nothing_more_is_asked(shipped: Booted):
    """They come with the guard's questions and end by themselves; the next question brings one back."""
    shipped.start()
    active(shipped)
    shipped.until(lambda: not hands(shipped), 60, "the hands to go")
    assert privet(shipped, "enforce").returncode == 0
    assert any(name.startswith("privet-hand-net@") for name in hands(shipped))
    shipped.until(lambda: not hands(shipped), 60, "the hands to go again")


def test_a_hand_hears_nobody_else(shipped: Booted):
    """Another service of root's reaches the socket and is told nothing; an account does not reach it at all."""
    shipped.start()
    active(shipped)
    told = shipped.must(["python3", "-IBSc", STRANGER])
    assert told.strip() == "([], [])"
    assert "is not privet-guard.service, so it was not heard" in shipped.journal("--no-pager")
    denied = shipped.run(["setpriv", "--reuid=1", "--clear-groups", "--regid=1", "python3", "-IBSc", STRANGER])
    assert b"PermissionError" in denied.stderr


def test_who_wrote_is_named_by_a_lent_file(shipped: Booted):
    """The guard cannot begin fanotify itself; a hand did, and the program that opened SSH is named in the warning."""
    shipped.start()
    active(shipped)
    writing = shipped.spawn(["python3", "-c", WRITER, "/etc/ssh/sshd_config.d"])
    try:
        shipped.until(lambda: "Written by python3" in greeting(shipped), 30, "the name")
    finally:
        writing.kill()


def test_twin_without_hands_the_guard_does_not_know(shipped: Booted):
    """With the sockets gone, what takes a power cannot be told: unknown, never ok."""
    shipped.start()
    active(shipped)
    shipped.must(["sh", "-c", "rm /run/privet-hands/*.sock"])
    privet(shipped, "enforce")
    shipped.until(lambda: findings(shipped).get("firewall.inbound") == "unknown", 60, "the guard to look again")
    assert findings(shipped)["files.shadow"] == "ok"
