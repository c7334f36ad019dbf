"""The vectors about consent; part of `runner.py`, with the same limits."""

import binascii

from agent.core import consent, cose, deletion, notice, policy
from tests.portable.tables import table_of


def changed(a):
    """Read the policy of a case as it is later."""
    later = dict(a)
    later["policy"] = dict(a["policy"])
    later["policy"].update(a.get("change", {}))
    return policy.read_policy(table_of(later), {})


def held(answers):
    """Lay answers out as the guard holds them."""
    return {(one.purpose, one.recipient): one for one in answers}


def do_consent(a):
    """Write a notice, answer it, and say the state afterwards, also after the policy changed."""
    name, made = a["purpose"], policy.read_policy(table_of(a), {})
    seen = consent.notice_digest(made, name) if a.get("seen", True) else "old"
    given = held(consent.answer(made, name, a["state"], seen, "anna", 5))
    states = [consent.standing({}, made, name), consent.standing(given, made, name)]
    return states + [consent.standing(given, changed(a), name), notice.notice(made, name)]


def do_consents(a):
    """Answer for some recipients after the other, say how each stands, who gets something and who was told no.

    `before` is the state of an answer that a version before asked for all recipients at once.
    """
    name, made, later = a["purpose"], policy.read_policy(table_of(a), {}), changed(a)
    kept = {}
    if "before" in a:
        digest = consent.notice_digest(made, name) if a.get("seen", True) else "old"
        row = {"purpose": name, "state": a["before"], "notice": digest, "at": 3, "by": "anna"}
        kept = consent.spread({(name, ""): consent.stored(row)}, made)
    for state, to in a["answers"]:
        seen = consent.notice_digest(made, name, tuple(a.get("shown", to)))
        kept.update(held(consent.answer(made, name, state, seen, "anna", 5, tuple(to))))
    told = []
    for known, now in ((kept, made), (kept, later)):
        states = [consent.state_of(known, now, name, one) for one in notice.chosen(now, name)]
        told.append([consent.standing(known, now, name), states, list(consent.agreed(known, now, name))])
    return told + [list(consent.denied(kept, name))]


def do_told(a):
    """Say what each recipient of a purpose is told of a consent to it."""
    made = policy.read_policy(table_of(a), {})
    seen = consent.notice_digest(made, a["purpose"])
    answers = consent.answer(made, a["purpose"], "given", seen, "anna", a["at"])
    return [binascii.hexlify(consent.record_of(one, made)).decode() for one in answers]


def do_deletion(a):
    """Lay out a request, its proof and its receipt; take the receipt apart; say when it is asked again."""
    if "receipt" in a:
        found = deletion.split_receipt(binascii.unhexlify(a["receipt"]))
        return None if found is None else [found.purpose, found.recipient, found.at, found.deleted, found.kept]
    if "tries" in a:
        return [deletion.patience(n) for n in a["tries"]]
    row = dict(a["request"])
    row["key"], row["proof"] = b"k" * 40, b"p" * 32
    plain = deletion.request_plain(deletion.Request(**row))
    place = deletion.stream(row["fleet"], row["device"], row["purpose"], row["boot"])
    made = deletion.Receipt(
        purpose=row["purpose"],
        recipient=row["recipient"],
        id=deletion.name_of(plain),
        at=9,
        deleted=3,
        kept=1,
        mac=b"m" * 32,
    )
    proof = deletion.proof_plain(row["device"], row["purpose"], row["recipient"], row["boot"], row["at"])
    parts = [plain, deletion.name_of(plain), proof, cose.key_context(place, row["recipient"])]
    parts += [deletion.join_request(b"signed", b"chain"), deletion.receipt_plain(row["device"], made)]
    parts.append(deletion.join_receipt(made))
    body = cose.key_body(1, {row["recipient"]: b"wrapped"})
    parts.append(deletion.wrapped_of(body, row["recipient"]))
    return [binascii.hexlify(part).decode() for part in parts]
