"""Fixtures of the worker tests: pools, tables in memory files, Python run inside a worker."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bastion_server.workers import memfd
from bastion_server.workers.pool import Lease, Limits, WorkerPool
from probing import Probe, command

Pooling = Callable[..., AbstractAsyncContextManager[WorkerPool]]


@pytest.fixture
def words() -> list[str]:
    """What the pool told the owner's log."""
    return []


@pytest.fixture
def pooling(words: list[str]) -> Pooling:
    """Open a pool of probing workers: `async with pooling(memory=…, mode="all", spares=1) as pool`."""

    @asynccontextmanager
    async def open_pool(
        mode: str = "all", spares: int = 1, concurrency: int = 4, **limits: Any
    ) -> AsyncIterator[WorkerPool]:
        pool = await WorkerPool.start(
            Limits(**limits),
            spares=spares,
            concurrency=concurrency,
            on_engine_text=lambda label, text: words.append(text),
            command=command(mode),
        )
        try:
            yield pool
        finally:
            await pool.close()

    return open_pool


@pytest.fixture
def probe() -> Callable[[Lease, str], Awaitable[Any]]:
    """Run Python inside a worker and return what it left in `result`."""

    async def run(lease: Lease, source: str, fds: tuple[int, ...] = ()) -> Any:
        _, data = await lease._ask(Probe(source), fds=fds)  # type: ignore[arg-type]
        return json.loads(data)

    return run


@pytest.fixture
def table() -> Iterator[Callable[[pl.DataFrame], int]]:
    """Put a frame into a sealed memory file and return its descriptor."""
    opened: list[int] = []

    def make(frame: pl.DataFrame) -> int:
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="uncompressed")
        opened.append(memfd.sealed(buffer.getvalue()))
        return opened[-1]

    yield make
    for fd in opened:
        os.close(fd)
