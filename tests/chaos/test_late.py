"""Answers that are late: a lane waits for them, and sends nothing twice that is on its way."""

from collections import deque
from pathlib import Path

import pytest

from agent.core.cose import Received
from agent.core.patience import Patience
from agent.guard.lane import Lane, Position
from tests.chaos.pair import Pair


class Hasty(Lane):
    """A twin: forgets after each answer how long it took, as if five seconds were right for every broker."""

    def acknowledged(self, ack: Received, uptime: int) -> bool:
        """Take the answer, and wait as at first again."""
        taken = super().acknowledged(ack, uptime)
        self.patience = Patience()
        return taken


class Endless(Lane):
    """A twin: repeats on into what was sent after it began to repeat, and so never ends."""

    def to_send(self, room: int, uptime: int) -> list[tuple[Position, bytes]]:
        """Send, with all that was sent so far among what is to be repeated."""
        self.upto = self.front
        return super().to_send(room, uptime)


def repeated(folder: Path, lane: type[Lane], *, steadily: bool) -> int:
    """Let each answer take twelve seconds; return how many records went out again, of what a while brings.

    One a second, or each when the one before is answered.
    """
    pair = Pair(folder, 1 << 20, lane)
    late: deque[tuple[int, list[bytes]]] = deque()
    seen, again = set[Position](), 0
    for _ in range(600):
        pair.uptime += 1
        if steadily or not pair.waiting:
            pair.measure(1)
        sent = pair.send()
        again += sum(place in seen for place, _ in sent)
        seen.update(place for place, _ in sent)
        late.append((pair.uptime + 12, [payload for _, payload in sent]))
        while late[0][0] <= pair.uptime:
            pair.answer(pair.give(late.popleft()[1]))
    assert len(pair.read()) > (550 if steadily else 40)
    return again


@pytest.mark.parametrize(("twin", "steadily"), [(Endless, True), (Hasty, False)])
def test_answers_that_are_late_are_waited_for(tmp_path: Path, twin: type[Lane], steadily: bool):
    """At first some is sent twice, before anybody knows; then nothing, where the twin sends each once more."""
    for name in ("ours", "twin"):
        (tmp_path / name).mkdir()
    assert 0 < repeated(tmp_path / "ours", Lane, steadily=steadily) <= 10
    assert repeated(tmp_path / "twin", twin, steadily=steadily) >= 40
