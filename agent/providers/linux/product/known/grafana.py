"""Grafana: grafana.ini, and stronger than that the GF_* variables of its environment, where ours stand too.

`bind` loopback, network · `anonymous` no, yes · `sign_up` no, yes · `snapshots` here, outside (dashboards may be handed
to a public server, or be kept here for strangers) · `reports` off, on · `updates` (asking for new versions) off, on ·
`secret_key` own, factory (by which it hides passwords of data sources in its database; told, for whoever changes it
there makes all of them unreadable). Its first password is a credential (agent/credentials/grafana).
"""

from agent.core.record import Value
from agent.providers.linux.product import forms
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Process, asked, content, widest
from agent.system.door import System

INI = "/etc/grafana/grafana.ini"
FILES = ("/usr/sbin/grafana-server", "/usr/share/grafana/bin/grafana")
UNITS = ("grafana-server.service", "grafana.service")
PROGRAMS = ("grafana-server", "grafana")
SAFE: dict[str, Value] = {"bind": LOOPBACK, "anonymous": "no", "sign_up": "no", "snapshots": "here"}
SAFE |= {"reports": "off", "updates": "off", "secret_key": "own"}
GIVEN = {
    "bind": {"GF_SERVER_HTTP_ADDR": "127.0.0.1"},
    "anonymous": {"GF_AUTH_ANONYMOUS_ENABLED": "false"},
    "sign_up": {"GF_USERS_ALLOW_SIGN_UP": "false"},
    "snapshots": {"GF_SNAPSHOTS_EXTERNAL_ENABLED": "false", "GF_SNAPSHOTS_PUBLIC_MODE": "false"},
    "reports": {"GF_ANALYTICS_REPORTING_ENABLED": "false"},
    "updates": {
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    },
}
FACTORY = "SW2YcwTIb9zpOOhoPsMm"  # the same in every Grafana, as its own defaults.ini has it
# What holds where nobody says anything.
USUAL = {
    "server.http_addr": "", "auth.anonymous.enabled": "false", "users.allow_sign_up": "false",
    "snapshots.external_enabled": "true", "snapshots.public_mode": "false", "analytics.reporting_enabled": "true",
    "analytics.check_for_updates": "true", "analytics.check_for_plugin_updates": "true", "security.secret_key": FACTORY,
}  # fmt: skip


def paths(system: System) -> tuple[str, ...]:
    """Name its configuration."""
    return ("/etc/grafana", INI)


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what its files and its environment make of it."""
    said = {**USUAL, **forms.table(content(system, INI))}
    for key in USUAL:
        said[key] = environment.get("GF_" + key.upper().replace(".", "_"), said[key])
    elsewhere = [key for key in USUAL if said[key].startswith("$__") or "${" in said[key]]
    if what == "secret_key" and elsewhere == ["security.secret_key"]:
        return "own"  # in a file or a variable of somebody's
    if elsewhere:
        return None  # what another file, a program or a variable says
    if what == "bind":
        return LOOPBACK if forms.is_near(said["server.http_addr"]) else NETWORK
    if what == "anonymous":
        return "yes" if forms.is_on(said["auth.anonymous.enabled"]) else "no"
    if what == "sign_up":
        return "yes" if forms.is_on(said["users.allow_sign_up"]) else "no"
    if what == "snapshots":
        open_ones = [said["snapshots.external_enabled"], said["snapshots.public_mode"]]
        return "outside" if any(forms.is_on(one) for one in open_ones) else "here"
    if what == "secret_key":
        return "factory" if said["security.secret_key"] in {"", FACTORY} else "own"
    asks = ["analytics.check_for_updates", "analytics.check_for_plugin_updates"]
    keys = ["analytics.reporting_enabled"] if what == "reports" else asks
    return "on" if any(forms.is_on(said[key]) for key in keys) else "off"


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running Grafana does: who reaches it, and whether it talks to those who do not sign in."""
    if what == "bind":
        return widest(running)
    if what != "anonymous":
        return None
    answer = asked(system, running, "/api/org")
    return {200: "yes", 401: "no", 403: "no"}.get(answer[0]) if answer else None
