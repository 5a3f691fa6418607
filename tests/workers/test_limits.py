"""A worker over a limit is ended with a fixed code, and the next query works."""

from __future__ import annotations

import asyncio
import os
import time

import numpy as np
import polars as pl
import pytest
from bastion_plan.dtypes import INT64
from bastion_plan.errors import Interrupted, ServerError
from bastion_plan.expressions import Alias, Call, Column, Literal
from bastion_plan.nodes import GroupBy, Join, Scan, Select, Sort

#: an endless computation, as far as a test is concerned: some 10^12 pairs
ROWS = pl.DataFrame({"a": np.arange(1_000_000)})


def _pairs() -> Join:
    return Join(Scan("d"), Scan("d"), "cross")


def _long() -> Select:
    """Reduced on the fly: needs time, not memory."""
    product = Call("mul", (Column("a"), Column("a_right")))
    return Select(_pairs(), (Alias(Call("sum", (product,)), "s"),))


async def _sum(pool, fd):
    async with await pool.acquire() as lease:
        await lease.bind({"d": fd})
        return pl.read_ipc(bytes(await lease.run(Select(Scan("d"), (Alias(Call("sum", (Column("a"),)), "s"),))))).item()


def _error_of(plan, pooling, table, **limits):
    """Run a plan in a limited worker; return (its error, seconds, what the next query gives)."""
    fd = table(ROWS)

    async def scenario():
        async with pooling(**limits) as pool:
            async with await pool.acquire() as lease:
                await lease.bind({"d": fd})
                started = time.monotonic()
                with pytest.raises(ServerError) as caught:
                    await lease.run(plan)
                took = time.monotonic() - started
            return caught.value, took, await _sum(pool, fd)

    error, took, following = asyncio.run(scenario())
    assert following == 499999500000
    return error, took


def test_a_memory_bomb_is_ended(pooling, table):
    error, _ = _error_of(Sort(_pairs(), (Column("a_right"),)), pooling, table, memory=600 << 20, seconds=60)
    assert error.code == "server.worker.memory"


def test_the_wall_behind_the_watchdog_holds(pooling, table):
    """One allocation larger than the address space allows: the engine aborts, and that is told as memory."""
    plan = Select(Scan("d"), (Alias(Call("repeat_by", (Column("a"), Literal(INT64, 1_000_000))), "r"),))
    error, _ = _error_of(plan, pooling, table, memory=1 << 40, address_space=3 << 30, seconds=60)
    assert error.code == "server.worker.memory"


def test_python_memory_is_memory(pooling, probe):
    async def scenario():
        async with pooling(memory=200 << 20) as pool, await pool.acquire() as lease:
            with pytest.raises(ServerError) as caught:
                await probe(lease, "x = bytearray(1 << 40)")
            return caught.value.code

    assert asyncio.run(scenario()) == "server.worker.memory"


def test_shared_memory_of_its_own_counts(pooling, probe):
    async def scenario():
        async with pooling(memory=300 << 20) as pool, await pool.acquire() as lease:
            with pytest.raises(ServerError) as caught:
                await probe(
                    lease,
                    "import mmap, time\nm = mmap.mmap(-1, 2 << 30)\n"
                    "for i in range(0, 2 << 30, 4096): m[i] = 1\ntime.sleep(20)",
                )
            return caught.value.code

    assert asyncio.run(scenario()) == "server.worker.memory"


def test_a_bound_dataset_does_not_count(pooling, table):
    fd = table(pl.DataFrame({"a": np.zeros(40_000_000), "g": np.zeros(40_000_000, dtype=np.int8)}))

    async def scenario():
        async with pooling(memory=280 << 20, seconds=60) as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            plan = Select(Scan("d"), (Alias(Call("sum", (Column("a"),)), "s"),))
            return pl.read_ipc(bytes(await lease.run(plan))).item()

    assert asyncio.run(scenario()) == 0


def test_a_long_query_is_ended_by_the_clock(pooling, table):
    error, took = _error_of(_long(), pooling, table, seconds=1.0, memory=8 << 30)
    assert error.code == "server.worker.time"
    assert 0.9 < took < 4


def test_the_clock_ends_a_worker_that_does_not_answer_at_all(pooling, probe):
    async def scenario():
        async with pooling(seconds=0.5) as pool, await pool.acquire() as lease:
            with pytest.raises(ServerError) as caught:
                await probe(
                    lease,
                    "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n"
                    "    except OSError: pass\nwhile True: pass",
                )
            return caught.value.code

    assert asyncio.run(scenario()) == "server.worker.time"


def test_the_clock_runs_over_all_steps_of_a_query(pooling, probe):
    async def scenario():
        async with pooling(seconds=1.0) as pool, await pool.acquire() as lease:
            for step in range(10):
                try:
                    await probe(lease, "import time; time.sleep(0.3)")
                except ServerError as error:
                    return step, error.code
            return None

    step, code = asyncio.run(scenario())
    # no step alone takes as long as all may; a busy machine gets through fewer
    assert 1 <= step <= 3
    assert code == "server.worker.time"


def test_limits_hold_while_the_servers_loop_is_busy(pooling, table):
    fd = table(ROWS)

    async def scenario():
        async with pooling(seconds=0.3) as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            task = asyncio.create_task(lease.run(_long()))
            await asyncio.sleep(0.05)
            end = time.monotonic() + 30
            # killed although nobody on the loop could have looked
            while (alive := lease._handle.usage() is not None) and time.monotonic() < end:
                time.sleep(0.05)
            with pytest.raises(ServerError) as caught:
                await task
            return alive, caught.value.code

    assert asyncio.run(scenario()) == (False, "server.worker.time")


def test_cancelling_the_task_ends_the_worker(pooling, table):
    fd = table(ROWS)

    async def scenario():
        async with pooling(memory=8 << 30) as pool:
            async with await pool.acquire() as lease:
                pid = lease.pid
                await lease.bind({"d": fd})
                task = asyncio.create_task(lease.run(_long()))
                await asyncio.sleep(0.2)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            for _ in range(1500):
                if not os.path.exists(f"/proc/{pid}"):
                    break
                await asyncio.sleep(0.02)
            return os.path.exists(f"/proc/{pid}"), await _sum(pool, fd)

    assert asyncio.run(scenario()) == (False, 499999500000)


def test_kill_interrupts_a_run(pooling, table):
    fd = table(ROWS)

    async def scenario():
        async with pooling(memory=8 << 30) as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            asyncio.get_running_loop().call_later(0.2, lease.kill)
            with pytest.raises(Interrupted) as caught:
                await lease.run(_long())
            return caught.value.code

    assert asyncio.run(scenario()) == "interrupted.query"


def test_a_group_by_under_the_limit_is_not_disturbed(pooling, table):
    fd = table(ROWS)

    async def scenario():
        async with pooling(memory=400 << 20) as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            plan = GroupBy(Scan("d"), (Column("a"),), (Alias(Call("len", (Column("a"),)), "n"),))
            return (await lease.run(plan, None, ())).height

    assert asyncio.run(scenario()) == 1_000_000
