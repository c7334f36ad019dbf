"""Changes of access on trial, through the whole guard: proven, waited for, set back, whatever happens in between."""

import re

import pytest

from agent.core.errors import Refused
from agent.core.record import replace
from agent.core.trial import WINDOW
from agent.guard import trial as kept_trial
from agent.system.simulated.programs import ssh, ssh_keygen
from tests.guard.conftest import Kept

SSH = "/etc/ssh/sshd_config.d/000-a-mine.conf"
OPEN = b"PasswordAuthentication yes\nMatch all\nPasswordAuthentication yes\n"


def give_key(kept):
    """List the owner's key for pi."""
    ssh_keygen.make(kept.system, "/tmp/owner", "anna@laptop")
    kept.system.edit("/home/pi/.ssh/authorized_keys", kept.system.read("/tmp/owner.pub"), mode=0o600, uid=1000)


def own_password(kept):
    """Let the owner take the new password and set one that no one else knows."""
    kept.ask("credentials", taken=["linux_account/pi"])
    kept.system.run(("chpasswd",), b"pi:a word of their own\n")
    kept.system.disk.settle()


def entries(kept, kind):
    """Return the bodies of journal entries of a kind."""
    return [dict(e.body) for e in kept.store.entries(0, 9999) if e.kind == kind]


def new_policy(kept, **baseline):
    """Take a policy from afar that changes the baseline."""

    def change(table):
        table.update(
            sequence=2, baseline={**table["baseline"], **{k.replace("_", ".", 1): v for k, v in baseline.items()}}
        )

    kept.house.take_policy(kept.signed(change))


def loose_from_the_start(kept):
    """Start with a policy that lets people sign in over SSH with a password, and one account that only they know."""
    kept.table["baseline"]["ssh.password"] = "yes"
    kept.table["reasons"]["ssh.password"] = "no keys yet"
    kept.system.edit("/etc/privet/policy.cbor", kept.signed(), mode=0o600)
    kept.start()
    kept.house.guard.proving.patience = 0
    own_password(kept)
    kept.system.edit(SSH, OPEN)
    kept.system.reload("ssh.service", "/run/sshd.pid")
    kept.turn()


def there(kept):
    """Say whether our file about passwords is there; it was not before the trial."""
    return "000-privet-passwordauthentication.conf" in kept.system.entries("/etc/ssh/sshd_config.d")


def session(kept, began, name=b"sshd", uid=0):
    """Make a process of a session that began at a moment; return its number."""
    rows = {700: (name, 1, began, uid), 701: (b"bash", 700, began + 1, 1000), 702: (b"privet", 701, began + 2, 0)}
    for pid, (comm, parent, at, owner) in rows.items():
        stat = b"%d (%s) S %d " % (pid, comm, parent) + b"0 " * 17 + b"%d 0\n" % (at * 100)
        kept.system.hand.produced(f"/proc/{pid}/stat", lambda stat=stat: stat)
        status = b"Name:\tx\nUid:\t%d\t%d\t%d\t%d\n" % ((owner,) * 4)
        kept.system.hand.produced(f"/proc/{pid}/status", lambda status=status: status)
    return 702


def test_a_way_that_the_device_can_use_confirms_by_itself(kept: Kept) -> None:
    """The owner's key is taken: password logins are closed for good at once, with the proof in the journal."""
    give_key(kept)
    kept.system.edit(SSH, OPEN)
    kept.turn()
    assert kept.status("ssh.password") == "ok"
    proof = next(e for e in entries(kept, "trial_proved") if any("ssh_key" in t for t in e["tried"]))
    assert proof["verdict"] == "confirm"
    assert kept_trial.recorded(kept.system) is None
    assert [t["kind"] for t in kept.told() if "Whose keys" not in t["text"]] == ["loosened"]  # the new key is told too


