"""`privet-fleet image …`: from the maker's image to a verified one as people type it, in text and in JSON."""

import base64
import hashlib
import json
import lzma
import os
import shutil
from pathlib import Path

import cbor2
import pytest

from agent.core import slot
from agent.system.sealing import verify_policy
from provisioning.card.bootfs import Bootfs
from provisioning.card.contents import anchor_digest
from provisioning.card.disk import look
from provisioning.card.rootfs import Rootfs
from provisioning.fleet.identity import Fleet
from provisioning.profile.sign import verify
from tests.card import making
from tests.fleet_cli.test_verbs import House, with_both


@pytest.fixture
def house(place: Path) -> House:
    """A fleet and a profile."""
    (place / "h").mkdir()
    made = House(place / "h")
    made.told("init", "--fleet", str(made.fleet), "--no-passphrase", "--name", "garden", "--broker", "broker.example")
    return made


def test_an_image_from_build_to_verify(house, bench, place):
    """Build says what it made, scan finds nothing in it, verify and inspect agree; the policy in it is the fleet's."""
    output = str(place / "porch.img")
    words = ("image", "build", str(bench.base), "--package", str(bench.deb), "-o", output, *with_both(house))
    dry = house.told(*words, "--dry-run")
    assert dry["dry_run"] and dry["layout"] == "debian-bookworm" and not Path(output).exists()
    made = house.told(*words, "--config-line", "dtparam=i2c_arm=off")
    assert (made["layout"], made["class"], made["sequence"]) == ("debian-bookworm", "base", 1)
    assert made["slot"] % 4096 == 0 and 0 < made["mapped"] < made["size"]
    told = house.told("image", "verify", output, "--fleet", str(house.fleet))
    assert (told["fleet"], told["slot"], told["package"]) == ("garden", "blank", "1.2.3")
    assert house.told("image", "scan", output)["findings"] == []
    assert house.told("image", "inspect", output)["slot_state"] == "blank"
    for verb in ("scan", "inspect", "verify"):
        code, out, err = house.ask("image", verb, output, *(("--fleet", str(house.fleet)) if verb == "verify" else ()))
        assert code == 0 and out and not err
    code, out, _ = house.ask(*words[:-4], "-o", output + "2", *with_both(house))
    assert code == 0 and "slot at byte" in out
    code, _, err = house.ask(*words)
    assert code == 77 and "is there already" in err


def test_a_scan_of_a_dirty_image_ends_with_one(house, place):
    """What is grave is told, line by line and as JSON, and the exit code says so."""
    root = making.tree(place / "tree")
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    base = str(making.image(place / "b.img", root))
    code, out, _ = house.ask("image", "scan", base)
    assert code == 1 and "/etc/machine-id is the same on every device" in out
    code, out, _ = house.ask("image", "scan", base, "--json")
    assert code == 1 and json.loads(out)["grave"] == 1


@pytest.mark.parametrize("form", ["cloud-init", "custom.toml"])
def test_snippets_are_written_once(house, place, form):
    """The files lie in a new folder, the policy in them is signed by the fleet; a second time is refused."""
    words = ("image", "snippet", form, "-o", str(place / "boot"), "--host", "porch", *with_both(house))
    told = house.told(*words)
    assert "privet-install.sh" in told["files"]
    code, _, err = house.ask(*words)
    assert code == 77 and "is there already" in err
    text = (place / "boot/privet-install.sh").read_text()
    policy = text.split("policy.cbor <<'END'\n")[1].split("END\n")[0]
    key = Fleet.open(house.fleet).policy_key()
    assert verify(base64.b64decode(policy), (key,))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("image", "scan", "none.img"), 66, "is not there"),
        (("image", "inspect", __file__), 65, "no table of partitions"),
        (("image", "verify", "none.img"), 66, "keep the manifest beside the image"),
    ],
)
def test_bad_input_is_one_sentence_and_its_code(house, words, code, said):
    """What is absent, what is no image, what has no manifest."""
    fleet = ("--fleet", str(house.fleet)) if words[1] == "verify" else ()
    found, _, err = house.ask(*words, *fleet)
    assert found == code and said in err and err.count("\n") == 1


def test_from_the_makers_image_to_a_card_of_ones_own(house, bench, place):
    """Build, batch, flash into a file: the card is the image with one device's seed, and that fits what is in it."""
    output, fleet = place / "porch.img", ("--fleet", str(house.fleet))
    words = ("image", "build", str(bench.base), "--package", str(bench.deb), "-o", str(output))
    house.told(*words, *with_both(house))
    made = house.told("batch", "create", "--count", "2", "--enrol", "enrol.example:8444", *with_both(house))
    card = place / "card.img"
    assert house.ask("flash", str(output), "--to", str(card), "--batch", made["directory"], *fleet)[0] == 0
    for ending in (".manifest", ".bmap", ".sbom.json"):
        shutil.copy(f"{output}{ending}", f"{card}{ending}")
    told = house.told("image", "verify", str(card), *fleet)
    assert told["slot"] == "seed" and told["device"] in made["devices"]
    disk = look(card)
    root, boot = Rootfs(disk, 0), Bootfs(disk, 0)
    keys = cbor2.loads(root.read("/etc/privet/fleet.cbor"))["policy_keys"]
    seed = slot.choose(boot.read("privet.slot"), lambda message: verify_policy(message, keys))
    assert seed.policy == hashlib.sha256(root.read("/etc/privet/policy.cbor")).digest()
    assert seed.anchor == anchor_digest(root.read("/var/lib/privet-courier/ca.pem"))
    assert (seed.device, seed.enrol_host, seed.sequence) == (told["device"], "enrol.example", 1)
    code, out, _ = house.ask("image", "scan", str(card), "--json")
    assert code == 1 and [one["kind"] for one in json.loads(out)["findings"]] == ["token"]


def test_what_is_packed_or_a_pipe_is_told_as_that(house, place):
    """A packed image is looked into unpacked, and a pipe keeps nobody waiting: one sentence each."""
    (place / "packed.img.xz").write_bytes(lzma.compress(bytes(1 << 20), preset=0))
    os.mkfifo(place / "pipe.img")
    for verb in ("inspect", "scan"):
        code, out, err = house.ask("image", verb, str(place / "packed.img.xz"))
        assert (code, out) == (65, "") and "is packed with xz" in err and err.count("\n") == 1
        code, out, err = house.ask("image", verb, str(place / "pipe.img"))
        assert (code, out) == (74, "") and err.count("\n") == 1
