"""A worker lent to one query: bind its datasets, run its plans, give it back (it is never used again)."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bastion_plan.canonical import encode
from bastion_plan.dtypes import Schema
from bastion_plan.errors import BastionError
from bastion_plan.nodes import Node
from bastion_policy.facts import ColumnMeasures, PrivateFacts

from bastion_server.workers import memfd
from bastion_server.workers.errors import worker_error
from bastion_server.workers.framing import BrokenFrame
from bastion_server.workers.handle import Handle, cause_of_death
from bastion_server.workers.messages import Bind, Done, Failed, FromChild, Message, Register, Registered, Run
from bastion_server.workers.watchdog import Watchdog

_NO_TABLES: Mapping[str, Mapping[str, Sequence[Any]]] = {}


def _pickled(tables: Mapping[str, Mapping[str, Sequence[Any]]]) -> bytes:
    # INVARIANT: pickle flows only from the server into the sandbox, never back
    return pickle.dumps({name: dict(columns) for name, columns in tables.items()}, 5) if tables else b""


class Answer(bytes):
    """An Arrow IPC file (a stream for named columns), as bytes; empty where no columns were asked for. height: rows of the whole result."""

    height: int

    def __new__(cls, data: bytes | memoryview, height: int) -> Answer:
        """Copy `data` once."""
        answer = super().__new__(cls, data)
        answer.height = height
        return answer


@dataclass(frozen=True)
class Registration:
    """An uploaded table, measured.

    schema: its columns. facts: for the judge only. file: descriptor of a sealed memory file with its canonical form, an
    uncompressed Arrow IPC file in few record batches; the caller closes it. size: its bytes.
    """

    schema: Schema
    facts: PrivateFacts
    file: int
    size: int


class Lease:
    """One child, for one query. Used by one task at a time."""

    def __init__(
        self,
        handle: Handle,
        watchdog: Watchdog,
        on_text: Callable[[str, str], None],
        on_close: Callable[[Handle], None],
        label: str,
    ) -> None:
        self._handle = handle
        self._watchdog = watchdog
        self._on_text = on_text
        self._on_close = on_close
        self._label = label
        self._left = handle.limits.seconds
        # answers to binds that nobody waited for
        self._owed = 0
        self._closed = False
        #: plans that it was sent: before the first of them no data is touched
        self.runs = 0

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._handle.pid

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def bind(self, datasets: Mapping[str, int], *, wait: bool = True) -> None:
        """Make datasets available to plans as `Scan(id)`.

        Args:
            datasets: id -> descriptor of a sealed memory file with an Arrow IPC file. It is duplicated, not taken.
            wait: False returns once they are sent; where one cannot be bound, the next run raises.

        Raises:
            ServerError: `server.worker.unsealed`, or how the worker ended.
        """
        for fd in datasets.values():
            # INVARIANT: a worker cannot change a dataset that other workers read
            if not memfd.is_sealed(fd):
                raise worker_error("unsealed")
        items = list(datasets.items())
        for start in range(0, len(items), 16):
            some = items[start : start + 16]
            self._handle.bound += sum(os.fstat(fd).st_size for _, fd in some)
            message, fds = Bind(tuple(name for name, _ in some)), tuple(fd for _, fd in some)
            if wait:
                await self._ask(message, fds=fds)
            else:
                await self._tell(message, fds)

    async def run(
        self,
        plan: Node,
        keep: str | None = None,
        returns: tuple[str, ...] | None = None,
        tables: Mapping[str, Mapping[str, Sequence[Any]]] = _NO_TABLES,
    ) -> Answer:
        """Run a plan beside the data.

        Args:
            plan: a bound plan; may read bound datasets, tables kept by earlier runs, and `tables`.
            keep: name ('#…') under which the result stays readable for later runs of this lease; None: it does not.
            returns: columns that come back; () none (only the height), None all.
            tables: further tables by name: column -> values (lists or numpy arrays of plain values).

        Returns:
            The bytes of an Arrow IPC file with all columns, or of an Arrow IPC stream with those named (empty for
            `returns=()`), and `.height`.

        Raises:
            ServerError: `server.worker.memory`, `.time`, `.crashed`, `.answer`: the worker is gone or of no more use;
                `server.worker.refused`: the engine could not run this plan, the worker can run others.
            Interrupted: `kill` was called meanwhile.
        """
        answer, file = await self.run_to_file(plan, keep, returns, tables)
        if file < 0:
            return answer
        try:
            return Answer(memfd.read(file, os.fstat(file).st_size), answer.height)
        finally:
            os.close(file)

    async def run_to_file(
        self,
        plan: Node,
        keep: str | None = None,
        returns: tuple[str, ...] | None = None,
        tables: Mapping[str, Mapping[str, Sequence[Any]]] = _NO_TABLES,
    ) -> tuple[Answer, int]:
        """As `run`, but a large answer stays where the worker wrote it.

        Returns:
            (answer, -1) for a small one; (empty answer with its height, descriptor of a sealed memory file) for a large
            one: read it with `memfd.read`, which maps it; the caller closes it.
        """
        body = _pickled(tables)
        limits = self._handle.limits
        self.runs += 1
        file = memfd.empty("answer")
        try:
            done, data = await self._ask(
                Run(encode(plan), keep, returns), body, (file,), file=file, extra=limits.answer
            )
            if not isinstance(done, Done):
                raise self._broken()
            if done.size > limits.answer:
                raise worker_error("answer")
            if done.size:
                self._seal(file, done.size)
                file, large = -1, file
                return Answer(b"", done.height), large
            return Answer(data, done.height), -1
        finally:
            if file >= 0:
                os.close(file)

    async def try_out(
        self, plan: Node, tables: Mapping[str, Mapping[str, Sequence[Any]]] = _NO_TABLES, *, values: bool = True
    ) -> None:
        """Try a plan's calls without data; it takes nothing of the time that runs have.

        Args:
            tables: further sources by name, as in `run`; their types alone are looked at. values: whether calls are made of values of their types.

        Raises:
            InputError: `plan.call`. ServerError: how the worker ended.
        """
        left, file = self._left, memfd.empty("answer")
        try:
            await self._ask(Run(encode(plan), None, (), dry=True, values=values), _pickled(tables), (file,))
        finally:
            os.close(file)
            self._left = left

    async def register(self, upload: int, unit: str | None = None) -> Registration:
        """Measure an uploaded table and bring it into canonical form.

        Args:
            upload: descriptor of a sealed memory file with an Arrow IPC file or stream (compressed or not).
            unit: column of the privacy unit; None: every row is its own unit.

        Raises:
            InputError: `input.upload.format`, `.duplicate`, `.empty`, `.dtype`, `.date`, `.unit`, `.unit_null`.
            ServerError: how the worker ended.
        """
        if not memfd.is_sealed(upload):
            raise worker_error("unsealed")
        size = os.fstat(upload).st_size
        self._handle.bound += size
        file = memfd.empty("table")
        try:
            done, _ = await self._ask(Register(unit), fds=(upload, file), file=file, extra=4 * size)
            if not isinstance(done, Registered) or len(done.schema) != len(done.measures):
                raise self._broken()
            self._seal(file, done.size)
        except BaseException:
            os.close(file)
            raise
        columns = {
            name: ColumnMeasures(nulls=m.nulls, distinct=m.distinct, low=m.low, high=m.high, has_nan=m.has_nan)
            for (name, _), m in zip(done.schema, done.measures, strict=True)
        }
        facts = PrivateFacts(done.rows, done.units, done.max_rows_per_unit, columns)
        return Registration(dict(done.schema), facts, file, done.size)

    def kill(self) -> None:
        """Stop it now: a run that waits raises Interrupted."""
        self._handle.kill("stopped")

    async def close(self) -> None:
        """Give the worker back: it is ended, and its place goes to the next query as soon as it is gone."""
        if not self._closed:
            self._closed = True
            self._handle.kill("closed")
            self._on_close(self._handle)

    # ------------------------------------------------------------------------------------------------------- inside

    async def _ask(
        self, message: Message, body: bytes = b"", fds: tuple[int, ...] = (), *, file: int = -1, extra: int = 0
    ) -> tuple[FromChild, bytes]:
        handle = self._handle
        if self._closed:
            raise worker_error("closed")
        started = time.monotonic()
        handle.file, handle.extra = file, extra
        handle.deadline = started + self._left
        with handle.in_use():
            self._watchdog.watch(handle)
            try:
                await handle.tell(message, body, fds)
                failed: Failed | None = None
                while self._owed:
                    early, _ = await handle.listen()
                    self._owed -= 1
                    if isinstance(early, Failed):
                        failed = failed or early
                answer, data = await handle.listen()
                answer = failed or answer
            except asyncio.CancelledError:
                handle.kill("stopped")
                raise
            except BrokenFrame:
                handle.deadline = None
                reason, words = await cause_of_death(handle)
                self._on_text(self._label, f"{reason}: {words}")
                raise worker_error(reason) from None
            finally:
                handle.deadline, handle.file = None, -1
                self._watchdog.forget(handle)
                self._left -= time.monotonic() - started
        if isinstance(answer, Failed):
            self._on_text(self._label, f"{answer.reason}: {answer.text}")
            raise worker_error(answer.reason)
        return answer, data

    async def _tell(self, message: Message, fds: tuple[int, ...]) -> None:
        """Send what the next `_ask` hears the answer to."""
        if self._closed:
            raise worker_error("closed")
        with self._handle.in_use():
            try:
                await self._handle.tell(message, fds=fds)
            except BrokenFrame:
                reason, words = await cause_of_death(self._handle)
                self._on_text(self._label, f"{reason}: {words}")
                raise worker_error(reason) from None
        self._owed += 1

    def _seal(self, file: int, size: int) -> None:
        """Take a file over from the child: immutable from here on, and as large as it says."""
        try:
            memfd.seal(file)
        except OSError:
            size = -1
        if os.fstat(file).st_size != size:
            raise self._broken()

    def _broken(self) -> BastionError:
        """A child that does not keep to the protocol is ended."""
        self._handle.kill("crashed")
        return worker_error("crashed")
