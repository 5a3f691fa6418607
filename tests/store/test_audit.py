"""The audit log: order, proofs, search, and that no change of a byte goes unnoticed."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bastion_plan.errors import ServerError
from bastion_server.store import AuditLog, Record, ServerKeys, load_or_create, verify
from bastion_server.store.audit import CHECKPOINT_EVERY
from bastion_server.store.checkpoints import parse, verify_checkpoint
from bastion_server.store.merkle import leaf_hash, verify_consistency, verify_inclusion
from bastion_wire.messages import Checkpoint
from faulty_files import FaultyFiles
from msgspec.structs import replace


@pytest.fixture
def keys(tmp_path: Path) -> ServerKeys:
    return load_or_create(tmp_path)


@pytest.fixture
def log(tmp_path: Path, keys: ServerKeys) -> Iterator[AuditLog]:
    opened = AuditLog(tmp_path, keys, 1000.0)
    yield opened
    opened.close()


def record(number: int, **changes: Any) -> Record:
    return replace(Record(1000.0 + number, "note", "server", f"record {number}"), **changes)


def fill(log: AuditLog, count: int) -> None:
    for future in [log.append_nowait(record(i)) for i in range(count)]:
        future.result()


def damage(directory: Path, keys: ServerKeys) -> str:
    """Return the code with which a log refuses to open, or an empty string."""
    try:
        AuditLog(directory, keys, 2000.0).close()
    except ServerError as error:
        return error.code
    return ""


def test_records_come_back_in_order(log: AuditLog) -> None:
    full = Record(1.5, "outcome", "alice", "ünïcode", "d-1", "h", True, {"units": 20, "nested": [1, None, "x"]})
    assert [log.append_blocking(r) for r in (record(0), full, record(2))] == [0, 1, 2]
    found = log.record(1)
    assert (found.index, found.time, found.kind_of, found.who, found.summary) == (1, 1.5, "outcome", "alice", "ünïcode")
    assert (found.dataset, found.plan_hash, found.red, found.details) == ("d-1", "h", True, full.details)
    with pytest.raises(IndexError):
        log.record(3)


def test_reopening_continues_the_chain(tmp_path: Path, keys: ServerKeys, log: AuditLog) -> None:
    fill(log, 5)
    before = log.checkpoint(1.0)
    log.close(2000.0)
    again = AuditLog(tmp_path, keys, 3000.0)
    assert len(again) == 5
    assert again.append_blocking(record(5)) == 5
    after = again.checkpoint(2.0)
    assert verify_consistency(5, 6, before.root, after.root, again.consistency_proof(5, 6))
    again.close(3000.0)
    assert verify(again.path, keys.verify_key, witnessed=[before, after]) == ()
    assert again.path.stat().st_mode & 0o777 == 0o600


def test_many_waiters_share_a_sync(tmp_path: Path, keys: ServerKeys) -> None:
    disk = FaultyFiles()
    log = AuditLog(tmp_path, keys, 1000.0, files=disk)
    before = len(disk.calls)

    async def client(number: int) -> list[int]:
        return [await log.append(record(i, who=str(number))) for i in range(20)]

    async def all_clients() -> list[list[int]]:
        return await asyncio.gather(*(client(n) for n in range(16)))

    indexes = asyncio.run(all_clients())
    syncs = disk.calls[before:].count("fdatasync")
    assert sorted(i for each in indexes for i in each) == list(range(320))
    assert all(each == sorted(each) for each in indexes)
    assert syncs <= 160, "16 at a time: far fewer syncs than records"
    assert [log.record(i).who for i in indexes[3]] == ["3"] * 20
    log.close()


def test_an_index_is_given_out_only_after_the_sync(tmp_path: Path, keys: ServerKeys) -> None:
    release, reached = threading.Event(), threading.Event()

    class Slow(FaultyFiles):
        def fdatasync(self, descriptor: int) -> None:
            reached.set()
            assert release.wait(10)
            super().fdatasync(descriptor)

    log = AuditLog(tmp_path, keys, 1000.0, files=Slow())
    future = log.append_nowait(record(0))
    assert reached.wait(10)
    assert (log.path.stat().st_size > 32, future.done(), len(log), log.checkpoint(1.0).size) == (True, False, 0, 0)
    release.set()
    assert future.result(10) == 0
    log.close()


def test_who_stops_waiting_stops_nobody_else(log: AuditLog) -> None:
    async def run() -> int:
        task = asyncio.ensure_future(log.append(record(0)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await log.append(record(1))

    assert asyncio.run(run()) == 1
    assert log.record(0).summary == "record 0"


def test_what_is_not_a_record_is_refused(log: AuditLog) -> None:
    for bad in (
        record(0, kind="gossip"),
        record(0, details={"x": object()}),
        record(0, details={"x": "y" * (1 << 20)}),
    ):
        with pytest.raises(ServerError) as caught:
            log.append_nowait(bad)
        assert caught.value.code == "server.audit.record"
    assert log.append_blocking(record(0)) == 0
    log.close()
    log.close()
    with pytest.raises(ServerError) as caught:
        log.append_nowait(record(1))
    assert caught.value.code == "server.audit.closed"


def test_closing_writes_what_is_pending(tmp_path: Path, keys: ServerKeys) -> None:
    log = AuditLog(tmp_path, keys, 1000.0)
    futures = [log.append_nowait(record(i)) for i in range(100)]
    log.close(2000.0)
    assert [f.result(0) for f in futures] == list(range(100))
    assert verify(log.path, keys.verify_key) == ()


def test_proofs(log: AuditLog) -> None:
    fill(log, 20)
    head = log.checkpoint(1.0)
    for index in (0, 7, 19):
        payload = log._payload(index)
        assert verify_inclusion(index, 20, leaf_hash(payload), log.inclusion_proof(index), head.root)


def test_checkpoints_are_signed_over_all_of_them(log: AuditLog, keys: ServerKeys, tmp_path: Path) -> None:
    fill(log, 3)
    head = log.checkpoint(1234.5)
    assert (head.size, head.time) == (3, 1234.5)
    assert verify_checkpoint(head, keys.verify_key)
    other = load_or_create(_made(tmp_path / "other"))
    assert not verify_checkpoint(head, other.verify_key)
    for change in (
        {"size": 2},
        {"root": leaf_hash(b"")},
        {"time": 1234.6},
        {"signature": bytes(64)},
        {"signature": b""},
    ):
        assert not verify_checkpoint(replace(head, **change), keys.verify_key)


def test_checkpoints_are_kept_beside_the_log(tmp_path: Path, keys: ServerKeys) -> None:
    log = AuditLog(tmp_path, keys, 1000.0)
    for i in range(CHECKPOINT_EVERY + 10):
        log.append_blocking(record(i))
    log.close(2000.0)
    kept = list(parse((tmp_path / "audit.checkpoints").read_bytes()))
    assert [c.size for c in kept] == [CHECKPOINT_EVERY, CHECKPOINT_EVERY + 10]
    assert kept[0].time == 1000.0 + CHECKPOINT_EVERY - 1
    assert verify(log.path, keys.verify_key) == ()


def test_search(log: AuditLog) -> None:
    rng = random.Random(4)
    records = [
        record(
            i,
            kind=rng.choice(["intent", "outcome", "note"]),
            who=rng.choice("ab"),
            dataset=rng.choice(["", "d-1", "d-2", "d-3"]),
            plan_hash=rng.choice(["", "h1", "h2"]),
            red=rng.random() < 0.1,
        )
        for i in range(300)
    ]
    for part in (records[:100], records[100:]):  # the index catches up
        for future in [log.append_nowait(r) for r in part]:
            future.result()
        log.show()
    criteria: list[dict[str, Any]] = [
        {}, {"dataset": "d-1"}, {"who": "a"}, {"kind": "intent"}, {"red": True}, {"red": False}, {"plan_hash": "h1"},
        {"dataset": "d-2", "who": "b", "kind": "outcome"}, {"dataset": ""}, {"dataset": "none"},
    ]  # fmt: skip
    for limit in (5, 1000):
        for wanted in criteria:
            expected = [i for i, r in enumerate(records) if all(getattr(r, k) == v for k, v in wanted.items())]
            assert [r.index for r in log.show(limit=limit, **wanted)] == expected[-limit:], wanted
        both = [i for i, r in enumerate(records) if r.dataset in ("d-1", "d-3")]
        assert [r.index for r in log.show(limit=limit, datasets=["d-1", "d-3"])] == both[-limit:]
        assert log.show(datasets=[]) == []


@pytest.mark.parametrize("harm", ["remove", "garbage", "rows", "root", "ahead", "truncate"])
def test_the_index_is_rebuilt_when_it_does_not_fit(tmp_path: Path, keys: ServerKeys, log: AuditLog, harm: str) -> None:
    fill(log, 50)
    assert len(log.show(limit=99)) == 50
    log.close()
    index = tmp_path / "audit.index"
    if harm == "remove":
        index.unlink()
    elif harm == "garbage":
        index.write_bytes(b"garbage" * 1000)
    elif harm == "truncate":
        os.truncate(index, index.stat().st_size // 2)
    else:
        with sqlite3.connect(index) as connection:
            connection.execute(
                {
                    "rows": "DELETE FROM records WHERE idx = 7",
                    "root": "UPDATE covered SET root = x'00'",
                    "ahead": "UPDATE covered SET size = 60",
                }[harm]
            )
        connection.close()
    again = AuditLog(tmp_path, keys, 2000.0)
    assert [r.index for r in again.show(limit=99)] == list(range(50))
    again.close()


def test_every_changed_byte_is_noticed(tmp_path: Path, keys: ServerKeys, log: AuditLog) -> None:
    """Outside the last frame's own end a change never looks like a crash, so nothing is ever cut off by it."""
    fill(log, 3)
    log.close(2000.0)
    good = log.path.read_bytes()
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 0x10
        log.path.write_bytes(changed)
        assert verify(log.path, keys.verify_key) != (), position
        assert damage(tmp_path, keys) in ("server.audit.damaged", "server.audit.rewritten"), position
        assert log.path.read_bytes() == changed, "evidence stays as it is"


