"""Pi-hole: it sees the name of every place on the internet that everybody at home visits.

`access` closed (its pages ask for a password, or answer this device alone), open · `privacy` 3 (keeps nothing of a
question) to 0 (who asked for what, when) · `log` off, on (a file with every question) · `listening` LOCAL (answers the
own network), SINGLE, BIND, ALL.

Of Pi-hole 6 its pihole.toml, which it reads again whenever it changes, and the FTLCONF_* variables that win over it,
where ours stand. Of Pi-hole 5, which gets no updates any more, the files are judged and nothing is changed.
"""

from agent.core.errors import Failed
from agent.core.order import ANY
from agent.core.record import Value
from agent.providers.linux.product import forms
from agent.providers.linux.product.look import Process, asked, content, there
from agent.system.door import System

SIX, FIVE, FTL = "/etc/pihole/pihole.toml", "/etc/pihole/setupVars.conf", "/etc/pihole/pihole-FTL.conf"
FILES = (SIX, FIVE)
UNITS = ("pihole-FTL.service",)
PROGRAMS = ("pihole-FTL",)
SAFE: dict[str, Value] = {"access": "closed", "privacy": "3", "log": "off", "listening": "LOCAL"}
GIVEN = {
    "access": {"FTLCONF_webserver_acl": "+127.0.0.1,+[::1]"},
    "privacy": {"FTLCONF_misc_privacylevel": "3"},
    "log": {"FTLCONF_dns_queryLogging": "false"},
    "listening": {"FTLCONF_dns_listeningMode": "LOCAL"},
}
VALUED = {"privacy": "FTLCONF_misc_privacylevel", "listening": "FTLCONF_dns_listeningMode"}
NEAR = ("+127.0.0.1", "+[::1]", "+127.0.0.0/8")
USUAL = {"misc.privacylevel": "0", "dns.queryLogging": "true", "dns.listeningMode": "LOCAL", "webserver.acl": ""}


def paths(system: System) -> tuple[str, ...]:
    """Name its configuration."""
    return (SIX, FIVE, FTL)


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what its files and its environment make of it."""
    if not there(system, SIX):
        return five(system, what)
    table = {**USUAL, **forms.table(content(system, SIX))}
    said = {key: environment.get("FTLCONF_" + key.replace(".", "_"), value) for key, value in table.items()}
    if what == "access":
        locked = said.get("webserver.api.pwhash") or environment.get("FTLCONF_webserver_api_password")
        return "closed" if locked or is_near(said["webserver.acl"]) else "open"
    if what == "log":
        return "on" if forms.is_on(said["dns.queryLogging"]) else "off"
    word = said["misc.privacylevel"] if what == "privacy" else said["dns.listeningMode"].upper()
    return word if word in ("0", "1", "2", "3", "LOCAL", "SINGLE", "BIND", "ALL") else ANY


def is_near(rule: str) -> bool:
    """Say whether a rule of its pages lets in this device alone: all that it names is, and it names something."""
    return bool(rule) and all(word.strip() in NEAR for word in rule.split(","))


def five(system: System, what: str) -> Value | None:
    """Say what the files of Pi-hole 5 make of it."""
    said = forms.table(content(system, FIVE))
    if what == "access":
        return "closed" if said.get("WEBPASSWORD") else "open"
    if what == "privacy":
        level = forms.table(content(system, FTL)).get("PRIVACYLEVEL", "0")
        return level if level in ("0", "1", "2", "3") else ANY
    if what == "log":
        return "on" if forms.is_on(said.get("QUERY_LOGGING", "true")) else "off"
    return {"local": "LOCAL", "single": "SINGLE", "bind": "BIND", "all": "ALL"}.get(
        said.get("DNSMASQ_LISTENING", "local"), ANY
    )


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running Pi-hole does: its pages are asked; its file it reads again by itself."""
    if not there(system, SIX):
        return None
    if what != "access":
        return kept(system, what, running[0].environment)
    if is_near(running[0].environment.get("FTLCONF_webserver_acl", "")):
        return "closed"
    answer = asked(system, running, "/api/auth")
    return {200: "open", 401: "closed", 403: "closed"}.get(answer[0]) if answer else None


def given(system: System, what: str, environment: dict[str, str]) -> dict[str, str]:
    """Return the variables that hold the strictest of a thing; Pi-hole 5 takes none."""
    if not there(system, SIX):
        raise Failed("this Pi-hole is older than 6 and cannot be held private; update it with pihole -up")
    return GIVEN[what]
