"""Leave for one account, obeyed by the real sshd: that one gets in by password, and nobody else does."""

from tests.device.lab import PASSWORD, Device

SNIPPET = """
import json, sys
from agent import registry
from agent.core.assess import assess
from agent.core.clock import Clock
from agent.core.waiver import grant
from agent.guard.executor import apply
from agent.system.real import RealSystem

system, setting = RealSystem(), registry.settings()["ssh.password"]
provider = registry.provider("sshd_option")
if sys.argv[1]:
    rows = tuple(f"{one}\\tyes" for one in sys.argv[1].split(","))
    apply(system, provider.steps({**provider.prepare(system, setting.params), "spared": rows}, "no"))
lent = grant(setting, "yes", 600, "why", "anna", "owner", system.clock(), "user pi")
parts = provider.contexts(system, setting.params)
finding = assess(setting, "no", provider.probe(system, setting.params), (lent,), system.clock(), parts)
print(json.dumps([finding.status, dict(parts)]))
"""


def enters(device: Device, user: str) -> bool:
    """Say whether a user gets in with the password."""
    return device.login(user, password=PASSWORD)


def test_leave_for_one_account(quick: Device) -> None:
    """Real logins agree: pi by leave, bob not; once bob is let in too, the leave for pi no longer covers it."""
    quick.must(["useradd", "-m", "-s", "/bin/bash", "bob"])
    quick.must(["chpasswd"], f"bob:{PASSWORD}\n".encode())
    pid = quick.sshd()
    assert (enters(quick, "pi"), enters(quick, "bob")) == (True, True)
    status, parts = quick.ask(SNIPPET, "user pi")
    assert (status, parts) == ("waived", {"": "no", "user pi": "yes"})
    assert (enters(quick, "pi"), enters(quick, "bob")) == (True, False)
    status, parts = quick.ask(SNIPPET, "user pi,user bob")
    assert (status, parts["user bob"]) == ("loosened", "yes")
    assert (enters(quick, "pi"), enters(quick, "bob")) == (True, True)
    assert quick.ask(SNIPPET, "user pi")[0] == "waived"
    quick.write("/etc/ssh/sshd_config.d/000-a.conf", "Match User p*\n PasswordAuthentication yes\n")
    quick.reload_sshd(pid)
    assert quick.ask(SNIPPET, "")[0] == "loosened"  # whoever is called p… tomorrow gets in as well
