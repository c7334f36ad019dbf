"""Run the shared vectors of one file, on CPython or on MicroPython: `runner.py FILE` prints one JSON line a case.

Only what both runtimes have is used here. Each case is {"name", "do", "with", "want"}; `want` may be {"error": class}.
"""

import binascii
import gc
import json
import sys

if hasattr(gc, "threshold") and sys.implementation.name == "micropython":
    gc.threshold(
        4096
    )  # a firmware has these modules in flash; compiling them here would leave the heap in small pieces

from agent.core import (
    cbor,
    cose,
    credential,
    journal,
    policy,
    role,
    setting,
    telemetry,
    waiver,
    window,
)
from agent.core.assess import Finding, Reading, assess
from agent.core.clock import Clock
from agent.core.errors import PrivetError
from agent.core.order import order
from agent.core.plan import plan
from agent.core.record import as_map, from_map, frozen
from tests.portable import trials
from tests.portable.cards import do_slot
from tests.portable.undoing import do_original, do_things


def clock(row):
    """Make a clock from [wall, boot, uptime]."""
    return Clock(wall=row[0], boot=row[1], uptime=row[2])


def do_order(a):
    """Ask an order one question."""
    made = order(a["kind"], tuple(a.get("words", ())))
    args = [frozen(x) for x in a["of"]]
    return getattr(made, a["ask"])(*args)


def do_setting(a):
    """Read a setting and say its default, or what a looser value newly exposes."""
    made = setting.read_setting(a["setting"])
    if "found" not in a:
        return [made.strictest(), len(made.options)]
    return [[o.value, o.risk] for o in made.newly(frozen(a["wanted"]), frozen(a["found"]))]


def do_assess(a):
    """Judge a reading."""
    made = setting.read_setting(a["setting"])
    reading = Reading(
        live=frozen(a["live"]), kept=frozen(a["kept"]), cause=a.get("cause", ""), absent=a.get("absent", False)
    )
    waivers = tuple([waiver.stored(w) for w in a.get("waivers", [])])
    finding = assess(made, frozen(a["wanted"]), reading, waivers, clock(a["clock"]), frozen(a.get("parts", ())))
    return [finding.status, finding.found]


def findings_of(rows, made):
    """Make findings from [status, found] rows of one setting."""
    return tuple(
        [
            Finding(setting=made.id, status=s, wanted=made.strictest(), found=frozen(f), live=None, kept=None, cause="")
            for s, f in rows
        ]
    )


def do_plan(a):
    """Plan changes."""
    made = setting.read_setting(a["setting"])
    changes = plan(findings_of(a["findings"], made), {made.id: made}, tuple(a["ways"]), tuple(a.get("stopped", ())))
    return [[c.setting, c.wanted, c.held] for c in changes]


def do_waiver(a):
    """Grant a waiver, live through restarts and clock changes, and say what remains at each moment."""
    made = setting.read_setting(a["setting"])
    lent = waiver.grant(
        made,
        frozen(a["ceiling"]),
        a["seconds"],
        a.get("reason", "test"),
        "anna",
        "owner",
        clock(a["clock"]),
        a.get("context", ""),
    )
    left = []
    for kind, at in a.get("then", []):
        if kind == "advance":
            lent = waiver.advance(lent, clock(at), began=a.get("began", 0))
        if kind == "again":
            lent = waiver.advance(lent, clock(at), same=True)
        left.append(lent.remaining(clock(at)))
    return left


def do_warn(a):
    """Go through rounds of findings and say which warnings each round delivers."""
    warn = __import__("agent.core.warn", None, None, ("warn",))  # only these cases need it, the heap is small
    made = setting.read_setting(a["setting"])
    known, said = (), []
    for at, rows in a["rounds"]:
        now = warn.current(findings_of(rows, made), {made.id: made}, (), clock(at))
        fresh, known = warn.edges(known, now, clock(at))
        said.append([warn.told(w) for w in fresh])
    return [said, [[w.count, w.open] for w in known]]


