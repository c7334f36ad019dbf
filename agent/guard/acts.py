"""What people may ask of the guard: each act checks the caller's role, and changes nothing when it refuses."""

from collections.abc import Callable
from typing import Any

from agent import VERSION, registry
from agent.core.assess import LOOSENED, OK, WAIVED, Finding
from agent.core.errors import BadInput, Failed, Missing, PrivetError, UnknownSetting
from agent.core.policy import Policy
from agent.core.record import Value, as_map
from agent.core.role import require
from agent.core.setting import Setting
from agent.core.shown import spell
from agent.core.waiver import Waiver, grant
from agent.core.warn import digest, risk_of, told
from agent.guard import recovery, words
from agent.guard.callers import Caller
from agent.guard.executor import apply, summary
from agent.guard.guard import Guard
from agent.guard.wire import Reply, parse, readable, replaces, revealed

AT_ONCE = 200  # entries of the journal in one answer


class Acts:
    """The verbs behind the control socket."""

    def __init__(self, guard: Guard, extra: Callable[[], Reply]) -> None:
        self.guard = guard
        self.extra = extra
        self.table: dict[str, Callable[[Caller, Reply], Reply]] = {
            "status": self.status,
            "explain": self.explain,
            "loosen": self.loosen,
            "tighten": self.tighten,
            "enforce": self.enforce,
            "confirm": self.confirm,
            "credentials": self.credentials,
            "password": self.password,
            "journal": self.journal,
            "version": self.version,
        }

    def perform(self, caller: Caller, request: Reply) -> Reply:
        """Do one act, or raise the PrivetError that says why not."""
        name = request.get("op")
        if not isinstance(name, str) or name not in self.table:
            raise BadInput(f"no act is called {str(name)[:40]!r}; known: {', '.join(sorted(self.table))}")
        require(caller.role, name)
        return {"ok": True, **self.table[name](caller, request)}

    def version(self, caller: Caller, request: Reply) -> Reply:
        """Say which version runs."""
        return {"version": VERSION, "role": caller.role}

    def status(self, caller: Caller, request: Reply) -> Reply:
        """Say how every setting stood when it was last looked at, what is waived and what was warned about."""
        guard = self.guard
        clock = guard.system.clock()
        findings = [self.row(guard.posture.findings[n]) for n in sorted(guard.posture.findings)]
        return {
            "findings": findings,
            "waivers": [self.waiver_row(w) for w in guard.books.waivers],
            "warnings": [{**as_map(w), "text": told(w)} for w in guard.books.warnings],
            "trial": guard.proving.standing(),
            "age": clock.uptime - guard.swept,
            "coverage": guard.posture.coverage(),
            "now": clock.wall,
            **self.extra(),
        }

    def row(self, finding: Finding) -> Reply:
        """Write one finding for the wire."""
        setting = self.guard.settings[finding.setting]
        row = {**as_map(finding), "title": setting.title, "wanted": spell(finding.wanted)}
        age = self.guard.system.clock().uptime - self.guard.posture.looked[finding.setting]
        waits = self.guard.posture.waits_for(finding.setting)
        return {**row, "found": spell(finding.found), "age": age, "waits_for": waits}

    def waiver_row(self, waiver: Waiver) -> Reply:
        """Write one waiver for the wire, with what is left of it."""
        return {
            **as_map(waiver),
            "ceiling": spell(waiver.ceiling),
            "remaining": waiver.remaining(self.guard.system.clock()),
        }

    def setting(self, request: Reply) -> Setting:
        """Return the setting a request names; it must be one that the policy covers."""
        name = request.get("setting")
        known = self.guard.posture.names()
        if not isinstance(name, str) or name not in known:
            raise UnknownSetting(f"no setting is called {str(name)[:60]!r}; privet status lists them")
        return self.guard.settings[name]

    def explain(self, caller: Caller, request: Reply) -> Reply:
        """Say what a setting is, its options and their risk; with `value`, what loosening to it would mean."""
        setting = self.setting(request)
        wanted = self.guard.wanted(setting.id)
        reply: Reply = {
            "setting": setting.id,
            "title": setting.title,
            "wanted": spell(wanted),
            "options": [{"value": spell(o.value), "risk": o.risk} for o in setting.options],
            "risk": setting.risk,
            "satisfies": list(setting.satisfies),
            "reason": self.policy().reasons.get(setting.id, ""),
            "order": setting.order,
        }
        if setting.id in self.guard.posture.findings:
            reply["finding"] = self.row(self.guard.posture.findings[setting.id])
            reply["contexts"] = self.loose_in(setting, wanted)
        if "value" in request:
            risk, seen = self.risk(setting, parse(setting, request["value"]))
            reply.update({"risk_of_value": risk, "seen": seen})
        return reply

    def loose_in(self, setting: Setting, wanted: Value) -> dict[str, str]:
        """Return the contexts in which a setting is looser than wanted now, each with what was found there."""
        if self.guard.posture.findings[setting.id].status not in (LOOSENED, WAIVED):
            return {}
        rows = self.guard.posture.parts(setting.id)
        return {context: spell(v) for context, v in rows if context and not setting.lattice().allows(wanted, v)}

    def risk(self, setting: Setting, value: Value) -> tuple[str, str]:
        """Return the risk of a value in plain words, and the digest that proves it was shown."""
        if not setting.lattice().member(value):
            known = ", ".join(spell(o.value) for o in setting.options)
            raise BadInput(f"{setting.id} cannot be {spell(value)}; choose from: {known}")
        text, exposes = risk_of(setting, self.guard.wanted(setting.id), value)
        return text, digest((setting.id, spell(value), text, *exposes))

    def loosen(self, caller: Caller, request: Reply) -> Reply:
        """Loosen one setting for a time, with open eyes: the request proves that the risk was shown."""
        guard, setting = self.guard, self.setting(request)
        value = parse(setting, request.get("value"))
        risk, seen = self.risk(setting, value)
        if setting.lattice().leq(value, guard.wanted(setting.id)):
            raise BadInput(
                f"{setting.id} = {spell(value)} is not looser than it is now; use privet tighten {setting.id}"
            )
        if request.get("seen") != seen:
            raise BadInput(
                f"the risk was not shown first; run privet loosen {setting.id} in a terminal, or privet explain"
            )
        waiver = self.leave(caller, setting, value, request)
        guard.proving.give_way(setting.id)
        others = tuple(w for w in guard.books.waivers if not replaces(waiver, w))
        guard.books.keep_waivers((*others, waiver), (("waiver", as_map(waiver)),))
        guard.posture.waivers = guard.books.waivers
        wanted = guard.wanted(setting.id)
        option = wanted if waiver.context else setting.lattice().join(wanted, value)
        try:
            steps = guard.posture.steps(setting.id, option)
            guard.books.store.append("intent", {"setting": setting.id, "steps": summary(steps)})
            apply(guard.system, steps)
        except PrivetError:
            self.withdraw(setting.id, "failed", waiver.context)
            guard.cycle((setting.id,))
            raise
        finding = guard.posture.look((setting.id,), guard.books.waivers)[0]
        if finding.status not in (WAIVED, OK):
            self.withdraw(setting.id, "failed", waiver.context)
            guard.cycle((setting.id,))
            raise Failed(
                f"{setting.id} did not become {spell(value)} ({finding.cause or finding.status}); it was set back"
            )
        guard.announce(words.allowed(finding, setting, waiver, risk, guard.system.clock()))
        return {"waiver": self.waiver_row(waiver), "finding": self.row(finding)}

    def leave(self, caller: Caller, setting: Setting, value: Value, request: Reply) -> Waiver:
        """Make the waiver that a request asks for: for the whole setting, or for one context of it."""
        seconds, reason, context = request.get("seconds"), request.get("reason"), str(request.get("context") or "")
        if context and not hasattr(registry.provider(setting.provider), "contexts"):
            raise BadInput(f"{setting.id} has no contexts of its own; leave out --context")
        known = seconds if type(seconds) is int else 0
        clock = self.guard.system.clock()
        return grant(setting, value, known, str(reason or ""), caller.name, caller.role, clock, context)

    def withdraw(self, name: str, why: str, context: str | None = None) -> None:
        """End the waivers of a setting, or the one of a context, journaled."""
        guard = self.guard
        left = tuple(w for w in guard.books.waivers if w.setting != name or context not in (None, w.context))
        if left != guard.books.waivers:
            guard.books.keep_waivers(left, (("waiver_ended", {"setting": name, "why": why}),))
            guard.close_waived((name,), guard.system.clock())

    def tighten(self, caller: Caller, request: Reply) -> Reply:
        """Bring one setting back to what the policy wants, now; ends its waiver."""
        setting = self.setting(request)
        self.withdraw(setting.id, f"tightened by {caller.name}")
        self.guard.contests.pop(setting.id, None)
        self.guard.enforcing.forget(setting.id)
        self.guard.proving.retry(setting.id)
        finding = self.guard.cycle((setting.id,), quiet=True)[0]
        return {"finding": self.row(finding), "trial": self.guard.proving.standing()}

    def confirm(self, caller: Caller, request: Reply) -> Reply:
        """Keep the change on trial: the caller (`pid`, by the kernel's word) has signed in since it was made."""
        pid = request.get("pid")
        return {"confirmed": self.guard.proving.confirm(caller.name, pid if type(pid) is int else 0)}

    def enforce(self, caller: Caller, request: Reply) -> Reply:
        """Look at everything now and restore what is loosened; also ends every truce with another writer."""
        self.guard.contests.clear()
        self.guard.enforcing.forget()
        self.guard.sweep()
        return self.status(caller, request)

    def policy(self) -> Policy:
        """Return the policy in force."""
        policy = self.guard.rules.policy
        if policy is None:
            raise Missing("no policy is in force yet; set the device up with privet-fleet")
        return policy

    def credentials(self, caller: Caller, request: Reply) -> Reply:
        """Hand out the new secrets of the first boot; `taken` (labels), once they were shown, erases them for good."""
        store: Any = self.guard.books.store
        keys = {k[len("credential/") :]: k for k in store.keys("credential/")}
        taken = request.get("taken")
        if isinstance(taken, list):
            shown = [label for label in taken if isinstance(label, str) and label in keys]
            return {"erased": self.erase(shown, caller)}
        if request.get("sealed") is True:
            return {"sealed": recovery.kept(self.guard.system)}
        if request.get("once") is not True:
            return {"waiting": sorted(keys)}
        found = [{"label": label, "secret": revealed(store.get(keys[label]))} for label in sorted(keys)]
        return {"credentials": found}

    def password(self, caller: Caller, request: Reply) -> Reply:
        """Hand out the new password of the caller's own account; `taken`, once it was shown, erases it for good."""
        label = f"linux_account/{caller.name}"
        secret = self.guard.books.store.get(f"credential/{label}")
        if secret is None:
            return {"credentials": []}
        if request.get("taken") is True:
            return {"erased": self.erase([label], caller)}
        return {"credentials": [{"label": label, "secret": revealed(secret)}]}

    def erase(self, labels: list[str], caller: Caller) -> list[str]:
        """Let go of secrets that were shown, journaled."""
        store: Any = self.guard.books.store
        entry = ("credentials_shown", {"labels": labels, "to": caller.name})
        store.put({f"credential/{label}": None for label in labels}, (entry,))
        recovery.taken(self.guard.system, left=bool(store.keys("credential/")))
        return labels

    def journal(self, caller: Caller, request: Reply) -> Reply:
        """Return journal entries, or check the whole chain."""
        store: Any = self.guard.books.store
        if request.get("verify") is True:
            verdict = store.verify()
            why = f"entry {verdict.seq} is {verdict.damage}" if verdict.damage else ""
            told = {"sound": not why, "count": verdict.count, "why": why, "head": store.head.digest.hex()}
            gone = store.gone
            return {**told, "pruned": readable(gone)} if gone.count else told
        since = request.get("since")
        first = since if type(since) is int and since > 0 else max(0, store.head.count - AT_ONCE)
        return {"entries": [readable(row) for row in store.entries(first, AT_ONCE)]}
