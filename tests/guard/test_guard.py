"""The guard on a simulated Raspberry Pi: private at once, told once, loosened with open eyes, ended by itself."""

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core.errors import BadInput, BadPolicy, ExpiredPolicy, OldPolicy, PrivetError, Refused, UnknownSetting
from agent.core.plan import Change
from agent.core.role import NOBODY
from agent.guard.callers import Caller
from tests.guard.conftest import Kept

SYSCTL = "/etc/sysctl.d/99-mine.conf"
SSH = "/etc/ssh/sshd_config.d/000-a-mine.conf"


def loosened(kept: Kept) -> None:
    """Edit as a hand does: this file is read before ours."""
    kept.system.edit(SSH, b"PasswordAuthentication yes\nMatch all\nPasswordAuthentication yes\n")


def test_private_after_the_first_start(kept: Kept) -> None:
    """Every setting is as the policy wants it or not here at all; nothing was warned about one by one."""
    rows = kept.ask("status")["findings"]
    assert {r["status"] for r in rows} <= {"ok", "absent"}, [r for r in rows if r["status"] not in ("ok", "absent")]
    assert len([r for r in rows if r["status"] == "ok"]) >= 14
    assert kept.told() == []


def test_status_says_how_much_was_looked_at_and_when(kept: Kept) -> None:
    """Each setting that is here counts in two places; one that cannot be read is counted apart and is no pass."""
    whole = kept.ask("status")
    count = whole["coverage"]
    assert count["here"] + count["absent"] == count["covered"] == len(whole["findings"]) <= count["catalogue"]
    assert count["places"] == 2 * count["here"] == count["judged"] + count["unknown"]
    assert count["unknown"] == 0
    assert {row["age"] for row in whole["findings"]} == {0}
    kept.system.tick(7)
    kept.system.edit("/etc/sudoers.d/mine", b"pi ALL\n", mode=0o440)
    kept.turn()
    whole = kept.ask("status")
    unread = {row["setting"] for row in whole["findings"] if row["live"] is None and row["status"] != "absent"}
    assert unread == {"sudo.nopasswd", "sudo.ticket"}
    assert whole["coverage"] == {**count, "judged": count["judged"] - 4, "unknown": 4}
    assert {row["age"] for row in whole["findings"] if row["setting"] in unread} == {0}
    assert max(row["age"] for row in whole["findings"]) == 7


def test_a_hand_edit_is_undone_and_told_once(kept: Kept) -> None:
    """One warning with what changed, who is affected, what was done; none more while nothing new happens."""
    kept.system.edit("/etc/sysctl.d/zz-privet-redirects.conf", b"net.ipv4.conf.all.accept_redirects = 1\n")
    kept.turn()
    assert kept.status("net.redirects") == "ok"
    told = kept.told()
    assert [t["setting"] for t in told] == ["net.redirects"]
    assert "Privet has set it back" in told[0]["text"]
    for _ in range(5):
        kept.system.tick(301)
        kept.turn()
    assert len(kept.told()) == 1


def test_flapping_is_counted_not_repeated(kept: Kept) -> None:
    """The same loosening again and again is one warning with a count, until the fight is given up and said so."""
    for _ in range(7):
        kept.system.edit("/etc/sysctl.d/zz-privet-redirects.conf", b"net.ipv4.conf.all.accept_redirects = 1\n")
        kept.system.writing.append(("/etc/sysctl.d", "puppet (process 77)"))
        kept.turn()
        kept.system.tick(20)
    kinds = [t["kind"] for t in kept.told()]
    assert kinds == ["loosened", "contested"]
    assert "puppet (process 77)" in kept.told()[1]["text"]
    assert kept.status("net.redirects") == "loosened"
    assert next(w for w in kept.warnings("loosened")).count >= 5
    kept.system.tick(3700)
    kept.turn()
    assert kept.status("net.redirects") == "ok"


def test_loosening_needs_the_risk_to_be_shown(kept: Kept) -> None:
    """Without the digest of the risk text nothing changes; neither without reason, end, known value or role."""
    for change in ({"seen": ""}, {"seen": "x", "reason": ""}, {"seconds": 10}, {"value": "perhaps"}):
        seen = kept.ask("explain", setting="ssh.password", value="yes")["seen"]
        request = {"setting": "ssh.password", "value": "yes", "seconds": 600, "reason": "r", "seen": seen, **change}
        with pytest.raises(PrivetError):
            kept.ask("loosen", **request)
    with pytest.raises(Refused):
        kept.ask("loosen", role="maintainer", setting="ssh.password")
    with pytest.raises(UnknownSetting):
        kept.ask("explain", setting="ssh.colour")
    assert kept.status("ssh.password") == "ok"
    assert kept.house.books.waivers == ()


