"""Another version of Privet is installed on a device: what it does not know, and what it knows otherwise."""

import pytest

from agent import registry
from agent.core.errors import UnknownSetting
from agent.core.record import replace
from agent.core.setting import Setting
from agent.core.warn import QUIET
from agent.guard.guard import SWEEP
from tests.guard.conftest import Kept, Policy
from tests.guard.test_full_disk import FAULTS, Fault, free

GONE = "ssh.password"
NAME = "mdns.announce"
FEWER = {name: setting for name, setting in registry.settings().items() if name != GONE}


def told(kept: Kept) -> list[str]:
    """Return what was told about settings that are not known."""
    return [str(row["text"]) for row in kept.told() if "does not know" in row["text"]]


def install(kept: Kept, settings: dict[str, Setting]) -> None:
    """Install a version with these settings, and start the device with it; it gets well."""
    kept.settings = settings
    kept.reboot()
    kept.house.healthy()


def test_a_version_that_knows_less_starts_and_says_so_once(kept: Kept) -> None:
    """A leave and a warning for what it does not know end, the rest is kept private as before; told once, not again."""
    kept.loosen(GONE, "yes")
    kept.turn()
    assert [w.open for w in kept.warnings() if w.setting == GONE] == [1]
    install(kept, FEWER)
    answer = kept.ask("status")
    assert answer["waivers"] == [] and GONE not in {row["setting"] for row in answer["findings"]}
    assert not [w for w in kept.warnings() if w.setting == GONE and w.open]
    assert len(told(kept)) == 1 and GONE in told(kept)[0]
    kept.system.run(("sysctl", "-q", "-p", "-"), b"net.ipv4.conf.all.accept_redirects = 1\n")
    kept.system.tick(SWEEP)
    kept.turn()
    assert [w.setting for w in kept.warnings("loosened")] == ["net.redirects"]
    assert kept.status("net.redirects") == "ok"
    kept.system.tick(8000)  # the leave would be over by now
    kept.turn()
    kept.reboot()
    assert len(told(kept)) == 1


def test_the_version_before_installed_again_keeps_it_private_again(kept: Kept) -> None:
    """Nothing of the policy was lost: the setting is what the policy wants, without the leave that is over."""
    kept.loosen(GONE, "yes")
    install(kept, FEWER)
    install(kept, registry.settings())
    assert kept.status(GONE) == "ok" and kept.ask("status")["waivers"] == []
    kept.system.tick(QUIET + 1)
    install(kept, FEWER)
    assert len(told(kept)) == 2


def test_a_value_that_is_no_more_is_the_strictest(fresh: Kept) -> None:
    """A setting whose option is another one now stands at its strictest, and a leave for the former option ends."""

    def open_by_policy(table: Policy) -> None:
        """Let the policy itself want it open, and say why."""
        table["baseline"][NAME] = "on"
        table["reasons"][NAME] = "printers"

    fresh.system.edit("/etc/privet/policy.cbor", fresh.signed(open_by_policy), mode=0o600)
    fresh.start()
    assert fresh.house.guard.wanted(NAME) == "on"
    before = registry.settings()[NAME]
    renamed = tuple(replace(o, value="everywhere") if o.value == "on" else o for o in before.options)
    fresh.settings = {**registry.settings(), NAME: replace(before, options=renamed)}
    fresh.reboot()
    assert fresh.house.guard.wanted(NAME) == before.strictest()
    assert told(fresh) == []
    said = [str(row["text"]) for row in fresh.told() if "has other choices for" in row["text"]]
    assert len(said) == 1 and before.title in said[0] and "kept at the strictest" in said[0]


def test_a_policy_that_arrives_is_refused_as_a_whole(kept: Kept) -> None:
    """What is in force may be of another version; what is new is for this one or for none."""
    install(kept, FEWER)
    with pytest.raises(UnknownSetting, match="update Privet"):
        kept.house.answer.take(kept.signed(lambda table: table.update(sequence=2)))


def test_the_last_good_policy_of_another_version_counts(kept: Kept) -> None:
    """After three starts that did not get well the last good one is taken, without what this version does not know."""
    kept.house.healthy()
    kept.settings = FEWER
    kept.stop()
    house = kept.prepared()
    house.unhealthy = 3
    house.start()
    assert not house.rules.bare and house.rules.unknown == (GONE,)


@pytest.mark.parametrize("settings", [FEWER, registry.settings()], ids=["fewer", "same"])
def test_the_twin_that_reads_it_as_a_new_one_does_not_start(kept: Kept, settings: dict[str, Setting]) -> None:
    """The known-bad twin: read as what arrives is, a policy of another version keeps the guard from starting."""
    kept.settings = settings
    kept.stop()
    house = kept.prepared()
    house.rules.again = house.rules.read  # type: ignore[method-assign]
    if settings is FEWER:
        with pytest.raises(UnknownSetting):
            house.start()
    else:
        house.start()


@FAULTS
def test_a_disk_that_takes_nothing_stops_no_start(kept: Kept, fault: Fault) -> None:
    """A version that knows less is installed and started with such a disk: told, and written down once it can be."""
    kept.loosen(GONE, "yes")
    kept.stop()
    kept.settings = FEWER
    kept.system.reboot()
    kept.opened = lambda _store: fault(kept)
    house = kept.start()
    assert kept.ask("status")["waivers"] == [] and [w for w in kept.warnings() if GONE in w.title]
    free(kept)
    assert house.books.store.get("unknown") == [GONE] and len(told(kept)) == 1
