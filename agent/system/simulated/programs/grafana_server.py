"""Grafana 12 in small: users in a real SQLite database of its columns, its hashes, its doors, its words of refusal.

Of its settings it knows `http_addr`, `http_port`, `admin_password` and anonymous access, from grafana.ini and from GF_*
variables, which win. Five refusals of one user shut the door to that user. It takes no reload: it is started again.
"""

import base64
import hashlib
import json
import re
import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT = "grafana-server.service"
PROGRAM, INI, DATABASE = "/usr/sbin/grafana-server", "/etc/grafana/grafana.ini", "/var/lib/grafana/grafana.db"
LIMIT = 5
TABLES = """
CREATE TABLE "user" (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, version INTEGER NOT NULL, login TEXT NOT NULL,
 email TEXT NOT NULL, name TEXT NULL, password TEXT NULL, salt TEXT NULL, rands TEXT NULL, company TEXT NULL,
 org_id INTEGER NOT NULL, is_admin INTEGER NOT NULL, email_verified INTEGER NULL, theme TEXT NULL,
 created DATETIME NOT NULL, updated DATETIME NOT NULL, help_flags1 INTEGER NOT NULL DEFAULT 0,
 last_seen_at DATETIME NULL,
 is_disabled INTEGER NOT NULL DEFAULT 0, is_service_account BOOLEAN DEFAULT 0, uid TEXT NULL);
CREATE UNIQUE INDEX UQE_user_login ON "user" (login);
CREATE TABLE user_auth_token (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, user_id INTEGER NOT NULL,
 auth_token TEXT NOT NULL, prev_auth_token TEXT NOT NULL, user_agent TEXT NOT NULL, client_ip TEXT NOT NULL,
 auth_token_seen INTEGER NOT NULL, seen_at INTEGER NULL, rotated_at INTEGER NOT NULL, created_at INTEGER NOT NULL,
 updated_at INTEGER NOT NULL, revoked_at INTEGER NULL);
"""
ADD = """INSERT INTO "user" (version, login, email, password, salt, rands, org_id, is_admin, created, updated)
 VALUES (0, ?, ?, ?, ?, 'x', 1, ?, '2026-01-01', '2026-01-01')"""


class Server:
    """What a running Grafana loaded, and whom it refused how often."""

    def __init__(self, ini: dict[str, str], environment: dict[str, str]) -> None:
        self.ini = ini
        self.environment = environment
        self.refused: dict[str, int] = {}

    def said(self, section: str, key: str, usual: str = "") -> str:
        """Return a setting."""
        variable = f"GF_{section}_{key}".upper().replace(".", "_").replace("-", "_")
        return self.environment.get(variable, self.ini.get(f"{section}.{key}", usual))


def hashed(password: str, salt: str, rounds: int) -> str:
    """Hash a password."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), rounds, 50).hex()


def cost(device: "SimulatedSystem") -> int:
    """Return the rounds of its hashes: 10000, less where a test says so to be done sooner."""
    return int(products.text(device, "/usr/share/grafana/rounds") or 10_000)


def born(people: dict[str, str], rounds: int) -> bytes:
    """Make a database with these users and passwords."""
    with closing(sqlite3.connect(":memory:")) as held:
        held.executescript(TABLES)
        for name, password in people.items():
            salt = f"salt{name}"[:10]
            held.execute(ADD, (name, f"{name}@localhost", hashed(password, salt, rounds), salt, name == "admin"))
        held.execute("INSERT INTO user_auth_token VALUES (1, 1, 'a', 'a', '', '', 1, 1, 1, 1, 1, NULL)")
        held.commit()
        return held.serialize()


def lay(device: "SimulatedSystem") -> None:
    """Lay down what its package brings, and an owner who made it open."""
    device.edit(PROGRAM, b"\x7fELF", mode=0o755)
    device.edit("/etc/default/grafana-server", b"CONF_DIR=/etc/grafana\n")
    ini = "[server]\n;http_addr =\n[auth.anonymous]\nenabled = true\n[users]\nallow_sign_up = true\n"
    device.edit(INI, ini.encode(), mode=0o640)
    products.lay_unit(device, UNIT, f"EnvironmentFile=/etc/default/grafana-server\nExecStart={PROGRAM}")


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is installed; without a database it makes one with its first user."""
    if not products.text(device, PROGRAM):
        return
    section, ini = "", {}
    for line in products.text(device, INI).split("\n"):
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and line[0] not in ";#":
            key, _, value = line.partition("=")
            ini[f"{section}.{key.strip()}"] = value.strip()
    server = Server(ini, products.environment(device, UNIT))
    doors = [(server.said("server", "http_addr", "0.0.0.0"), int(server.said("server", "http_port", "3000")))]  # noqa: S104
    if not products.there(device, DATABASE):
        word = server.said("security", "admin_password", "admin")
        file = re.fullmatch(r"\$__file\{(.+)\}", word)
        people = {"admin": products.text(device, file[1]).strip() if file else word}
        device.edit(DATABASE, born(people, cost(device)), mode=0o640, synced=True)
    products.started(device, (PROGRAM,), server, UNIT, doors, uid=108, pidfile="/run/grafana-server.pid")


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return (int(process.state.said("server", "http_port", "3000")),) if isinstance(process.state, Server) else ()


def signed_in(device: "SimulatedSystem", server: Server, name: str, password: str) -> bool:
    """Say whether a password opens the door to a user now."""
    if server.refused.get(name, 0) >= LIMIT:
        return False
    with closing(sqlite3.connect(":memory:")) as held:
        held.deserialize(device.read(DATABASE))
        row = held.execute('SELECT password, salt FROM "user" WHERE login = ?', (name,)).fetchone()
    fine = row is not None and hashed(password, row[1], cost(device)) == row[0]
    server.refused[name] = 0 if fine else server.refused.get(name, 0) + 1
    return fine


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Answer one request."""
    heard = yield b""
    head, _, body = heard.partition(b"\r\n\r\n")
    words = head.decode().split(" ")
    if isinstance(process.state, Server):
        given = json.loads(body or b"{}")
        named = re.search(r"Authorization: Basic (\S+)", head.decode())
        user, _, password = base64.b64decode(named[1]).decode().partition(":") if named else ("", "", "")
        yield products.http(judged(device, process.state, f"{words[0]} {words[1]}", (user, password), given))


def judged(device: "SimulatedSystem", server: Server, asked: str, who: tuple[str, str], given: dict[str, str]) -> int:
    """Do what is asked and return the status."""
    if asked == "POST /login":
        return 200 if signed_in(device, server, given.get("user", ""), given.get("password", "")) else 401
    if asked == "GET /api/org" and server.said("auth.anonymous", "enabled", "false") == "true":
        return 200
    if not signed_in(device, server, *who):
        return 401
    changing = asked == "PUT /api/user/password"
    if not changing and not asked.endswith("/logout"):
        return 404
    if changing and given["oldPassword"] != who[1]:
        return 401
    with closing(sqlite3.connect(":memory:")) as held:
        held.deserialize(device.read(DATABASE))
        if changing:
            made = hashed(given["newPassword"], "another", cost(device))
            held.execute('UPDATE "user" SET password = ?, salt = ? WHERE login = ?', (made, "another", who[0]))
        else:
            held.execute("DELETE FROM user_auth_token")
        held.commit()
        blob = held.serialize()
    try:
        device.edit(DATABASE, blob, synced=True)
    except PrivetError:
        return 500
    return 200
