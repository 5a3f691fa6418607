"""The pool of sandboxed workers: spares kept warm, a bounded number lent out, everyone served in turn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

from bastion_plan.errors import BastionError

from bastion_server.workers.errors import worker_error
from bastion_server.workers.fair_queue import FairQueue
from bastion_server.workers.framing import BrokenFrame
from bastion_server.workers.handle import Handle, cause_of_death
from bastion_server.workers.lease import Answer, Lease, Registration
from bastion_server.workers.messages import Limits, Ready, SandboxReport
from bastion_server.workers.nursery import ZYGOTE, Nursery
from bastion_server.workers.watchdog import Watchdog

__all__ = ["Answer", "Lease", "Limits", "Registration", "SandboxReport", "WorkerPool"]

#: seconds a refill waits while spares are left: longer than a tiny query takes until it is on the screen
_PAUSE = 0.05

_log = logging.getLogger("bastion.workers")


class WorkerPool:
    """Lends single-use, sandboxed worker processes to queries. Lives on one asyncio loop; make it with `start`."""

    #: what is lent
    lease_type: ClassVar[type[Lease]] = Lease

    def __init__(
        self,
        limits: Limits,
        spares: int,
        concurrency: int,
        on_engine_text: Callable[[str, str], None],
        command: Sequence[str],
    ) -> None:
        self.limits = limits
        #: which walls stand around the workers; set once the first is ready
        self.sandbox_report: SandboxReport | None = None
        self._spares = spares
        self._concurrency = concurrency
        self._on_text = on_engine_text
        self._command = command
        self._ready: deque[Handle] = deque()
        self._starting = 0
        self._lent: set[Handle] = set()
        self._dying: set[Handle] = set()
        self._waiting: FairQueue[asyncio.Future[Handle]] = FairQueue()
        self._watchdog = Watchdog()
        self._nursery: Nursery | None = None
        self._wake = asyncio.Event()
        # set when no spare is left
        self._short = asyncio.Event()
        self._failures = 0
        self._closing = False
        # done once a worker has become ready, or none could be started
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        limits: Limits | None = None,
        *,
        spares: int = 2,
        concurrency: int | None = None,
        on_engine_text: Callable[[str, str], None] | None = None,
        command: Sequence[str] = ZYGOTE,
        patience: float = 60.0,
    ) -> Self:
        """Start the zygote and wait until the first worker is ready (about a second).

        Args:
            limits: what one worker may use.
            spares: workers kept warm. concurrency: workers lent at the same time; default: two per CPU.
            on_engine_text: told (label of the lease, engine's own words). INVARIANT: for the owner's log only; the words
                may hold values of the data. Default: dropped.
            command: how to start the zygote. patience: seconds until the first worker has to be ready.

        Raises:
            ServerError: no worker could be started.
        """
        pool = cls(
            limits or Limits(),
            spares,
            concurrency or 2 * (os.cpu_count() or 1),
            on_engine_text or (lambda label, text: None),
            command,
        )
        pool._keeper = asyncio.create_task(pool._keep(), name="worker-keeper")
        pool._wake.set()
        try:
            async with asyncio.timeout(patience):
                await pool._first
        except BaseException as error:
            await pool.close()
            if isinstance(error, TimeoutError):
                raise worker_error("crashed") from None
            raise
        return pool

    async def acquire(self, who: str = "", *, label: str = "", timeout: float | None = 30.0) -> Lease:
        """Borrow a worker; waits for its turn while all are lent.

        Args:
            who: whom it is for; people are served in turn. label: names the lease towards `on_engine_text`.
            timeout: seconds to wait, None for ever.

        Raises:
            ServerError: `server.worker.busy` after the timeout, `server.worker.closed` after `close`,
                `server.worker.crashed` where workers cannot be started.
        """
        if self._closing:
            raise worker_error("closed")
        future: asyncio.Future[Handle] = asyncio.get_running_loop().create_future()
        self._waiting.put(who, future)
        self._dispatch()
        try:
            async with asyncio.timeout(timeout):
                handle = await future
        except BaseException as error:
            self._waiting.discard(who, future)
            if future.done() and not future.cancelled() and future.exception() is None:
                # it was handed to us just as we stopped waiting
                self._release(future.result())
            if isinstance(error, TimeoutError):
                raise worker_error("busy") from None
            raise
        return self.lease_type(handle, self._watchdog, self._on_text, self._release, label)

    async def close(self) -> None:
        """End every worker and the zygote, and wait until they are gone."""
        self._closing = True
        while self._waiting:
            self._fail(self._waiting.take(), worker_error("closed"))
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        handles = {*self._ready, *self._lent, *self._dying}
        for handle in handles:
            handle.kill("closed")
        if self._nursery is not None:
            await self._nursery.close()
        self._watchdog.close()
        for handle in handles:
            handle.close()
        self._ready.clear()
        self._lent.clear()
        self._dying.clear()

    async def __aenter__(self) -> WorkerPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ------------------------------------------------------------------------------------------------------- inside

    def _dispatch(self) -> None:
        """Give ready workers to those whose turn it is."""
        while self._waiting and len(self._lent) + len(self._dying) < self._concurrency:
            if not self._ready:
                break
            future = self._waiting.take()
            if not future.done():
                handle = self._ready.popleft()
                self._lent.add(handle)
                future.set_result(handle)
        if not self._ready:
            self._short.set()
        self._wake.set()

    async def _keep(self) -> None:
        """Keep spares ready; start the zygote again when it dies."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._ready and not self._waiting:
                # nobody is short of a worker: do not take the CPU from the query that just got one, or its answer
                self._short.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await self._short.wait()
            free = self._concurrency - len(self._lent) - len(self._dying)
            wanted = self._spares + max(0, min(len(self._waiting), free))
            if self._failures and len(self._ready) + self._starting < wanted:
                # something is wrong with starting: not too often
                await asyncio.sleep(min(0.05 * 2**self._failures, 2.0))
            for _ in range(wanted - len(self._ready) - self._starting):
                self._starting += 1
                task = asyncio.create_task(self._start_one(), name="worker-start")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _start_one(self) -> None:
        """Start one spare; note failures for `_keep`."""
        handle: Handle | None = None
        try:
            handle = await (await self._open_nursery()).fork()
            handle.exited.add_done_callback(lambda _, h=handle: self._on_exit(h))  # type: ignore[misc]
            with handle.in_use():
                message, _ = await asyncio.wait_for(handle.listen(), 30)
            if not isinstance(message, Ready):
                msg = "not ready"
                raise BrokenFrame(msg)
        except (BrokenFrame, TimeoutError, OSError) as error:
            self._starting -= 1
            await self._not_started(handle, error)
            return
        except BaseException:
            self._starting -= 1
            if handle is not None:
                self._release(handle)
            raise
        self._starting -= 1
        self._failures = 0
        if not self._first.done():
            self._first.set_result(None)
        if self.sandbox_report is None:
            self.sandbox_report = message.report
            for warning in message.report.warnings:
                _log.warning("Workers run without a wall: %s", warning)
        self._ready.append(handle)
        self._dispatch()

    async def _open_nursery(self) -> Nursery:
        """Return the zygote in service; a dead one is replaced."""
        old = self._nursery
        if old is not None and not old.dead:
            return old
        new = self._nursery = Nursery(self.limits, self._command)
        if old is not None:
            _log.warning("The workers' zygote died and was started again.")
            await old.close()
        return new

    async def _not_started(self, handle: Handle | None, error: BaseException) -> None:
        self._failures += 1
        words = ""
        if handle is not None:
            handle.kill("crashed")
            try:
                _, words = await cause_of_death(handle)
            finally:  # `close` may not wait for the death
                self._release(handle)
        _log.error("A worker could not be started: %s %s", error, words)
        if self._failures >= 5:
            if not self._first.done():
                self._first.set_exception(worker_error("crashed"))
            while self._waiting:
                self._fail(self._waiting.take(), worker_error("crashed"))
        self._wake.set()

    def _release(self, handle: Handle) -> None:
        """Take a lent worker back: it is ended; its place is free once it is gone."""
        self._lent.discard(handle)
        handle.kill("closed")
        if handle.exited.done():
            handle.close()
        else:
            self._dying.add(handle)
        self._dispatch()

    def _on_exit(self, handle: Handle) -> None:
        """A worker was reaped."""
        if handle in self._dying:
            self._dying.discard(handle)
            handle.close()
        elif handle in self._ready:
            self._ready.remove(handle)
            handle.close()
        if not self._closing:
            self._dispatch()

    @staticmethod
    def _fail(future: asyncio.Future[Handle], error: BastionError) -> None:
        if not future.done():
            future.set_exception(error)
