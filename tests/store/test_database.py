"""Transactions, threads, migrations."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_server.store.database import Database
from bastion_server.store.schema import MIGRATIONS


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "catalogue.db")


def put(database: Database, nonce: bytes) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO statements VALUES ('s', ?, 0)", (nonce,))


def count(database: Database) -> int:
    row = database.row("SELECT count(*) FROM statements")
    assert row is not None
    return int(row[0])


def test_settings_that_durability_needs(database: Database) -> None:
    with database.transaction() as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "user_version": len(MIGRATIONS)}


def test_nested_transactions_are_one(database: Database) -> None:
    ran: list[str] = []

    def write_and_fail() -> None:
        with database.transaction():
            put(database, b"1")
            database.after_commit(lambda: ran.append("never"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert (count(database), ran) == (0, [])
    with database.transaction():
        put(database, b"1")
        database.after_commit(lambda: ran.append("after"))
        assert ran == []
        assert count(database) == 1
    assert (count(database), ran) == (1, ["after"])


def test_other_threads_see_only_what_was_committed(database: Database) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(count(database))

    with database.transaction():
        put(database, b"1")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    look()
    assert seen == [0, 1]


def test_many_threads_write(database: Database) -> None:
    def work(number: int) -> None:
        for i in range(10):
            put(database, f"{number}-{i}".encode())
            assert count(database) >= i

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == 80


def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(ServerError) as caught:
        database.rows("DELETE FROM statements")
    assert caught.value.code == "server.store.io"


def test_a_full_disk_is_named_and_changes_nothing(database: Database) -> None:
    with database.transaction() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    def fill() -> None:
        with database.transaction():
            for i in range(1000):
                put(database, bytes(500) + str(i).encode())

    with pytest.raises(ServerError) as caught:
        fill()
    assert caught.value.code == "server.store.full"
    assert count(database) == 0
    with database.transaction() as connection:
        connection.execute("PRAGMA max_page_count=1000000")
    put(database, b"works again")


def test_a_later_release_is_recognised(tmp_path: Path, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("PRAGMA user_version=999")
    database.close()
    with pytest.raises(ServerError) as caught:
        Database(tmp_path / "catalogue.db")
    assert caught.value.code == "server.store.newer"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at " * 100)
    with pytest.raises(ServerError) as caught:
        Database(path)
    assert caught.value.code == "server.store.damaged"


def test_a_closed_database_says_so(database: Database) -> None:
    put(database, b"1")
    database.close()
    database.close()
    for call in (lambda: put(database, b"2"), lambda: count(database)):
        with pytest.raises(ServerError) as caught:
            call()
        assert caught.value.code == "server.store.closed"


LEFT = {
    "a trigger": (
        "CREATE TRIGGER x AFTER INSERT ON statements BEGIN UPDATE statements SET seen = 9; END",
        "DROP TRIGGER x",
    ),
    "a trigger that calls itself the schema's": (
        "DROP TRIGGER ledger_stays; CREATE TRIGGER ledger_stays AFTER INSERT ON statements BEGIN UPDATE statements SET seen = 9; END",
        "DROP TRIGGER ledger_stays; CREATE TRIGGER ledger_stays BEFORE DELETE ON ledger"
        " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    ),
    "no trigger": (
        "DROP TRIGGER ledger_stays",
        "CREATE TRIGGER ledger_stays BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    ),
    "a view": ("CREATE VIEW x AS SELECT * FROM statements", "DROP VIEW x"),
}


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("number", ["as it became", "as it was"])
def test_what_somebody_left_in_the_schema_never_works_within_a_transaction(
    tmp_path: Path, database: Database, left: str, number: str
) -> None:
    """number: SQLite's own of the schema, by which a connection notices a change, and which may be written, too."""
    put(database, b"1")
    other = sqlite3.connect(tmp_path / "catalogue.db", isolation_level=None)

    def refused(work: Callable[[], object]) -> None:
        with pytest.raises(ServerError) as caught:
            work()
        assert caught.value.code == "server.catalogue.changed"

    (before,) = other.execute("PRAGMA schema_version").fetchone()
    other.executescript(LEFT[left][0])
    if number == "as it was":
        other.execute(f"PRAGMA schema_version={before}")
        put(database, b"2")  # what this connection knows of the schema is what it looked at
        other.execute(f"PRAGMA schema_version={before + 100}")
    refused(lambda: put(database, b"3"))
    other.execute(f"PRAGMA schema_version={before}")
    refused(lambda: put(database, b"4"))
    refused(lambda: Database(tmp_path / "catalogue.db"))
    assert count(database) == (2 if number == "as it was" else 1)
    assert database.row("SELECT max(seen) FROM statements")[0] == 0
    other.executescript(LEFT[left][1])
    other.close()
    put(database, b"5")
    database.close()
    database = Database(tmp_path / "catalogue.db")
    put(database, b"6")
    database.close()


def test_a_migration_that_fails_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalogue.db"
    database = Database(path)
    put(database, b"1")
    database.close()
    broken = (*MIGRATIONS, "CREATE TABLE more (a INTEGER) STRICT; CREATE TABLE more (a INTEGER) STRICT;")
    monkeypatch.setattr("bastion_server.store.database.MIGRATIONS", broken)
    with pytest.raises(ServerError):
        Database(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchone() == (0,)
    connection.close()
    monkeypatch.setattr(
        "bastion_server.store.database.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE more (a INTEGER) STRICT;")
    )
    database = Database(path)
    assert count(database) == 1
    database.close()
