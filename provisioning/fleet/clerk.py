"""The clerk: writes for many who wait, several in one transaction, so that one sync of the disk serves them all.

What is answered is durable first. A question that fails takes back its own writes alone.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from sqlalchemy import Connection

from agent.core.errors import Failed
from provisioning.fleet.desk import RULES, Desk, Outcome, Rules
from provisioning.fleet.ledger import Book
from provisioning.fleet.registry import Registry

MOST = 64  # questions in one transaction
Work = Callable[[Desk], Outcome]
Waiting = tuple[Work, "Future[Outcome]"]


class Clerk:
    """A thread of its own; `ask` from anywhere.

    After the commit, and before anybody is answered, `shut` hears of everybody who was shut out, and `revoked` is
    called when certificates were.
    """

    def __init__(
        self,
        registry: Registry,
        shut: Callable[[Outcome], None],
        revoked: Callable[[], None],
        rules: Rules = RULES,
    ) -> None:
        self._registry = registry
        self._shut, self._revoked = shut, revoked
        self._changed = False
        self._rules = rules
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="clerk", daemon=True)
        self._thread.start()

    def ask(self, work: Work) -> "Future[Outcome]":
        """Queue a question; its answer comes when it is durable."""
        future: Future[Outcome] = Future()
        self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Answer what is queued, then end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        over = False
        while not over:
            waiting, over = self._taken()
            if waiting:
                self._serve(waiting)

    def _taken(self) -> tuple[list[Waiting], bool]:
        taken, one = [], self._queue.get()
        while one is not None:
            taken.append(one)
            if len(taken) == MOST:
                return taken, False
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                return taken, False
        return taken, True

    def _serve(self, waiting: list[Waiting]) -> None:
        answers: list[Outcome | Exception] = []
        try:
            with self._registry.act() as (connection, book):
                answers.extend(self._answer(work, connection, book) for work, _ in waiting)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            answers = [error] * len(waiting)
        with contextlib.suppress(Exception):  # whoever is told must not keep the devices waiting
            if self._changed:
                self._changed = False
                self._revoked()
        with contextlib.suppress(Exception):
            for answer in answers:
                if isinstance(answer, Outcome) and answer.shut:
                    self._shut(answer)
        for (_, future), answer in zip(waiting, answers, strict=True):
            if not future.set_running_or_notify_cancel():  # whoever asked waits no more: the server is ending
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _answer(self, work: Work, connection: Connection, book: Book) -> Outcome | Exception:
        before = book.place()
        try:
            with connection.begin_nested():
                desk = Desk(self._registry.fleet, connection, book, self._registry.now(), self._rules)
                outcome = work(desk)
            self._changed |= desk.revoked
            return outcome
        except Exception as error:  # noqa: BLE001 - the others of this transaction go on
            book.back_to(before)
            return error if str(error) else Failed("the registry could not answer; look into its log")
