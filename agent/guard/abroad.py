"""The half of the guard that speaks with the courier: what it is told, and what is believed of what it says."""

from collections.abc import Callable
from typing import Any

from agent.core.deletion import split_receipt
from agent.core.errors import BadInput, PrivetError
from agent.core.shown import brief
from agent.guard.answer import Answer
from agent.guard.books import Books
from agent.guard.deletions import Deletions
from agent.guard.enrolment import Enrolment
from agent.guard.handover import WHAT, Handover
from agent.guard.outbox import Outbox
from agent.guard.parts import Parts
from agent.guard.port import Courier, Port
from agent.guard.refusals import Refusals
from agent.guard.rules import Rules
from agent.guard.traffic import Tell, Traffic
from agent.system.door import System


class Abroad:
    """Part of a House, which makes all that is named here."""

    parts: Parts
    system: System
    books: Books
    rules: Rules
    outbox: Outbox
    answer: Answer
    deletions: Deletions
    enrolment: Enrolment | None
    handover: Handover | None
    traffic: Traffic | None
    counting: Callable[[Tell], Tell]
    port: Port | None
    link: tuple[str, str]
    refusals: Refusals

    def courier_changed(self, courier: Courier | None) -> None:
        """A courier came or went."""
        tell = None if courier is None else self.counting(courier.tell)
        if self.enrolment is not None:
            self.enrolment.courier(tell)
        if self.handover is not None:
            self.handover.courier(tell)
        if tell is None or self.rules.policy is None:
            self.link = ("offline", "no courier is connected")
            self.outbox.connected(None)
            return
        self.relink()
        self.link = ("offline", "the courier has not connected yet")
        self.outbox.connected(lambda number, topic, payload: tell(["publish", number, topic, payload]))

    def relink(self) -> None:
        """Tell the courier where the broker is; what was sent and not answered is sent anew."""
        policy, me = self.rules.policy, self.parts.anchor.identity
        if policy is not None and self.port is not None and self.port.courier is not None:
            place = {"host": policy.broker["host"], "port": policy.broker["port"]}
            if others := [fact for one in policy.broker.get("others", ()) for fact in (one["host"], one["port"])]:
                place["others"] = others
            self.port.courier.tell(["link", {**place, "fleet": me.fleet, "device": me.device}])

    def recall(self, purpose: str) -> None:
        """Take back what the courier has of a purpose and the broker did not answer: it begins anew without it."""
        if purpose in self.outbox.unsent.values():
            self.link = ("offline", "the courier begins anew, without what was taken back")
            self.relink()
            self.outbox.connected(self.outbox.publish)

    def heard(self, message: list[Any]) -> None:
        """Take one message of the courier; what is not authentic changes nothing and explains nothing."""
        if self.believed(message) and self.traffic is not None:
            self.traffic.heard(message)

    def believed(self, message: list[Any]) -> bool:
        """Act on one message of the courier; say whether it was authentic."""
        kind, rest = message[0], message[1:]
        if kind == "sent" and len(rest) == 1 and isinstance(rest[0], int):
            self.outbox.sent(rest[0])
        elif kind == "state" and len(rest) == 2:
            before, self.link = self.link, (brief(str(rest[0]), 20), brief(str(rest[1]), 300))
            if self.link[0] == "connected" and not self.books.store.get("linked"):
                self.books.store.put({"linked": True})
            if self.link[0] == "connected" != before[0]:  # what the connection before it lost need not wait
                self.outbox.rewind()
                self.deletions.again()
                self.answer.tell(anew=True)
        elif kind == "received" and len(rest) == 2 and isinstance(rest[1], bytes):
            try:
                self.received(str(rest[0]), rest[1])
            except PrivetError as error:
                self.refusals.note(str(rest[0]), error)
                return False
        elif kind in ("enrolled", "proven") and len(rest) == 1 and self.enrolment is not None:
            self.enrolment.message(kind, rest[0])
            if kind == "enrolled" and self.handover is not None and rest[0].get("what") == WHAT:
                self.handover.heard(rest[0])
        elif kind not in ("hello", "proven"):
            raise BadInput("the courier said something unknown and was dropped")
        return True

    def received(self, kind: str, payload: bytes) -> None:
        """Take an acknowledgement or a policy that came over the network."""
        if kind == "ack" and (receipt := split_receipt(payload)) is not None:
            self.deletions.confirm(receipt, payload, self.rules.now(self.system.clock()))
        elif kind == "ack":
            self.outbox.acknowledge(payload)
        elif kind == "policy":
            self.take_policy(payload)
        else:
            raise BadInput("only acknowledgements and policies are taken from the network")

    def take_policy(self, signed: bytes) -> None:
        """Take a policy from afar: tighter parts at once, looser ones not at all; the owner is told which."""
        self.answer.take(signed)
