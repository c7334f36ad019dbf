"""The frames between guard and courier: whole, in pieces, and made of anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadInput
from agent.courier import wire
from agent.courier.process import places

FRAMES = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 2**32), st.text(max_size=30), st.binary(max_size=300)),
    st.tuples(
        st.just("link"), st.dictionaries(st.text(max_size=8), st.integers(0, 9) | st.text(max_size=8), max_size=4)
    ),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=9))
def test_frames_survive_any_cutting(frames: list[tuple[object, ...]], sizes: list[int]):
    """However the stream is cut, the same frames come out in the same order."""
    stream = b"".join(wire.frame(*fields) for fields in frames)
    reader, found, at, turn = wire.Frames(wire.GUARD_FRAMES), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == [list(fields) for fields in frames]


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda b: len(b).to_bytes(4, "big") + b))
def test_no_bytes_make_the_reader_fail(received: bytes):
    """Any bytes are frames of the known kinds, wait for more, or are BadInput."""
    try:
        frames = wire.Frames(wire.GUARD_FRAMES).feed(received)
    except BadInput:
        return
    assert all(frame[0] in wire.GUARD_FRAMES for frame in frames)


def test_the_largest_frame_passes_and_one_byte_more_does_not():
    """A frame within the limit is written and read; a longer one is refused by the writer and at its announcement."""
    payload = b"x" * (wire.LIMIT - 40)
    assert wire.Frames(wire.GUARD_FRAMES).feed(wire.frame("publish", 1, "up/comfort", payload))[0][3] == payload
    with pytest.raises(BadInput):
        wire.frame("publish", 1, "up/comfort", b"x" * wire.LIMIT)
    with pytest.raises(BadInput):
        wire.Frames(wire.GUARD_FRAMES).feed((wire.LIMIT + 1).to_bytes(4, "big"))


@pytest.mark.parametrize(
    "fields", [("publish", True, "up/comfort", b""), ("publish", 1, "up/comfort"), ("hello", 1), ("sent", 1), (1,), ()]
)
def test_odd_frames_are_refused(fields: tuple[object, ...]):
    """A frame of the wrong kind, count or type of fields ends the connection."""
    with pytest.raises(BadInput):
        wire.Frames(wire.GUARD_FRAMES).feed(wire.frame(*fields))


@pytest.mark.parametrize(
    "text", ["policy", "ack", "up/", "up/a/b", "up/#", "up/+", "../x", "up/Ä", "", "up/" + "a" * 65]
)
def test_other_topics_are_refused(text: str):
    """The courier publishes on up/<purpose>, warning and state, and on nothing else it is told."""
    with pytest.raises(BadInput):
        wire.topic_suffix(text)
    assert [wire.topic_suffix(t) for t in ("up/comfort", "warning", "state")] == ["up/comfort", "warning", "state"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"port": 0}, {"port": True}, {"port": "1"}, {"host": ""}, {"device": "a/b"}, {"fleet": "+"}, {"more": 1}),
        *({"others": ["c"]}, {"others": "c"}, {"others": ["c", 0]}, {"others": ["", 1]}, {"others": [["c", 1], 1]}),
    ],
)
def test_odd_places_are_refused(wrong: dict[str, object]):
    """Where to connect is read strictly; a name that would reach into other topics is refused."""
    good = {"host": "localhost", "port": 8883, "fleet": "meadow", "device": "one"}
    assert [one.device for one in places(dict(good))] == ["one"]
    (frame,) = wire.Frames(wire.GUARD_FRAMES).feed(wire.frame("link", good | {"others": ["c", 1, "::1", 2]}))
    assert [(one.host, one.port) for one in places(frame[1])] == [("localhost", 8883), ("c", 1), ("::1", 2)]
    with pytest.raises(BadInput):
        places(good | wrong)
