"""A Grafana that never ran: which password its first user would get, and giving it another one."""

from typing import TYPE_CHECKING

from agent.core.secret import Secret
from agent.credentials import content, present, text
from agent.credentials.grafana.table import KIND
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

PROGRAMS = ("/usr/sbin/grafana-server", "/usr/share/grafana/bin/grafana", "/usr/share/grafana/bin/grafana-server")
INI = "/etc/grafana/grafana.ini"
FIRST, FIRST_FILE = "admin before the first start", "/etc/grafana/privet-first-password"


def installed(system: System) -> bool:
    """Say whether Grafana is on this device."""
    return any(present(system, path) for path in PROGRAMS)


def first_password(system: System) -> tuple[str, str]:
    """Return name and password that Grafana's first user would get."""
    given, section = {"admin_user": "admin", "admin_password": "admin"}, ""
    for raw in content(system, INI).decode("utf-8", "surrogateescape").split("\n"):
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == "[security]" and line[:1] not in ("#", ";", "") and "=" in line:
            key, _, value = line.partition("=")
            given[key.strip()] = value.strip().strip('"')
    return given["admin_user"], given["admin_password"]


def parts(params: "Params") -> tuple[str, str]:
    """Return our drop-in for Grafana's first start, and the file of variables it names."""
    unit = text(KIND, params, "unit", "grafana-server")
    base = f"/etc/systemd/system/{unit}.service.d/zz-privet-first-password"
    return f"{base}.conf", f"{base}.env"


def given_first(system: System, params: "Params", new: Secret) -> None:
    """Give the first user a password before Grafana makes it: Grafana reads it from a file of its own group."""
    rows = [line.split(b":") for line in content(system, "/etc/group").split(b"\n")]
    group = next((int(row[2]) for row in rows if len(row) > 2 and row[0] == b"grafana"), 0)
    part, file = parts(params)
    system.write(FIRST_FILE, new.reveal(), 0o640, 0, group)
    system.write(file, f'GF_SECURITY_ADMIN_PASSWORD="$__file{{{FIRST_FILE}}}"\n'.encode(), 0o644)
    told = "# Written by Privet: Grafana's first user gets a password that is on no list.\n"
    system.write(part, f"{told}[Service]\nEnvironmentFile={file}\n".encode(), 0o644)
