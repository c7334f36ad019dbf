"""The cases of the shared vectors about trials, small records, fights with other writers, enrolment, and what left."""

import binascii

from agent.core import egress, enrol, frame, health, recovery, setting, trial
from agent.core.clock import Clock
from agent.core.record import from_map, frozen, replace


def ways_of(rows):
    """Make ways from [name, reach, state, flow] rows."""
    return tuple([trial.Way(name=n, reach=r, state=s, flow=f, cause="") for n, r, s, f in rows])


def do_trial(a):
    """Say what a setting closes and what a trial of it comes to; or which flow passes; or what a record holds."""
    if "flow" in a:
        return trial.reachable(frozen(a["flows"]), a["flow"])
    if "uptime" in a:
        made = trial.Trial(
            setting="s", title="t", wanted=("a",), former=7, agreed=trial.NEW, state=trial.ARMED, start="x", since=0,
            deadline=600, tries=0, before=ways_of([["console", "here", "tried", ""]]), left=(),
            originals=(trial.FormerPath(path="/etc/a", kind="file", content=b"a", mode=420, uid=0, gid=0),),
        )  # fmt: skip
        kept = trial.pack(made)
        if "damage" in a:
            kept = kept[: a["damage"]] + b"?" + kept[a["damage"] + 1 :]
        return [trial.unpack(kept) == made, trial.remaining(trial.unpack(kept), a["start"], a["uptime"])]
    made = setting.read_setting(a["setting"])
    before = ways_of(a["before"])
    closes = trial.closing(made, frozen(a["wanted"]), before)
    return [trial.access(made), closes, trial.judge(before, ways_of(a["after"]), closes, a["agreed"])]


def do_health(a):
    """Say what each of so many starts in a row that never get well begins with."""
    return [health.stage(count, a["known"]) for count in range(a["starts"])]


def do_frame(a):
    """Frame a record, damage it as told, and read it."""
    kept = frame.framed(a["mark"], {"count": 3})
    if "damage" in a:
        kept = kept[: a["damage"]] + b"?" + kept[a["damage"] + 1 :]
    return [binascii.hexlify(kept).decode(), frame.unframed(a.get("read", a["mark"]), kept[: a.get("cut", len(kept))])]


def do_recovery(a):
    """Say whether what somebody wrote is the code, and what is kept of it."""
    kept = recovery.digest(b"salt", a["code"].encode())
    return [recovery.matches(b"salt", kept, binascii.unhexlify(a["written"])), binascii.hexlify(kept).decode()]


def clock(row):
    """Make a clock from [wall, boot, uptime]."""
    return Clock(wall=row[0], boot=row[1], uptime=row[2])


def do_enrol(a):
    """Say the next act of an enrolment, a wait, or what time may be believed."""
    if "slot" in a:
        return enrol.next_act(from_map(enrol.Standing, a))
    if "outcome" in a:
        return enrol.delay(a["outcome"], a["tries"], a["drawn"])
    if "clock" in a:
        wall, boot, uptime = a["clock"]
        return enrol.believed(Clock(wall=wall, boot=boot, uptime=uptime), a["floor"], a["told"])
    if "time" in a:
        return enrol.admitted(a["time"], a["floor"], a["begins"], a["ends"])
    if "valid" in a:
        return enrol.valid(a["begins"], a["ends"], a["valid"])
    return enrol.renew_at(a["begins"], a["ends"])


def do_egress(a):
    """Count a span and judge it: sent, explained, excess, whether the count is blind, whether the span is over."""
    count = replace(egress.begin(0, 0, a["begin"][0], a["begin"][1]), **a.get("add", {}))
    for seen, resent in a["looks"]:
        count = egress.look(count, seen, resent)
    at = a["uptime"]
    known = egress.explained(count, at)
    return [count.sent, known, egress.excess(count, at), egress.blind(count), egress.over(count, at)]
