"""Coming to a certificate and keeping one: the acts of `core.enrol`, done one at a time, each durable and journaled.

The guard holds the slot and the key, because it alone may write on this device; the courier asks the enrolment server,
because it alone has a network. What it brings back counts only once the vault has judged it: for our key, our name, by
our fleet. The token goes through the courier, who could ask with it in our name for somebody else's key; the fleet then
gives that key's certificate to nobody but this card's first use, and our own request rings its alarm.

    /var/lib/privet-courier/{ca,cert,key}.pem       the pair in force
    /var/lib/privet-courier/next/{cert,key}.pem     the pair that is to follow, until the broker let us in with it

In the store: `enrolment` is {"token": sha256 of the one adopted, "by", "change": sha256 of the certificate that takes
over}; `time` the latest time the fleet has signed for us.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent.core import enrol
from agent.core.enrol import Standing
from agent.core.errors import BadInput, PrivetError
from agent.core.shown import brief
from agent.core.warn import PrivacyWarning, notable
from agent.guard import pair, seeds
from agent.guard.answers import HANDED, NO_CLOCK, NO_SEED, NOT_TAKEN, shaped
from agent.guard.books import Store
from agent.guard.rules import Anchor
from agent.guard.times import Times
from agent.system import identity
from agent.system.door import System
from agent.system.vault import Vault

ROUNDS = 12  # acts in one turn; six are the longest way
SOON, LONG = 5, 3600  # seconds: until a courier is there · until the broker is shown the next certificate again
KINDS = {enrol.TIME: "time", enrol.ASK: "token", enrol.ASK_NEXT: "token", enrol.RENEW: "renew"}
Tell = Callable[[list[Any]], None]


class Enrolment:
    """One device's; `announce` tells its owner, `relink` lets the courier connect anew."""

    def __init__(
        self,
        system: System,
        store: Store,
        vault: Vault,
        anchor: Anchor,
        owner: tuple[int, int],
        announce: Callable[[PrivacyWarning], None],
        relink: Callable[[], None],
    ) -> None:
        self.system = system
        self.store = store
        self.vault = vault
        self.anchor = anchor
        self.pair = pair.Pair(system, vault, owner)
        self.announce = announce
        self.relink = relink
        self.place = seeds.read_place(system)
        self.tell: Tell | None = None
        self.times = Times(system, store, vault, anchor)
        self.stuck = False  # the slot cannot be wiped in this start
        self.pending: dict[str, Any] = {}
        self.tries = 0
        self.due = 0
        self.act = enrol.LEAVE
        self.why = ""
        self.found = seeds.Found(kind=enrol.EMPTY, seed=None)

    def begin(self) -> None:
        """Look at the slot, finish a change of certificates that was cut, and do what needs no network."""
        if self.place is None:
            return
        try:
            self.pair.sync()
            self.pair.finish(self.record().get("change"), self.settled)
            self.look()
        except PrivetError as error:
            self.put_off("wrong", str(error))
        self.turn()

    def look(self) -> None:
        """Look into the slot again."""
        asked = self.record().get("token", b"")
        slot = seeds.look(self.system, self.vault, self.anchor.identity.device, asked)
        self.found = seeds.beside(self.store.get("handover") or {}, asked, slot)

    def record(self) -> dict[str, Any]:
        """Return what is remembered."""
        return dict(self.store.get("enrolment") or {})

    def keep(self, act: str, values: dict[str, Any], **more: Any) -> None:
        """Remember and journal in one durable act."""
        kept = {name: value for name, value in {**self.record(), **values}.items() if value is not None}
        self.store.put({"enrolment": kept}, (("enrolment", {"act": act, **more}),))

    def stands(self) -> Standing:
        """Say what stands."""
        life, record, now = self.pair.life(), self.record(), self.times.now()
        slot = enrol.OTHERS if self.stuck and self.found.kind in (enrol.ASKED, enrol.DAMAGED) else self.found.kind
        return Standing(
            slot=slot, key=self.pair.has_key(), certificate=life is not None, next=self.pair.follows(),
            by=str(record.get("by", "")), begins=life[0] if life else 0, ends=life[1] if life else 0, now=now,
            told=self.times.settled(now),
        )  # fmt: skip

    def wait(self) -> float:
        """Return the seconds until something is due by itself."""
        if self.place is None or self.pending:
            return float(LONG)
        return float(max(0, self.due - self.system.clock().uptime))

    def turn(self) -> None:
        """Do what is due; an act that fails is told in one sentence and done again later."""
        if self.place is None or self.pending or self.system.clock().uptime < self.due:
            return
        try:
            self.advance()
        except PrivetError as error:
            self.put_off("wrong", str(error))

    def advance(self) -> None:
        """Do acts until one has to wait for an answer or for its time."""
        for _ in range(ROUNDS):
            stands = self.stands()
            self.act = enrol.next_act(stands)
            if self.act in enrol.ASKING:
                self.ask(stands)
                return
            if self.act == enrol.TRY:
                self.why = NOT_TAKEN
                self.later(LONG)
                self.relink()
                return
            if self.act in (enrol.REST, enrol.LEAVE, enrol.LOST):
                self.rest(stands)
                return
            self.do(stands)

    def do(self, stands: Standing) -> None:
        """Do one act that needs nobody else."""
        if self.act == enrol.ADOPT and self.found.seed is not None:
            self.pair.forget_next()
            by = enrol.TOKEN if stands.certificate else None
            self.keep(self.act, {"token": seeds.digest_of(self.found.seed), "by": by})
            self.found = seeds.Found(kind=enrol.ASKED, seed=self.found.seed)
        elif self.act in (enrol.MAKE, enrol.MAKE_NEXT):
            made = self.vault.new_identity(self.anchor.identity.device).key
            self.pair.keep_key(made, follows=self.act == enrol.MAKE_NEXT)
            self.keep(self.act, {}, key=identity.fingerprint(self.vault, made))
        elif self.act == enrol.WIPE:
            self.wipe()

    def wipe(self) -> None:
        """Overwrite the seed; where that cannot be done the owner is told, and the rest goes on."""
        if isinstance(self.found.seed, seeds.Vouched):
            self.store.put({"handover": None})
            self.look()
            return
        try:
            key, now = self.pair.key(follows=False), self.times.now() or self.times.floor()
            seeds.wipe(self.system, self.vault, self.anchor.identity.device, key, now)
        except PrivetError as error:
            self.stuck = True
            self.say("The seed of this device could not be overwritten on its card", str(error))
            return
        self.found = seeds.Found(kind=enrol.RECEIPT, seed=None)
        self.keep(self.act, {})

    def rest(self, stands: Standing) -> None:
        """Wait for the next renewal, or for a person."""
        self.why = "" if self.act != enrol.LOST else HANDED if self.store.get("handover") else NO_SEED
        left = enrol.renew_at(stands.begins, stands.ends) - stands.now if self.act == enrol.REST else LONG
        self.later(max(SOON, min(left, 86400)))

    def ask(self, stands: Standing) -> None:
        """Put a question to the enrolment server, through the courier."""
        if self.tell is None or self.place is None:
            self.why = "no courier is connected"
            self.later(SOON)
            return
        what, seed = KINDS[self.act], self.found.seed
        token = seed.token.reveal() if what == "token" and seed is not None else b""
        follows = self.act in (enrol.ASK_NEXT, enrol.RENEW)
        request = b""
        if what != "time":
            request = identity.request(self.vault, self.pair.key(follows), self.anchor.identity.device)
        asked = {
            "what": what, "host": self.place.host, "port": self.place.port, "device": self.anchor.identity.device,
            "token": token, "request": request, "nonce": self.system.entropy(32),
            "now": 0 if what == "time" else stands.now, "boot": self.times.start() if self.record() else "",
        }  # fmt: skip
        self.pending = {"what": what, "nonce": asked["nonce"], "follows": follows, "now": stands.now}
        self.tell(["enrol", asked])

    def courier(self, tell: Tell | None) -> None:
        """A courier came or went; what was asked of the one before is asked again."""
        self.tell, self.pending = tell, {}
        if tell is not None and self.place is not None:
            self.due = min(self.due, self.system.clock().uptime)
            self.tell_time()

    def message(self, kind: str, content: object) -> None:
        """Take one message of the courier about certificates."""
        if kind == "enrolled" and isinstance(content, dict):
            self.heard(content)
        elif kind == "proven" and isinstance(content, bytes):
            self.proven(content)

    def say(self, title: str, outcome: str) -> None:
        """Tell the owner."""
        self.announce(notable("failed", "", title, "", outcome, self.system.clock()))

    def heard(self, answer: dict[str, Any]) -> None:
        """Take what came of a question; what is not the answer to the one that was put changes nothing."""
        if not self.pending or not shaped(answer) or answer["what"] != self.pending["what"]:
            return
        pending, self.pending = self.pending, {}
        try:
            if "shown" in pending and answer["outcome"] in ("granted", "absent"):
                self.keep("shown", {"shown": pending["shown"]})
            if answer["outcome"] == "absent" and answer["what"] == "time":
                self.times.timeless = True
                if not self.times.now():
                    raise BadInput(NO_CLOCK)
            elif answer["outcome"] != "granted":
                self.refused(answer["outcome"], brief(answer["why"], 300), answer["wait"])
                return
            elif answer["what"] == "time":
                self.times.take(answer, pending["nonce"])
                self.tell_time()
            else:
                self.take_certificate(answer["body"], pending)
        except PrivetError as error:
            self.put_off("wrong", str(error))
            return
        self.tries, self.why, self.due = 0, "", 0
        self.turn()

    def tell_time(self) -> None:
        """Let the courier judge certificates by the signed time."""
        if self.tell is not None and self.times.told is not None:
            self.tell(["time", self.times.now()])

    def take_certificate(self, body: bytes, pending: dict[str, Any]) -> None:
        """Keep the certificate that came, once it is judged; durable when this returns."""
        me = self.anchor.identity
        key, follows = self.pair.key(pending["follows"]), pending["follows"]
        root, now = self.pair.root(), self.times.now() or pending["now"]
        made = identity.certified(self.vault, key, body, (me.device, me.fleet), root, now)
        self.pair.keep_certificate(made, follows=follows)
        self.keep(self.act, {}, begins=made.begins, ends=made.ends)
        if not follows:
            self.relink()

    def proven(self, shown: bytes) -> None:
        """The broker let us in with this certificate: if it is the one that is to follow, it takes over.

        Then the enrolment server is shown it too, once: so it knows that the one before is needed no more.
        """
        if self.place is None:
            return
        if shown == self.pair.next_digest():
            self.keep("change", {"change": shown})
            self.pair.finish(shown, self.settled)
            self.due = 0
        if shown == self.pair.digest() and shown != self.record().get("shown") and not self.pending and self.tell:
            self.act = enrol.TIME
            self.ask(self.stands())
            self.pending["shown"] = shown

    def settled(self) -> None:
        """The new pair is in force."""
        self.keep("changed", {"change": None, "by": None})

    def refused(self, outcome: str, why: str, wait: int) -> None:
        """Remember a no, and tell the owner the first time when only a person can change it."""
        if outcome not in enrol.LATER and why != self.why:
            self.say("The fleet does not give this device a certificate", why)
        self.put_off(outcome, why, wait)

    def put_off(self, outcome: str, why: str, least: int = 0) -> None:
        """Try again later: at random within a range that doubles."""
        if why != self.why:
            with suppress(PrivetError):
                self.store.append("enrolment", {"act": self.act, "outcome": outcome, "why": why})
        self.why = why
        drawn = int.from_bytes(self.system.entropy(8), "big")
        self.later(max(least, enrol.delay(outcome, self.tries, drawn)))
        self.tries += 1

    def later(self, seconds: int) -> None:
        """Rest for so long."""
        self.due = self.system.clock().uptime + seconds

    def standing(self) -> dict[str, Any]:
        """Say for the status how it is."""
        if self.place is None:
            return {}
        return {"act": self.act, "why": self.why, "ends": (self.pair.life() or (0, 0))[1]}
