"""How answers look to a person: short lines, plain words, colour only on a terminal."""

from typing import Any

import click

from agent.core.shown import many
from agent.system.moments import local, moment

MARKS = {
    "ok": ("private", "green"),
    "loosened": ("LOOSENED", "red"),
    "waived": ("allowed", "yellow"),
    "unknown": ("NOT KNOWN", "red"),
    "absent": ("not here", "bright_black"),
}
SECRETS = {
    "linux_account": "the new password of the account {of}",
    "access_point": "the new passphrase of the Wi-Fi network that this device offers ({of})",
    "mosquitto": "the new password of the MQTT user {of}",
    "node_red": "the new password in Node-RED ({of})",
    "grafana": "the new password in Grafana ({of})",
    "samba": "the new password of {of} for shared folders",
    "vnc": "the new password for seeing the screen from elsewhere ({of})",
    "recovery": "the way back in if you ever lose every other; keep it apart from the device",
}
MOMENTS, SPANS = ("asked", "at", "since", "until"), ("left", "seconds", "uptime")  # in entries of the journal
YEAR_2001 = 10**9  # what counts seconds from a start stays below
WAITING = {"answer": ("checking", "yellow"), "restart": ("restart", "yellow")}


def span(seconds: int) -> str:
    """Write a time span: 7260 is "2 h 1 min"."""
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    said = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(said[:2]) or "0 s"


def secret(label: str) -> str:
    """Say what a new secret is for."""
    kind, _, of = label.partition("/")
    return SECRETS.get(kind, "the new password of {of}").format(of=of)


def entry(body: Any) -> str:
    """Write what an entry of the journal holds; what has several lines stands below it."""
    if not isinstance(body, dict):
        return ""
    said = []
    for key in sorted(body):
        value = body[key]
        if key in MOMENTS and isinstance(value, int) and value > YEAR_2001:
            value = moment(value)
        elif key in SPANS and isinstance(value, int):
            value = span(value)
        if value != "":
            said.append(f"{key}={value}")
    return local(", ".join(said)).replace("\n", "\n" + " " * 26)


def finding_line(row: dict[str, Any]) -> str:
    """Write one setting as one line."""
    waits = str(row.get("waits_for", ""))
    word, colour = WAITING.get(waits) or MARKS.get(str(row["status"]), (str(row["status"]), "white"))
    name = f"{row['setting']:<24}"
    found = "" if row["status"] in ("ok", "absent") else f"  (now {row['found']}, should be {row['wanted']})"
    if waits == "answer":
        found = f"  ({row['cause']})"
    return f"  {click.style(f'{word:<10}', fg=colour)} {name} {row['title']}{found}"


def status(answer: dict[str, Any], *, every: bool = False) -> None:
    """Show how the device stands; what is about things it does not have only if `every` one is wanted."""
    rows = [r for r in answer["findings"] if r["status"] != "absent"]
    rest = [r for r in answer["findings"] if r["status"] == "absent"]
    off = [r for r in rows if r["status"] in ("loosened", "unknown")]
    if answer.get("shut_in"):
        click.secho("Nothing can reach this device from outside: its first start could not be finished.", fg="red")
        click.echo("  The warning below says why. Put that right, then start the device again.\n")
    verdict(rows, off)
    awaited(off)
    click.echo(f"Last full look {span(int(answer['age']))} ago.")
    click.echo(covered(answer["coverage"]) + "\n" if "coverage" in answer else "")
    trial(answer)
    for row in sorted(rows, key=lambda r: (r["status"] == "ok", r["status"], r["setting"])):
        click.echo(finding_line(row))
    for row in sorted(rest, key=lambda r: str(r["setting"])) if every else ():
        click.echo(finding_line(row))
    for waiver in answer["waivers"]:
        left = span(int(waiver["remaining"]))
        where = f" for {waiver['context']}" if waiver["context"] else ""
        click.echo(f"\n{waiver['setting']} may be {waiver['ceiling']}{where} for another {left}.")
        click.echo(f"  allowed by {waiver['by']}: {waiver['reason']}")
        click.echo(f"  end it now: privet tighten {waiver['setting']}")
    recent = [w for w in answer["warnings"] if w["open"]]
    recent += sorted((w for w in answer["warnings"] if not w["open"]), key=lambda w: -int(w["last"]))[:3]
    if recent:
        click.echo("\nWarnings:")
    for warning in recent:
        often = f"  ({warning['count']} times)" if warning["count"] > 1 else ""
        click.echo(
            f"  {moment(int(warning['since']))}  " + local(str(warning["text"])).replace("\n", "\n      ") + often
        )
    linked(answer)


def verdict(rows: list[dict[str, Any]], off: list[dict[str, Any]]) -> None:
    """Say in one line how the device stands; nothing where all that is off settles by itself, or by a restart."""
    bad = [r for r in off if not r.get("waits_for")]
    waived = [r for r in rows if r["status"] == "waived"]
    if bad:
        need = "needs" if len(bad) == 1 else "need"
        click.secho(f"{len(bad)} of {many(len(rows), 'setting')} {need} your attention.", fg="red", bold=True)
    elif waived and not off:
        apart = many(len(waived), "setting")
        click.secho(f"Private, except for {apart} you allowed for a while.", fg="yellow", bold=True)
    elif not off:
        click.secho(f"Private: all {len(rows)} settings are as they should be.", fg="green", bold=True)


def deletion(row: dict[str, Any]) -> str:
    """Say when a recipient was asked to delete, and whether it has confirmed."""
    said = f"asked to delete on {moment(int(row['asked']))}, "
    if not row["confirmed"]:
        return said + ("not confirmed yet; it is asked again" if row["sent"] else "waiting for a connection")
    newer = f", and it keeps {many(row['kept'], 'newer one')}" if row["kept"] else ""
    return f"{said}confirmed on {moment(int(row['confirmed']))}: {many(row['deleted'], 'record')} deleted{newer}"


