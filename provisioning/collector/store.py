"""What a collector keeps: records as they came, still sealed, each once; a transaction is on the disk when it ends.

The database alone opens nothing: the epoch keys in it are sealed to the recipient's key, which lies elsewhere. So a
copy of it is no leak, and forgetting a key record is forgetting its readings. It is one SQLite file, or PostgreSQL by a
URL; any number of collectors share it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.sql.elements import ClauseElement

from agent.core.errors import Failed, Unreachable
from agent.core.record import Record
from provisioning.collector import asking
from provisioning.collector.asking import GAP, KEY, ODD, OPERATOR, PACK, PAGE
from provisioning.collector.base import Base
from provisioning.collector.open import MOST_SEQ, Gap, Place

__all__ = ["GAP", "KEY", "ODD", "OPERATOR", "PACK", "Store", "Stored"]
MOST_KNOWN = 65536  # streams, or senders of boots, kept in memory


class Stored(Record):
    """One record of the store: its number of arrival, place, number, epoch, kind, when it came, its sealed body."""

    __slots__ = ("body", "epoch", "id", "kind", "place", "received", "seq")
    id: int
    place: Place
    seq: int
    epoch: int
    kind: int
    received: int
    body: bytes


class Store:
    """One SQLite file (WAL, synchronous=FULL, mode 0600) at a path, or PostgreSQL at a URL."""

    def __init__(self, place: Path | str) -> None:
        self._streams: dict[tuple[str, str], int] = {}
        self._senders: dict[Place, bytes] = {}
        self.base = Base(place)

    def close(self) -> None:
        """Close it."""
        self.base.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, durably, or nothing, beside no other writer; Failed when the disk refuses, or Unreachable."""
        with self.spoken():
            try:
                self.base.begin()
                yield
                self.base.commit()
            except BaseException:
                self._streams.clear()
                self._senders.clear()
                with suppress(self.base.errors):  # what went wrong first is what is told
                    self.base.rollback()
                raise

    def plain(self, words: str, *facts: int | str) -> list[tuple[Any, ...]]:
        """Run one plain statement, its values marked `?`, of a part of the collector that has tables of its own."""
        with self.spoken():
            return self.base.plain(words, facts)

    def scrub(self) -> None:
        """Leave nothing of what was removed in the files: neither in free pages nor in the log beside them."""
        with self.spoken():
            self.base.scrub()

    def add(self, place: Place, seq: int, epoch: int, kind: int, received: int, body: bytes) -> bool:
        """Keep a record; False when one with this number is kept already."""
        row = {"seq": seq, "epoch": epoch, "kind": kind, "received": received, "body": body}
        return bool(self._run(asking.ADD, stream=self._stream(place), boot=place.boot, **row).rowcount)

    def body(self, place: Place, seq: int) -> bytes | None:
        """Return the sealed body kept under a number, None when there is none."""
        return self._bytes(asking.BODY, place, seq=seq)

    def add_epoch(self, place: Place, epoch: int, wrapped: bytes) -> bool:
        """Keep the sealed key of an epoch; False when the epoch has one already."""
        row = {"stream": self._stream(place), "boot": place.boot, "epoch": epoch, "wrapped": wrapped}
        return bool(self._run(asking.ADD_EPOCH, **row).rowcount)

    def bind(self, place: Place, mark: bytes) -> bool:
        """Tie a boot to the sender of its first key record that came; False when it is another's."""
        self._run(asking.BIND, stream=self._stream(place), boot=place.boot, mark=mark)
        return self.sender(place) == mark

    def sender(self, place: Place) -> bytes:
        """Return the mark of the sender of a boot, empty when none of its key records came."""
        if place not in self._senders:
            found = self._bytes(asking.SENDER, place)
            if found is None:
                return b""
            self._senders = {} if len(self._senders) >= MOST_KNOWN else self._senders
            self._senders[place] = found
        return self._senders[place]

    def wrapped(self, place: Place, epoch: int) -> bytes | None:
        """Return the sealed key of an epoch, None when its key record never came."""
        return self._bytes(asking.WRAPPED, place, at_epoch=epoch)

    def newest_epoch(self, place: Place) -> int:
        """Return the newest epoch of a boot whose key we have, 0 when there is none."""
        return self._number(asking.NEWEST, place)

    def add_gap(self, place: Place, gap: Gap, mark: bytes) -> None:
        """Keep that a range will never come, says the sender with this mark. The boot is the gap's own.

        It counts for boots of the same sender only: whoever makes up a boot cannot give up another's records in it.
        """
        stream = self._stream(place)
        key = {"at_stream": stream, "at_boot": gap.boot, "at_mark": mark, "begins": gap.first, "ends": gap.last}
        if self._run(asking.COVERED, **key).fetchone():
            return
        self._run(asking.SWALLOW, **key)  # told again, in a larger one
        row = {"first": gap.first, "last": gap.last, "count": gap.count, "mark": mark}
        self._run(asking.ADD_GAP, stream=stream, boot=gap.boot, **row)

    def reach(self, place: Place) -> int:
        """Return up to which number a boot is complete (kept or owned up to), 0 when its beginning is missing."""
        return self._number(asking.REACH, place)

    def advance(self, place: Place) -> int:
        """Move the reach over all that is there without a hole; return it."""
        key = {"at_stream": self._stream(place), "at_boot": place.boot}
        mark = self.sender(place)
        reach = before = self.reach(place)
        while True:
            found = self._run(asking.BEYOND, **key, reach=reach).fetchall()
            for (seq,) in found:
                if seq != reach + 1:
                    break
                reach = seq
            covered = self._run(asking.OVER_GAPS, **key, reach=reach, at_mark=mark).fetchone()[0]
            if covered is not None:
                reach = int(covered)
            elif len(found) < PAGE or found[-1][0] != reach:
                break
        if reach > before:
            self._run(asking.SET_REACH, stream=key["at_stream"], boot=place.boot, seq=reach)
        return reach

    def records(self, after: int = 0, kind: int | None = PACK) -> Iterator[Stored]:
        """Return records in the order of their arrival, those after number `after`; of one kind, or None for all."""
        statement = asking.ALL_RECORDS if kind is None else asking.RECORDS
        only = {} if kind is None else {"kind": kind}
        while True:
            with self.spoken():
                rows = self._run(statement, after=after, **only).fetchall()
            if not rows:
                return
            for number, device, purpose, boot, seq, epoch, this, received, body in rows:
                place = Place(device=device, purpose=purpose, boot=boot)
                yield Stored(
                    id=number, place=place, seq=seq, epoch=epoch, kind=this, received=received, body=bytes(body)
                )
            after = rows[-1][0]

    def last(self) -> int:
        """Return the number of arrival of the newest record with readings, 0 when there is none."""
        with self.spoken():
            return int(self._run(asking.LAST).fetchone()[0] or 0)

    def gaps(self) -> tuple[tuple[Place, Gap], ...]:
        """Return every gap a device owned up to, and those an operator accepted."""
        rows = self._run(asking.GAPS).fetchall()
        return tuple(
            (Place(device=d, purpose=p, boot=b), Gap(boot=b, first=f, last=t, count=c)) for d, p, b, f, t, c in rows
        )

    def missing(self, place: Place) -> int:
        """Return how many records of a boot, as far as it is complete, a gap stands for because they never came.

        The last number known counts as the end of a boot whose end the device does not know. Of a boot of which nothing
        came at all, no record and no key, it is what a gap says.
        """
        if not self.sender(place):
            return self._number(asking.CLAIMED, place, most=MOST_SEQ)
        end = min(self.reach(place), self._number(asking.KNOWN, place, most=MOST_SEQ))
        return end - self._number(asking.KEPT, place, ends=end)

    def holes(self) -> tuple[tuple[Place, int, int], ...]:
        """Return where a boot stands still: its place, the first number missing, the first kept behind it."""
        rows = self._run(asking.HOLES).fetchall()
        return tuple((Place(device=d, purpose=p, boot=b), f, s) for d, p, b, f, s in rows)

    def forget(self, before: int, device: str = "", purpose: str = "") -> int:
        """Remove the readings that came before a time (Unix seconds), of one device or purpose; return how many.

        Their places stay known, so that a late repetition of the same record does not bring them back.
        """
        return int(self._run(asking.FORGET, before=before, device=device, purpose=purpose).rowcount)

    def over(self, before: int, device: str = "", purpose: str = "") -> int:
        """Return how many records `forget` would empty."""
        return int(self._run(asking.OVER, before=before, device=device, purpose=purpose).fetchone()[0])

    @contextmanager
    def spoken(self) -> Iterator[None]:
        """Turn what the database says into one sentence: Unreachable when it went away, Failed else."""
        try:
            yield
        except self.base.errors as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            if self.base.lost:
                raise Unreachable(f"the store's database went away ({said}); it is tried again") from None
            raise Failed(f"the store did not take the records ({said}); check the disk") from None

    def _run(self, statement: ClauseElement, **values: Any) -> Any:
        return self.base.run(statement, **values)

    def _bytes(self, statement: ClauseElement, place: Place, **more: int) -> bytes | None:
        stream = self._known(place)
        row = None if stream is None else self._run(statement, at_stream=stream, at_boot=place.boot, **more).fetchone()
        return None if row is None else bytes(row[0])

    def _number(self, statement: ClauseElement, place: Place, **more: int) -> int:
        stream = self._known(place)
        row = None if stream is None else self._run(statement, at_stream=stream, at_boot=place.boot, **more).fetchone()
        return 0 if row is None else int(row[0] or 0)

    def _known(self, place: Place) -> int | None:
        """Return the number of a stream, None when nothing of it was ever kept."""
        name = (place.device, place.purpose)
        if name not in self._streams:
            row = self._run(asking.FIND_STREAM, device=name[0], purpose=name[1]).fetchone()
            if row is None:
                return None
            self._streams = {} if len(self._streams) >= MOST_KNOWN else self._streams
            self._streams[name] = int(row[0])
        return self._streams[name]

    def _stream(self, place: Place) -> int:
        found = self._known(place)
        if found is None:
            self._run(asking.ADD_STREAM, device=place.device, purpose=place.purpose)
            found = self._known(place)
        return int(found or 0)
