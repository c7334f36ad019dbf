"""The queue: what was accepted comes back in order, once, until it is acknowledged; and it is light."""

import json
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import Refused
from agent.system.calls import Calls
from agent.system.queue import BATCH, START, Place, Queue
from agent.system.real import RealSystem
from agent.system.segment import HEAD, Row, cost, framed
from agent.system.simulated.system import SimulatedSystem
from tests.system.queued import OWNER, PLACE, Card, everything, queue, row, rows, segments


@pytest.fixture(name="system", params=["real", "simulated"])
def _system(request: pytest.FixtureRequest, tmp_path: Path) -> RealSystem | SimulatedSystem:
    """The real door on a folder, then the simulated one."""
    return RealSystem(str(tmp_path)) if request.param == "real" else Card()


def test_records_come_back_in_order(system):
    """Batches of several boots are pending in order, before and after a restart, as many at a time as asked for."""
    one = queue(system)
    for first in range(1, 61, 6):
        one.append(rows(1, first, first + 5))
    assert len(segments(system)) > 3
    assert everything(one) == list(rows(1, 1, 60)) and one.count == 60
    again = queue(system)
    again.append(rows(2, 1, 10))
    assert everything(again) == [*rows(1, 1, 60), *rows(2, 1, 10)]
    assert again.pending((1, 30), 2) == rows(1, 31, 32) and again.pending((2, 10)) == ()
    assert again.lost == () and again.size == sum(len(system.read(path)) for path in segments(system))
    for path in segments(system):
        assert (system.stat(path).mode, system.stat(PLACE).mode) == (0o600, 0o700)


def test_only_an_acknowledgement_of_its_own_boot_lets_go(system):
    """Releasing deletes whole segments of that boot alone; what is released is not sent again."""
    one = queue(system)
    one.append(rows(1, 1, 40))
    again = queue(system)
    for first in (1, 11, 21):
        again.append(rows(2, first, first + 9))
    again.release(2, 15)
    assert everything(again) == [*rows(1, 1, 40), *rows(2, 16, 30)] and again.count == 55
    again.release(2, 5)
    assert again.count == 55
    again.release(1, 39)
    assert everything(again) == [row(1, 40), *rows(2, 16, 30)]
    again.release(1, 40)
    again.release(2, 30)
    assert everything(again) == [] and again.count == 0 and len(segments(system)) == 1
    again.append(rows(2, 31, 31))
    assert everything(again) == [row(2, 31)]
    third = queue(system)
    assert everything(third)[-1] == row(2, 31) and third.lost == ()
    third.release(2, 31)
    assert segments(system) == []


def test_reading_goes_on_while_the_queue_grows(system):
    """Records appended after reading stopped at the end of a segment are found from there."""
    one = queue(system, segment=100_000)
    after: Place = START
    for seq in range(1, 30):
        one.append([row(3, seq)])
        (found,) = one.pending(after)
        assert found == row(3, seq)
        after = (3, seq)


ACTS = st.lists(
    st.tuples(st.sampled_from(["append", "append", "release", "restart"]), st.integers(1, 12), st.integers(0, 300)),
    max_size=25,
)


@given(ACTS)
def test_nothing_is_lost_or_invented(acts):
    """After any acts the queue holds all that was not released, byte for byte, and nothing that never was."""
    system = Card()
    one, boot, seq = queue(system), 1, 0
    kept: list[Row] = []
    known: list[Row] = []
    for act, count, size in acts:
        if act == "append":
            batch = rows(boot, seq + 1, seq + count, size)
            one.append(batch)
            seq += count
            kept += batch
            known += batch
        elif act == "release" and kept:
            place = kept[min(count, len(kept)) - 1]
            one.release(place.boot, place.seq)
            kept = [r for r in kept if r.boot != place.boot or r.seq > place.seq]
        elif act == "restart":
            system.restart()
            one, boot, seq = queue(system), boot + 1, 0
            assert one.lost == ()
        found = everything(one)
        assert [r for r in found if r in kept] == kept and all(r in known for r in found)
        assert len(found) == one.count


