"""A real PostgreSQL of Debian for the tests: as an unprivileged user, on a Unix socket alone, gone at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

USER = "postgres"  # the package makes it; postgres refuses to run as root


class Postgres:
    """One server in a directory of its own; `fresh` empties its database and returns the URL.

    Unless it is to be `durable`, it says yes before it has written, which is quicker.
    """

    def __init__(self, durable: bool = False) -> None:
        self._hasty = () if durable else ("-F",)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        assert found, "postgresql is missing: make test-fleet installs it"
        self._programs = found[-1].parent
        self._folder = Path(tempfile.mkdtemp(prefix="privet-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._user = USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self._folder, USER, USER)

    def __enter__(self) -> Self:
        at = self._folder / "data"
        self._ran("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--pgdata", str(at))
        argv = ["-D", str(at), "-c", "listen_addresses=", "-c", f"unix_socket_directories={self._folder}", *self._hasty]
        self._process = subprocess.Popen(
            self._as_user("postgres", *argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder
        )
        end = time.monotonic() + 60
        ready = self._as_user("pg_isready", "--host", str(self._folder))
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            assert time.monotonic() < end and self._process.poll() is None, "postgres did not start"
            time.sleep(0.05)
        self._ran("createdb", "--host", str(self._folder), "fleet")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing of it is wanted any more
            self._process.wait(30)
        shutil.rmtree(self._folder)

    def fresh(self) -> str:
        """Empty the database; return its URL."""
        self._told("fleet", "drop schema public cascade", "create schema public")
        return f"postgresql://{self._user}@/fleet?host={self._folder}"

    def crash(self) -> None:
        """End every session at once, as a restart of the server does."""
        self._told("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'fleet'")

    def told(self, *lines: str) -> None:
        """Run lines of SQL in its database."""
        self._told("fleet", *lines)

    def _told(self, database: str, *lines: str) -> None:
        words = [word for line in lines for word in ("--command", line)]
        self._ran("psql", "--host", str(self._folder), "--dbname", database, "--no-psqlrc", "--quiet", *words)

    def _ran(self, program: str, *argv: str) -> None:
        whole = self._as_user(program, *argv)
        done = subprocess.run(whole, capture_output=True, text=True, cwd=self._folder, check=False)
        assert done.returncode == 0, done.stderr

    def _as_user(self, program: str, *argv: str) -> list[str]:
        own = [str(self._programs / program), *argv]
        if os.geteuid() != 0:
            return own
        entry = pwd.getpwnam(USER)
        ids = ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]
        return ["setpriv", *ids, "--no-new-privs", "--pdeathsig", "KILL", "--", *own]
