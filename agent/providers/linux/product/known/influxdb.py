"""InfluxDB 1 and 2: their files, and stronger than those the variables of their environment, where ours stand too.

`bind` loopback, network · `auth` asks, open · `tls` yes (for whoever is elsewhere), no · `reports` off, on.
One that asks and has no administrator yet tells nobody anything; but whoever reaches it first may become that.
"""

from agent.core.record import Value
from agent.providers.linux.product import forms
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Process, asked, content, there, widest
from agent.system.door import System

ONE, TWO = "/etc/influxdb/influxdb.conf", "/etc/influxdb/config.toml"
FILES = ("/usr/bin/influxd",)
UNITS = ("influxdb.service", "influxd.service")
PROGRAMS = ("influxd",)
SAFE: dict[str, Value] = {"bind": LOOPBACK, "auth": "asks", "tls": "yes", "reports": "off"}
GIVEN: dict[str, dict[str, str]] = {
    "bind": {},
    "tls": {},
    "auth": {"INFLUXDB_HTTP_AUTH_ENABLED": "true"},
    "reports": {
        "INFLUXDB_REPORTING_DISABLED": "true",
        "INFLUXDB_REPORTING_ENABLED": "false",
        "INFLUXD_REPORTING_DISABLED": "true",
    },
}
DOORS = ("graphite", "collectd", "opentsdb", "udp")  # further ones of InfluxDB 1, off unless enabled


def paths(system: System) -> tuple[str, ...]:
    """Name its configuration."""
    return ("/etc/influxdb", ONE, TWO, "/etc/default/influxdb", "/etc/default/influxdb2")


def is_two(system: System) -> bool:
    """Say whether it is InfluxDB 2: that one has a database of its own users."""
    return there(system, TWO) or there(system, "/var/lib/influxdb/influxd.bolt")


def addresses(system: System, environment: dict[str, str]) -> list[str]:
    """Return the addresses it will listen at, that for questions first."""
    if is_two(system):
        said = forms.table(content(system, TWO)).get("http-bind-address", ":8086")
        return [environment.get("INFLUXD_HTTP_BIND_ADDRESS", said)]
    said_all = forms.table(content(system, ONE))
    first = environment.get("INFLUXDB_HTTP_BIND_ADDRESS", said_all.get("http.bind-address", ":8086"))
    backup = environment.get("INFLUXDB_BIND_ADDRESS", said_all.get("bind-address", "127.0.0.1:8088"))
    doors = [door for door in DOORS if forms.is_on(said_all.get(f"{door}.enabled", "0"))]
    more = [environment.get(variable(door), said_all.get(f"{door}.bind-address", ":")) for door in doors]
    return [first, backup, *more]


def variable(door: str) -> str:
    """Return the variable that says where a further door is; of more than one of a kind it is the first."""
    return f"INFLUXDB_{door.upper()}_0_BIND_ADDRESS"


def encrypted(system: System, environment: dict[str, str]) -> bool:
    """Say whether questions and answers are encrypted."""
    if is_two(system):
        return bool(environment.get("INFLUXD_TLS_CERT", forms.table(content(system, TWO)).get("tls-cert", "")))
    said = forms.table(content(system, ONE)).get("http.https-enabled", "false")
    return forms.is_on(environment.get("INFLUXDB_HTTP_HTTPS_ENABLED", said))


def reporting(system: System, environment: dict[str, str]) -> bool:
    """Say whether it reports to its makers; Debian's says it the other way round, and does not unless told to."""
    if is_two(system):
        said = forms.table(content(system, TWO)).get("reporting-disabled", "false")
        return not forms.is_on(environment.get("INFLUXD_REPORTING_DISABLED", said))
    table = forms.table(content(system, ONE))
    if "reporting-enabled" in table:
        return forms.is_on(environment.get("INFLUXDB_REPORTING_ENABLED", table["reporting-enabled"]))
    return not forms.is_on(environment.get("INFLUXDB_REPORTING_DISABLED", table.get("reporting-disabled", "false")))


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what its files and its environment make of it."""
    if what == "reports":
        return "on" if reporting(system, environment) else "off"
    far = [one for one in addresses(system, environment) if not forms.is_near(one)]
    if what == "bind":
        return NETWORK if far else LOOPBACK
    if what == "tls":
        return "yes" if not far or (len(far) == 1 and encrypted(system, environment)) else "no"
    if is_two(system):
        return "asks"  # it has no way to be told otherwise
    said = forms.table(content(system, ONE)).get("http.auth-enabled", "false")
    return "asks" if forms.is_on(environment.get("INFLUXDB_HTTP_AUTH_ENABLED", said)) else "open"


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running InfluxDB does, asked what databases it has."""
    if what == "bind":
        return widest(running)
    if what == "reports":
        return None
    if what == "tls":
        return "yes" if widest(running) == LOOPBACK else "no" if asked(system, running, "/ping") else None
    answer = asked(system, running, "/query?q=SHOW+DATABASES")
    return {200: "open", 401: "asks", 403: "asks"}.get(answer[0]) if answer else None


def given(system: System, what: str, environment: dict[str, str]) -> dict[str, str]:
    """Return the variables that hold the strictest of a thing on this device: its doors keep their numbers."""
    if what not in ("bind", "tls"):
        return GIVEN[what]
    ports = [one.rpartition(":")[2] for one in addresses(system, environment)]
    if is_two(system):
        return {"INFLUXD_HTTP_BIND_ADDRESS": f"127.0.0.1:{ports[0]}"}
    said = forms.table(content(system, ONE))
    doors = [variable(door) for door in DOORS if forms.is_on(said.get(f"{door}.enabled", "0"))]
    names = ["INFLUXDB_HTTP_BIND_ADDRESS", "INFLUXDB_BIND_ADDRESS", *doors]
    return {name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
