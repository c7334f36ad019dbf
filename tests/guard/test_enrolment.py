"""A flashed card comes to its certificate, keeps one, and leaves no token: ended at every call, at every date."""

import pytest

from agent.core import enrol
from agent.core.errors import Missing, PrivetError, Tampered, WrongDevice
from agent.core.slot import blank
from agent.guard.pair import HOME, NEXT
from agent.system.simulated import SimulatedSystem
from provisioning.fleet.identity import Fleet
from tests.guard.boots import swept
from tests.guard.enrolling import DAY, NOW, SLOT, TOKEN, Desk, Start, card, certificate, enrolled, raw_holds


def test_a_card_enrols_at_its_first_start_and_rests(desk: Desk):
    """Time first, then the certificate, then the receipt; the next start changes and asks nothing."""
    system = card(desk)
    assert raw_holds(system)
    start = Start(system, desk)
    enrolled(system, desk)
    assert desk.asked == ["time", "token"] and start.made.act == enrol.REST and start.said == []
    assert start.links == 1 and start.times == [NOW]
    kinds = [row[1]["act"] for row in start.store.journal if row[0] == "enrolment"]
    assert kinds == ["adopt", "make", "time", "ask", "wipe"]
    before = system.read(f"{HOME}/cert.pem")
    system.reboot()
    assert Start(system, desk).made.act == enrol.REST
    assert desk.asked == ["time", "token"] and system.read(f"{HOME}/cert.pem") == before


def test_ended_at_every_call_it_goes_on_with_the_same_key(desk: Desk):
    """A power cut or a kill at any call: not enrolled yet and the seed is whole, or enrolled; and then it goes on.

    The desk rings an alarm when the key it bound to the token is not the key that comes again.
    """
    ways = {"wiped": 0, "whole": 0}

    def make() -> SimulatedSystem:
        system = card(one := Desk(desk.fleet))
        system.desk = one  # type: ignore[attr-defined]
        return system

    def work(system: SimulatedSystem) -> None:
        Start(system, system.desk)  # type: ignore[attr-defined]

    def check(system: SimulatedSystem) -> None:
        one: Desk = system.desk  # type: ignore[attr-defined]
        ways["whole" if raw_holds(system) else "wiped"] += 1
        if not raw_holds(system):
            assert certificate(system) is not None, "the seed is gone and there is no certificate"
        again = Start(system, one)
        again.later(30)
        assert again.made.act == enrol.REST, again.made.why
        enrolled(system, one)
        system.crash("all")
        enrolled(system, one)

    total, fired, states = swept(make, work, check)
    assert fired == total > 200 and states > 40
    assert min(ways.values()) > 2


