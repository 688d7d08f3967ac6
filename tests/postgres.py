"""A throwaway PostgreSQL of the kind Debian ships: its own folder, a loopback port, a password no URI likes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2  # type: ignore[import-untyped]

from tests.processes import Processes, free_port

PASSWORD = "p@ss/w%rd:1"


class Postgres:
    """One database cluster; `start` and `stop` may alternate. Its data go with the folder."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        """Make the cluster in `folder`, which must be empty and reachable for everyone."""
        self.port = free_port()
        self._data, self._processes = folder / "data", processes
        self._initialise(folder)

    @property
    def uri(self) -> str:
        """Where the database `mlflow` is. It names the driver: SQLAlchemy would take one that is not installed."""
        return f"postgresql+psycopg2://mlflow:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/mlflow"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._data,
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._processes.spawn("postgres", [*_unprivileged(), _program("postgres"), "-D", self._data, *options])
        self._processes.wait("postgres", self._answers)

    def stop(self) -> None:
        """Stop the server; SIGINT is its fast shutdown, which does not wait for clients to leave."""
        self._processes.end("postgres", signal.SIGINT)

    def query(self, sql: str, database: str = "mlflow") -> list[tuple[Any, ...]]:
        """Run one statement outside any transaction and return its rows."""
        connection = self._connect(database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def _initialise(self, folder: Path) -> None:
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(password, "postgres", "postgres")
        flags = ["--username=mlflow", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-sync"]
        command: list[str | Path] = [*_unprivileged(), _program("initdb"), "-D", self._data, *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)
        assert done.returncode == 0, f"initdb failed:\n{done.stdout}{done.stderr}"

    def _connect(self, database: str) -> Any:
        where = {"host": "127.0.0.1", "port": self.port, "dbname": database, "connect_timeout": 2}
        return psycopg2.connect(user="mlflow", password=PASSWORD, **where)

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True


def _program(name: str) -> Path:
    """A program of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    assert found, "PostgreSQL is not installed; install it with: apt-get install postgresql"
    return found[-1]


def _unprivileged() -> list[str]:
    """What runs a command as the user that Debian's package made: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