def test_the_owner_is_waited_for_and_confirms_from_a_new_session(fresh: Kept) -> None:
    """Only the owner can say whether they get in: told until when, refused from an old session, kept from a new one."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no")
    assert fresh.status("ssh.password") == "ok"
    told = next(t["text"] for t in fresh.told() if t["kind"] == "trial")
    assert re.search(r"undone at \d\d:\d\d \S+ \(in 10 minutes\) unless you sign in anew .* privet confirm", told)
    assert fresh.ask("status")["trial"]["remaining"] == WINDOW
    assert b"On trial" in fresh.system.read("/run/motd.d/50-privet")
    began = fresh.system.uptime
    for pid in (
        0,
        1,
        702,
        session(fresh, began - 1),
        session(fresh, began + 5, b"tmux"),
        session(fresh, began + 5, uid=1000),
    ):
        with pytest.raises(Refused, match="older than the change"):
            fresh.ask("confirm", pid=pid)
    fresh.system.tick(60)
    with pytest.raises(Refused):
        fresh.ask("confirm", role="maintainer", pid=session(fresh, began + 5))
    assert "SSH with a password" in fresh.ask("confirm", pid=session(fresh, began + 5))["confirmed"]
    assert fresh.ask("status")["trial"] is None
    fresh.system.tick(WINDOW)
    fresh.turn()
    fresh.reboot()
    assert fresh.status("ssh.password") == "ok"
    with pytest.raises(Refused, match="nothing to confirm"):
        fresh.ask("confirm", pid=702)


def test_without_a_confirmation_it_is_set_back_told_and_not_tried_for_ever(fresh: Kept) -> None:
    """Live and kept as before at the deadline; then it is left alone and stands as loosened until a person wants it."""
    loose_from_the_start(fresh)
    assert not there(fresh)
    new_policy(fresh, ssh_password="no")
    fresh.system.wall -= 86400 * 4000  # no clock on the wall can lengthen it
    fresh.system.tick(WINDOW - 1)
    fresh.turn()
    assert fresh.status("ssh.password") == "ok"
    assert there(fresh)
    assert not ssh.login(fresh.system, "pi", "a word of their own", address="192.168.1.77")
    fresh.system.tick(1)
    fresh.turn()
    assert not there(fresh)
    assert ssh.login(fresh.system, "pi", "a word of their own", address="192.168.1.77")
    for _ in range(3):
        fresh.system.tick(301)
        fresh.turn()
    assert fresh.status("ssh.password") == "loosened"
    texts = [t["text"] for t in fresh.told()]
    assert [t for t in texts if "nobody confirmed it in time. To try again: privet tighten ssh.password" in t]
    assert [t for t in texts if "left it as it is" in t and "privet tighten ssh.password" in t]
    assert len(entries(fresh, "trial_reverted")) == 1
    fresh.ask("tighten", setting="ssh.password")
    assert fresh.ask("status")["trial"]["setting"] == "ssh.password"


def test_a_restart_of_the_guard_goes_on_counting(fresh: Kept) -> None:
    """Killed and started again within the same start of the device: the deadline stays where it was."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no")
    fresh.system.tick(400)
    fresh.stop()
    fresh.system.restart()
    fresh.start()
    assert fresh.ask("status")["trial"]["remaining"] == WINDOW - 400
    fresh.system.tick(200)
    fresh.turn()
    assert fresh.ask("status")["trial"] is None
    assert fresh.status("ssh.password") == "loosened"


@pytest.mark.parametrize("early", [True, False])
def test_another_start_of_the_device_sets_it_back(fresh: Kept, early: bool) -> None:
    """By the early unit before the network, or else by the guard: the next start has the old state, and tells."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no")
    assert fresh.house.guard.proving.trial
    fresh.stop()
    fresh.system.crash()
    if early:
        assert "is set back" in kept_trial.revert_armed(fresh.system)[0]
        assert not there(fresh)
    fresh.start()
    fresh.turn()
    assert kept_trial.recorded(fresh.system) is None
    assert fresh.status("ssh.password") == "loosened"
    assert [t for t in fresh.told() if "started again before it was proven" in t["text"]]
    assert fresh.ask("journal", verify=True)["sound"]


def test_what_breaks_the_key_is_undone_at_once(fresh: Kept) -> None:
    """A change that was not meant to close the key's way and does is set back in the same turn, and told."""
    give_key(fresh)
    fresh.start()
    proving = fresh.house.guard.proving
    proving.patience = 0
    fresh.turn()

    def broken(device, argv, stdin):
        """Load a configuration in which no key works, as a broken server would."""
        device.edit("/etc/ssh/sshd_config.d/000-0-broken.conf", b"PubkeyAuthentication no\n")
        return real.run(device, argv, stdin)

    from agent.system.simulated.programs import sshd as real

    class Broken:
        """The server, broken by its own test run."""

        run = staticmethod(broken)
        reload = staticmethod(real.reload)
        boot = staticmethod(real.boot)

    fresh.system.edit("/etc/ssh/sshd_config.d/000-privet-permitrootlogin.conf", b"PermitRootLogin yes\n")
    fresh.system.programs["sshd"] = Broken
    fresh.house.guard.changed({("/etc/ssh/sshd_config.d", "")})
    del fresh.system.programs["sshd"]
    assert [t for t in fresh.told() if "no way in was left that works" in t["text"]]
    assert entries(fresh, "trial_reverted")


