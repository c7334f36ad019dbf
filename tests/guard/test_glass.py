"""Break glass: the recovery file with the printed code, and nothing else, gives the device to who has it in hand."""

import itertools
import json
import os

import pytest

from agent.core.record import frozen
from agent.guard import early, glass
from agent.guard.firstboot import MARKER
from agent.providers.linux import nft
from agent.system.simulated.programs import ssh, ssh_keygen
from agent.system.store import Store
from tests.guard.conftest import Kept

FILE = glass.PLACES[0]
BOTH = ("inbound", "outbound")
SHUT = json.dumps({"nftables": [row for one in BOTH for row in json.loads(nft.document(one, ()))["nftables"]]}).encode()


@pytest.fixture
def used(kept: Kept) -> Kept:
    """A device that somebody has used: consent, a leave, a key, a password of their own, a reading that waits."""
    kept.turn()
    kept.code = kept.ask("credentials", once=True)["credentials"][-1]["secret"]
    kept.ask("credentials", taken=["linux_account/pi", "recovery/code"])
    kept.system.run(("chpasswd",), b"pi:a word of their own\n")
    ssh_keygen.make(kept.system, "/root/former", "anna")
    kept.system.edit("/home/pi/.ssh/authorized_keys", kept.system.read("/root/former.pub"), mode=0o600, uid=1000)
    kept.agree("climate")
    kept.loosen("ssh.password", "yes", 86400)
    kept.system.disk.settle()
    return kept


def store_of(kept: Kept) -> Store:
    """Return the store of a guard that runs."""
    assert kept.store is not None
    return kept.store


def written(kept: Kept, text: bytes) -> None:
    """Put a recovery file on the card and switch the device off."""
    kept.stop()
    kept.system.edit(FILE, text)
    kept.system.reboot()


def start(kept: Kept) -> tuple[str, ...]:
    """Start the device: the early unit, then the guard as `run.build` puts it together."""
    kept.system.edit(early.SHUT, SHUT)
    said = early.prepare(kept.system)
    glass.start_over(kept.system, kept.start_store)
    if glass.record(kept.system, glass.ASKED).get("state") == "erased" and not kept.system_has_begun():
        os.unlink(kept.folder / "state.db")  # it lies outside of the simulated disk
    store = kept.start_store()
    glass.resume(kept.system, store)
    store.close()
    kept.start()
    kept.turn()
    return said


def let_through(kept: Kept, direction: str) -> object:
    """Return the flows that the firewall of the kernel lets through."""
    return nft.probe(kept.system, frozen({"direction": direction})).live


def test_the_code_is_printed_once_and_only_its_digest_is_kept(kept: Kept) -> None:
    """It waits for the owner beside the new password; on the device there is nothing to read it from afterwards."""
    rows = kept.ask("credentials", once=True)["credentials"]
    assert [r["label"] for r in rows] == ["linux_account/pi", "recovery/code"]
    code = rows[1]["secret"].encode()
    kept.ask("credentials", taken=["recovery/code"])
    assert code not in kept.system.read(glass.CODE)
    assert kept.system.stat(glass.CODE).mode == 0o600
    kept.reboot()
    assert [r["label"] for r in kept.ask("credentials", once=True)["credentials"]] == ["linux_account/pi"]


