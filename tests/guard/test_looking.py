"""A slow board looks at everything for minutes; whoever asks meanwhile is answered between two settings."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.role import OWNER
from agent.guard.looking import SWEEP, Looking
from agent.system.simulated import SimulatedSystem
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.guard.conftest import Kept
from tests.guard.test_guard import loosened

PATIENCE = 60  # seconds that `privet` waits for an answer
YEAR = 365 * 86400
REDIRECTS = "/etc/sysctl.d/zz-privet-redirects.conf", b"net.ipv4.conf.all.accept_redirects = 1\n"


class SlowSystem(SimulatedSystem):
    """A board on which reading a file takes a second, once it is slow; `meanwhile` is called in the midst of that."""

    slow = False
    reads = 0
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read, slowly."""
        if self.slow:
            self.tick(1)
            self.reads += 1
            self.meanwhile()
        return super().read(path, limit)


class Client:
    """Somebody who asks in the midst of a look, as `privet` does, and notes how long the answer took."""

    def __init__(self, kept: Kept, system: SlowSystem, **request: Any) -> None:
        self.kept, self.system, self.request = kept, system, request
        self.wire = socket.socket(socket.AF_UNIX)
        self.asked = -1
        self.took = -1
        self.left = 0
        self.answer: dict[str, Any] = {}

    def meanwhile(self) -> None:
        """Ask at the fifth reading of the look, then listen."""
        if self.system.reads >= 5 and self.asked < 0:
            self.asked = self.system.uptime
            self.wire.connect(str(self.kept.folder / "control.sock"))
            self.wire.sendall(json.dumps(self.request).encode() + b"\n")
            self.wire.setblocking(False)
        self.listen()

    def listen(self) -> None:
        """Take the answer, if it is there."""
        if self.asked < 0 or self.answer:
            return
        try:
            said = self.wire.recv(1 << 22, socket.MSG_PEEK)
        except BlockingIOError:
            return
        if said.endswith(b"\n"):
            self.answer = json.loads(self.wire.recv(1 << 22))
            self.took = self.system.uptime - self.asked
            self.left = len(self.kept.house.guard.looking.left)

    def close(self) -> None:
        """Hang up."""
        self.wire.close()


@pytest.fixture
def board() -> SlowSystem:
    """A Raspberry Pi that can be slow."""
    return SlowSystem(image=raspberry_pi(CHEAP))


@pytest.fixture
def kept(tmp_path: Path, board: SlowSystem) -> Iterator[Kept]:
    """A guard on it, after its first boot, at its sockets."""
    made = Kept(tmp_path, board)
    made.start()
    review = made.now + YEAR - 1
    row = {"principal": f"uid:{os.getuid()}", "role": OWNER, "review_by": review}
    made.house.books.store.put({"grants": [row]})
    made.listens = True
    made.reboot()
    yield made
    board.slow = False
    made.stop()


def asked(kept: Kept, board: SlowSystem, **request: Any) -> tuple[Client, int]:
    """Let a look at everything fall due, and somebody ask in its midst; return them, and the seconds of the look."""
    board.tick(SWEEP + 1)
    client = Client(kept, board, **request)
    begun, board.reads, board.meanwhile, board.slow = board.uptime, 0, client.meanwhile, True
    kept.house.turn(0)
    while not kept.house.guard.looking.over():
        client.listen()
        kept.house.turn(0)
    took = board.uptime - begun
    board.slow = False
    for _ in range(3):
        kept.house.turn(0)
        client.listen()
    client.close()
    assert took > 2 * PATIENCE, "the board was not slow at all"
    return client, took


def test_who_asks_during_a_look_is_answered_between_two_settings(kept: Kept, board: SlowSystem) -> None:
    """`privet status` has its answer long before the look is over, from what is known, with the time of that."""
    client, _ = asked(kept, board, op="status")
    assert client.answer["ok"] and 0 <= client.took < PATIENCE / 2
    assert client.left > 20 and client.answer["left"] > 20
    assert client.answer["age"] > SWEEP, "the look that is under way is no full look yet"
    assert len(client.answer["findings"]) == len(kept.house.guard.posture.names())


def test_a_change_waits_for_its_own_setting_alone(kept: Kept, board: SlowSystem) -> None:
    """`privet tighten` is done and answered while most of the look is still to come."""
    client, took = asked(kept, board, op="tighten", setting="net.redirects")
    assert client.answer["finding"]["status"] == "ok"
    assert 0 <= client.took < took / 2 and client.left > 20


def shut(table: dict[str, Any]) -> None:
    """Change a policy: nothing is let in."""
    table.update(sequence=2, baseline={**table["baseline"], "firewall.inbound": []})


