"""Transactions, threads, migrations."""

from __future__ import annotations

import sqlite3
import threading
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
