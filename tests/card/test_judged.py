"""Verifying an image: as it was built it passes; each changed byte, file beside it and place is told, and its slot."""

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core import slot
from agent.core.errors import Missing, Refused, Tampered
from agent.core.record import replace
from agent.core.secret import Secret
from agent.core.seed import Seed, seed_payload
from provisioning.card.build import build
from provisioning.card.judged import inspected, verified
from provisioning.card.manifest import Manifest, sign_manifest
from provisioning.profile.sign import sign
from tests.card import making


def seeded(made: Manifest, key: Ed25519PrivateKey) -> bytes:
    """Return the slot of a card that was made from an image."""
    seed = Seed(
        device="d-0001", token=Secret(b"t" * 32), enrol_host="enrol.example", enrol_port=8444, broker_host="",
        broker_port=0, anchor=made.anchor, floor=made.made, policy=made.policy, sequence=made.sequence, serial="",
    )  # fmt: skip
    return slot.whole(slot.SEED, sign(seed_payload(seed), key))


@pytest.fixture(scope="module")
def whole(bench, memory):
    """Build an image once."""
    request = making.request(bench.base, bench.deb, memory / "judged" / "card.img", bench.issue)
    _, made = build(request, bench.fleet.signing_key())
    return request.output.parent, made


@pytest.fixture
def built(whole, bench, place):
    """Give a copy of it for one test to spoil."""
    folder, made = whole
    subprocess.run(["cp", "-r", "--sparse=always", folder, place / "copy"], check=True)
    return place / "copy" / "card.img", made, (bench.fleet.policy_key(),)


def poke(path: Path, at: int, content: bytes) -> None:
    """Write over bytes of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def test_an_image_is_what_was_built(built):
    """Nothing was changed: the manifest is returned, and the slot is blank."""
    path, made, publics = built
    manifest, state = verified(path, publics)
    assert manifest == made and (state.state, state.device, state.wrong) == ("blank", "", "")


def test_every_change_outside_the_slot_is_told_with_its_place(built):
    """A byte in a file, one in what was zeros, one in the table of partitions: each is named by its block."""
    path, made, publics = built
    zeros = 8 * (1 << 20) - 4096
    for at in (made.extents[2].offset + 77, zeros, 3):
        whole = path.read_bytes()[at : at + 1]
        poke(path, at, bytes([whole[0] ^ 1]))
        with pytest.raises(Tampered, match="not as it was built, from byte"):
            verified(path, publics)
        poke(path, at, whole)
    assert verified(path, publics)


@pytest.mark.parametrize(
    ("ending", "said"),
    [(".bmap", "not the block map"), (".sbom.json", "not what the manifest speaks of"), (".manifest", "not signed")],
)
def test_a_wrong_file_beside_it_is_told(built, ending, said):
    """A block map, a bill or a manifest of something else is found; without map and bill the image still counts."""
    path, _, publics = built
    beside = path.with_name(path.name + ending)
    poke(beside, beside.stat().st_size // 2, b"!")
    with pytest.raises(Tampered, match=said):
        verified(path, publics)
    beside.unlink()
    if ending == ".manifest":
        with pytest.raises(Missing, match="keep the manifest beside the image"):
            verified(path, publics)
    else:
        assert verified(path, publics)


def test_another_fleet_a_cut_image_and_a_moved_slot_are_told(built, bench):
    """A manifest of other keys, an image of another length, and a signed place where no slot is: each is refused."""
    path, made, publics = built
    with pytest.raises(Tampered, match="not signed by this fleet"):
        verified(path, (Ed25519PrivateKey.generate().public_key().public_bytes_raw(),))
    moved = replace(made, slot=made.slot + (1 << 20))
    path.with_name("card.img.manifest").write_bytes(sign_manifest(moved, bench.fleet.signing_key()))
    with pytest.raises(Tampered):
        verified(path, publics)
    path.with_name("card.img.manifest").write_bytes(sign_manifest(made, bench.fleet.signing_key()))
    os.truncate(path, made.size + 4096)
    with pytest.raises(Tampered, match="and its manifest says"):
        verified(path, publics)


def test_a_card_with_a_seed_is_still_the_image(built, bench):
    """The slot of a card may hold a seed: all else is as built, and whose it is is told; a stranger's seed is none."""
    path, made, publics = built
    poke(path, made.slot, seeded(made, bench.fleet.signing_key()))
    assert verified(path, publics)[1].device == "d-0001"
    assert inspected(path)["slot_state"] == "seed"
    poke(path, made.slot, seeded(made, Ed25519PrivateKey.generate()))
    _, state = verified(path, publics)
    assert state.state == "none" and "not signed by this fleet" in state.wrong
    poke(path, made.slot, bytes(slot.SIZE))
    assert "nothing that Privet wrote" in verified(path, publics)[1].wrong


def test_an_image_is_looked_at_without_its_manifest(built, bench):
    """Layout, version and slot are told of a built image; of the maker's, that it has neither."""
    path, made, _ = built
    found, before = inspected(path), inspected(bench.base)
    assert (found["layout"], found["privet"], found["slot"]) == ("debian-bookworm", "1.2.3", made.slot)
    assert (before["privet"], before["slot"], before["slot_state"], before["why"]) == ("", None, "", "")


def test_an_image_is_built_once_only(built, bench, asked):
    """What was built is no base: Privet is in it already."""
    path, _, _ = built
    with pytest.raises(Refused, match=r"has privet 1\.2\.3 already"):
        build(replace(asked(base=path), output=path.with_name("again.img")), bench.fleet.signing_key())
