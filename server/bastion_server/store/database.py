"""The SQLite file behind all repositories: connections, transactions, migrations.

One connection writes, under a lock; every thread reads through a connection of its own, so that nobody waits for
another's fsync. WAL with synchronous=FULL: what a transaction acknowledged survives the loss of power.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bastion_plan.errors import ServerError

from bastion_server.store.keyring import changed
from bastion_server.store.schema import MIGRATIONS

_SETTINGS = (
    "busy_timeout=10000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "secure_delete=ON",
)


class Database:
    """Transactions over one SQLite file. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, bring its schema up to date.

        Raises:
            ServerError: server.store.newer (made by a later release), server.store.damaged, server.catalogue.changed (somebody else's
                tables, triggers or views are in it).
        """
        self._path = path
        self._cookie: int | None = None  # SQLite's number of the schema that was looked at
        self._lock = threading.RLock()
        self._depth = 0
        self._holder = 0  # the thread inside a transaction
        self._after: list[Callable[[], None]] = []
        self._within: dict[str, Any] = {}
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._opening = threading.Lock()  # of readers; not the writers' lock, or a first read would wait for a commit
        self._closed = False
        path.touch(mode=0o600, exist_ok=True)
        with _translated():
            self._writer = self._connect()
            try:
                self._migrate()
                with self.transaction():
                    pass  # looks at the schema
            except BaseException:
                self._writer.close()  # rolls back
                raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write atomically and durably. Inside another transaction of the same thread it is part of that one.

        Raises:
            ServerError: server.store.full, server.store.io, server.store.damaged, server.catalogue.changed; then nothing was changed.
        """
        with self._lock, _translated():
            if self._depth:
                self._depth += 1
                try:
                    yield self._writer
                finally:
                    self._depth -= 1
                return
            self._writer.execute("BEGIN IMMEDIATE")
            self._depth, self._holder, self._after = 1, threading.get_ident(), []
            self._within = {}
            try:
                self._look()
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._depth = self._holder = 0
                self._within = {}
            for action in self._after:
                action()

    def after_commit(self, action: Callable[[], None]) -> None:
        """Within a transaction: run `action` once it is durable, not at all if it fails."""
        self._after.append(action)

    def within(self) -> dict[str, Any]:
        """Return what this thread's transaction knows and nobody else yet; empty, and nobody's, outside one."""
        return self._within if self._holder == threading.get_ident() else {}

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep others from writing: what was committed and what `after_commit` did belong together here."""
        with self._lock:
            yield

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read. Inside this thread's transaction its own changes are seen, elsewhere only what was committed."""
        with _translated():
            return self._reader().execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Read the first row, or None."""
        with _translated():
            found: sqlite3.Row | None = self._reader().execute(statement, values).fetchone()
            return found

    def close(self) -> None:
        """Close all connections. May be called again."""
        with self._lock, self._opening:
            if not self._closed:
                self._closed = True
                for connection in (*self._readers, self._writer):
                    connection.close()

    def _reader(self) -> sqlite3.Connection:
        if self._holder == threading.get_ident():
            return self._writer
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._opening:
                if self._closed:
                    msg = "The store is closed."
                    raise ServerError(msg, code="server.store.closed")
                connection = self._connect()
                connection.execute("PRAGMA query_only=ON")
                self._readers.append(connection)
            self._local.connection = connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        try:
            for setting in _SETTINGS:
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _look(self) -> None:
        """Refuse a catalogue in which anything is that the migrations did not make, or not as they made it.

        INVARIANT: whoever writes to the disk could leave a trigger, which writes within the server's own transactions: what is read
        back there would be noted as what was decided. While the lock is held nobody changes the schema.
        """
        (cookie,) = self._writer.execute("PRAGMA schema_version").fetchone()
        if cookie == self._cookie:  # it is as this connection has it in memory
            return
        # what this connection reads of it from here on stays in its memory: it is looked at again until it is right
        self._cookie = None
        self._writer.execute("PRAGMA writable_schema=RESET")  # forgets what was in memory
        if _schema(self._writer) != _made(MIGRATIONS):
            raise changed()
        self._cookie = cookie

    def _migrate(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            msg = "The store was made by a later release of the server."
            raise ServerError(msg, code="server.store.newer", next_step="Start the later release.")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            # one script, one transaction: a crash leaves the version before or the version after
            self._writer.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")


def _schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Return all there is in a catalogue but rows, whatever the order and the spaces."""
    found = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
    return sorted((*row[:3], " ".join(row[3].split())) for row in map(tuple, found))


@cache
def _made(migrations: tuple[str, ...]) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in migrations:
            connection.executescript(script)
        return _schema(connection)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into the product's; constraint violations stay, their meaning is the repository's to tell."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name == "SQLITE_FULL":
            code, reason = "server.store.full", "The disk is full."
        elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            code, reason = "server.store.damaged", "The catalogue's file is damaged."
        elif isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
            code, reason = "server.store.closed", "It is shutting down."
        else:
            code, reason = "server.store.io", "The disk could not be read or written."
        msg = "The server's store could not do its work."
        raise ServerError(msg, code=code, reason=reason) from error
