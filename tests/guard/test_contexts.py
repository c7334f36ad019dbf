"""Leave for one context of a setting: one account, one interface, one connection, and nobody and nothing else."""

import pytest

from agent.core.errors import BadInput
from agent.core.record import as_map
from agent.core.setting import Setting
from agent.core.waiver import Waiver
from agent.guard.posture import Posture
from tests.guard.conftest import Kept

DROP_IN = "/etc/ssh/sshd_config.d/000-privet-passwordauthentication.conf"
BOB = "user bob"


def allow(kept: Kept, setting: str, value: str, context: str, seconds: int = 7200) -> dict[str, object]:
    """Give leave for a context as the owner does: with the risk shown."""
    seen = kept.ask("explain", setting=setting, value=value)["seen"]
    asked = {"setting": setting, "value": value, "seconds": seconds, "reason": "his first key", "seen": seen}
    return dict(kept.ask("loosen", **asked, context=context))


def said(kept: Kept, user: str) -> str:
    """Return what the server says of passwords for a user."""
    spec = f"user={user},host=x,addr=10.0.0.9,laddr=10.0.0.1,lport=22,rdomain="
    out = kept.system.run(("/usr/sbin/sshd", "-T", "-C", spec)).out.decode()
    return next(line.split()[1] for line in out.splitlines() if line.startswith("passwordauthentication "))


def add(kept: Kept, text: str) -> None:
    """Write a line of Match before ours, as a hand does, and load it."""
    kept.system.edit("/etc/ssh/sshd_config.d/000-a-mine.conf", text.encode())
    kept.system.reload("ssh.service", "/run/sshd.pid")
    kept.turn()


def test_leave_for_one_account_opens_for_that_one_alone(kept: Kept) -> None:
    """The server lets in bob by password and nobody else; it is told, journaled and ends by itself."""
    answer = allow(kept, "ssh.password", "yes", BOB)
    assert answer["waiver"]["context"] == BOB  # type: ignore[index]
    assert kept.status("ssh.password") == "waived"
    assert (said(kept, "bob"), said(kept, "pi"), said(kept, "root")) == ("yes", "no", "no")
    assert f"allowed for {BOB} to be yes for a while\n" in kept.told()[-1]["text"]
    assert kept.ask("explain", setting="ssh.password")["contexts"] == {BOB: "yes"}
    kept.system.tick(7201)
    kept.turn()
    assert kept.status("ssh.password") == "ok"
    assert said(kept, "bob") == "no"
    rows = [row for row in kept.ask("journal")["entries"] if row["kind"] in {"waiver", "waiver_ended"}]
    assert [row["body"]["context"] for row in rows] == [BOB, BOB]


@pytest.mark.parametrize(
    "text", ["Match User pi\nPasswordAuthentication yes\n", "Match Group sudo\nPasswordAuthentication yes\n",
             "Match User bob*\nPasswordAuthentication yes\n", "Match Address 10.0.0.0/8\nPasswordAuthentication yes\n"]
)  # fmt: skip
def test_another_context_is_found_and_set_back_and_the_leave_stays(kept: Kept, text: str) -> None:
    """Somebody opens it for another account, a group, a pattern, a network: told, undone; bob still has his leave."""
    allow(kept, "ssh.password", "yes", BOB)
    before = len(kept.told())
    add(kept, text)
    new = kept.told()[before:]
    assert [row["setting"] for row in new] == ["ssh.password"]
    assert new[0]["kind"] == "loosened"
    kept.system.hand.discard("/etc/ssh/sshd_config.d/000-a-mine.conf")
    kept.system.reload("ssh.service", "/run/sshd.pid")
    kept.turn()
    assert kept.status("ssh.password") == "waived"
    assert (said(kept, "bob"), said(kept, "pi")) == ("yes", "no")


def test_leave_for_a_context_survives_flapping_and_reboots_and_ends(kept: Kept) -> None:
    """Off and on again, over restarts and a clock set back a year: it neither comes again nor lasts longer."""
    allow(kept, "ssh.password", "yes", BOB, 3600)
    for _ in range(3):
        kept.system.tick(300)
        kept.turn()
        kept.system.edit(DROP_IN, b"PasswordAuthentication no\nMatch all\nPasswordAuthentication no\n")
        kept.system.reload("ssh.service", "/run/sshd.pid")
        kept.turn()
        assert kept.status("ssh.password") == "ok"
        allowed = kept.house.books.waivers
        assert [one.context for one in allowed] == [BOB]
        kept.system.wall -= 365 * 86400
        kept.reboot()
        assert kept.house.books.waivers[0].left < allowed[0].left
    for _ in range(60):
        kept.system.tick(60)
        kept.turn()
    assert kept.house.books.waivers == ()
    assert kept.status("ssh.password") == "ok"


