"""Files cut off at every byte of their tail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_server.store import AuditLog, Record, Store, load_or_create, verify
from store_facts import PRIVATE, facts, seal


def record(number: int) -> Record:
    return Record(1000.0, "note", "server", f"record {number}", details={"size": "x" * number * 7})


def test_the_audit_log_cut_at_every_byte(tmp_path: Path) -> None:
    """A record that is not whole was never acknowledged: it goes, with a note; all before it stay."""
    keys = load_or_create(tmp_path)
    log = AuditLog(tmp_path, keys, 1000.0)
    for i in range(5):
        log.append_blocking(record(i))
    offsets = [*log._offsets, log._end]
    log.close()
    data = log.path.read_bytes()
    for length in range(len(data) + 1):
        directory = tmp_path / "cut"
        directory.mkdir()
        path = directory / "audit.log"
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in offsets[1:])
        boundary = length in offsets or length == 0
        assert (verify(path, keys.verify_key) == ()) == (length in offsets)
        opened = AuditLog(directory, keys, 2000.0)
        try:
            assert [opened.record(i).summary for i in range(whole)] == [f"record {i}" for i in range(whole)]
            assert len(opened) == whole + (not boundary)
            if not boundary:
                note = opened.record(whole)
                assert (note.kind_of, note.red) == ("note", True)
                assert "cut off" in note.summary or "incomplete" in note.summary
            assert opened.append_blocking(record(9)) == len(opened) - 1
        finally:
            opened.close(3000.0)
        assert verify(path, keys.verify_key) == ()
        shutil.rmtree(directory)


def test_blocks_never_written_are_a_torn_end_and_other_bytes_are_not(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path)
    log = AuditLog(tmp_path, keys, 1000.0)
    log.append_blocking(record(0))
    log.close()
    data = log.path.read_bytes()
    for zeros in (1, 7, 8, 9, 4096, 3_000_000):
        log.path.write_bytes(data + bytes(zeros))
        again = AuditLog(tmp_path, keys, 2000.0)
        assert again.record(1).red
        assert len(again) == 2
        again.close()
        (tmp_path / "audit.checkpoints").unlink()
    for rest in (bytes(9) + b"x", bytes(4096) + b"\1", b"\xff" * 8, b"\0\0\0\1" + bytes(60)):
        log.path.write_bytes(data + rest)
        with pytest.raises(ServerError) as caught:
            AuditLog(tmp_path, keys, 2000.0)
        assert caught.value.code == "server.audit.damaged"
        assert log.path.read_bytes() == data + rest


def test_a_cut_below_a_signed_head_is_not_taken_for_a_crash(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path)
    log = AuditLog(tmp_path, keys, 1000.0)
    for i in range(4):
        log.append_blocking(record(i))
    log.close(1001.0)
    data = log.path.read_bytes()
    for length in range(len(data)):
        log.path.write_bytes(data[:length])
        with pytest.raises(ServerError) as caught:
            AuditLog(tmp_path, keys, 2000.0)
        assert caught.value.code in ("server.audit.rollback", "server.audit.damaged")
        assert log.path.read_bytes() == data[:length]


def test_the_checkpoints_file_cut_at_every_byte(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path)
    for i in range(3):
        log = AuditLog(tmp_path, keys, 1000.0)
        log.append_blocking(record(i))
        log.close(1001.0)
    path = tmp_path / "audit.checkpoints"
    data = path.read_bytes()
    assert data.count(b"\n") == 3
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        AuditLog(tmp_path, keys, 2000.0).close()
        assert verify(log.path, keys.verify_key) == ()
        assert path.read_bytes().count(b"\n") >= 1, "what it witnesses is made good at once"


def test_the_write_ahead_log_cut_at_every_page(tmp_path: Path) -> None:
    """SQLite's own promise, held to: a prefix of the transactions is there, never half of one."""
    store = Store.open(tmp_path / "store", 1000.0)
    catalogue = store.directory / "catalogue.db"
    for i in range(6):
        with store.transaction():
            store.datasets.add(facts(f"d-{i}", f"n{i}"), PRIVATE, sealed=seal(store.sealed, b"x"), now=1000.0 + i)
            store.statements.use("olga", bytes([i]) * 16, 1000.0)
    copies = {name: (store.directory / name).read_bytes() for name in ("catalogue.db", "catalogue.db-wal")}
    store.close()
    wal = copies["catalogue.db-wal"]
    seen = set()
    for length in sorted({*range(0, len(wal), 4099), len(wal) - 1, len(wal)}):
        for name in ("catalogue.db-wal", "catalogue.db-shm"):
            (store.directory / name).unlink(missing_ok=True)
        catalogue.write_bytes(copies["catalogue.db"])
        (store.directory / "catalogue.db-wal").write_bytes(wal[:length])
        again = Store.open(store.directory, 2000.0)
        live = again.datasets.list()
        count = len(live)
        assert [r.facts.id for r in live] == [f"d-{i}" for i in range(count)]
        used = again.database.row("SELECT count(*) FROM statements")
        assert used is not None
        assert used[0] == count
        seen.add(count)
        again.close()
    assert 6 in seen
    assert len(seen) > 3