class Former(Looking):
    """Known bad: the look at everything as one piece."""

    def step(self) -> None:
        """Look at all that is left."""
        while not self.over():
            super().step()


@pytest.mark.parametrize("request_", [{"op": "status"}, {"op": "tighten", "setting": "net.redirects"}])
def test_a_whole_look_keeps_everybody_waiting(kept: Kept, board: SlowSystem, request_: dict[str, str]) -> None:
    """The twin: whoever asks of a guard that looks at everything at once gives up before it answers."""
    kept.house.guard.looking = Former(kept.house.guard)
    client, _ = asked(kept, board, **request_)
    assert client.answer and client.took > PATIENCE
    assert client.left == 0


def test_the_first_look_answers_too(kept: Kept, board: SlowSystem) -> None:
    """After a restart it says how far it is: nothing that was not looked at counts as private."""
    client = Client(kept, board, op="status")
    kept.stop()
    board.reboot()
    board.reads, board.meanwhile, board.slow = 0, client.meanwhile, True
    kept.start()
    board.slow = False
    client.close()
    assert client.answer["ok"] and client.left > 20
    assert client.answer["age"] is None and client.answer["left"] > 20
    assert 0 < len(client.answer["findings"]) < len(kept.house.guard.posture.names())
    assert kept.ask("status")["age"] is not None


def test_everybody_is_told_who_asked_for_a_whole_look(kept: Kept, board: SlowSystem) -> None:
    """`privet enforce` is answered at its end, when nothing is left; the device was looked at after it was asked."""
    client, _ = asked(kept, board, op="enforce")
    assert client.answer["ok"] and client.answer["left"] == 0
    assert client.took > PATIENCE
    assert max(row["age"] for row in client.answer["findings"]) <= client.took


def test_a_drift_during_a_look_is_told_before_the_look_is_over(kept: Kept, board: SlowSystem) -> None:
    """What an event moved comes first: undone and told while most of the look is still to come."""
    kept.system.tick(SWEEP + 1)
    kept.house.turn(0)
    assert len(kept.house.guard.looking.left) > 20
    loosened(kept)
    kept.house.turn(0)
    kept.house.turn(0)
    assert len(kept.house.guard.looking.left) > 20
    assert [t["setting"] for t in kept.told()] == ["ssh.password"]
    assert "Privet has set it back" in kept.told()[0]["text"]


def test_many_events_do_not_put_off_the_look(kept: Kept) -> None:
    """A file that is written all the time is looked at each time, and one setting of everything beside it."""
    looking = kept.house.guard.looking
    looking.begin()
    count = len(looking.left)
    for _ in range(count):
        assert looking.full is None or looking.left
        kept.system.edit("/etc/sysctl.d/99-mine.conf", b"# again\n")
        kept.house.turn(0)
    assert not looking.left


def test_a_policy_during_a_look_counts_for_all_of_it(kept: Kept) -> None:
    """By a new policy everything is looked at anew; what it asks for is no news, a drift beside it is told."""
    looking = kept.house.guard.looking
    kept.house.guard.looking.begin()
    while "firewall.outbound" in looking.left:
        looking.step()
    passed = kept.house.guard.posture.findings["firewall.inbound"].wanted
    left = set(looking.left)
    assert left and "net.redirects" in left
    kept.system.edit(*REDIRECTS)
    kept.house.take_policy(kept.signed(shut))
    assert next(iter(looking.left)) in left, "what was left has its turn first"
    assert set(looking.left) == set(kept.house.guard.posture.names())
    kept.turn()
    found = kept.house.guard.posture.findings
    assert passed != () and found["firewall.inbound"].wanted == () and found["firewall.inbound"].status == "ok"
    assert [t["setting"] for t in kept.told() if t["kind"] == "loosened"] == ["net.redirects"]


def test_a_leave_that_ends_during_a_look_for_a_policy_is_told(kept: Kept) -> None:
    """The end of a leave is news, whatever else is looked at without a word."""
    kept.loosen("net.redirects", "1", seconds=600)
    kept.system.tick(601)
    kept.house.take_policy(kept.signed(shut))
    kept.turn()
    assert [w.setting for w in kept.warnings("ended")] == ["net.redirects"]
    assert kept.status("net.redirects") == "ok"


def test_a_look_that_takes_longer_than_its_pause_comes_to_an_end(kept: Kept, board: SlowSystem) -> None:
    """The next one is due before this one is over: it goes on, it does not begin again for ever."""
    board.tick(1)
    board.meanwhile, board.slow = (lambda: board.tick(10)), True
    looking = kept.house.guard.looking
    looking.begin()
    began = looking.began
    turns = 0
    while looking.full != began:
        kept.house.turn(0)
        turns += 1
        assert turns < 1000
    board.slow = False
    assert board.uptime - began > SWEEP
