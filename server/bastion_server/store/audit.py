"""The audit log: what was asked, decided, run and answered; append-only, hash-chained, signed.

INVARIANT: an index is given out only after the record is on the disk. A write or fsync that failed poisons the log for
the rest of the process: every later append fails, so that nothing is answered that was not written down. (After a
failed fsync the kernel may have dropped the pages, so trying again would report a success that means nothing.)
"""

from __future__ import annotations

import asyncio
import os
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
from bastion_plan.errors import ServerError
from bastion_wire.messages import AuditRecord, Checkpoint

from bastion_server.store import frames
from bastion_server.store.audit_index import AuditIndex
from bastion_server.store.checkpoints import CheckpointFile, signed_checkpoint
from bastion_server.store.files import DISK, Files
from bastion_server.store.keys import ServerKeys
from bastion_server.store.merkle import MerkleTree, leaf_hash

#: what a record may be about
KINDS = frozenset(
    {"intent", "outcome", "upload", "policy", "request", "decision", "grant_used", "key", "start", "stop", "note"}
)
_BLOCK, _TOGETHER = 1 << 20, 4096  #: bytes and records that are read at once
CHECKPOINT_EVERY = 256  #: records between checkpoints written to the checkpoints file


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry. time: seconds since 1970. red: to be shown in red. details: plain data, owner's and auditors' eyes only."""

    time: float
    kind: str
    who: str
    summary: str
    dataset: str = ""
    plan_hash: str = ""
    red: bool = False
    details: dict[str, Any] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class AuditLog:
    """The log of one server. Any thread may append; one thread of its own writes and syncs in groups."""

    def __init__(
        self, directory: Path, keys: ServerKeys, now: float, *, may_create: bool = True, files: Files = DISK
    ) -> None:
        """Open or create the log in `directory`.

        A last frame that was cut off by a crash is removed (it was never acknowledged) and a note says so.

        Raises:
            ServerError: server.audit.damaged (anything else that does not verify), server.audit.rollback (records that
                a signed checkpoint covers are gone), server.audit.missing (and `may_create` is false), server.audit.failed
                (disk).
        """
        self.path = directory / "audit.log"
        self._keys, self._files = keys, files
        self._tree = MerkleTree()
        self._offsets = array("Q")
        self._lock = threading.Condition()
        self._pending: list[tuple[bytes, Future[int]]] = []
        self._next = 0
        self._failed = self._closing = False
        self._checkpoints = CheckpointFile(directory / "audit.checkpoints", keys, files=files)
        self._descriptor = -1
        self._index: AuditIndex | None = None
        try:
            torn = self._recover(may_create)
            self._checkpoints.check(self._tree)
            if len(self._tree) > self._checkpoints.size:
                self._checkpoints.append(self.checkpoint(now))
        except OSError as error:
            self._drop()
            raise _failed() from error
        except BaseException:
            self._drop()
            raise
        self._witnessed = len(self._tree)
        self._index = AuditIndex(directory / "audit.index", self.payloads, self._chain_at)
        self._thread = threading.Thread(target=self._write, name="audit-writer", daemon=True)
        self._thread.start()
        if torn:
            self.append_blocking(
                Record(now, "note", "server", f"A record cut off by a crash was removed: {torn}.", red=True)
            )

    # ---- writing ----------------------------------------------------------------------------------------------------

    def append_nowait(self, record: Record) -> Future[int]:
        """Hand a record to the writer; the future gives its index once it is on the disk.

        Records get their indexes in the order of these calls. The future fails with ServerError server.audit.failed.

        Raises:
            ServerError: server.audit.failed, server.audit.closed; server.audit.record (unknown kind, over 1 MiB).
        """
        if record.kind not in KINDS:
            msg = f"There are no audit records of kind {record.kind!r}."
            raise ServerError(msg, code="server.audit.record")
        try:
            payload = _encoder.encode(record)
        except (TypeError, ValueError) as error:
            msg = "An audit record holds something that is not plain data."
            raise ServerError(msg, code="server.audit.record") from error
        if len(payload) > frames.MAX_PAYLOAD:
            msg = "An audit record is too large."
            raise ServerError(msg, code="server.audit.record")
        future: Future[int] = Future()
        with self._lock:
            if self._failed:
                raise _failed()
            if self._closing:
                msg = "The audit log is closed."
                raise ServerError(msg, code="server.audit.closed")
            self._pending.append((payload, future))
            self._lock.notify()
        return future

    async def append(self, record: Record) -> int:
        """Append, and wait until the record is on the disk. Return its index.

        Raises:
            ServerError: as `append_nowait`.
        """
        # shielded: cancelling who waits must not cancel what the writer has in hand
        return await asyncio.shield(asyncio.wrap_future(self.append_nowait(record)))

    def append_blocking(self, record: Record) -> int:
        """Append, and wait until the record is on the disk; for threads. Return its index."""
        return self.append_nowait(record).result()

    @property
    def healthy(self) -> bool:
        """Whether records can still be written."""
        return not (self._failed or self._closing)

    # ---- reading ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._offsets)

    def checkpoint(self, now: float) -> Checkpoint:
        """Return a signed head: size and Merkle root of all that is on the disk."""
        with self._lock:
            size, root = len(self._tree), self._tree.root()
        return signed_checkpoint(self._keys, size, root, now)

    def record(self, index: int) -> AuditRecord:
        """Return one record; it is checked against the tree in memory."""
        payload = self._payload(index)
        found = _decoder.decode(payload)
        return AuditRecord(
            index=index,
            time=found.time,
            kind_of=found.kind,
            who=found.who,
            summary=found.summary,
            dataset=found.dataset,
            plan_hash=found.plan_hash,
            red=found.red,
            details=found.details,
        )

    def show(
        self,
        *,
        dataset: str | None = None,
        datasets: Iterable[str] | None = None,
        who: str | None = None,
        kind: str | None = None,
        red: bool | None = None,
        plan_hash: str | None = None,
        limit: int = 100,
        first: int = 0,
        below: int | None = None,
        kinds: Iterable[str] | None = None,
    ) -> list[AuditRecord]:
        """Return the last `limit` records that match every argument given, oldest first.

        first, below: only records from the one number on and below the other.
        """
        assert self._index is not None
        found = self._index.find(
            min(len(self), len(self) if below is None else below), dataset=dataset, datasets=datasets, who=who, kind=kind,
            red=red, plan_hash=plan_hash, limit=limit, first=first, kinds=kinds,
        )  # fmt: skip
        return [self.record(index) for index in found]

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that record `index` is in the log of `size` records."""
        with self._lock:
            return self._tree.inclusion_proof(index, size)

    def consistency_proof(self, first: int, second: int | None = None) -> list[bytes]:
        """Return the proof that the log of `second` records extends that of `first`."""
        with self._lock:
            return self._tree.consistency_proof(first, second)

    def close(self, now: float | None = None) -> None:
        """Write what is pending, then, with `now`, a last checkpoint. May be called again."""
        with self._lock:
            if self._descriptor < 0:
                return
            self._closing = True
            self._lock.notify()
        self._thread.join()
        if now is not None and not self._failed:
            try:
                self._checkpoints.append(self.checkpoint(now))
            except OSError:
                self._failed = True
        self._drop()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _recover(self, may_create: bool) -> str:
        """Read the whole file; return what was cut off, in words, or an empty string."""
        self._descriptor = self._files.open(self.path, os.O_RDWR | os.O_CREAT)
        torn, end = "", 0
        header = os.pread(self._descriptor, frames.HEADER, 0)
        with open(self._descriptor, "rb", closefd=False) as file:
            self._chain = frames.chain_of_header(header)
            end = frames.HEADER
            for item in frames.read(file):
                if isinstance(item, frames.Damage):
                    if not item.torn:
                        raise _damaged(item.text)
                    torn, end = item.text, item.offset
                    break
                self._tree.append(leaf_hash(item.payload))
                self._offsets.append(item.offset)
                self._chain = item.chain
                end = item.offset + frames.OVERHEAD + len(item.payload)
        if len(self._tree) < self._checkpoints.size:
            raise _rollback(len(self._tree), self._checkpoints.size)
        if end == 0 and not may_create:
            raise _missing()
        if torn:
            self._files.truncate(self._descriptor, end)
        if end == 0:  # new, or cut off within the header: nothing was ever acknowledged
            fresh, torn = frames.new_header(), torn if header else ""
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._files.write_all(self._descriptor, fresh)
            self._files.fsync(self._descriptor)
            self._files.sync_directory(self.path.parent)
            self._chain, end = frames.chain_of_header(fresh), frames.HEADER
        else:  # what a killed server left in the page cache is recovered, so it must be on the disk too
            self._files.fsync(self._descriptor)
        self._end = end
        os.lseek(self._descriptor, end, os.SEEK_SET)
        return torn

    def _write(self) -> None:
        """Run in the writer thread: everything pending goes out in one write and one fdatasync."""
        while True:
            with self._lock:
                while not self._pending and not self._closing:
                    self._lock.wait()
                batch, self._pending = self._pending, []
                if not batch:
                    return
            try:
                self._commit(batch)
            except BaseException as error:  # noqa: BLE001 - whatever it was, nothing may be answered any more
                with self._lock:
                    self._failed = True
                    batch += self._pending
                    self._pending = []
                for _, future in batch:
                    _settle(future, error=_failed(error))
                return

    def _commit(self, batch: list[tuple[bytes, Future[int]]]) -> None:
        chain, end, out, offsets = self._chain, self._end, bytearray(), []
        for payload, _ in batch:
            encoded, chain = frames.frame(payload, chain)
            offsets.append(end + len(out))
            out += encoded
        self._files.write_all(self._descriptor, out)
        self._files.fdatasync(self._descriptor)
        with self._lock:
            first = len(self._offsets)
            for payload, _ in batch:
                self._tree.append(leaf_hash(payload))
            self._offsets.extend(offsets)
            self._chain, self._end = chain, end + len(out)
        for position, (_, future) in enumerate(batch):
            _settle(future, index=first + position)
        if len(self._tree) - self._witnessed >= CHECKPOINT_EVERY:
            time = _decoder.decode(batch[-1][0]).time
            self._checkpoints.append(self.checkpoint(time))
            self._witnessed = len(self._tree)

    def _payload(self, index: int) -> bytes:
        with self._lock:
            if not 0 <= index < len(self._offsets):
                msg = f"no record {index}"
                raise IndexError(msg)
            start = self._offsets[index]
            end = self._offsets[index + 1] if index + 1 < len(self._offsets) else self._end
            expected = self._tree.leaf(index)
        payload = os.pread(self._descriptor, end - start - frames.OVERHEAD, start + frames.OVERHEAD - frames.CHAIN)
        if leaf_hash(payload) != expected:
            raise _damaged(f"record {index} was changed on the disk while the server ran")
        return payload

    def payloads(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield (number, encoded record) of records given in ascending order, each checked against the tree in memory.

        Records that lie side by side are read together, a block of at most 1 MiB (or one record) at a time.

        Raises:
            ServerError: server.audit.damaged.
        """
        position = 0
        while position < len(numbers):
            with self._lock:
                start = self._offsets[numbers[position]]
                ends: list[tuple[int, int, bytes]] = []
                for number in numbers[position : position + _TOGETHER]:
                    end = self._offsets[number + 1] if number + 1 < len(self._offsets) else self._end
                    if ends and end - start > _BLOCK:
                        break
                    ends.append((number, end, self._tree.leaf(number)))
                offsets = [self._offsets[number] for number, _, _ in ends]
            block = memoryview(os.pread(self._descriptor, ends[-1][1] - start, start))
            for offset, (number, end, expected) in zip(offsets, ends, strict=True):
                payload = bytes(block[offset - start + frames.OVERHEAD - frames.CHAIN : end - start - frames.CHAIN])
                if leaf_hash(payload) != expected:
                    raise _damaged(f"record {number} was changed on the disk while the server ran")
                yield number, payload
            position += len(ends)

    def numbers(self, *, dataset: str, kinds: Iterable[str], first: int, below: int) -> list[int]:
        """Return the numbers of all records of a dataset of these kinds, from one number on and below the other."""
        assert self._index is not None
        return self._index.find(
            min(len(self), below), dataset=dataset, datasets=None, who=None, kind=None, red=None, plan_hash=None,
            limit=-1, first=first, kinds=kinds,
        )  # fmt: skip

    def _chain_at(self, size: int) -> bytes:
        """Return what identifies the first `size` records: the Merkle root."""
        with self._lock:
            return self._tree.root(size)

    def _drop(self) -> None:
        self._checkpoints.close()
        if self._index is not None:
            self._index.close()
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1


def _settle(future: Future[int], *, index: int = -1, error: ServerError | None = None) -> None:
    if not future.done() and future.set_running_or_notify_cancel():
        if error is None:
            future.set_result(index)
        else:
            future.set_exception(error)


def _failed(cause: BaseException | None = None) -> ServerError:
    msg = "The audit log could not be written, so nothing is answered."
    error = ServerError(
        msg,
        code="server.audit.failed",
        reason="What is not on record may not leave.",
        next_step="The server's operator must look after its disk and restart it.",
    )
    error.__cause__ = cause
    return error


def _damaged(why: str) -> ServerError:
    msg = "The audit log does not verify."
    return ServerError(
        msg,
        code="server.audit.damaged",
        reason=f"In its file, {why}.",
        next_step="Keep the file as evidence. Restore it from a backup, or move the whole store aside and start anew.",
    )


def _missing() -> ServerError:
    msg = "The store has a catalogue but no audit log."
    return ServerError(
        msg,
        code="server.audit.missing",
        next_step="Restore the file from a backup, or move the whole store aside and start anew.",
    )


def _rollback(size: int, signed: int) -> ServerError:
    msg = "Records are missing from the end of the audit log."
    return ServerError(
        msg,
        code="server.audit.rollback",
        reason=f"It holds {size} records; a checkpoint was signed over {signed}.",
        next_step="Restore the file from a backup. If the disk lost it, move the whole store aside and start anew.",
    )