def test_removed_swapped_and_added_records_are_noticed(tmp_path: Path, keys: ServerKeys, log: AuditLog) -> None:
    fill(log, 6)
    offsets = [*log._offsets, log._end]
    log.close(2000.0)
    good = log.path.read_bytes()
    pieces = [good[a:b] for a, b in pairwise(offsets)]
    head = good[: offsets[0]]
    for order in ([0, 1, 2, 4, 5], [1, 0, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 5], [1, 2, 3, 4, 5]):
        log.path.write_bytes(head + b"".join(pieces[i] for i in order))
        assert verify(log.path, keys.verify_key) != ()
        assert damage(tmp_path, keys) == "server.audit.damaged"
    for length in range(6):  # whole records missing at the end: the chain holds, the witness does not
        log.path.write_bytes(head + b"".join(pieces[:length]))
        assert verify(log.path, keys.verify_key) != ()
        assert damage(tmp_path, keys) == "server.audit.rollback"
    log.path.unlink()
    assert verify(log.path, keys.verify_key) == ("the log cannot be read",)
    assert damage(tmp_path, keys) == "server.audit.rollback"


def test_a_log_written_anew_is_noticed(tmp_path: Path, keys: ServerKeys, log: AuditLog) -> None:
    fill(log, 4)
    seen_by_client = log.checkpoint(1.0)
    log.close(2000.0)
    forged = AuditLog(_made(tmp_path / "forged"), keys, 1000.0)
    for i in range(4):
        forged.append_blocking(record(i, who="somebody else"))
    forged.close()
    log.path.write_bytes(forged.path.read_bytes())
    assert damage(tmp_path, keys) == "server.audit.rewritten"
    (tmp_path / "audit.checkpoints").unlink()
    assert verify(log.path, keys.verify_key) == ()
    (problem,) = verify(log.path, keys.verify_key, witnessed=[seen_by_client])
    assert problem == "the first 4 records are not those the checkpoint was signed over"


