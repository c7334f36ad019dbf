"""What waits to be received: sealed records of one purpose in append-only segments, bounded, durable, easy on the card.

Bounded in bytes and in age. What goes first: what has waited for too long, then the oldest; whole segments of the very
purpose that needs the room, so that readings never push out warnings. Each loss is owned up to by a counted gap.

A batch is one append and one fdatasync; a segment is deleted whole. Bodies stay on the disk: memory holds a line per
segment, and one segment while it is read. A segment belongs to one boot and is never written again after a restart:
a torn end stays where it is and is simply the end.
"""

from collections.abc import Sequence
from contextlib import suppress

from agent.core.cose import MAX_SEQ
from agent.core.errors import Missing, PrivetError, Refused, Unreadable
from agent.system.ages import Ages
from agent.system.door import System
from agent.system.segment import Lost, Row, Segment, cost, framed, frames, merged, segment_of

SEGMENT = 256 << 10  # bytes after which the next batch begins a new segment
BATCH = 1 << 20  # most bytes of one append
BODY = 256 << 10  # most bytes of one record
LARGEST = SEGMENT + 2 * BATCH  # most bytes of a file that is read as a segment
GAP = 256  # bytes set aside for the record that owns up to the loss in one boot
TRIES = 20  # how often reading a segment fails before it is given up
START = (0, 0)  # before every record

Place = tuple[int, int]
"""The name of a record: boot, seq."""


