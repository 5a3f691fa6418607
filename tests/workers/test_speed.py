"""How fast: a tiny query on a warm spare, and a large one beside the engine alone. Figures are printed with -s."""

from __future__ import annotations

import asyncio
import os
import statistics
import time

import numpy as np
import polars as pl
import pytest
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import GroupBy, Scan
from bastion_server.workers.pool import Limits, WorkerPool

PLAN = GroupBy(Scan("d"), (Column("k"),), (Alias(Call("mean", (Column("v"),)), "m"),))


def test_a_tiny_query_pays_no_fork(table):
    fd = table(pl.DataFrame({"k": [1, 2, 1], "v": [1.0, 2.0, 3.0]}))

    async def scenario():
        whole, worker = [], []
        async with await WorkerPool.start(Limits(), spares=2) as pool:
            for _ in range(25):
                started = time.perf_counter()
                async with await pool.acquire() as lease:
                    lent = time.perf_counter()
                    await lease.bind({"d": fd})
                    assert (await lease.run(PLAN)).height == 2
                ended = time.perf_counter()
                whole.append(ended - started)
                worker.append(ended - lent)
                await asyncio.sleep(0.06)
        return statistics.median(whole) * 1e3, statistics.median(worker) * 1e3, min(worker) * 1e3

    whole, worker, best = asyncio.run(scenario())
    print(f"\ntiny query, warm spare: {whole:.1f} ms, of which in the worker {worker:.1f} ms (median of 25)")
    # a cold start takes some 500 ms, a fork with its walls and first query some 30; a busy machine may be slow most of the time
    assert best < 25


@pytest.mark.slow
def test_a_large_query_costs_what_it_costs_in_process(table):
    rows = int(os.environ.get("BASTION_BENCH_ROWS", "10000000"))
    draw = np.random.default_rng(1)
    fd = table(pl.DataFrame({"k": draw.integers(0, 100, rows), "v": draw.random(rows), "x": draw.random(rows)}))

    def plain():
        started = time.perf_counter()
        frame = pl.scan_ipc(f"/proc/self/fd/{fd}").group_by("k").agg(pl.col("v").mean()).collect()
        return time.perf_counter() - started, frame.height

    async def scenario():
        ours, theirs = [], []
        async with await WorkerPool.start(Limits(), spares=2) as pool:
            plain()
            for _ in range(9):
                theirs.append(plain()[0])
                async with await pool.acquire() as lease:
                    started = time.perf_counter()
                    await lease.bind({"d": fd})
                    assert (await lease.run(PLAN)).height == 100
                    ours.append(time.perf_counter() - started)
                await asyncio.sleep(0.2)
        return statistics.median(ours), statistics.median(theirs)

    ours, theirs = asyncio.run(scenario())
    print(f"\n{rows} rows: worker {ours * 1e3:.0f} ms, in process {theirs * 1e3:.0f} ms, ratio {ours / theirs:.2f}")
    assert ours < 1.5 * theirs + 0.05