def test_checkpoints_of_others_are_noticed(tmp_path: Path, keys: ServerKeys, log: AuditLog) -> None:
    fill(log, 2)
    log.close(2000.0)
    path = tmp_path / "audit.checkpoints"
    good = path.read_bytes()
    path.write_bytes(good + good[:20])  # a line cut off by a crash
    assert verify(log.path, keys.verify_key) == ()
    assert damage(tmp_path, keys) == ""
    assert path.read_bytes() == good
    path.write_bytes(b"nonsense\n" + good)
    assert damage(tmp_path, keys) == "server.audit.checkpoints"
    assert verify(log.path, keys.verify_key) == ("Line 1 of the checkpoints file is damaged.",)
    path.write_bytes(good.replace(b'"size":2', b'"size":1'))
    assert damage(tmp_path, keys) == "server.audit.rewritten"
    assert len(verify(log.path, keys.verify_key)) == 1


def test_a_record_changed_while_the_server_runs_is_not_shown(log: AuditLog) -> None:
    fill(log, 3)
    with log.path.open("r+b") as file:
        file.seek(log._offsets[1] + 20)
        file.write(b"\xff")
    assert log.record(0).summary == "record 0"
    with pytest.raises(ServerError) as caught:
        log.record(1)
    assert caught.value.code == "server.audit.damaged"