def test_loosen_warns_holds_and_reverts_by_itself(kept: Kept) -> None:
    """Risk first, one warning, waived while it lasts, set back at the end, and that is told as well."""
    explained = kept.ask("explain", setting="ssh.password", value="yes")
    assert "guess" in explained["risk_of_value"]
    kept.loosen("ssh.password", "yes", 7200, "backup")
    kept.turn()
    assert kept.status("ssh.password") == "waived"
    assert [t["kind"] for t in kept.told()] == ["waived"]
    assert "backup" in kept.told()[0]["text"]
    kept.system.tick(7100)
    kept.turn()
    assert kept.status("ssh.password") == "waived"
    kept.system.tick(150)
    kept.turn()
    assert kept.status("ssh.password") == "ok"
    assert [t["kind"] for t in kept.told()] == ["waived", "ended"]


def test_a_waiver_survives_a_reboot_and_a_clock_set_back(kept: Kept) -> None:
    """Neither makes it end early by much, and neither makes it last longer."""
    kept.loosen("ssh.password", "yes", 3600)
    kept.system.tick(600)
    kept.turn()
    kept.system.wall -= 86400 * 365
    kept.reboot()
    assert kept.status("ssh.password") == "waived"
    kept.system.tick(2500)
    kept.turn()
    assert kept.status("ssh.password") == "waived"
    kept.system.tick(600)
    kept.turn()
    assert kept.status("ssh.password") == "ok"
    assert kept.house.books.waivers == ()


def test_a_start_that_takes_long_is_charged_and_a_guard_begun_anew_is_not(kept: Kept) -> None:
    """What the device ran before the guard looked counts to its end; when the guard alone restarts, nothing more."""
    kept.loosen("ssh.password", "yes", 7200)
    kept.system.tick(3000)
    kept.turn()
    for _ in range(2):
        kept.stop()
        kept.system.tick(600)
        kept.start()
        assert kept.status("ssh.password") == "waived"
    assert kept.ask("status")["waivers"][0]["remaining"] == 7200 - 3000 - 2 * 600
    for seconds, status in ((2500, "waived"), (600, "ok")):
        kept.stop()
        kept.system.reboot()
        kept.system.wall -= 86400 * 3650
        kept.system.tick(seconds)
        kept.start()
        assert kept.status("ssh.password") == status


def test_a_clock_set_forward_ends_it(kept: Kept) -> None:
    """A jump beyond the end ends it: the safe side."""
    kept.loosen("ssh.password", "yes", 3600)
    kept.system.wall += 86400
    kept.turn()
    assert kept.status("ssh.password") == "ok"


def test_a_look_that_told_nothing_takes_no_leave_away(kept: Kept) -> None:
    """While a device shuts down nothing can be told of it: what the owner allowed stays; what nobody did is closed."""
    kept.loosen("ssh.password", "yes")
    allowed, closed = (Change(setting=name, wanted="no", found=None, held="") for name in ("ssh.password", "ssh.root"))
    assert not kept.house.guard.worth(allowed)
    assert kept.house.guard.worth(closed)


def test_a_waiver_covers_its_ceiling_only(kept: Kept) -> None:
    """Leave for tcp tunnels does not excuse x11: that is told as any loosening."""
    kept.loosen("ssh.forwarding", "tcp")
    assert kept.status("ssh.forwarding") == "waived"
    kept.system.edit(SSH, b"X11Forwarding yes\nAllowTcpForwarding yes\nMatch all\nX11Forwarding yes\n")
    kept.turn()
    assert "loosened" in [t["kind"] for t in kept.told()]


def test_tighten_ends_it_at_once(kept: Kept) -> None:
    """The way back is one word, and asks for nothing."""
    kept.loosen("ssh.password", "yes")
    assert kept.ask("tighten", setting="ssh.password")["finding"]["status"] == "ok"
    assert kept.house.books.waivers == ()


def test_the_owner_hears_on_every_channel(kept: Kept) -> None:
    """Log, greeting and terminals of the simulated device all hold the warning."""
    kept.loosen("ssh.password", "yes", 7200, "backup")
    assert b"backup" in kept.system.read("/run/motd.d/50-privet")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: t.update(sequence=1), OldPolicy),
        (lambda t: t.update(sequence=2, issued=1, expires=2), ExpiredPolicy),
        (lambda t: t.update(sequence=2, device="another"), BadPolicy),
        (lambda t: t.update(sequence=2, fleet="another"), BadPolicy),
        (lambda t: t["baseline"].update({"ssh.colour": "red"}), UnknownSetting),
        (lambda t: t.update(sequence=2, extra=1), BadPolicy),
        (lambda t: t["fields"][0].update(colour=1), BadPolicy),
    ],
)
def test_bad_policies_change_nothing(kept: Kept, change: object, error: type[PrivetError]) -> None:
    """Older, expired, for another device, unknown setting or entry: one clear error, journaled, nothing changed."""
    before = kept.ask("status")["findings"], kept.house.rules.policy
    with pytest.raises(error):
        kept.house.take_policy(kept.signed(change))  # type: ignore[arg-type]
    kept.house.heard(["received", "policy", kept.signed(change)])  # type: ignore[arg-type]
    assert (kept.ask("status")["findings"], kept.house.rules.policy) == before
    assert kept.store is not None
    assert [e for e in kept.store.entries(0, 999) if e.kind == "refused"]