def test_the_right_code_gives_a_private_device_to_its_owner(used: Kept) -> None:
    """The people before are out, what they agreed to and allowed is off, the owner gets new secrets; it is told."""
    boot, newest = used.system.boot, store_of(used).get("newest")
    written(used, used.code.upper().encode("utf-16"))
    said = start(used)
    assert "right code" in said[0]
    assert FILE.rpartition("/")[2] not in used.system.entries("/boot/firmware")
    assert used.house.books.waivers == ()
    assert used.house.books.consents == {}
    assert {r["status"] for r in used.ask("status")["findings"]} <= {"ok", "absent"}
    rows = {r["label"]: r["secret"] for r in used.ask("credentials", once=True)["credentials"]}
    assert set(rows) == {"linux_account/pi", "recovery/code"}
    assert rows["recovery/code"] != used.code
    assert used.system.run(("unix_chkpwd", "pi", "nullok"), rows["linux_account/pi"].encode() + b"\0").code == 0
    assert used.system.run(("unix_chkpwd", "pi", "nullok"), b"a word of their own\0").code != 0
    assert ssh.run(used.system, ("ssh", "-i", "/root/former", "-l", "pi", "127.0.0.1"), b"").code != 0
    assert used.system.boot > boot, "numbers of readings never run backwards"
    assert store_of(used).get("newest") == newest
    assert [e for e in store_of(used).entries(0, 999) if e.kind == "reset"]
    assert [t for t in used.told() if "recovery file" in t["text"]]
    assert not glass.pending(used.system)
    for direction in BOTH:  # shut while the reset went on
        assert let_through(used, direction) == used.house.rules.baseline()[f"firewall.{direction}"] != ()
    assert used.ask("journal", verify=True)["sound"]
    used.reboot()
    assert [r["label"] for r in used.ask("credentials", once=True)["credentials"]] == sorted(rows)


def test_the_key_of_what_was_before_is_overwritten(used: Kept) -> None:
    """Key and queue are zeroed where they lie; what stays is counted numbers and the maker's policy."""
    used.system.edit(glass.KEY, b"K" * 32, mode=0o600)
    used.system.edit("/var/lib/privet/queue/climate/1.seg", b"Q" * 100)
    nodes = [
        node for path, node in used.system.disk.walk() if path in (glass.KEY, "/var/lib/privet/queue/climate/1.seg")
    ]
    written(used, used.code.encode())
    start(used)
    assert [set(node.content) for node in nodes] == [{0}, {0}]


@pytest.mark.parametrize("text", [b"", b"bcdef bcdef bcdef bcdef", b"x" * 9000, b"\xff\xfe\x00\x00"])
def test_a_wrong_code_changes_nothing_and_is_counted(used: Kept, text: bytes) -> None:
    """One try at each start of the device; the file is gone, the owner hears of it, and the right one still works."""
    written(used, text)
    assert "number 1" in start(used)[0]
    assert used.house.books.consents["climate", "collector"].state == "given"
    assert used.system.run(("unix_chkpwd", "pi", "nullok"), b"a word of their own\0").code == 0
    used.system.edit(FILE, used.code.encode())
    assert "once at each start" in glass.requested(used.system)[0]
    assert not glass.pending(used.system)
    written(used, text)
    assert "number 2" in start(used)[0]
    written(used, used.code.encode())
    assert "right code" in start(used)[0]


def test_power_cut_at_every_call_of_judging_and_erasing(used: Kept) -> None:
    """Whenever power goes, the file is judged again or the reset goes on; never half a reset without a record of it."""
    written(used, used.code.encode())
    whole = [(path, bytes(node.content), node.rights) for path, node in used.system.disk.walk(gone=False)
             if node.kind == "file" and path.startswith(("/var/lib/privet", "/boot", "/etc/privet"))]  # fmt: skip

    def made():
        """Make a device with these files, quickly."""

        def lay(system):
            for path, content, rights in whole:
                system.edit(path, content, mode=rights.mode)

        return type(used.system)(image=lay, shipped=False)

    def work(system):
        """Do what a start does before the guard."""
        glass.requested(system)
        glass.start_over(system, Nothing)

    total = made().count(work)
    for k, lose in itertools.product(range(1, total + 1), ("all", "torn")):
        system = made()
        assert system.kill_at(k, work, lose)
        work(system)
        assert glass.record(system, glass.ASKED)["state"] == "erased", (k, lose)
        assert FILE.rpartition("/")[2] not in system.entries("/boot/firmware")
        assert MARKER.rpartition("/")[2] not in system.entries("/var/lib/privet")
        assert "boot" in glass.record(system, glass.ASKED)["carried"]
    assert total > 60


