"""Each card its own seed: given once, noted before it is written, set aside in doubt, gone when it is used."""

import json
import os
from pathlib import Path

import pytest

from agent.core.errors import BadInput, Missing, Refused
from agent.core.slot import SIZE
from provisioning.card.seeds import JOURNAL, Seed, Seeds


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """Give a batch of three."""
    for letter in "abc":
        (tmp_path / f"d-{letter}.slot").write_bytes(letter.encode() * SIZE)
    return tmp_path


def test_no_seed_is_given_twice(batch: Path):
    """Cards in work at one time, and later ones, all get another; then none is left."""
    with Seeds(batch) as seeds:
        taken = [seeds.take("") for _ in range(3)]
        assert [one.device for one in taken] == ["d-a", "d-b", "d-c"]
        with pytest.raises(Missing):
            seeds.take("")
        seeds.back(taken[1])
        assert seeds.take("") == taken[1]
        seeds.give(taken[0], "")
    with Seeds(batch) as seeds:
        assert seeds.take("").device == "d-b"


def test_a_seed_that_may_be_on_a_card_is_set_aside(batch: Path):
    """After a run that died between giving and reading back, no other card gets it, and it is named."""
    with Seeds(batch) as seeds:
        seeds.give(seeds.take(""), "")
    with Seeds(batch) as seeds:
        assert seeds.aside() == ["d-a"]
        assert seeds.left() == 2
        assert seeds.take("").device == "d-b"


def test_the_same_card_gets_its_seed_again(batch: Path):
    """A card that tells its own number goes on with the seed that it may have already."""
    with Seeds(batch) as seeds:
        seeds.give(seeds.take("03534453"), "03534453")
    with Seeds(batch) as seeds:
        assert seeds.take("027416").device == "d-b"
        assert seeds.take("03534453").device == "d-a"


def test_a_station_keeps_no_token(batch: Path):
    """When a card was read back its seed is gone here, and its number is nowhere in clear."""
    with Seeds(batch) as seeds:
        seed = seeds.take("03534453")
        held = os.open(batch / "d-a.slot", os.O_RDONLY)
        seeds.give(seed, "03534453")
        seeds.verified(seed, "03534453")
        assert os.pread(held, SIZE, 0) == bytes(SIZE)
        os.close(held)
    assert not (batch / "d-a.slot").exists()
    text = (batch / JOURNAL).read_text()
    assert "03534453" not in text
    assert [json.loads(line)["state"] for line in text.splitlines()] == ["given", "verified"]
    with Seeds(batch) as seeds:
        assert seeds.aside() == []


def test_two_stations_do_not_share_a_batch(batch: Path):
    """A second one is refused, in one sentence."""
    with Seeds(batch), pytest.raises(Refused, match="another station"):
        Seeds(batch)


def test_a_journal_that_was_cut_off_is_read(batch: Path):
    """A power cut leaves half a line: it counts for nothing, and the next line is whole."""
    with Seeds(batch) as seeds:
        seeds.give(seeds.take(""), "")
    with (batch / JOURNAL).open("ab") as file:
        file.write(b'{"device": "d-b", "sta')
    with Seeds(batch) as seeds:
        seed = seeds.take("")
        assert seed.device == "d-b"
        seeds.give(seed, "")
    with Seeds(batch) as seeds:
        assert seeds.aside() == ["d-a", "d-b"]


def test_what_is_no_seed_is_told(batch: Path, tmp_path: Path):
    """A file of another length, and a folder that is not there."""
    (batch / "d-a.slot").write_bytes(b"x")
    with Seeds(batch) as seeds, pytest.raises(BadInput):
        seeds.take("")
    with pytest.raises(Missing):
        Seeds(tmp_path / "nowhere")
    assert Seed("d-a", b"x").device == "d-a"