def do_minimise(a):
    """Minimise samples of one field and pack them."""
    from tests.portable import minimising

    field = minimising.field_of(a["field"])
    made = [telemetry.minimise(field, telemetry.Sample(name=field.name, number=n, at=t)) for n, t in a["samples"]]
    packed = telemetry.pack(tuple(made), lambda e, m: cbor.Tag(tag=4, value=[e, m]))
    return [[[m.value, m.at] for m in made], binascii.hexlify(cbor.encode(packed)).decode()]


def do_window(a):
    """Count samples of one field into buckets, and close those that are over at a time."""
    from tests.portable import minimising

    field = minimising.field_of(a["field"])
    held = {}
    for n, t in a["samples"]:
        start = window.start_of(field, t)
        held[start] = window.fold(field, held.get(start), telemetry.Sample(name=field.name, number=n, at=t))
    done = [start for start in sorted(held) if window.over(field, held[start], a["now"])]
    figures = [[[m.name, m.unit, m.scale, m.value, m.at] for m in window.close(field, held[start])] for start in done]
    return [figures, [window.left(field, held[start], a["now"]) for start in sorted(held)]]


def do_policy(a):
    """Read a policy, admit it, and lay it over a baseline."""
    from tests.portable import tables

    settings = {}
    for row in a["settings"]:
        made = setting.read_setting(row)
        settings[made.id] = made
    made = policy.read_policy(cbor.decode(cbor.encode(tables.table_of(a))), settings)
    me = policy.Identity(fleet=a["me"][0], model=a["me"][1], device=a["me"][2])
    policy.admit(made, me, a["newest"], a["now"])
    merged, looser = policy.layer({k: frozen(v) for k, v in a["current"].items()}, made.baseline, settings)
    return [[[k, merged[k]] for k in sorted(merged)], looser]


def do_role(a):
    """Find a role and ask whether it may do an act."""
    grants = tuple([from_map(role.Grant, g) for g in a["grants"]])
    found = role.role_of(tuple(a["principals"]), grants, a["now"])
    try:
        role.require(found, a["act"])
    except PrivetError:
        return [found, "refused"]
    return [found, "may"]


def do_cbor(a):
    """Decode hex strictly and encode it back."""
    return binascii.hexlify(cbor.encode(cbor.decode(binascii.unhexlify(a["hex"])))).decode()


def do_journal(a):
    """Build a chain of entries, damage it as told, and verify it."""
    end, rows = journal.EMPTY, []
    for number in range(a["count"]):
        row = journal.extend(end, b"entry %d" % number)
        end = journal.Head(count=row.seq, digest=row.digest)
        rows.append(row)
    if a["damage"] == "change":
        rows[1] = journal.Row(seq=rows[1].seq, sealed=b"other", digest=rows[1].digest)
    elif a["damage"] == "cut":
        rows.pop()
    elif a["damage"] == "drop":
        rows.pop(1)
    gone = journal.NOTHING
    if a.get("gone"):
        cut = a["gone"]
        at = [journal.Entry(seq=n, boot=1, uptime=0, wall=100 + n, kind="x", body={}) for n in (1, cut)]
        gone, rows = journal.prune(gone, rows[cut - 1], at[0], at[1]), rows[cut:]
        if a["damage"] == "front":
            rows.pop(0)
        assert (gone.since, gone.until) == (101, 100 + cut)
    verdict = journal.verify(rows, end, gone)
    return [verdict.count, verdict.damage, verdict.seq, binascii.hexlify(end.digest).decode()]


def do_cose(a):
    """Lay out the bytes that are bound and sent."""
    stream = cose.Stream(fleet="f", device="d", purpose="p", boot=a["boot"], epoch=a["epoch"])
    parts = [cose.nonce(a["boot"], a["seq"]), cose.record_context(stream, a["seq"]), cose.epoch_header(a["epoch"])]
    parts.append(cose.ack_plain("d", "p", "r", a["boot"], a["seq"]))
    return [binascii.hexlify(part).decode() for part in parts]


