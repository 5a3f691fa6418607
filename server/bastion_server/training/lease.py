"""Training workers as the server sees them: a pool that starts with the first fit, and what is said to one worker.

No torch here. A worker is a child as those that run queries (bastion_server.workers): the same walls, limits and watchdog.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import ClassVar, TypeVar, cast

from bastion_plan.errors import BastionError, InputError, PlanError, ServerError
from bastion_plan.models.fits import FitSpec

from bastion_server.training.messages import (
    Evaluate,
    Evaluated,
    FromTrainer,
    Load,
    Loaded,
    Save,
    Stepped,
    Steps,
    Tight,
    ToTrainer,
    Worked,
    Wrong,
)
from bastion_server.workers import memfd
from bastion_server.workers.errors import worker_error
from bastion_server.workers.messages import Done, FromChild, Limits, SandboxReport
from bastion_server.workers.pool import Lease, WorkerPool

ZYGOTE = (sys.executable, "-I", "-m", "bastion_server.training.zygote")
#: what one fit may use, where nobody says otherwise
LIMITS = Limits(memory=4 << 30, seconds=24 * 3600.0, answer=1 << 30)
#: seconds until the first worker stands: torch is large
_PATIENCE = 180.0
_NEEDED = ("torch", "numpy", "safetensors", "opacus")

A = TypeVar("A")


def missing() -> ServerError | None:
    """Return the error `train.missing` where this server has no torch, None where it has."""
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if not absent:
        return None
    return ServerError(
        "This server cannot train models.",
        reason=f"Training is an extra of the server, and these packages are not installed: {', '.join(absent)}.",
        next_step="Ask the server's operator to run: pip install '.[train]' (in a clone).",
        code="train.missing",
    )


class TrainingLease(Lease):
    """One training worker, for one fit. Used by one task at a time; `kill` may be called by others.

    Each method raises what a worker's end is (`server.worker.*`), and where the model or the description is wrong the
    PlanError or InputError that says so (`model.*`, `fit.*`, `train.*`): such words are not secret. In a private fit these
    do not depend on the rows.
    """

    async def load(
        self,
        graph: bytes,
        spec: FitSpec,
        split_key: bytes,
        rows_fd: int,
        weights_fd: int,
        *,
        memory: int,
        checkpoint: bool = False,
        sigma: float = 0.0,
        most_rows: int = 0,
    ) -> Loaded:
        """Give it a model and its rows.

        Args:
            graph: as bastion_plan.models.graph.encode. split_key: 32 bytes. memory: bytes that one pass may take.
            rows_fd: sealed memory file, an uncompressed Arrow IPC file with `#~u`, `#~o` and the spec's columns.
            weights_fd: sealed memory file, safetensors. checkpoint: whether it is what `save(True)` wrote.
            sigma: of the noise of its steps. most_rows: that there may be, a public number.
        """
        for fd in (rows_fd, weights_fd):
            # INVARIANT: a worker cannot change what others read
            if not memfd.is_sealed(fd):
                raise worker_error("unsealed")
            self._handle.bound += os.fstat(fd).st_size
        message = Load(graph, spec, split_key, memory, checkpoint, sigma, most_rows)
        return await self._asked(message, Loaded, fds=(rows_fd, weights_fd))

    async def steps(self, count: int, sigma: float = 0.0) -> Stepped:
        """Do steps of the optimiser. sigma: deviation of the noise in units of the sensitivity; 0 where it is not private."""
        return await self._asked(Steps(count, sigma), Stepped)

    async def evaluate(self, metric: str, part: str, bound: float, deviation: float) -> Evaluated:
        """Measure a part of the rows: exact whole numbers, which must not leave the server without noise.

        deviation: of the noise on how many rows there are, as the time that it takes tells of them; 0 where it is not private.
        """
        return await self._asked(Evaluate(metric, part, bound, deviation), Evaluated)

    async def save(self, checkpoint: bool) -> int:
        """Return the descriptor of a sealed memory file with the weights (safetensors), or a checkpoint; the caller closes it."""
        file = memfd.empty("weights")
        try:
            limit = self._handle.limits.answer
            done = await self._asked(Save(checkpoint), Done, fds=(file,), file=file, extra=limit)
            if not 0 < done.size <= limit:
                raise worker_error("answer")
            self._seal(file, done.size)
        except BaseException:
            os.close(file)
            raise
        return file

    async def tight(self, rate: float, sigma: float, steps: int, delta: float) -> float:
        """Return the epsilon of steps by PRV accounting."""
        return (await self._asked(Tight(rate, sigma, steps, delta), Worked)).value

    async def __aenter__(self) -> TrainingLease:
        return self

    async def _asked(
        self, message: ToTrainer, kind: type[A], *, fds: tuple[int, ...] = (), file: int = -1, extra: int = 0
    ) -> A:
        self._handle.answers = FromTrainer | FromChild
        answer, _ = await self._ask(message, fds=fds, file=file, extra=extra)
        if isinstance(answer, Wrong):
            raise self._wrong(answer)
        if not isinstance(answer, kind):
            raise self._broken()
        return answer

    def _wrong(self, told: Wrong) -> BastionError:
        room = told.code.partition(".")[0]
        kinds: dict[str, type[BastionError]] = {"model": PlanError, "fit": InputError, "train": ServerError}
        if room not in kinds or max(map(len, (told.code, told.message, told.why, told.next_step))) > 1000:
            return self._broken()
        return kinds[room](told.message, reason=told.why, next_step=told.next_step, code=told.code)


class _Trainers(WorkerPool):
    lease_type: ClassVar[type[Lease]] = TrainingLease


class TrainingPool:
    """Lends training workers. The first `acquire` starts it (half a minute); servers on which nobody trains do not pay for it."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        concurrency: int = 1,
        on_engine_text: Callable[[str, str], None] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            limits: what one fit may use: memory in bytes, seconds of all its steps together, threads (0: one per CPU).
            concurrency: fits at the same time. on_engine_text: told (label of the lease, the engine's own words); for the
                owner's log only.
        """
        self.limits = limits or LIMITS
        self._concurrency = concurrency
        self._on_text = on_engine_text
        self._pool: _Trainers | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @property
    def sandbox_report(self) -> SandboxReport | None:
        """Which walls stand around the workers; None before the first one."""
        return self._pool.sandbox_report if self._pool else None

    async def acquire(self, who: str = "", *, label: str = "", timeout: float | None = None) -> TrainingLease:
        """Borrow a worker; waits for its turn while all are lent.

        Raises:
            ServerError: `train.missing`, `server.worker.busy`, `server.worker.closed`, `server.worker.crashed`.
        """
        error = missing()
        if error is not None:
            raise error
        async with self._starting:
            if self._closed:
                raise worker_error("closed")
            if self._pool is None:
                self._pool = await _Trainers.start(
                    self.limits,
                    spares=1,
                    concurrency=self._concurrency,
                    on_engine_text=self._on_text,
                    command=ZYGOTE,
                    patience=_PATIENCE,
                )
        return cast(TrainingLease, await self._pool.acquire(who, label=label, timeout=timeout))

    async def close(self) -> None:
        """End every worker."""
        self._closed = True
        async with self._starting:
            if self._pool is not None:
                await self._pool.close()
                self._pool = None