def test_unsigned_truncated_and_oversized_policies_change_nothing(kept: Kept) -> None:
    """A policy is verified before a byte of it is used."""
    good = kept.signed(lambda t: t.update(sequence=2))
    bad = [b"", good[:-1], good[: len(good) // 2], b"\x00" * 300_000, good + b"\x00", cbor2.dumps({}), kept.signed(
        lambda t: t.update(sequence=2), Ed25519PrivateKey.generate())]  # fmt: skip
    for place in range(0, len(good), 97):
        bad.append(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for one in bad:
        with pytest.raises(BadInput):
            kept.house.take_policy(one)
    assert kept.house.rules.policy is not None
    assert kept.house.rules.policy.sequence == 1


def test_a_policy_from_afar_only_tightens(kept: Kept) -> None:
    """A looser wish is not granted, it is told; the tighter part holds at once, also after a restart."""

    def change(table: dict[str, object]) -> None:
        baseline = dict(table["baseline"])  # type: ignore[call-overload]
        baseline["ssh.password"] = "yes"
        baseline["firewall.inbound"] = []
        table.update(sequence=2, baseline=baseline, reasons={**table["reasons"], "ssh.password": "support"})  # type: ignore[dict-item]

    kept.house.take_policy(kept.signed(change))
    assert kept.status("ssh.password") == "ok"
    assert [t["kind"] for t in kept.told()] == ["policy"]
    assert "ssh.password" in kept.told()[0]["text"]
    assert kept.house.rules.baseline()["firewall.inbound"] == ()
    kept.reboot()
    assert kept.house.rules.baseline()["ssh.password"] == "no"
    assert kept.house.rules.baseline()["firewall.inbound"] == ()


def test_the_journal_shows_meddling(kept: Kept) -> None:
    """Sound as it stands; a changed entry is found."""
    assert kept.ask("journal", verify=True)["sound"] is True
    assert kept.store is not None
    kept.store._rows.execute("UPDATE entry SET sealed = x'00' WHERE seq = 3")
    answer = kept.ask("journal", verify=True)
    assert answer["sound"] is False
    assert "entry 3" in answer["why"]


def test_credentials_are_shown_once(kept: Kept) -> None:
    """The owner gets the new password, once; it works and the old one does not."""
    rows = kept.ask("credentials", once=True)["credentials"]
    assert [r["label"] for r in rows] == ["linux_account/pi", "recovery/code"]
    assert kept.ask("credentials", once=True)["credentials"] == rows, "a lost answer is no lost password"
    taken = [r["label"] for r in rows]
    assert kept.ask("credentials", taken=[*taken, "other"])["erased"] == taken
    assert kept.ask("credentials", once=True)["credentials"] == []
    kept.reboot()
    assert kept.ask("credentials", once=True)["credentials"] == []
    check = kept.system.run(("unix_chkpwd", "pi", "nullok"), b"raspberry\0")
    assert check.code != 0
    check = kept.system.run(("unix_chkpwd", "pi", "nullok"), rows[0]["secret"].encode() + b"\0")
    assert check.code == 0


def test_an_account_may_take_its_own_new_password(kept: Kept) -> None:
    """Who signs in by key alone gets the password that sudo asks for: the own one, once, and nobody else's."""
    assert kept.house is not None
    acts, pi = kept.house.acts, Caller(name="pi", role=NOBODY)
    for who in (Caller(name="nobody", role=NOBODY), Caller(name="recovery/code", role=NOBODY)):
        assert acts.perform(who, {"op": "password"})["credentials"] == []
        assert acts.perform(who, {"op": "password", "taken": True})["credentials"] == []
    rows = acts.perform(pi, {"op": "password"})["credentials"]
    assert [row["label"] for row in rows] == ["linux_account/pi"]
    assert kept.system.run(("unix_chkpwd", "pi", "nullok"), rows[0]["secret"].encode() + b"\0").code == 0
    with pytest.raises(Refused):
        acts.perform(pi, {"op": "credentials", "once": True})
    assert acts.perform(pi, {"op": "password", "taken": True})["erased"] == ["linux_account/pi"]
    assert acts.perform(pi, {"op": "password"})["credentials"] == []
    assert kept.ask("credentials")["waiting"] == ["recovery/code"]


def test_nothing_comes_in_before_the_factory_password_is_gone(fresh: Kept) -> None:
    """When a rotation cannot be done, the gate stays shut, the owner is told, the rest is enforced all the same."""
    fresh.system.absent.add("chpasswd")
    fresh.start()
    assert fresh.house.shut_in
    assert fresh.status("firewall.inbound") == "ok"
    assert next(r for r in fresh.ask("status")["findings"] if r["setting"] == "firewall.inbound")["found"] == "nothing"
    assert [t["kind"] for t in fresh.told()] == ["failed"]
    fresh.system.absent.discard("chpasswd")
    fresh.reboot()
    assert not fresh.house.shut_in
    assert "tcp/22@lan" in str(next(r for r in fresh.ask("status")["findings"] if r["setting"] == "firewall.inbound"))
