"""What the guard finds and does not enforce: told once, left alone, allowed by its owner for a time."""

from agent.system.simulated.sockets import LOOPBACK, listen
from agent.system.simulated.system import Process
from tests.guard.conftest import Kept

TELNET = "tcp/23@any:in.telnetd"


def telnet(kept: Kept, address: str = "00000000") -> Process:
    """Start a stranger's server, without any file that the guard watches."""
    process = kept.system.start(("/usr/sbin/in.telnetd",), None)
    kept.system.hand.link(f"/proc/{process.pid}/exe", "/usr/sbin/in.telnetd")
    listen(kept.system, process, "tcp", 23, address)
    kept.system.tick(301)
    return process


def test_a_stranger_that_listens_is_told_once_and_left_alone(kept: Kept) -> None:
    """The look at everything finds it; one warning names it, its risk and what to do; once it goes, it is over."""
    process = telnet(kept)
    for _ in range(3):
        kept.turn()
        kept.system.tick(301)
    told = [entry for entry in kept.told() if entry["setting"] == "net.listeners"]
    assert len(told) == 1
    assert TELNET in told[0]["text"] and "only you can say" in told[0]["text"]
    assert f"privet loosen net.listeners {TELNET}" in told[0]["text"]
    assert kept.system.process(process.pid) is not None
    assert not kept.warnings("contested")
    kept.system.stop(process.pid)
    kept.turn()
    assert kept.status("net.listeners") == "ok"


def test_its_owner_allows_it_for_a_time(kept: Kept) -> None:
    """With leave it is waived; the leave covers this program on this port and no other; at its end it is told again."""
    process = telnet(kept)
    kept.turn()
    kept.loosen("net.listeners", TELNET, 7200)
    assert kept.status("net.listeners") == "waived"
    listen(kept.system, process, "tcp", 2323)
    kept.system.tick(301)
    kept.turn()
    assert kept.status("net.listeners") == "loosened"


def test_what_nobody_else_reaches_is_no_finding(kept: Kept) -> None:
    """A server on the loopback alone, and the SSH server that the profile declares, stand without a word."""
    telnet(kept, LOOPBACK)
    kept.turn()
    assert kept.status("net.listeners") == "ok"
    assert [entry for entry in kept.told() if entry["setting"] == "net.listeners"] == []
