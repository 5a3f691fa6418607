"""ENOSPC and EIO at every single call that changes the disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from bastion_plan.errors import BastionError, ServerError
from bastion_server.store import AuditLog, KeyRing, Record, SealedFiles, Store, load_or_create, verify
from faulty_files import FaultyFiles
from store_facts import seal

CODES = [errno.ENOSPC, errno.EIO]


def record(number: int) -> Record:
    return Record(1000.0, "note", "server", f"record {number}")


def outcome(future: Future[int]) -> str:
    try:
        future.result(10)
    except ServerError as error:
        return error.code
    return "written"


def append_all(log: AuditLog, count: int) -> list[str]:
    """Append one by one; return the outcome of each."""
    found = []
    for i in range(count):
        try:
            found.append(outcome(log.append_nowait(record(i))))
        except ServerError as error:
            found.append(error.code)
    return found


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("failures", [1, 1 << 30])
def test_a_failed_audit_write_poisons_the_log(tmp_path: Path, code: int, torn: bool, failures: int) -> None:
    keys = load_or_create(tmp_path)
    counting = FaultyFiles()
    log = AuditLog(tmp_path, keys, 1000.0, files=counting)
    opening = len(counting.calls)
    append_all(log, 4)
    log.close()
    total = len(counting.calls)
    assert total - opening == 8, "a write and a sync for each"
    for fail_at in range(opening, total):
        directory = tmp_path / f"at{fail_at}"
        directory.mkdir()
        disk = FaultyFiles(fail_at, code, torn=torn, failures=failures)
        log = AuditLog(directory, keys, 1000.0, files=disk)
        done = (fail_at - opening) // 2
        assert append_all(log, 4) == ["written"] * done + ["server.audit.failed"] * (4 - done)
        assert not log.healthy
        assert len(log) == done
        assert len(disk.calls) == fail_at + 1, "nothing was tried again"
        assert [log.record(i).summary for i in range(done)] == [f"record {i}" for i in range(done)]
        log.close(2000.0)
        again = AuditLog(directory, keys, 3000.0)
        assert [again.record(i).summary for i in range(done)] == [f"record {i}" for i in range(done)]
        assert outcome(again.append_nowait(record(9))) == "written"
        again.close(3000.0)
        assert verify(again.path, keys.verify_key) == ()


def test_all_who_wait_for_a_failed_batch_hear_of_it(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path)
    disk = FaultyFiles()
    log = AuditLog(tmp_path, keys, 1000.0, files=disk)
    disk.fail_at = len(disk.calls)
    futures = []
    for i in range(50):
        try:
            futures.append(log.append_nowait(record(i)))
        except ServerError as error:
            assert error.code == "server.audit.failed"  # noqa: PT017 - either way is right
    assert futures
    assert {outcome(f) for f in futures} == {"server.audit.failed"}
    log.close()


@pytest.mark.parametrize("code", CODES)
def test_a_failed_checkpoint_poisons_the_log(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastion_server.store.audit.CHECKPOINT_EVERY", 3)
    keys = load_or_create(tmp_path)
    disk = FaultyFiles(code=code)
    log = AuditLog(tmp_path, keys, 1000.0, files=disk)
    disk.fail_at = len(disk.calls) + 6  # after three records: the checkpoint's own write
    assert append_all(log, 3) == ["written"] * 3
    log._thread.join(10)
    assert append_all(log, 2) == ["server.audit.failed"] * 2
    log.close()
    again = AuditLog(tmp_path, keys, 2000.0)
    assert len(again) == 3
    again.close()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("torn", [False, True])
def test_a_failed_seal_leaves_nothing(tmp_path: Path, code: int, torn: bool) -> None:
    keys = load_or_create(tmp_path)
    data = bytes(range(256)) * 9000  # three chunks
    counting = FaultyFiles()
    kept = seal(SealedFiles(tmp_path / "sealed", KeyRing(keys), files=counting), data)
    assert set(counting.calls) == {"write", "fsync", "replace"}
    for fail_at in range(len(counting.calls)):
        failing = SealedFiles(tmp_path / "sealed", KeyRing(keys), files=FaultyFiles(fail_at, code, torn=torn))
        with pytest.raises(ServerError) as caught:
            seal(failing, data)
        assert caught.value.code == "server.sealed.write"
        assert failing.names() == {kept.name}
        assert len(list(failing.directory.iterdir())) == 1
        fd = failing.load_into_memfd(kept)
        assert os.fstat(fd).st_size == len(data)
        os.close(fd)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("torn", [False, True])
def test_a_failed_start_can_be_repeated(tmp_path: Path, code: int, torn: bool) -> None:
    """A new store, and one to be repaired after a crash, with each call of the start failing in turn."""
    crashed = tmp_path / "crashed"
    store = Store.open(crashed, 1000.0)
    store.audit.append_blocking(record(0))
    store.sealed.writer().write(b"unfinished")
    store.close(1001.0)
    with (crashed / "audit.log").open("ab") as file:
        file.write(b"\0\0")
    codes = set()
    for origin in (None, crashed):
        fail_at = 0
        while True:
            directory = tmp_path / f"{'new' if origin is None else 'old'}{fail_at}"
            if origin is not None:
                copy_tree(origin, directory)
            disk = FaultyFiles(fail_at, code, torn=torn)
            try:
                Store.open(directory, 2000.0, files=disk).close()
            except BastionError as error:
                codes.add(error.code)
            else:
                if not disk.failed:
                    break
            store = Store.open(directory, 3000.0)
            assert store.audit.append_blocking(record(1)) >= 0
            assert seal(store.sealed, b"x").size == 1
            assert len(list(store.sealed.directory.iterdir())) == 1
            store.close(4000.0)
            assert verify(directory / "audit.log", store.keys.verify_key) == ()
            fail_at += 1
        assert fail_at > 5
    assert codes == {"server.store.io", "server.audit.failed"}


def copy_tree(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            copy.chmod(path.stat().st_mode)


FULL_DISK = """
import resource, signal, sys
from bastion_plan.errors import ServerError
from bastion_server.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(sys.argv[1], 1000.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
done = 0
codes = set()
for i in range(400):
    try:
        store.statements.use("olga", i.to_bytes(16, "big"), 1000.0)
        done += 1
    except ServerError as error:
        codes.add(error.code)
assert codes and codes <= {"server.store.full", "server.store.io"}, codes
assert len(store.database.rows("SELECT * FROM statements")) == done, "what failed is not there, what succeeded is"
print(done, flush=True)
import os
os._exit(0)  # no clean shutdown
"""


def test_the_catalogue_on_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """The kernel itself refuses SQLite's writes (RLIMIT_FSIZE)."""
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    store = Store.open(tmp_path, 2000.0)
    assert len(store.database.rows("SELECT * FROM statements")) == int(run.stdout) > 10
    store.statements.use("olga", b"m" * 16, 2000.0)
    store.close()
