"""Several warnings at the same moment share a record, and the collector reads each of them."""

from pathlib import Path

from tests.chaos.pair import Pair


def test_texts_of_one_flush_are_read(tmp_path: Path):
    """All texts of one record arrive with their own times, whichever comes first, and nobody calls them odd."""
    pair = Pair(tmp_path)
    pair.lane.keep([], [("warning", "later", 160), ("warning", "first", 100), ("warning", "as early", 100)], 0)
    assert pair.drain(5) < 5
    read = [(reading.value, reading.at) for reading in pair.collector.readings()]
    assert read == [("later", 160), ("first", 100), ("as early", 100)]
    assert pair.said == []
    assert pair.collector.tally.stored == 2