@pytest.mark.parametrize(
    "batch",
    [
        (row(1, 5), row(1, 5)),
        (row(1, 6), row(1, 5)),
        (row(1, 4),),
        (row(0, 9),),
        (row(2, 1), row(3, 1)),
        (row(2, 1, 300_000),),
        rows(2, 1, 6, 200_000),
    ],
)
def test_disorder_is_refused(batch):
    """Doubled, falling or mixed numbers and batches out of measure are refused; nothing is written."""
    system = Card()
    one = queue(system, limit=8 * BATCH)
    one.append(rows(1, 1, 4))
    size = one.size
    with pytest.raises(Refused):
        one.append(batch)
    assert one.size == size and queue(system).size == size and everything(one) == list(rows(1, 1, 4))


def test_erasing_leaves_nothing(system):
    """After erasing there is no file; the queue can be used on."""
    one = queue(system)
    for first in range(1, 40, 4):
        one.append(rows(1, first, first + 3))
    one.erase()
    assert segments(system) == [] and one.count == one.size == 0 and everything(one) == []
    one.append(rows(1, 41, 42))
    assert everything(one) == list(rows(1, 41, 42))


class Counting(Calls):
    """The real calls, with the bytes written and the syncs counted."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.synced = 0

    def write(self, number: int, content: memoryview) -> int:
        """Write and count."""
        taken = super().write(number, content)
        self.written += taken
        return taken

    def datasync(self, number: int) -> None:
        """Sync and count."""
        self.synced += 1
        super().datasync(number)

    def fsync(self, number: int) -> None:
        """Sync and count."""
        self.synced += 1
        super().fsync(number)


def batches(count: int) -> Iterator[tuple[Row, ...]]:
    """Batches of ten records of 3 KB, as a hundred readings each make them."""
    for first in range(1, count * 10, 10):
        yield rows(1, first, first + 9, 3000)


def test_what_is_written_is_little_more_than_the_payload(tmp_path):
    """One sync for a batch, one more for a new segment, and at most two bytes in a hundred beside the bodies."""
    counting = Counting()
    system = RealSystem(str(tmp_path), counting)
    one = Queue(system, PLACE, 64 << 20, owner=OWNER)
    counting.written = counting.synced = payload = 0
    for batch in batches(60):
        one.append(batch, opening=payload == 0)
        payload += sum(len(r.body) for r in batch)
    assert payload < counting.written < payload * 1.02
    assert counting.synced <= 60 + len(segments(system)) + 1


def test_memory_does_not_grow_with_the_queue(tmp_path):
    """Megabytes pass through while memory holds a line per segment and one segment at a time."""
    system = RealSystem(str(tmp_path))
    one = Queue(system, PLACE, 64 << 20, owner=OWNER)
    tracemalloc.start()
    try:
        for batch in batches(150):
            one.append(batch)
        after: Place = START
        while part := one.pending(after):
            after = (part[-1].boot, part[-1].seq)
        del part
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert one.size > 4_400_000 and after == (1, 1500)
    assert now < 200_000 and peak < 2_000_000


def test_a_frame_is_the_one_of_the_format():
    """Length, crc, boot, seq, body: twenty bytes before each body."""
    size, name, body = bytes.fromhex("00000004"), bytes.fromhex("000000010000000000000002"), b"body"
    assert (
        framed(Row(boot=1, seq=2, body=body)) == size + zlib.crc32(size + name + body).to_bytes(4, "big") + name + body
    )
    assert cost([b"body", b""]) == 4 + 2 * HEAD


def test_the_known_segment_is_read(system):
    """A segment written by other code from the format is a queue."""
    known = json.loads((Path(__file__).resolve().parents[1] / "vectors/sealed.json").read_text())
    system.make_directory(PLACE, 0o700, *OWNER)
    system.write(PLACE + "/" + known["segment"]["name"], bytes.fromhex(known["segment"]["content"]), 0o600, *OWNER)
    telemetry = known["telemetry"]
    assert [(r.boot, r.seq, r.body.hex()) for r in everything(queue(system))] == [
        (7, telemetry["key"]["seq"], telemetry["key"]["body"]),
        (7, telemetry["records"][0]["seq"], telemetry["records"][0]["body"]),
    ]
