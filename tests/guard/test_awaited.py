"""An answer that a look could not wait for: unknown until it is there, told once it says something, and by itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.guard.awaited import HOLD
from agent.providers.linux import accounts
from agent.system import crypt
from agent.system.factory import Search
from agent.system.simulated import SimulatedSystem
from tests.guard.conftest import Kept

NAME = "accounts.known_password"
UNLIKELY = "dietpi"  # on the list, for another account than pi
SALT = crypt.salt("$2b$", b"0123456789abcdef", 4)  # costly by its kind, quick by its number


def give(kept: Kept, password: str) -> Search:
    """Give pi a password under a hash that takes long on purpose, and return who compares it."""
    rows = kept.system.read("/etc/shadow").decode().splitlines()
    field = crypt.hashed(password, SALT)
    kept.system.edit("/etc/shadow", "".join(f"{changed(row, field)}\n" for row in rows).encode(), mode=0o640)
    return accounts.searches.setdefault(kept.system, Search())


def changed(row: str, field: str) -> str:
    """Return a row of /etc/shadow with another field for pi."""
    name, _, rest = row.split(":", 2)
    return f"{name}:{field}:{rest}" if name == "pi" else row


def compared(kept: Kept) -> None:
    """Wait until everything is compared; the guard has not looked yet."""
    search = accounts.searches[kept.system]
    while (thread := search.thread) is not None:
        thread.join()
    kept.system.tick(2)


def finished(kept: Kept) -> None:
    """Wait until everything is compared, then let the guard find that out by its clock alone."""
    compared(kept)
    kept.turn()


def row(kept: Kept) -> dict[str, object]:
    """Return how the setting stands."""
    return next(r for r in kept.ask("status")["findings"] if r["setting"] == NAME)


def texts(kept: Kept) -> list[str]:
    """Return what was told about the setting."""
    return [t["text"] for t in kept.told() if t["setting"] == NAME]


def test_a_known_password_is_unknown_until_compared_and_then_told(kept: Kept) -> None:
    """While it is compared the verdict is unknown, with why and without a warning; then loosened, told once."""
    search = give(kept, UNLIKELY)
    with search.lock:  # the comparing thread stands still
        kept.turn()
        found = row(kept)
        assert (found["status"], found["live"], found["waits_for"]) == ("unknown", None, "answer")
        assert "the password of pi is still being compared" in str(found["cause"])
        assert kept.house.guard.due() <= 1
        assert texts(kept) == []
    finished(kept)
    found = row(kept)
    assert (found["status"], found["live"], found["waits_for"]) == ("loosened", ("pi:known",), "")
    assert len(texts(kept)) == 1 and "pi:known" in texts(kept)[0]


def test_a_private_password_becomes_fine_by_itself_and_without_a_word(kept: Kept) -> None:
    """Unknown while it is compared, fine afterwards, nothing told; then the clock is left alone."""
    search = give(kept, "three unlisted words")
    with search.lock:
        kept.turn()
        assert kept.status(NAME) == "unknown"
    finished(kept)
    assert kept.status(NAME) == "ok"
    assert texts(kept) == []
    assert kept.house.guard.due() > 1


def test_what_is_known_already_is_told_while_the_rest_is_compared(kept: Kept) -> None:
    """An account without a password is loosened at once, whatever another account's hash takes."""
    kept.system.edit("/etc/passwd", kept.system.read("/etc/passwd") + b"guest:x:1001:1001::/home/guest:/bin/bash\n")
    kept.system.edit("/etc/shadow", kept.system.read("/etc/shadow") + b"guest::20000::::::\n", mode=0o640)
    search = give(kept, UNLIKELY)
    with search.lock:
        kept.turn()
        assert (row(kept)["status"], row(kept)["found"]) == ("loosened", "guest:blank")
        assert len(texts(kept)) == 1
    finished(kept)
    assert row(kept)["found"] == "guest:blank, pi:known"
    assert len(texts(kept)) == 2


def test_a_password_changed_meanwhile_is_the_one_that_counts(kept: Kept) -> None:
    """The verdict on a hash that is gone is nobody's."""
    search = give(kept, UNLIKELY)
    with search.lock:
        kept.turn()
        give(kept, "three unlisted words")
        kept.turn()
    finished(kept)
    assert kept.status(NAME) == "ok" and texts(kept) == []


def test_an_answer_that_never_comes_is_told(kept: Kept) -> None:
    """A hash that takes for ever is no way to keep quiet: after an hour the owner hears that nobody can tell."""
    search = give(kept, UNLIKELY)
    with search.lock:
        kept.turn()
        kept.system.tick(HOLD - 1)
        kept.turn()
        assert texts(kept) == [] and row(kept)["waits_for"] == "answer"
        kept.system.tick(302)
        kept.turn()
        assert len(texts(kept)) == 1 and "Cannot tell" in texts(kept)[0]
        assert row(kept)["waits_for"] == ""


class Changing(SimulatedSystem):
    """A device on which another hand is faster than whoever looks at the passwords twice."""

    then: Callable[[], object] | None = None

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read; right after that somebody does something, once."""
        content = super().read(path, limit)
        if path == "/etc/shadow" and self.then is not None:
            then, self.then = self.then, None
            then()
        return content


@pytest.mark.parametrize("known", [False, True])
def test_a_password_changed_between_two_looks_of_one_cycle(tmp_path: Path, known: bool) -> None:
    """Loosened, then to be compared: told once, whether it was known or not, open until the answer, then closed."""
    kept = Kept(tmp_path, Changing)
    system = kept.system
    assert isinstance(system, Changing)
    try:
        kept.start()
        search = give(kept, UNLIKELY)
        with search.lock:  # the comparing thread stands still
            kept.turn()
        compared(kept)
        if known:
            kept.turn()
            system.edit("/etc/.pwd.lock", b"")
        with search.lock:
            system.then = lambda: give(kept, "three unlisted words")
            kept.turn()
            assert system.then is None and row(kept)["waits_for"] == "answer"
            assert len(texts(kept)) == 1 and "pi:known" in texts(kept)[0]
            assert [w.open for w in kept.warnings() if w.setting == NAME] == [1]
        finished(kept)
        assert kept.status(NAME) == "ok" and len(texts(kept)) == 1
        assert [w.open for w in kept.warnings() if w.setting == NAME] == [0]
    finally:
        kept.stop()


@pytest.mark.parametrize("field", ["!", "*", "$y$j9T$damaged"])
def test_what_no_password_opens_belongs_to_none(kept: Kept, field: str) -> None:
    """A locked or foreign field: that is said at once. One that only looks like a hash: as soon as it was compared."""
    shadow = kept.system.read("/etc/shadow").decode().splitlines()
    kept.system.edit("/etc/shadow", "".join(f"{changed(r, field)}\n" for r in shadow).encode(), mode=0o640)
    accounts.searches.setdefault(kept.system, Search())
    kept.turn()
    if "damaged" in field:
        finished(kept)
    assert kept.status(NAME) == "ok"