def linked(answer: dict[str, Any]) -> None:
    """Say what did not leave, who owes a deletion, how the link is, what keeps this device from a certificate."""
    rows = answer.get("withheld", {}).get("rows", ())
    if rows:
        click.echo(f"\nReadings that did not leave as they were measured: {sum(row['count'] for row in rows)}.")
        click.echo("  of which field and why: privet notice")
    for row in answer.get("deletions", ()):
        whose = "an owner before you" if row.get("former") else "you"
        click.echo(f"\n{row['name']} has data of {row['purpose']} that {whose} took back: {deletion(row)}.")
    link, why = answer["link"], answer.get("enrolment", {}).get("why")
    click.echo(f"\nLink: {link['state']}" + (f" ({link['cause']})" if link["cause"] else ""))
    if why:
        click.echo(f"Certificate: {why}")
    left = answer.get("egress") or {}
    if left.get("state") == "unexplained" or (left.get("state") == "unknown" and link["state"] == "connected"):
        click.secho(f"What left: {reconciled(left)}", fg="yellow")


def reconciled(left: dict[str, Any]) -> str:
    """Say how what the kernel counted of the courier compares with what explains it."""
    if "sent" not in left:
        return f"it cannot be told whether all of it can be explained ({left['why']})"
    numbers = f"since {moment(int(left['since']))} the kernel counted {left['sent']} bytes, "
    numbers += f"at most {left['explained']} can be explained (margin {left['margin']})"
    days, slow = left.get("slow") or (0, 0)
    if days and not left["excess"]:
        return f"in {days} days {slow} bytes more than can be explained, no day by itself too much; {numbers}"
    if left["state"] == "unexplained":
        return f"more than can be explained; {numbers}"
    if left["state"] == "unknown":
        return f"it cannot be told whether all of it can be explained ({left['why']}); {numbers}"
    return f"all of it can be explained; {numbers}" + (f"; begun then because {left['why']}" if left["why"] else "")


def awaited(off: list[dict[str, Any]]) -> None:
    """Say what settles by itself, or by a restart."""
    late = len([r for r in off if r.get("waits_for") == "restart"])
    soon = len([r for r in off if r.get("waits_for") == "answer"])
    if late:
        said = f"Private from the next start on: {many(late, 'setting')}. Please restart (sudo reboot)."
        click.secho(said, fg="yellow")
    if soon:
        click.secho(f"Still being checked: {many(soon, 'setting')}; no fault was found so far.", fg="yellow")


def covered(count: dict[str, int]) -> str:
    """Say how much was looked at, and how much of that could not be read."""
    unread = f"{count['unknown']} of them could not be read" if count["unknown"] else "all of them were read"
    said = f"Looked at {count['here']} settings in {count['places']} places (now, and after a restart); {unread}."
    apart = "1 more is" if count["absent"] == 1 else f"{count['absent']} more are"
    more = f" {apart} about what is not on this device (privet status --all)."
    return said + (more if count["absent"] else "")


def trial(answer: dict[str, Any]) -> None:
    """Show the change that is on trial, with the time that is left."""
    row = answer.get("trial")
    if row:
        click.secho(f"On trial for another {span(int(row['remaining']))}: {row['title']}", fg="yellow", bold=True)
        click.echo("  To keep it, sign in anew (by SSH, or at the device) and run: sudo privet confirm")
        click.echo("  Otherwise it is set back to what it was before.\n")


def explained(answer: dict[str, Any]) -> None:
    """Show what one setting is about."""
    click.secho(f"{answer['title']}  ({answer['setting']})", bold=True)
    finding = answer.get("finding")
    if finding:
        word, colour = MARKS[finding["status"]]
        click.echo("Now: " + click.style(word, fg=colour) + f", {finding['found']}; wanted: {finding['wanted']}")
        if finding["cause"]:
            click.echo(f"Seen: {finding['cause']}")
    for context, found in (answer.get("contexts") or {}).items():
        click.echo(f'For {context}: {found}; to allow it there alone, add --context "{context}"')
    if answer["reason"]:
        click.echo(f"The profile asks for this because: {answer['reason']}")
    click.echo("\nOptions, most private first:")
    for option in answer["options"]:
        click.echo(f"  {option['value']:<18} {option['risk'] or 'the private default'}")
    click.echo(f"\nAnything else: {answer['risk']}")
    click.echo(f"Evidence for: {', '.join(answer['satisfies'])}")
    click.echo(f'To loosen for a while: privet loosen {answer["setting"]} VALUE --for 2h --reason "…"')


def risk(answer: dict[str, Any], value: str, seconds: int, context: str = "") -> None:
    """Show the risk of a loosening before anything happens."""
    click.secho(f"\n{answer['title']}", bold=True)
    where = f" for {context} alone" if context else ""
    click.echo(f"You are about to change it{where} from {answer['wanted']} to {value}, for {span(seconds)}.")
    click.secho(f"\n  {answer['risk_of_value']}\n", fg="yellow")
    click.echo("It is set back by itself at the end, also after a restart. You will be warned while it lasts.")


def withheld(answer: dict[str, Any], fields: list[str]) -> None:
    """Show how many readings of these fields did not leave as they were measured, and why."""
    counts = answer.get("withheld", {})
    for row in counts.get("rows", ()):
        if row["field"] in fields:
            name = f" of {row['field']}" if row["field"] else ""
            click.echo(f"Since {moment(counts['since'])}: {row['count']} reading(s){name} {row['said']}.")
