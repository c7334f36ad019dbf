"""After `privet erase --all`: the receipt goes to the fleet by itself, and its voucher lets the next owner's start.

The receipt and a token that the device drew are kept before its key is destroyed: in the record of the erasure
(`glass`), and from the next start on in the store, where nothing else of the former owner is. The receipt is sent until
the enrolment server has it on record; it is signed, so it needs no certificate. The fleet's answer, a voucher, is
verified here before it counts; then the token opens one enrolment, as that of a seed does. Where no link ever comes,
the receipt by file and a seed do the same (`enrolment` takes the slot's seed first).

In the store: `handover` is {"receipt", "token", "voucher": signed, empty until it came, "taken": the fleet has it}.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent.core import enrol, voucher
from agent.core.errors import BadPolicy, PrivetError
from agent.core.warn import notable
from agent.guard import glass
from agent.guard.answers import shaped
from agent.guard.enrolment import Enrolment, Tell

NAME = "handover"
WHAT = "erased"
TAKEN, ENDED = "taken", "ended"  # beside `granted`: it is on record and more may come · and nothing more will
FORGED = "the voucher is not signed by this device's fleet; check who answers at its enrolment server"
LONG = 3600  # seconds


class Handover:
    """One device's; `announce` tells its owner. Beside an enrolment, whose time and courier it shares."""

    def __init__(self, enrolment: Enrolment, announce: Callable[[Any], None]) -> None:
        self.enrolment = enrolment
        self.system = enrolment.system
        self.announce = announce
        self.tell: Tell | None = None
        self.pending = False
        self.judged = 0  # the time that the pending question was asked with
        self.tries = 0
        self.due = 0
        self.why = ""
        self.begun: dict[str, Any] = {}
        self.look()

    def look(self) -> None:
        """Look whether an erasure was begun in this start: its receipt need not wait for the next one."""
        asked = glass.record(self.system, glass.ASKED)
        early = asked.get("by") == glass.OWNER and asked.get("state") != "erased"  # from then on the store has it
        self.begun = asked if early and asked.get("receipt") else {}

    def waiting(self) -> dict[str, Any]:
        """Return what still has to come to the fleet, or to be answered; empty when there is nothing."""
        kept = self.begun or self.enrolment.store.get(NAME) or {}
        done = kept.get("voucher") or (kept.get("taken") and (self.begun or self.enrolment.pair.life()))
        return {} if done else kept

    def wait(self) -> float:
        """Return the seconds until something is due by itself."""
        if self.pending or self.tell is None or not self.waiting():
            return float(LONG)
        return float(max(0, self.due - self.system.clock().uptime))

    def courier(self, tell: Tell | None) -> None:
        """A courier came or went; what was asked of the one before is asked again."""
        self.tell, self.pending, self.due = tell, False, 0

    def turn(self) -> None:
        """Hand the receipt in when that is due."""
        if self.pending or self.tell is None or self.system.clock().uptime < self.due:
            return
        kept, place = self.waiting(), self.enrolment.place
        if not kept or place is None:
            if not self.begun and (self.enrolment.store.get(NAME) or {}).get("taken") and self.enrolment.pair.life():
                self.keep(over=True)  # a seed has let the next owner's start, and the token is not needed
            return
        self.pending, self.judged = True, self.enrolment.times.now()
        me = self.enrolment.anchor.identity
        asked = {
            "what": WHAT, "host": place.host, "port": place.port, "device": me.device, "token": b"",
            "request": bytes(kept["receipt"]), "nonce": b"", "now": self.judged, "boot": "",
        }  # fmt: skip
        self.tell(["enrol", asked])

    def heard(self, answer: dict[str, Any]) -> None:
        """Take what came of it; what is not the answer to our question changes nothing."""
        if not self.pending or not shaped(answer) or answer["what"] != WHAT:
            return
        self.pending = False
        try:
            self.judge(answer["outcome"], answer["body"], answer["why"][:300], answer["wait"])
        except PrivetError as error:
            self.put_off("wrong", str(error), tell=True)

    def judge(self, outcome: str, body: bytes, why: str, wait: int) -> None:
        """Let a voucher count, remember what is on record, or try again later."""
        if outcome == "granted":
            self.take(body)
        elif outcome in (TAKEN, ENDED) and self.judged:  # without a clock an old certificate could say so
            self.keep(taken=True, over=outcome == ENDED or self.enrolment.pair.life() is not None)
            self.put_off("refused", why, wait)
        else:
            self.put_off(outcome, why, wait, tell=outcome == "refused")

    def take(self, signed: bytes) -> None:
        """Keep a voucher that is for us, and let the enrolment begin; before the next start it is too early."""
        kept, me = self.waiting(), self.enrolment.anchor.identity
        if len(signed) > voucher.MOST:
            raise BadPolicy(FORGED)
        try:
            payload = self.enrolment.vault.verify_policy(signed, self.enrolment.anchor.keys)
        except BadPolicy:
            raise BadPolicy(FORGED) from None
        token = hashlib.sha256(bytes(kept.get("token") or b"")).digest() if kept.get("token") else b""
        voucher.admits(voucher.read_voucher(payload), me.fleet, me.device, token, self.enrolment.times.now())
        self.keep(taken=True, voucher=signed)
        self.tries, self.why, self.due = 0, "", 0
        if not self.begun:
            self.enrolment.look()
            self.enrolment.due = 0
            self.enrolment.turn()

    def keep(self, **more: Any) -> None:
        """Remember and journal in one durable act what the fleet has said."""
        if self.begun:
            self.begun = {**self.begun, "taken": True}
            return  # it is sent once more after the start, to a device that has forgotten its former owner
        over = more.pop("over", False)
        kept = {**(self.enrolment.store.get(NAME) or {}), **more}
        note = (NAME, {"voucher": bool(more.get("voucher")), "over": over})
        if kept != self.enrolment.store.get(NAME) or over:
            self.enrolment.store.put({NAME: None if over else kept}, (note,))

    def put_off(self, outcome: str, why: str, least: int = 0, *, tell: bool = False) -> None:
        """Try again later; what only a person can change is told once."""
        if why != self.why:
            with suppress(PrivetError):
                self.enrolment.store.append(NAME, {"outcome": outcome, "why": why})
            if tell:
                title = "The fleet does not take this device's receipt of erasure"
                self.announce(notable("failed", "", title, "", why, self.system.clock()))
        self.why = why
        drawn = int.from_bytes(self.system.entropy(8), "big")
        self.due = self.system.clock().uptime + max(least, enrol.delay(outcome, self.tries, drawn))
        self.tries += 1
