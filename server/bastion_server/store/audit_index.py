"""A search index over the audit log: SQLite, derived from the log, rebuilt whenever it does not fit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

_STEP = 2000  # records per transaction while catching up


class _Keys(msgspec.Struct):
    """The fields of a record one may search by."""

    kind: str
    who: str
    dataset: str = ""
    plan_hash: str = ""
    red: bool = False


_decoder = msgspec.msgpack.Decoder(_Keys)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    idx INTEGER PRIMARY KEY, kind TEXT NOT NULL, who TEXT NOT NULL, dataset TEXT NOT NULL, plan_hash TEXT NOT NULL,
    red INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS records_dataset ON records (dataset, idx);
CREATE INDEX IF NOT EXISTS records_who ON records (who, idx);
CREATE INDEX IF NOT EXISTS records_kind ON records (kind, idx);
CREATE INDEX IF NOT EXISTS records_plan ON records (plan_hash, idx);
CREATE INDEX IF NOT EXISTS records_red ON records (idx) WHERE red;
CREATE TABLE IF NOT EXISTS covered (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL)
STRICT;
"""


class AuditIndex:
    """Finds record numbers; the records themselves always come from the log. Any thread may use it."""

    def __init__(
        self,
        path: Path,
        payloads: Callable[[Sequence[int]], Iterable[tuple[int, bytes]]],
        root: Callable[[int], bytes],
    ) -> None:
        """Take where records and Merkle roots of the log are to be had. The file is opened on first use."""
        self._path, self._payloads, self._root = path, payloads, root
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._size = 0

    def find(
        self,
        size: int,
        *,
        dataset: str | None,
        datasets: Iterable[str] | None,
        who: str | None,
        kind: str | None,
        red: bool | None,
        plan_hash: str | None,
        limit: int,
        first: int = 0,
        kinds: Iterable[str] | None = None,
    ) -> list[int]:
        """Return the numbers of the last `limit` (-1: of all) matching records from `first` to below `size`, ascending."""
        wanted = {"dataset": dataset, "who": who, "kind": kind, "red": red, "plan_hash": plan_hash}
        conditions = [f"{name} = ?" for name, value in wanted.items() if value is not None]
        values: list[str | int] = [value for value in wanted.values() if value is not None]
        if datasets is not None:
            several = list(datasets)
            conditions.append(f"dataset IN ({', '.join('?' * len(several))})")
            values += several
        if kinds is not None:
            chosen = list(kinds)
            conditions.append(f"kind IN ({', '.join('?' * len(chosen))})")
            values += chosen
        conditions += ["idx >= ?", "idx < ?"]
        values += [first, size]
        query = f"SELECT idx FROM records WHERE {' AND '.join(conditions)} ORDER BY idx DESC LIMIT ?"  # noqa: S608 - only placeholders
        with self._lock:
            try:
                found = self._catch_up(size).execute(query, (*values, limit)).fetchall()
            except sqlite3.DatabaseError:
                self._discard()  # it holds nothing of its own
                found = self._catch_up(size).execute(query, (*values, limit)).fetchall()
        return [row[0] for row in reversed(found)]

    def close(self) -> None:
        """Close the file. May be called again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _catch_up(self, size: int) -> sqlite3.Connection:
        connection = self._connection or self._open()
        while self._size < size:
            end = min(size, self._size + _STEP)
            rows = []
            for index, payload in self._payloads(range(self._size, end)):
                keys = _decoder.decode(payload)
                rows.append((index, keys.kind, keys.who, keys.dataset, keys.plan_hash, keys.red))
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute("INSERT OR REPLACE INTO covered VALUES (1, ?, ?)", (end, self._root(end)))
            connection.execute("COMMIT")
            self._size = end
        return connection

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except (sqlite3.DatabaseError, ValueError):
            self._discard()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        """Open the file; a ValueError says that it is about another log."""
        self._path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_SCHEMA)
            covered = connection.execute("SELECT size, root FROM covered").fetchone()
            (rows,) = connection.execute("SELECT count(*) FROM records").fetchone()
            size = covered[0] if covered else 0
            if rows != size or (covered and self._root(size) != covered[1]):  # root() raises ValueError if it is longer
                msg = "the index does not fit the log"
                raise ValueError(msg)
        except BaseException:
            connection.close()
            raise
        self._connection, self._size = connection, size
        return connection

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
