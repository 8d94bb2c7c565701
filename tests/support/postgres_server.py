"""A real server of PostgreSQL, and tables on it that tests write to."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.binaries import installed
from kafka_broker import certificate
from server import Server, free_port

if TYPE_CHECKING:
    import psycopg

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
fsync = off
full_page_writes = off
autovacuum = off
shared_buffers = 16MB
max_connections = 40
max_prepared_transactions = 4
max_wal_senders = 0
wal_level = minimal
"""
_ACCESS = """
hostnossl all ann 127.0.0.1/32 reject
host all ann 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL")
"""PostgreSQL does not run as root. What ends with its parent forgets to when it becomes another's, unless told again."""


class PostgresServer:
    """``password``: of ``ann``, who is let in with it, by TLS; ``authority``: of the server's certificate, for ``localhost``."""

    password = "only-for-tests"

    def __init__(self, folder: Path, data: Path) -> None:
        self.port = free_port()
        self.authority = certificate(folder)
        self._data = data
        self._as_nobody = _NOBODY if os.geteuid() == 0 else ()
        key = (folder / "key.pem").read_text()
        for name, text in (
            ("postgresql.conf", _SETTINGS.format(port=self.port)),
            ("pg_hba.conf", _ACCESS),
            ("server.crt", self.authority),
            ("server.key", key),
        ):
            (folder / name).write_text(text)
        self._files = folder
        self.server = Server(
            [*self._as_nobody, _program("postgres"), "-D", data],
            folder / "postgres.log",
            self._answers,
        )

    def format(self) -> None:
        """Make the folder that it keeps its tables in."""
        # Whom libpq logs in if nobody says who.
        options = (f"--username={getuser()}", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        command = [*self._as_nobody, _program("initdb"), "-D", self._data, *options]
        subprocess.run(command, check=True, capture_output=True, cwd="/")
        for name in ("postgresql.conf", "pg_hba.conf", "server.crt", "server.key"):
            into = self._data / name
            shutil.copy(self._files / name, into)
            into.chmod(0o600)
            if self._as_nobody:
                shutil.chown(into, "nobody", "nogroup")

    def start(self) -> None:
        self.server.start()
        with self.connection() as connection:
            connection.execute(
                f"DO $$ BEGIN CREATE ROLE ann LOGIN PASSWORD '{self.password}'; "
                "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
            connection.execute("GRANT pg_read_all_data TO ann")

    def _answers(self) -> bool:
        """Its port is open before it answers: it recovers first."""
        import psycopg

        try:
            self.connection().close()
        except psycopg.OperationalError:
            return False
        return True

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It ends as by a crash, and is started again at the end of the block."""
        self.close()
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()

    @property
    def uri(self) -> str:
        """Of its database, as the specs of pipelines have it."""
        return f"postgresql://127.0.0.1:{self.port}/postgres"

    def connection(self, **more: Any) -> psycopg.Connection[Any]:
        """A connection of the superuser. Each statement is a transaction, unless ``autocommit`` is false."""
        import psycopg

        return psycopg.connect(self.uri, **{"autocommit": True, **more})

    @cached_property
    def _asking(self) -> psycopg.Connection[Any]:
        return self.connection()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query; none of a statement that has none."""
        cursor = self._asking.execute(query)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """End what asks."""
        if "_asking" in vars(self):
            self._asking.close()
            del self._asking

    def table(self, **more: str) -> PostgresTable:
        """A new table of events. ``more``: columns beside those that it has, with their types."""
        made = PostgresTable(self, f"events_{uuid.uuid4().hex[:8]}")
        made.create(**more)
        return made


class PostgresTable:
    """A table that a test writes to: ``id bigint`` is its key, ``seen timestamptz`` its watermark."""

    kind = "sql"

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server, self.name = server, name
        self._count = 0

    def create(self, **more: str) -> None:
        columns = "".join(f", {name} {kind}" for name, kind in more.items())
        self.server.ask(
            f"CREATE TABLE {self.name} (id bigint PRIMARY KEY, seen timestamptz, at timestamptz, level text, n bigint{columns})"
        )
        self.server.ask(f"CREATE INDEX ON {self.name} (seen)")

    def drop(self) -> None:
        self.server.ask(f"DROP TABLE IF EXISTS {self.name}")

    def insert(self, *numbers: int, level: str = "info") -> str:
        """What inserts rows with these numbers as keys, each with a watermark a second after the one before."""
        values = []
        for n in numbers:
            self._count += 1
            seen = moment(self._count)
            values.append(f"({n}, '{seen}', '{moment(n % 60)}', '{level}', {n})")
        return f"INSERT INTO {self.name} (id, seen, at, level, n) VALUES {', '.join(values)}"

    def append(self, *numbers: int, level: str = "info") -> None:
        """Rows, committed together."""
        self.server.ask(self.insert(*numbers, level=level))

    def source(self, **more: Any) -> dict[str, Any]:
        """``spec.source`` of a pipeline that reads it."""
        place = {} if "query" in more else {"table": self.name}
        own = {"uri": self.server.uri, "watermark": "seen", "key": "id", "settle": "0s"}
        return {"sql": {**own, **place, **more}}


def moment(second: int) -> str:
    """A time so many seconds after the start of tests of sources."""
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).isoformat()


def _program(name: str) -> Path:
    """Debian keeps them where they are not on the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return folders[-1] if folders else installed(name)


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """A server, until the end of the block. ``folder``: for its log.

    Raises:
        MissingError: PostgreSQL is not installed.
    """
    # Others may not look into the folders of tests, and it runs as another.
    data = Path(tempfile.mkdtemp(prefix="featurestore-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(data, "nobody", "nogroup")
        started = PostgresServer(folder, data)
        started.format()
        started.start()
        try:
            yield started
        finally:
            started.close()
            started.server.kill()
    finally:
        shutil.rmtree(data, ignore_errors=True)
