"""The journal's chain: every damage shows, and where it begins."""

import hashlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import journal
from agent.core.errors import BadInput
from agent.core.journal import CHANGED, CUT, EMPTY, MISSING, REORDERED, Entry, Head, Row, Verdict
from agent.core.record import replace

SEALED = st.lists(st.binary(max_size=20), min_size=2, max_size=12)


def chain(sealed: list[bytes]) -> tuple[list[Row], Head]:
    """Build a whole chain."""
    rows, end = [], EMPTY
    for one in sealed:
        rows.append(journal.extend(end, one))
        end = Head(count=rows[-1].seq, digest=rows[-1].digest)
    return rows, end


@given(SEALED)
def test_a_whole_chain_is_whole(sealed):
    """Nothing is found in an undamaged chain, and it is counted."""
    rows, end = chain(sealed)
    assert journal.verify(rows, end) == Verdict(count=len(rows), damage="", seq=0)
    assert journal.verify([], EMPTY) == Verdict(count=0, damage="", seq=0)


@given(SEALED, st.data())
def test_a_changed_entry_is_named(sealed, choice):
    """One changed byte string or digest is found at its own number."""
    rows, end = chain(sealed)
    place = choice.draw(st.integers(0, len(rows) - 1))
    whole = rows[place]
    rows[place] = replace(whole, sealed=whole.sealed + b"!")
    assert journal.verify(rows, end) == Verdict(count=place, damage=CHANGED, seq=place + 1)
    rows[place] = replace(whole, digest=bytes(32))
    assert journal.verify(rows, end) == Verdict(count=place, damage=CHANGED, seq=place + 1)


@given(SEALED, st.data())
def test_a_missing_entry_is_named(sealed, choice):
    """An entry taken out before the last is missing; one taken off the end is cut off."""
    rows, end = chain(sealed)
    place = choice.draw(st.integers(0, len(rows) - 1))
    del rows[place]
    damage = CUT if place == len(rows) else MISSING
    assert journal.verify(rows, end) == Verdict(count=place, damage=damage, seq=place + 1)


@given(SEALED, st.data())
def test_an_exchange_is_named(sealed, choice):
    """Two rows in the wrong order are found at the first of them; so is a row kept twice."""
    rows, end = chain(sealed)
    place = choice.draw(st.integers(0, len(rows) - 2))
    swapped = [*rows[:place], rows[place + 1], rows[place], *rows[place + 2 :]]
    assert journal.verify(swapped, end) == Verdict(count=place, damage=REORDERED, seq=place + 1)
    doubled = [*rows[: place + 1], rows[place], *rows[place + 1 :]]
    assert journal.verify(doubled, end) == Verdict(count=place + 1, damage=REORDERED, seq=place + 2)


@given(SEALED, st.data())
def test_a_cut_end_is_named(sealed, choice):
    """Any number of entries cut off the end shows, all of them included."""
    rows, end = chain(sealed)
    left = choice.draw(st.integers(0, len(rows) - 1))
    assert journal.verify(rows[:left], end) == Verdict(count=left, damage=CUT, seq=left + 1)


@given(SEALED)
def test_a_rebuilt_chain_shows(sealed):
    """Whoever rewrites entries and every digest after them still ends elsewhere than the head; additions show too."""
    rows, end = chain(sealed)
    forged, _ = chain([b"forged", *sealed[1:]])
    expected = Verdict(count=len(rows) - 1, damage=CHANGED, seq=len(rows))
    assert sealed[0] == b"forged" or journal.verify(forged, end) == expected
    longer, _ = chain([*sealed, b"more"])
    assert journal.verify(longer, end) == Verdict(count=len(rows), damage=CHANGED, seq=len(rows) + 1)


@given(st.integers(1, 2**63), st.text(max_size=20), st.dictionaries(st.text(), st.integers(0, 9) | st.text()))
def test_an_entry_comes_back(seq, kind, body):
    """What was written is read, and it is a map of the six names."""
    entry = Entry(seq=seq, boot=1, uptime=2, wall=3, kind=kind, body=body)
    written = journal.write_entry(entry)
    assert journal.read_entry(written) == entry
    assert cbor2.loads(written) == {"seq": seq, "boot": 1, "uptime": 2, "wall": 3, "kind": kind, "body": body}


@given(st.binary(max_size=80) | st.dictionaries(st.sampled_from(["seq", "kind"]), st.integers()).map(cbor2.dumps))
def test_other_bytes_are_no_entry(raw):
    """Anything else is BadInput."""
    with pytest.raises(BadInput):
        journal.read_entry(raw)


def test_a_huge_entry_is_refused():
    """An entry has a greatest size, so that reading one is bounded."""
    with pytest.raises(BadInput, match="at most"):
        journal.write_entry(Entry(seq=1, boot=1, uptime=1, wall=1, kind="x", body={"text": "x" * 70000}))


def test_the_link_is_the_one_of_the_format():
    """The digest is sha256 over the CBOR of label, previous digest, number and sealed bytes."""
    expected = hashlib.sha256(cbor2.dumps(["privet link 1", bytes(32), 1, b"sealed"])).digest()
    assert journal.extend(EMPTY, b"sealed") == Row(seq=1, sealed=b"sealed", digest=expected)
    assert cbor2.loads(journal.context(1, bytes(32))) == ["privet journal 1", 1, bytes(32)]
