"""Many clients at once, and how fast one is."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
from bastion_wire import messages as m
from bastion_wire.identity import Identity
from toy_channel import toy, until


def run(work: Coroutine[Any, Any, None], seconds: float = 100) -> None:
    asyncio.run(asyncio.wait_for(work, seconds))


@pytest.mark.slow
def test_200_clients_with_bounded_memory(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            people = [Identity.create(f"p{n}") for n in range(200)]
            for p in people:
                (server.keys.root / "users" / f"{p.name}.pub").write_text(p.public.to_text())
            server.service.blob = bytes(4 << 20)
            server.service.discard = True
            before = psutil.Process().memory_info().rss
            gate = asyncio.Semaphore(50)  # strangers' handshakes at once

            async def client(who: Identity) -> int:
                async with gate:
                    session = await server.session(who, timeout=60.0)
                for n in range(5):
                    assert await session.ask(m.Ping()) == m.Done()
                    _, data = await session.query(m.Query(b"rows %d" % (200_000 * n)))
                    assert len(data) == 200_000 * n
                await session.upload(m.UploadBegin("t", 0, b""), bytes(1_500_000))
                await session.close()
                return 1

            assert sum(await asyncio.gather(*map(client, people))) == 200
            grown = psutil.Process().memory_info().rss - before
            assert grown < 600e6  # both ends live in this process: 3 MB for a client and its session
            await until(lambda: server.channel.sessions() == ())
            assert server.channel._tasks and len(server.channel._tasks) == 3

    run(body())


def test_a_tiny_table_takes_little_time_and_bulk_flows(tmp_path: Path) -> None:
    async def body() -> None:
        async with toy(tmp_path) as server:
            session, times = await server.session(), []
            for _ in range(200):
                start = time.perf_counter()
                await session.query(m.Query(b"rows 2000"))
                times.append(time.perf_counter() - start)
            server.service.discard = True
            blob = os.urandom(64 << 20)
            start = time.perf_counter()
            await session.upload(m.UploadBegin("t", 0, b""), blob)
            rate = len(blob) / 1e6 / (time.perf_counter() - start)
            print(f"tiny table p50 {statistics.median(times) * 1e3:.2f} ms, upload {rate:.0f} MB/s")
            assert statistics.median(times) < 0.02  # ten times the goal of 2 ms: the machine is shared
            assert rate > 30  # a tenth of the goal
            await session.close()

    run(body())