def test_verifying_a_log_that_is_being_written(log: AuditLog, keys: ServerKeys) -> None:
    fill(log, 10)
    futures: list[Future[int]] = []
    for i in range(200):
        futures.append(log.append_nowait(record(i)))
        if i % 20 == 0:
            assert verify(log.path, keys.verify_key, size=len(log)) == ()
    for future in futures:
        future.result()


def test_threads_append_without_losing_order(log: AuditLog) -> None:
    given: dict[int, list[int]] = {}

    def work(number: int) -> None:
        given[number] = [log.append_blocking(record(i, who=str(number))) for i in range(50)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(i for each in given.values() for i in each) == list(range(400))
    for number, indexes in given.items():
        assert [(log.record(i).who, log.record(i).summary) for i in indexes] == [
            (str(number), f"record {i}") for i in range(50)
        ]


def test_the_signed_text_is_fixed() -> None:
    head = Checkpoint(3, bytes(range(32)), 1.5, b"")
    assert head.signed_text == (
        b"bastionlab.checkpoint.1\n3\n000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
        b"0x1.8000000000000p+0\n"
    )


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_many_records_are_read_together(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [log.append_nowait(record(i, summary="x" * (i % 700))) for i in range(3000)][-1].result()
    wanted = [i for i in range(numbers + 1) if i % 3]
    reads = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: reads.append(args) or pread(*args))
    found = dict(log.payloads(wanted))
    assert len(reads) <= 5
    assert all(size <= 1 << 20 for _, size, _ in reads)
    assert list(found) == wanted
    decoded = [msgspec.msgpack.decode(payload)["summary"] for payload in found.values()]
    assert decoded == ["x" * (i % 700) for i in wanted]
    assert list(log.payloads([])) == []


def test_records_that_are_read_together_are_checked(log: AuditLog) -> None:
    last = [log.append_nowait(record(i)) for i in range(50)][-1].result()
    data = log.path.read_bytes()
    at = data.index(b"record 30")
    with log.path.open("r+b") as file:
        file.seek(at)
        file.write(b"Record 30")
    with pytest.raises(ServerError) as caught:
        list(log.payloads(range(last + 1)))
    assert caught.value.code == "server.audit.damaged"


def test_a_dataset_s_records_are_found_by_number(log: AuditLog) -> None:
    for i in range(20):
        log.append_nowait(record(i, dataset="ab"[i % 2], kind="outcome" if i % 4 else "intent"))
    log.append_blocking(record(20))
    found = log.numbers(dataset="b", kinds=("outcome", "grant_used"), first=3, below=18)
    assert found == [i for i in range(3, 18) if i % 2]