def test_a_setting_that_a_new_version_does_not_know_comes_back_by_its_bytes(fresh: Kept) -> None:
    """After an update in the middle of a trial the files are what they were, and the guard starts."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no")
    trial = kept_trial.recorded(fresh.system)
    assert trial is not None
    kept_trial.record(fresh.system, replace(trial, setting="ssh.of_old"))
    fresh.stop()
    fresh.system.restart()
    fresh.start()
    assert [e for e in entries(fresh, "trial_reverted") if e["setting"] == "ssh.of_old"]
    assert kept_trial.recorded(fresh.system) is None or fresh.house.guard.proving.trial is not None


def test_while_one_is_on_trial_no_other_change_of_access_is_made(fresh: Kept) -> None:
    """Two at once: the second waits until the first is proven; so no way is closed before another is proven."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no", firewall_inbound=[])
    assert [len(entries(fresh, f"trial_{w}")) for w in ("reverted",)] == [0]
    trial = fresh.ask("status")["trial"]
    rows = {r["setting"]: r["status"] for r in fresh.ask("status")["findings"]}
    other = {"firewall.inbound": "ssh.password", "ssh.password": "firewall.inbound"}[trial["setting"]]
    assert (rows[trial["setting"]], rows[other]) == ("ok", "loosened")
    fresh.ask("confirm", pid=session(fresh, fresh.system.uptime + 5))
    fresh.ask("enforce")
    assert fresh.status(other) == "ok"


def test_a_key_that_came_with_the_opening_does_not_keep_it_open(kept: Kept) -> None:
    """Whoever lets root in and puts a key there gains nothing: it is closed again, though that key worked."""
    ssh_keygen.make(kept.system, "/tmp/mallory", "mallory")
    kept.system.edit("/root/.ssh/authorized_keys", kept.system.read("/tmp/mallory.pub"), mode=0o600)
    kept.system.edit(SSH, b"PermitRootLogin yes\nMatch all\nPermitRootLogin yes\n")
    kept.system.reload("ssh.service", "/run/sshd.pid")
    assert ssh.run(kept.system, ("ssh", "-i", "/tmp/mallory", "-l", "root", "127.0.0.1"), b"").code == 0
    kept.turn()
    assert kept.status("ssh.root") == "ok"
    assert ssh.run(kept.system, ("ssh", "-i", "/tmp/mallory", "-l", "root", "127.0.0.1"), b"").code != 0
    assert not entries(kept, "trial_reverted")


def test_a_person_who_loosens_ends_the_trial(fresh: Kept) -> None:
    """Their leave counts from now; no deadline touches it."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no")
    fresh.loosen("ssh.password", "yes", 7200)
    assert fresh.ask("status")["trial"] is None
    fresh.system.tick(WINDOW + 1)
    fresh.turn()
    assert fresh.status("ssh.password") == "waived"


def test_what_is_left_alone_is_no_fight(fresh: Kept) -> None:
    """A change that waits or was set back is not counted as undone by somebody."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no")
    fresh.system.tick(WINDOW)
    fresh.turn()
    for _ in range(7):
        fresh.house.guard.changed({("/etc/ssh/sshd_config.d", "")})
    assert not fresh.warnings("contested")


def test_the_end_of_a_leave_needs_no_confirmation(fresh: Kept) -> None:
    """The owner knew when it ends and what was before: a leave is not made longer by not answering."""
    fresh.start()
    own_password(fresh)
    fresh.loosen("ssh.password", "yes", 600)
    fresh.system.tick(601)
    fresh.turn()
    assert fresh.status("ssh.password") == "ok"
    assert fresh.ask("status")["trial"] is None


def test_a_hand_that_opens_what_was_private_gains_nothing_by_waiting(fresh: Kept) -> None:
    """Going back to what was in force before is no news to the owner: no deadline brings the opening back."""
    fresh.start()
    own_password(fresh)
    fresh.system.edit(SSH, OPEN)
    fresh.turn()
    assert fresh.status("ssh.password") == "ok"
    assert fresh.ask("status")["trial"] is None
    fresh.system.tick(WINDOW + 1)
    fresh.turn()
    assert fresh.status("ssh.password") == "ok"
