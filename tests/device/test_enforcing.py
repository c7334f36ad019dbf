"""What cannot be restored or told on a real device: tried, told, and then left until something changes."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.device.lab import Lab
from tests.device.whole import Whole

MAIN = "/etc/mosquitto/mosquitto.conf"
UNPROVEN = ("mosquitto.acl", "mosquitto.anonymous")  # the broker runs with another file, and speaks TLS
SSH = ("ssh.forwarding", "ssh.password", "ssh.root")  # a server is installed, and none runs
TURNS = 60


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A device whose broker was started with a file of its own, and whose SSH server does not run."""
    with lab.device() as device:
        made = Whole(device, tmp_path_factory.mktemp("enforcing"))
        made.broker()
        made.start()
        made.deliver()
        made.until(lambda: made.ask("status")["link"]["state"] == "connected", 60, "the courier's session")
        yield made


def journaled(whole: Whole, kind: str) -> Counter[str]:
    """Count the entries of a kind by setting, of the whole journal."""
    found: Counter[str] = Counter()
    since = 1
    while rows := whole.ask("journal", since=since)["entries"]:
        found.update(str(row["body"].get("setting")) for row in rows if row["kind"] == kind)
        since = rows[-1]["seq"] + 1
    return found


def settles(whole: Whole) -> None:
    """Let the guard turn many times: whoever wakes itself would write at each of them."""
    for _ in range(TURNS):
        assert whole.ask("version")["ok"]


def test_its_own_writes_do_not_wake_it_for_ever(whole: Whole) -> None:
    """Asked once, each is tried once: unproven ones written, trials armed and set back, nobody blamed for it."""
    before, armed = journaled(whole, "intent"), journaled(whole, "trial_armed")
    assert whole.ask("enforce")["ok"]
    settles(whole)
    made = journaled(whole, "intent") - before
    assert {name: made[name] for name in (*UNPROVEN, *SSH)} == dict.fromkeys((*UNPROVEN, *SSH), 1)
    trials = journaled(whole, "trial_armed") - armed
    assert {name: trials[name] for name in SSH} == dict.fromkeys(SSH, 1)
    assert "contested" not in {row["kind"] for row in whole.ask("status")["warnings"]}


def test_two_settings_of_one_file_leave_it_as_it_is(whole: Whole) -> None:
    """Asked again, what both have written stays, to the inode."""
    seen = whole.device.must(["stat", "-c", "%i %Z", MAIN])
    assert whole.ask("enforce")["ok"]
    settles(whole)
    assert whole.device.must(["stat", "-c", "%i %Z", MAIN]) == seen


def test_what_a_hand_changes_is_still_restored_at_once(whole: Whole) -> None:
    """Right after a restoration that came to nothing, and again right after the next: undone by the event alone."""
    private = whole.device.read(MAIN)
    for turn in range(2):
        whole.device.write(MAIN, f"listener {9000 + turn}\nallow_anonymous true\n")
        whole.until(lambda: "\nallow_anonymous true" not in whole.device.read(MAIN), 20, "the hand's line to go")
        whole.until(lambda: whole.statuses()["mosquitto.anonymous"] == "unknown", 20, "what is kept to be private")
        rows = {row["setting"]: row for row in whole.ask("status")["findings"]}
        assert rows["mosquitto.anonymous"]["kept"] == "no"
    whole.device.write(MAIN, private)