class Queue:
    """The queue of one purpose in a directory of its own, at most `limit` bytes.

    Use: seal a batch; `make_room(cost(bodies))`, and seal a gap for each Lost it returns into the same batch; `append`;
    send what is `pending`, after each reconnection from START; `release` what every recipient acknowledged.
    `lost` are the holes found at opening: seal a gap for each into the first batch. A number that was sealed and could
    not be appended is a hole as well: append the very same bytes again, or seal a gap; never seal it anew.
    """

    def __init__(
        self, system: System, directory: str, limit: int, segment: int = SEGMENT, owner: tuple[int, int] = (0, 0)
    ) -> None:
        self._system = system
        self._owner = owner
        self._directory = directory
        self._limit = limit
        self._segment = min(segment, SEGMENT, max(limit // 8, 1))
        self._segments: list[Segment] = []
        self._doomed: list[Segment] = []  # announced as lost, deleted with the next append
        self._broken: list[Segment] = []  # found unreadable, to be announced
        self._failures: dict[str, int] = {}
        self._open = False  # whether the newest segment takes more
        self._key: Row | None = None
        self._released: dict[int, int] = {}
        self._reading: tuple[Place, str, int] = (START, "", 0)
        system.make_directory(directory, 0o700, *owner)
        self._ages = Ages(system, directory, owner)
        self.lost = self._scan()

    @property
    def size(self) -> int:
        """Bytes kept."""
        return sum(one.size for one in self._segments)

    @property
    def count(self) -> int:
        """Records that wait: kept and not released."""
        return sum(lost.count for lost in map(self._loss, self._segments) if lost is not None)

    def holds(self, place: Place) -> bool:
        """Say whether a record lies in a segment that is kept."""
        return any(one.boot == place[0] and one.first <= place[1] <= one.last for one in self._segments)

    def make_room(self, size: int) -> tuple[Lost, ...]:
        """Choose whole segments to be given up: those too old, and the oldest until `size` more bytes fit.

        They go with the next append.
        Nothing is deleted yet: the records that own up to the loss are durable first. Repeating it repeats the answer.
        """
        need = size + (cost((self._key.body,)) if self._key else 0)
        if need + GAP > self._limit:
            raise Refused(f"the queue has {self._limit} bytes and this batch needs {need}; send smaller batches")
        self._doomed = list(self._broken)
        left = self.size
        newest = self._segments[-1] if self._segments else None
        old = self._ages.too_old((newest.boot, newest.last) if newest else START)
        for one in self._segments:
            if (one.boot, one.last) > old and left + need + GAP * len(
                {gone.boot for gone in self._doomed}
            ) <= self._limit:
                break
            self._doomed.append(one)
            left -= one.size
        gone = sorted(self._doomed, key=lambda one: (one.boot, one.first))
        return merged([lost for lost in map(self._loss, gone) if lost is not None])

    def append(self, rows: Sequence[Row], opening: bool = False) -> None:
        """Make a batch of one boot durable, then delete what `make_room` gave up.

        With `opening`, the first row is the key record of an epoch: every later segment begins with a copy of it. On an
        error (disk full, read-only) nothing counts as kept or given up; the same rows may be appended again.
        """
        if not rows:
            return
        content = self._checked(rows)
        key = rows[0] if opening else self._key
        newest = self._segments[-1] if self._segments else None
        fits = newest is not None and newest.boot == rows[0].boot and newest.size + len(content) <= self._segment
        if newest is None or not self._open or not fits or newest in self._doomed:
            newest = Segment(rows[0].boot, rows[0].seq)
            if key is not None and not opening and key.boot == newest.boot:
                content = framed(key) + content
        if sum(one.size for one in self._segments if one not in self._doomed) + len(content) > self._limit:
            raise Refused("the queue is full; make room first")
        try:
            self._system.append(self._path(newest), content, 0o600, *self._owner)
        except BaseException:
            # What reached the file may be torn: nothing is added behind it. What was to go stays: no gap tells of it.
            self._open, self._doomed = False, []
            raise
        if newest not in self._segments:
            self._segments.append(newest)
        newest.size += len(content)
        newest.count += len(rows)
        newest.last = rows[-1].seq
        self._open, self._key = True, key
        self._broken = [one for one in self._broken if one not in self._doomed]
        self._drop(self._doomed)
        self._doomed = []

    def pending(self, after: Place = START, limit: int = 20) -> tuple[Row, ...]:
        """Return up to `limit` records that follow, oldest first; a key record's copy where the original is gone.

        Where a segment cannot be read it stops: ask again later. After TRIES such times in a row it skips the segment.
        """
        rows: list[Row] = []
        for one in list(self._segments):
            released = self._released.get(one.boot, 0)
            if (one.boot, one.last) <= max(after, (one.boot, released)) or one in self._doomed:
                continue
            content = self._content(one)
            if content is None:
                break
            place, name, offset = self._reading
            goes_on = (place, name) == (after, one.name)
            for row, end in frames(content, one.boot, offset if goes_on else 0):
                if len(rows) == limit:
                    return tuple(rows)
                # A copied key record may be released by a gap alone: who has the gap has not got the key.
                if (row.boot, row.seq) > after and (row.seq > released or row.seq < one.first):
                    rows.append(row)
                    after = (row.boot, row.seq)
                    self._reading = (after, one.name, end)
        return tuple(rows)

    def release(self, boot: int, seq: int) -> None:
        """Let go of the records of a boot up to a number: every recipient has acknowledged them. Other boots stay."""
        if seq > self._released.get(boot, 0):
            self._released[boot] = seq
        self._drop(self._done(boot, self._released[boot]))

    def lets_go(self, boot: int, seq: int) -> bool:
        """Say whether a segment would be deleted by that."""
        return bool(self._done(boot, max(seq, self._released.get(boot, 0))))

    def losses(self) -> tuple[Lost, ...]:
        """Return what would be lost with everything that is kept."""
        return merged([lost for lost in map(self._loss, self._segments) if lost is not None])

    def erase(self) -> None:
        """Give up everything, at the owner's wish; what could not be deleted is an error."""
        self._open, self._doomed, self._broken = False, [], []
        self._ages.forget()
        for one in list(self._segments):
            self._system.remove(self._path(one))
            self._segments.remove(one)

    # -- within

    def _done(self, boot: int, seq: int) -> list[Segment]:
        """Return the segments of which nothing is wanted any more when a boot is released up to a number."""
        done = [one for one in self._segments if one.boot == boot and one.last <= seq]
        if self._open:  # the newest goes when it is full: a file made and deleted for each batch would wear the card
            done = [one for one in done if one is not self._segments[-1]]
        return done

    def _path(self, one: Segment) -> str:
        return self._directory + "/" + one.name

    def _checked(self, rows: Sequence[Row]) -> bytes:
        """Return the frames of a batch whose numbers rise, within one boot, after all that is kept."""
        newest = self._segments[-1] if self._segments else None
        last = (newest.boot, newest.last) if newest else START
        for row in rows:
            if (row.boot, row.seq) <= last or row.boot != rows[0].boot or len(row.body) > BODY:
                raise Refused("a batch is out of order or too large for the queue; restart the guard")
            last = (row.boot, row.seq)
        content = b"".join(framed(row) for row in rows)
        if len(content) > BATCH:
            raise Refused(f"a batch has at most {BATCH} bytes; append smaller ones")
        return content

    def _loss(self, one: Segment) -> Lost | None:
        """Return what is lost with a segment: what was not released."""
        first = max(one.first, self._released.get(one.boot, 0) + 1)
        if first > one.last:
            return None
        return Lost(boot=one.boot, first=first, last=one.last, count=min(one.count, one.last - first + 1))

    def _drop(self, gone: Sequence[Segment]) -> None:
        """Delete segments; one that the system will not delete now is kept, and found again later."""
        for one in gone:
            with suppress(PrivetError):
                self._system.remove(self._path(one))
                if one in self._segments:
                    self._segments.remove(one)

    def _content(self, one: Segment) -> bytes | None:
        """Read a segment; None: not now, empty: given up."""
        try:
            content = self._system.read(self._path(one), LARGEST)
            self._failures.pop(one.name, None)
            return content
        except (Missing, Unreadable) as error:
            self._failures[one.name] = self._failures.get(one.name, 0) + 1
            if isinstance(error, Unreadable) and self._failures[one.name] < TRIES:
                return None
        self._broken.append(one)
        self._segments.remove(one)
        return b""

    def _scan(self) -> tuple[Lost, ...]:
        """Find what is kept, and the holes in it: numbers that are missing, or a segment that cannot be read."""
        lost: list[Lost] = []
        last = blind = START
        for one in sorted(filter(None, map(segment_of, self._system.entries(self._directory))), key=lambda s: s.name):
            if one.boot != last[0]:
                lost += beyond(blind, last)
                last = blind = (one.boot, one.first - 1)
            try:
                content = self._system.read(self._path(one), LARGEST)
            except (Missing, Unreadable):
                blind = (one.boot, one.first)
                continue
            lost += self._measure(one, content, last[1])
            if one.last:
                self._segments.append(one)
                last = max(last, (one.boot, one.last))
            else:
                with suppress(PrivetError):
                    self._system.remove(self._path(one))
        return merged(lost + beyond(blind, last))

    def _measure(self, one: Segment, content: bytes, last: int) -> list[Lost]:
        """Count a segment's own records; `last` is the number before them. Returns the holes."""
        holes: list[Lost] = []
        one.size = len(content)
        for row, _ in frames(content, one.boot):
            if row.seq < one.first:  # the copy of a key record
                continue
            one.last = max(one.last, row.seq)
            if row.seq > last:
                if row.seq > last + 1:
                    holes.append(Lost(boot=one.boot, first=last + 1, last=row.seq - 1, count=row.seq - last - 1))
                last = row.seq
                one.count += 1
        return holes


def beyond(blind: Place, last: Place) -> list[Lost]:
    """Return the loss when the end of a boot stood in a segment that cannot be read."""
    return [Lost(boot=last[0], first=last[1] + 1, last=MAX_SEQ, count=0)] if blind > last else []