def test_two_contexts_each_have_their_own_end(kept: Kept) -> None:
    """Leave for eve does not end that for bob; leave for everybody ends both; tighten ends all."""
    allow(kept, "ssh.password", "yes", BOB)
    allow(kept, "ssh.password", "yes", "user eve", 600)
    assert {one.context for one in kept.house.books.waivers} == {BOB, "user eve"}
    assert (said(kept, "bob"), said(kept, "eve"), said(kept, "pi")) == ("yes", "yes", "no")
    kept.system.tick(601)
    kept.turn()
    assert [one.context for one in kept.house.books.waivers] == [BOB]
    assert (said(kept, "bob"), said(kept, "eve")) == ("yes", "no")
    allow(kept, "ssh.password", "yes", "user eve")
    allow(kept, "ssh.password", "yes", "")
    assert [one.context for one in kept.house.books.waivers] == [""]
    kept.ask("tighten", setting="ssh.password")
    assert kept.house.books.waivers == ()
    assert said(kept, "bob") == "no"


def test_one_interface_and_no_other(kept: Kept) -> None:
    """Leave for lo's neighbour is none for the rest; what is loosened for all is set back around it."""
    name = kept.system.entries("/proc/sys/net/ipv4/conf")
    mine = next(one for one in name if one not in {"all", "default", "lo"})
    allow(kept, "net.redirects", "1", f"interface {mine}")
    assert kept.status("net.redirects") == "waived"
    assert kept.system.read(f"/proc/sys/net/ipv4/conf/{mine}/accept_redirects").strip() == b"1"
    assert kept.system.read("/proc/sys/net/ipv4/conf/all/accept_redirects").strip() == b"0"
    kept.system.run(("sysctl", "-q", "-p", "-"), b"net.ipv4.conf.lo.accept_redirects = 1\n")
    kept.ask("enforce")
    assert kept.status("net.redirects") == "waived"
    assert kept.system.read("/proc/sys/net/ipv4/conf/lo/accept_redirects").strip() == b"0"
    assert kept.told()[-1]["kind"] == "loosened"


@pytest.mark.parametrize(
    ("setting", "value", "context"),
    [
        ("ssh.password", "yes", "interface eth0"),
        ("ssh.password", "yes", "user bob,eve"),
        ("ssh.password", "yes", "user bob\nMatch all"),
        ("net.redirects", "1", "user bob"),
        ("log.retention", "30", "user bob"),
    ],
)
def test_what_is_no_context_of_a_setting_is_refused(kept: Kept, setting: str, value: str, context: str) -> None:
    """Nothing is written, nobody has leave, and it says why."""
    with pytest.raises(BadInput):
        allow(kept, setting, value, context)
    assert kept.house.books.waivers == ()
    assert kept.status(setting) == "ok"


def test_leave_from_before_there_were_contexts_still_holds(kept: Kept) -> None:
    """What an earlier version stored has no context; it is for the whole setting, as it was."""
    allow(kept, "ssh.password", "yes", "")
    (row,) = kept.house.books.store.get("waivers")
    old = {key: value for key, value in row.items() if key != "context"}
    assert set(old) < set(as_map(kept.house.books.waivers[0]))
    kept.house.books.store.put({"waivers": [old]})
    kept.reboot()
    assert [one.context for one in kept.house.books.waivers] == [""]
    assert kept.status("ssh.password") == "waived"


class Forgetful(Posture):
    """The known-bad twin: it takes leave for one context for leave everywhere, as it was before."""

    def look(self, names: tuple[str, ...], waivers: tuple[Waiver, ...]) -> tuple:  # type: ignore[type-arg]
        """Forget the contexts."""
        whole = tuple(type(one)(**{**as_map(one), "context": ""}) for one in waivers)
        return super().look(names, whole)


def test_a_posture_that_forgets_contexts_is_caught(kept: Kept) -> None:
    """The twin calls it allowed when another account is opened too."""
    allow(kept, "ssh.password", "yes", BOB)
    settings: dict[str, Setting] = kept.house.guard.settings
    twin = Forgetful(kept.system, settings, {"ssh.password": "no"})
    kept.system.edit("/etc/ssh/sshd_config.d/000-a-mine.conf", b"Match User pi\nPasswordAuthentication yes\n")
    kept.system.reload("ssh.service", "/run/sshd.pid")
    (wrong,) = twin.look(("ssh.password",), kept.house.books.waivers)
    assert wrong.status == "waived"
    (right,) = Posture(kept.system, settings, {"ssh.password": "no"}).look(("ssh.password",), kept.house.books.waivers)
    assert right.status == "loosened"