def do_credential(a):
    """Take rotations and phases to their ends, make a secret, order candidates."""
    if "phases" in a:
        seen = [credential.next_phase("", tuple(a["phases"]))]
        while seen[-1] != credential.PROVISIONED:
            seen.append(credential.next_phase(seen[-1], tuple(a["phases"])))
        return seen
    if "entropy" in a:
        return credential.generate(binascii.unhexlify(a["entropy"])).reveal().decode()
    if "user" in a:
        return list(credential.candidates(a["user"], credential.read_pairs(a["list"])))
    state, stands = a["state"], a["stands"]
    acts = [credential.next_act(state, stands)]
    while acts[-1] != credential.DONE:
        state = credential.next_state(acts[-1])
        stands = credential.NEW if acts[-1] == credential.INSTALL else stands
        acts.append(credential.next_act(state, stands))
    return acts


def lazily(part, name):
    """Return a function of one part of the vectors; it is loaded when it is asked for, the heap is small."""

    def do(a):
        made = __import__("tests.portable." + part, None, None, (part,))
        return getattr(made, name)(a)

    return do


DO = {
    "order": do_order, "setting": do_setting, "assess": do_assess, "plan": do_plan, "waiver": do_waiver,
    "warn": do_warn, "minimise": do_minimise, "policy": do_policy, "consent": lazily("agreeing", "do_consent"),
    "told": lazily("agreeing", "do_told"),
    "consents": lazily("agreeing", "do_consents"), "deletion": lazily("agreeing", "do_deletion"), "role": do_role,
    "cbor": do_cbor, "journal": do_journal, "overdue": lazily("restoring", "do_overdue"), "cose": do_cose,
    "credential": do_credential, "trial": trials.do_trial, "health": trials.do_health, "frame": trials.do_frame,
    "recovery": trials.do_recovery, "enrol": trials.do_enrol, "egress": trials.do_egress,
    "contest": lazily("restoring", "do_contest"), "clock": lazily("restoring", "do_clock"),
    "longrun": lazily("restoring", "do_longrun"), "span": lazily("restoring", "do_span"),
    "vain": lazily("restoring", "do_vain"), "owed": lazily("restoring", "do_owed"),
    "notice": lazily("minimising", "do_notice"), "withheld": lazily("minimising", "do_withheld"),
    "cell": lazily("minimising", "do_cell"), "reduced": lazily("minimising", "do_reduced"),
    "pace": lazily("minimising", "do_pace"),
    "noise": lazily("minimising", "do_noise"),
    "window": do_window, "things": do_things, "original": do_original, "slot": do_slot,
    "voucher": lazily("vouching", "do_voucher"),
}  # fmt: skip


def plain(value):
    """Turn tuples into lists, so that JSON and both runtimes agree."""
    if type(value) in (list, tuple):
        return [plain(v) for v in value]
    if type(value) is dict:
        return [[k, plain(value[k])] for k in sorted(value)]
    if hasattr(value, "__slots__"):
        return plain(as_map(value))
    return value


def run(case):
    """Run one case."""
    try:
        return plain(DO[case["do"]](case["with"]))
    except PrivetError as error:
        return {"error": type(error).__name__}


def main(path):
    """Run every case of a file, one line a case so that a small heap holds it, and print what came of it."""
    shared = {}
    with open(path) as file:
        for line in file:
            text = line.strip().rstrip(",")
            if text in ("[", "]", ""):
                continue
            case = json.loads(text)
            if "shared" in case:
                shared = case["shared"]
                continue
            for key in case["with"]:
                if type(case["with"][key]) is str and case["with"][key][:1] == "@":
                    case["with"][key] = shared[case["with"][key][1:]]
            print(json.dumps([case["name"], run(case)]))


if __name__ == "__main__":
    main(sys.argv[1])