class Nothing:
    """A store that holds one number."""

    def get(self, name):
        """Return it."""
        return 7 if name == "boot" else None

    def keys(self, prefix=""):
        """Hold nothing else."""
        return ()

    def close(self):
        """Hold nothing open."""


@pytest.mark.parametrize("right", [True, False])
def test_early_keeps_the_device_shut_until_the_reset_is_over(used: Kept, right: bool) -> None:
    """With the right code the kept firewall is not loaded: nothing comes in before the first boot is over."""
    written(used, used.code.encode() if right else b"wrong")
    used.system.run(("nft", "flush", "ruleset"))
    shut = b'{"nftables": [{"add": {"table": {"family": "inet", "name": "shut"}}}]}'
    used.system.edit(early.SHUT, shut)
    assert early.prepare(used.system)[0].startswith("The recovery file" if right else "A recovery file")
    rules = used.system.run(("nft", "-j", "list", "ruleset")).out
    assert (b'"shut"' in rules, b'"privet"' in rules) == (right, not right)


@pytest.mark.parametrize("broken", BOTH)
def test_a_broken_firewall_file_shuts_its_own_direction_alone(used: Kept, broken: str) -> None:
    """The guard repairs what is not as it was left; a way that it finds narrower than declared it would leave shut."""
    used.stop()
    used.system.edit(early.SHUT, SHUT)
    used.system.edit(nft.file_of(broken), b'{"nftables": [{"oops"')
    used.system.reboot()
    assert "started shut" in early.prepare(used.system)[-1]
    assert let_through(used, broken) == ()
    used.start()
    used.turn()
    for direction in BOTH:
        assert let_through(used, direction) == used.house.rules.baseline()[f"firewall.{direction}"] != ()


def test_a_start_that_shut_everything_is_opened_by_the_guard(used: Kept) -> None:
    """Where the early start did not work at all, the guard opens what it had left open, and nothing more."""
    used.stop()
    used.system.reboot()
    assert used.system.run(("nft", "-j", "-f", "-"), SHUT).code == 0
    assert [let_through(used, direction) for direction in BOTH] == [(), ()]
    used.start()
    used.turn()
    for direction in BOTH:
        assert let_through(used, direction) == used.house.rules.baseline()[f"firewall.{direction}"] != ()


def test_a_file_that_lies_there_for_ever_counts_once(used: Kept) -> None:
    """A card that cannot be written keeps the file: it neither begins the reset anew nor resets what came after it."""
    written(used, used.code.encode())
    assert "right code" in glass.requested(used.system)[0]
    table = glass.record(used.system, glass.ASKED)
    glass.keep(used.system, glass.ASKED, {**table, "state": "carried", "carried": {"boot": 7}})  # power went here
    used.system.edit(FILE, used.code.encode())
    used.system.reboot()
    glass.requested(used.system)
    kept = glass.record(used.system, glass.ASKED)
    assert (kept["state"], kept["carried"]) == ("carried", {"boot": 7}), "what no reset may turn back is not read anew"
    start(used)
    rows = {r["label"]: r["secret"] for r in used.ask("credentials", once=True)["credentials"]}
    used.agree("climate")
    for number in (1, 2):
        written(used, used.code.encode())
        assert f"number {number}" in start(used)[0]
    assert used.house.books.consents["climate", "collector"].state == "given"
    assert used.system.run(("unix_chkpwd", "pi", "nullok"), rows["linux_account/pi"].encode() + b"\0").code == 0


def test_an_erasure_that_its_owner_began_stays_one(used: Kept) -> None:
    """A recovery file put there before the next start takes nothing back: the identity goes, the receipt stays."""
    asked = {"state": "asked", "by": glass.OWNER, "receipt": b"signed", "token": b"t" * 32}
    glass.keep(used.system, glass.ASKED, asked)
    used.system.disk.settle()
    written(used, used.code.encode())
    assert "right code" in start(used)[0]
    assert store_of(used).get("handover")["receipt"] == b"signed"