class Hasty(SimulatedSystem):
    """The known-bad twin: a disk that keeps a certificate only in its memory."""

    def write(self, path: str, content: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Write what lasts until the power goes."""
        if path.endswith("cert.pem"):
            self.edit(path, content, mode=mode)
            self.own(path, mode, uid, gid)
            self.disk.find(self.disk.root, path, last=True).kept_content = b""
        else:
            super().write(path, content, mode, uid, gid)


def test_without_a_durable_certificate_it_would_not_pass(desk: Desk):
    """The twin: the seed is gone, and so is the certificate."""
    system = card(desk, system=Hasty)
    Start(system, desk)
    assert certificate(system) is not None and not raw_holds(system)
    system.crash("all")
    assert certificate(system) is None


def test_renewal_in_two_phases(desk: Desk):
    """At two thirds of a life the next certificate is asked for with the old one, which stays until it is proven."""
    system = card(desk)
    start = Start(system, desk)
    first = certificate(system)
    desk.days = 365
    start.later(59 * DAY)
    assert desk.asked == ["time", "token"]
    start.later(2 * DAY)
    assert desk.asked == ["time", "token", "renew"]
    assert certificate(system) == first and certificate(system, NEXT) not in (None, first)
    assert start.made.act == enrol.TRY and start.links == 2
    follows = certificate(system, NEXT)
    start.made.proven(b"d" * 32)  # the broker took the old one: nothing changes
    assert certificate(system) == first
    start.later(3700)
    assert start.links == 3 and certificate(system) == first  # shown again
    start.let_in()
    start.turn()
    assert certificate(system) == follows and certificate(system, NEXT) is None
    assert system.entries(NEXT) == () and start.made.act == enrol.REST


def test_a_change_ended_at_every_call_never_lacks_a_pair(desk: Desk):
    """While the new certificate takes over: whatever the instant, a whole pair is there, and the change is finished."""
    desk.days = 365

    def make() -> SimulatedSystem:
        one = Desk(desk.fleet)
        start = Start(card(one), one)
        one.days = 365
        start.later(61 * DAY)
        start.system.start_of_test = start  # type: ignore[attr-defined]
        return start.system

    def work(system: SimulatedSystem) -> None:
        system.start_of_test.let_in()  # type: ignore[attr-defined]

    def check(system: SimulatedSystem) -> None:
        start: Start = system.start_of_test  # type: ignore[attr-defined]
        assert certificate(system) is not None or certificate(system, NEXT) is not None
        again = Start(system, start.desk)
        again.let_in()
        made = certificate(system)
        assert made is not None and (made.not_valid_after_utc - made.not_valid_before_utc).days >= 365
        assert certificate(system, NEXT) is None
        assert start.desk.alarms == 0 and again.made.pair.life() is not None

    total, fired, states = swept(make, work, check)
    assert fired == total > 40 and states > 10


def test_a_renewal_that_is_refused_keeps_the_old_one_and_tells_once(desk: Desk):
    """A no of the fleet is told to the owner once, and asked again seldom; a busy server is not told at all."""
    system = card(desk)
    start = Start(system, desk)
    first = certificate(system)
    desk.shut = "busy"
    start.later(61 * DAY)
    assert start.said == [] and start.made.why == "it is busy"
    desk.shut = "refused"
    for _ in range(30):
        start.later(7 * 3600)
    assert len(start.said) == 1 and "it is refused" in start.said[0]
    assert certificate(system) == first
    assert 20 < desk.asked.count("renew") < 200
    desk.shut = ""
    start.later(7 * 3600)
    assert certificate(system, NEXT) is not None


def test_a_token_that_was_used_on_another_card_is_an_alarm(desk: Desk):
    """Two cards of one seed: the second rings the alarm, gets nothing, is told, and goes on asking seldom."""
    Start(card(desk), desk)
    system = card(desk)
    start = Start(system, desk)
    assert desk.alarms == 1 and certificate(system) is None and len(start.said) == 1
    assert raw_holds(system) and "another key" in start.made.why


def test_a_new_seed_on_an_enrolled_device_enrols_anew_and_keeps_the_old_until_then(desk: Desk):
    """`inject` with a fresh token: a new key, by token; wiped before the broker is asked; then it takes over."""
    system = card(desk)
    first = Start(system, desk)
    old, token = certificate(system), bytes(range(32))
    system.edit(SLOT, desk.seed(token=token, floor=NOW), in_place=True)
    system.reboot()
    desk.shut = "unreachable"
    start = Start(system, desk)
    assert certificate(system) == old and raw_holds(system, token)
    desk.shut = ""
    start.later(1000)
    assert certificate(system) == old and certificate(system, NEXT) is not None and not raw_holds(system, token)
    start.let_in()
    start.turn()
    assert certificate(system) != old and start.made.act == enrol.REST and desk.alarms == 0
    assert first.made.why == ""


def test_the_same_used_seed_put_back_is_only_wiped(desk: Desk):
    """An old seed written into the slot again: its token is known here, so nothing is asked, and it is wiped."""
    system = card(desk)
    used = system.read(SLOT)
    Start(system, desk)
    system.edit(SLOT, used, in_place=True)
    system.reboot()
    Start(system, desk)
    enrolled(system, desk)
    assert desk.asked.count("token") == 1


def test_a_card_that_cannot_be_wiped_is_told_and_renews_all_the_same(desk: Desk):
    """A boot partition that takes nothing: the owner is told, the certificate counts, the next start tries again."""

    class Worn(SimulatedSystem):
        """A card whose boot partition is read-only."""

        worn = True

        def overwrite(self, path: str, content: bytes) -> None:
            """Refuse."""
            if self.worn:
                raise Tampered("the card takes nothing")
            super().overwrite(path, content)

    system = card(desk, system=Worn)
    start = Start(system, desk)
    assert len(start.said) == 1 and "takes nothing" in start.said[0] and start.made.act == enrol.REST
    start.later(61 * DAY)
    assert certificate(system, NEXT) is not None
    Worn.worn = False
    system.reboot()
    Start(system, desk)
    assert not raw_holds(system)


BAD_SLOTS: list[tuple[str, type[PrivetError], str]] = [
    ("blank", Missing, "holds no seed yet"),
    ("cut", PrivetError, "4096 bytes where 8192 belong"),
    ("zeros", PrivetError, "nothing that Privet wrote"),
    ("another fleet", Tampered, "not signed by this fleet"),
    ("another board", WrongDevice, "made for another board"),
    ("another root", PrivetError, "another root certificate"),
    ("another policy", PrivetError, "not the one its seed was made for"),
]


@pytest.mark.parametrize(("name", "kind", "said"), BAD_SLOTS, ids=[row[0] for row in BAD_SLOTS])
def test_a_card_without_a_good_seed_stays_shut(
    name: str, kind: type[PrivetError], said: str, desk: Desk, tmp_path_factory: pytest.TempPathFactory
):
    """One sentence each, no identity, nothing asked."""
    good = desk.seed()
    content = {
        "blank": blank(), "cut": good[:4096], "zeros": bytes(8192), "another board": desk.seed(serial="10000000abcd"),
        "another root": desk.seed(anchor=b"r" * 32), "another policy": desk.seed(policy=b"p" * 32),
    }.get(name)  # fmt: skip
    if content is None:
        stranger = Desk(Fleet.create(tmp_path_factory.mktemp("other") / "fleet", "meadow"))
        stranger.root = desk.root
        content = stranger.seed()
    system = card(desk, content)
    with pytest.raises(kind, match=said):
        Start(system, desk)
    assert "device.cbor" not in system.entries("/etc/privet") and desk.asked == []


def test_offline_it_makes_its_key_and_waits(desk: Desk):
    """Without a courier the key is made and kept; nothing else happens until one connects."""
    system = card(desk)
    start = Start(system, desk, online=False)
    key = system.read(f"{HOME}/key.pem")
    assert start.made.why == "no courier is connected" and raw_holds(system, TOKEN)
    start.made.courier(start.tell)
    start.turn()
    enrolled(system, desk)
    assert system.read(f"{HOME}/key.pem") == key
