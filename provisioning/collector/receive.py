"""The collector: takes messages, stores what is genuine, and only then answers "received up to"."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from agent.core.errors import BadInput, NotConsented, PrivetError, Refused, Tampered, Unreachable
from provisioning.collector import open as opening
from provisioning.collector.consents import Consents, Notices, anything
from provisioning.collector.deletion import Deletions, is_request
from provisioning.collector.early import Early, Look
from provisioning.collector.open import Envelope, EpochKeys, Gap, Place
from provisioning.collector.reading import Reading
from provisioning.collector.store import GAP, KEY, ODD, OPERATOR, PACK, Store, Stored
from provisioning.collector.tally import Tally

__all__ = ["Collector", "Reading"]
KEPT_KEYS = 4096  # epochs whose keys are kept open


class Collector:
    """One recipient's receiving side for one fleet. `say` gets one sentence for what an operator should know.

    `deleted` is told what an owner took back; when it fails there is no receipt, and the device asks again. `notices`
    knows what the fleet's policies declare; without it a consent counts by whatever notice it was given.
    """

    def __init__(
        self,
        fleet: str,
        recipient: str,
        key: MLKEM768X25519PrivateKey,
        store: Store,
        say: Callable[[str], None],
        anchors: bytes = b"",
        deleted: Callable[[Place], None] = lambda place: None,
        notices: Notices = anything,
    ) -> None:
        self.fleet = fleet
        self.recipient = recipient
        self.store = store
        self.tally = Tally()
        self.allowed: Callable[[], frozenset[str] | None] = lambda: None  # whose readings are handed out, None: all
        self._key = key
        self._say = say
        self._keys: dict[tuple[Place, int], EpochKeys] = {}
        self._early = Early()
        self._foreign: set[Place] = set()
        self._deleted = deleted
        self._consents = Consents(recipient, store, notices, self.tally)
        self._deletions = Deletions(fleet, recipient, key, store, anchors, self._epoch)

    def __repr__(self) -> str:
        return f"Collector({self.fleet!r}, {self.recipient!r})"

    def receive(self, messages: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Take (topic, payload) pairs; return the acknowledgements to publish, all of them about what is on the disk.

        Nothing that arrives can make it fail; Failed when the disk refuses, and then nothing of it is acknowledged
        (the messages may be given again).
        """
        asked = [one for one in messages if is_request(one[1])]
        records = [one for one in messages if not is_request(one[1])]
        with self.store.spoken():
            looked = [one for topic, payload in records if (one := self._look(topic, payload)) is not None]
            looked += self._ripe()
        if not looked:
            return self._delete(asked)
        touched: dict[Place, None] = {}
        try:
            with self.store.transaction():
                self._deletions.begin()
                for one in looked:
                    try:
                        for place in self._take(one):
                            touched[place] = None
                    except PrivetError as error:
                        self._refuse(error)
                reached = [(place, self.store.advance(place)) for place in touched]
        except BaseException:
            self._keys.clear()  # what this batch taught was not kept, and may be otherwise the next time
            raise
        with self.store.spoken():
            answers = [answer for place, seq in reached for answer in self._acknowledge(place, seq)]
        return [*answers, *self._delete(asked)]

    def _delete(self, asked: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Do what owners ask to delete; return the receipts."""
        answers, gone = self._deletions.take_all(asked, self._refuse, self._deleted)
        if gone:
            self._keys.clear()
            self._early.drop(self._deletions.over)
        return answers

    @property
    def waits(self) -> bool:
        """True while records wait for their key record, which another collector of the same store may have got."""
        return bool(self._early.held)

    def readings(self, after: int = 0) -> Iterator[Reading]:
        """Return the readings of all records after a number of arrival, in the order of arrival, opened on the way."""
        purposes = self.allowed()
        for stored in self.store.records(after, PACK):
            if purposes is not None and stored.place.purpose not in purposes:
                continue
            try:
                with self.store.spoken():
                    content = opening.read_plain(self._plain(stored))
            except Unreachable:
                raise  # it comes again, where what is damaged does not
            except PrivetError as error:
                self._say(str(error))
                continue
            for datum in () if isinstance(content, Gap) else content:
                yield Reading(
                    arrival=stored.id,
                    place=stored.place,
                    seq=stored.seq,
                    name=datum.name,
                    unit=datum.unit,
                    value=datum.value,
                    at=datum.at,
                    received=stored.received,
                )

    def accept_hole(self, place: Place, first: int, last: int) -> list[tuple[str, bytes]]:
        """Let an operator declare records lost that will never open; return the acknowledgements that follow."""
        if not 0 < first <= last:
            raise Refused("a hole has a first and a last number, the first not above the last; correct them")
        with self.store.transaction():
            self.store.add_gap(place, Gap(boot=place.boot, first=first, last=last, count=0), OPERATOR)
            reach = self.store.advance(place)
        return self._acknowledge(place, reach)

    def _refuse(self, error: PrivetError) -> None:
        self.tally.refused += 1
        self._say(str(error))

    def _look(self, topic: str, payload: bytes) -> Look | None:
        """Take a message apart and open it, as far as that goes before it is our turn to write: the long part."""
        try:
            look = Look(opening.read_message(self.fleet, topic, payload))
        except PrivetError as error:
            self._refuse(error)
            return None
        place, epoch = look.envelope.place, look.envelope.epoch
        if look.envelope.wrapped is None and (keys := self._epoch(place, epoch)) is not None:
            with suppress(PrivetError):  # told when it is its turn
                self._open(look, keys)
        return look

    def _open(self, look: Look, keys: EpochKeys) -> None:
        """Open a record with these keys, unless they are those it was opened with."""
        if look.keys is not keys:
            plain = opening.open_record(self.fleet, look.envelope, keys)
            look.kind, look.gap, look.odd = PACK, None, ""
            try:
                content = opening.read_plain(plain)
                if isinstance(content, Gap):
                    look.kind, look.gap = GAP, content
            except BadInput as error:
                look.kind, look.odd = ODD, str(error)
            look.keys = keys

    def _take(self, look: Look) -> list[Place]:
        """Store one record; return the boots whose reach may have moved or should be told again."""
        envelope = look.envelope
        if self._deletions.over(envelope.place):  # its owner took it back
            self.tally.withdrawn += 1
            return []
        if envelope.wrapped is not None:
            return self._take_key(envelope, envelope.wrapped)
        place = envelope.place
        if place in self._foreign:
            self.tally.foreign += 1
            return []
        keys = self._epoch(place, envelope.epoch)
        if keys is None:
            if not self._consents.away(place, envelope.epoch):
                self._keep_early(envelope)
            return []
        self._open(look, keys)
        touched = [place]
        if look.odd:  # it is the device's own: keep and acknowledge it, or the device would send it for ever
            self._say(f"{place.device}: {look.odd}")
        if self._add(envelope, look.kind) and look.gap is not None:
            self.store.add_gap(place, look.gap, opening.sender(keys))
            touched.append(Place(device=place.device, purpose=place.purpose, boot=look.gap.boot))
        return touched

    def _take_key(self, envelope: Envelope, wrapped: dict[str, bytes]) -> list[Place]:
        place, epoch = envelope.place, envelope.epoch
        if self.recipient not in wrapped:
            self.tally.foreign += 1
            if len(self._foreign) >= KEPT_KEYS:
                self._foreign.clear()
            self._foreign.add(place)  # the recipients of a boot do not change: nothing of it is for us
            return []
        # Believed under another number, a key record would stand for a record that is then acknowledged without ever
        # having come.
        if epoch != envelope.seq:
            raise Tampered(f"a key record of {place.device} came under another number; look who runs the broker")
        mine = wrapped[self.recipient]
        known, keys = self.store.wrapped(place, epoch), None
        if known is None:
            keys = opening.open_key(place, epoch, self.recipient, mine, self._key)
            if not self._agreed(place, epoch, keys):
                return []
            # Anybody can seal a key to us. Only the device knows which ack key it gave us, and so can go on with it.
            if not self.store.bind(place, opening.sender(keys)):
                self.tally.forked += 1
                raise Tampered(f"{place.device} has key records of two senders in one start; look who runs the broker")
        elif known != mine:
            self.tally.forked += 1
            raise Tampered(f"{place.device} sent two keys for one epoch; look whether the device was cloned")
        if self._add(envelope, KEY):
            self.store.add_epoch(place, epoch, mine)
        if keys is not None:
            self._remember(place, epoch, keys)
        touched = [place]
        for early in self._early.take(place, epoch):
            try:
                touched += self._take(Look(early))
            except PrivetError as error:
                self._refuse(error)
        return touched

    def _agreed(self, place: Place, epoch: int, keys: EpochKeys) -> bool:
        """Say whether the owner agreed to an epoch; what waited for the key of one that is not goes too."""
        try:
            agreed = self._consents.check(place, epoch, keys)
        except NotConsented as error:
            agreed = False
            self._say(str(error))
        for early in () if agreed else self._early.take(place, epoch):
            self._consents.away(place, early.epoch)
        return agreed

    def _add(self, envelope: Envelope, kind: int) -> bool:
        """Keep a genuine record; False when we have it. Another one under the same number is Tampered."""
        if self.store.add(envelope.place, envelope.seq, envelope.epoch, kind, int(time.time()), envelope.body):
            self.tally.stored += 1
            return True
        if self.store.body(envelope.place, envelope.seq) not in {envelope.body, b""}:
            self.tally.forked += 1
            name = f"{envelope.place.boot}/{envelope.seq} of {envelope.place.device}"
            raise Tampered(f"there are two different records {name}; look whether the device was cloned")
        self.tally.duplicates += 1
        return False

    def _keep_early(self, envelope: Envelope) -> None:
        """Hold a record until its key comes."""
        self.tally.early += 1
        if self._early.keep(envelope):
            self._say("many records came without their keys; if this goes on, a key record was lost")

    def _ripe(self) -> list[Look]:
        """Return the records that waited for a key record which is in the store by now."""
        return [Look(one) for one in self._early.ripe(lambda place, epoch: self._epoch(place, epoch) is not None)]

    def _epoch(self, place: Place, epoch: int) -> EpochKeys | None:
        """Return the keys of an epoch, None when its key record has not come."""
        found = self._keys.get((place, epoch))
        if found is None and (wrapped := self.store.wrapped(place, epoch)) is not None:
            found = opening.open_key(place, epoch, self.recipient, wrapped, self._key)
            self._remember(place, epoch, found)
        return found

    def _remember(self, place: Place, epoch: int, keys: EpochKeys) -> None:
        if len(self._keys) >= KEPT_KEYS:
            self._keys.clear()
        self._keys[place, epoch] = keys

    def _plain(self, stored: Stored) -> bytes:
        place = stored.place
        topic = f"privet/1/{self.fleet}/{place.device}/up/{place.purpose}"
        head = opening.canonical([1, place.boot, stored.seq])
        envelope = opening.read_message(self.fleet, topic, bytes([head[0] + 1]) + head[1:] + stored.body)
        keys = self._epoch(place, stored.epoch)
        if keys is None:
            raise Tampered(f"the key of record {place.boot}/{stored.seq} of {place.device} is gone; restore the store")
        return opening.open_record(self.fleet, envelope, keys)

    def _acknowledge(self, place: Place, seq: int) -> list[tuple[str, bytes]]:
        keys = self._epoch(place, self.store.newest_epoch(place))
        if keys is None:
            return []
        answer = opening.acknowledgement(place, seq, self.recipient, keys.acknowledging)
        return [(f"privet/1/{self.fleet}/{place.device}/ack", answer)]
