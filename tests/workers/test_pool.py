"""The pool's life: spares, turns, crashes of anything, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import polars as pl
import pytest
from bastion_plan.errors import ServerError
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import Join, Scan, Select
from bastion_server.workers.fair_queue import FairQueue

FRAME = pl.DataFrame({"a": [1, 2, 3]})
SUM = Select(Scan("d"), (Alias(Call("sum", (Column("a"),)), "s"),))


def _gone(pid: int) -> bool:
    """Whether a process is dead (reaped, or a zombie that another process has to reap)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def _until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


async def _sum(pool, fd, who="") -> int:
    async with await pool.acquire(who) as lease:
        await lease.bind({"d": fd})
        return pl.read_ipc(bytes(await lease.run(SUM))).item()


def _children(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_every_query_gets_a_process_of_its_own(pooling, table):
    fd = table(FRAME)

    async def scenario():
        pids = []
        async with pooling() as pool:
            for _ in range(5):
                async with await pool.acquire() as lease:
                    pids.append(lease.pid)
                    await lease.bind({"d": fd})
                    await lease.run(SUM)
        return pids

    assert len(set(asyncio.run(scenario()))) == 5


def test_many_at_once(pooling, table):
    fd = table(FRAME)

    async def scenario():
        most = 0
        async with pooling(spares=2, concurrency=3) as pool:
            three = asyncio.Event()

            async def one(i):
                nonlocal most
                async with await pool.acquire(f"person {i % 3}") as lease:
                    most = max(most, len(pool._lent))
                    if most == 3:
                        three.set()
                    await three.wait()  # a query ends once three have been under way together
                    await lease.bind({"d": fd})
                    return pl.read_ipc(bytes(await lease.run(SUM))).item()

            return await asyncio.gather(*(one(i) for i in range(20))), most

    sums, most = asyncio.run(scenario())
    assert sums == [6] * 20
    assert most == 3


def test_waiting_has_an_end(pooling):
    async def scenario():
        async with pooling(concurrency=1) as pool, await pool.acquire():
            with pytest.raises(ServerError) as caught:
                await pool.acquire(timeout=0.2)
            return caught.value.code, len(pool._waiting)

    assert asyncio.run(scenario()) == ("server.worker.busy", 0)


def test_one_persons_flood_does_not_keep_another_waiting(pooling, table):
    fd = table(FRAME)

    async def scenario():
        order = []
        async with pooling(concurrency=1) as pool:

            async def one(who):
                await _sum(pool, fd, who)
                order.append(who)

            async with await pool.acquire("someone"):
                tasks = [asyncio.create_task(one("flood")) for _ in range(6)]
                await _until(lambda: len(pool._waiting) == 6)
                tasks.append(asyncio.create_task(one("other")))
                await _until(lambda: len(pool._waiting) == 7)
            await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()).index("other") <= 1


def test_a_waiter_that_gives_up_loses_no_worker(pooling, table):
    fd = table(FRAME)

    async def scenario():
        async with pooling(concurrency=1) as pool:
            for delay in (0.0, 0.001, 0.01, 0.02, 0.03):
                lease = await pool.acquire()
                waiter = asyncio.create_task(pool.acquire("x"))
                await asyncio.sleep(0)
                await lease.close()
                await asyncio.sleep(delay)
                waiter.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await (await waiter).close()
            return await _sum(pool, fd)

    assert asyncio.run(scenario()) == 6


def test_a_dead_zygote_is_replaced(pooling, table, caplog):
    fd = table(FRAME)

    async def scenario():
        async with pooling(spares=2) as pool:
            first = pool._nursery.pid
            os.kill(first, signal.SIGKILL)
            answers = [await _sum_or_error(pool, fd) for _ in range(6)]
            await _until(lambda: pool._nursery.pid != first and not pool._nursery.dead)
            return answers, await _sum(pool, fd)

    async def _sum_or_error(pool, fd):
        try:
            return await _sum(pool, fd)
        except ServerError as error:
            return error.code

    answers, last = asyncio.run(scenario())
    assert set(answers) <= {6, "server.worker.crashed"}
    assert answers[-1] == last == 6
    assert "started again" in caplog.text


def test_a_running_query_ends_with_the_zygote(pooling, probe):
    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            pid = lease.pid
            asyncio.get_running_loop().call_later(0.2, os.kill, pool._nursery.pid, signal.SIGKILL)
            with pytest.raises(ServerError) as caught:
                await probe(lease, "while True: pass")
            await _until(lambda: _gone(pid))
            return caught.value.code

    assert asyncio.run(scenario()) == "server.worker.crashed"


def test_dead_spares_are_replaced(pooling, table):
    fd = table(FRAME)

    async def scenario():
        async with pooling(spares=2) as pool:
            await _until(lambda: len(pool._ready) == 2)
            killed = set(pool._ready)
            for handle in killed:
                os.kill(handle.pid, signal.SIGKILL)
            await _until(lambda: len(pool._ready) == 2 and not killed & set(pool._ready))
            return await _sum(pool, fd)

    assert asyncio.run(scenario()) == 6


def test_a_worker_killed_from_outside_is_a_crash(pooling, table):
    fd = table(pl.DataFrame({"a": range(1_000_000)}))
    pairs = Join(Scan("d"), Scan("d"), "cross")
    plan = Select(pairs, (Alias(Call("sum", (Call("mul", (Column("a"), Column("a_right"))),)), "s"),))

    async def scenario():
        async with pooling(memory=8 << 30) as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            asyncio.get_running_loop().call_later(0.2, os.kill, lease.pid, signal.SIGKILL)
            with pytest.raises(ServerError) as caught:
                await lease.run(plan)
            return caught.value.code

    assert asyncio.run(scenario()) == "server.worker.crashed"


def test_nothing_leaks(pooling, table):
    """After a hundred queries of all fates: as many descriptors as before, no zombie, no process."""
    fd = table(FRAME)

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    async def scenario():
        before = descriptors()
        async with pooling(spares=2) as pool:
            zygote = pool._nursery.pid
            await _until(lambda: len(pool._ready) == 2)
            await _sum(pool, fd)
            await _until(lambda: len(pool._ready) == 2 and not pool._dying)
            settled = descriptors()
            for i in range(100):
                async with await pool.acquire() as lease:
                    await lease.bind({"d": fd})
                    match i % 5:
                        case 0:
                            await lease.run(SUM)
                        case 1:
                            with pytest.raises(ServerError):
                                await lease.run(Scan("nothing"))
                        case 2:
                            os.kill(lease.pid, signal.SIGKILL)
                            with pytest.raises(ServerError):
                                await lease.run(SUM)
                        case 3:
                            task = asyncio.create_task(lease.run(SUM))
                            await asyncio.sleep(0.001)
                            task.cancel()
                            with contextlib.suppress(asyncio.CancelledError):
                                await task
                        case 4:
                            lease.kill()
            await _until(lambda: len(pool._ready) == 2 and not pool._dying and not pool._starting)
            await asyncio.sleep(0.05)
            assert descriptors() == settled
            assert len(_children(zygote)) == 2
            assert not [p for p in _children(zygote) if _gone(p)]
        assert _gone(zygote)
        return before, descriptors()

    before, after = asyncio.run(scenario())
    assert after == before


def test_close_ends_running_queries_and_waiters(pooling, probe):
    async def scenario():
        async with pooling(concurrency=1) as pool:
            lease = await pool.acquire()
            pid = lease.pid
            running = asyncio.create_task(probe(lease, "while True: pass"))
            waiting = asyncio.create_task(pool.acquire())
            await asyncio.sleep(0.1)
            await pool.close()
            ends = await asyncio.gather(running, waiting, return_exceptions=True)
            with pytest.raises(ServerError) as caught:
                await pool.acquire()
            await _until(lambda: _gone(pid))
            return [e.code for e in (*ends, caught.value)]

    assert asyncio.run(scenario()) == ["server.worker.closed"] * 3


SERVER = """
import asyncio, os, sys
from bastion_server.workers import memfd
from bastion_server.workers.pool import Limits, WorkerPool
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import Join, Scan, Select
import polars as pl, io

async def main():
    buffer = io.BytesIO()
    pl.DataFrame({"a": range(1_000_000)}).write_ipc(buffer)
    fd = memfd.sealed(buffer.getvalue())
    pool = await WorkerPool.start(Limits(memory=8 << 30), spares=2)
    lease = await pool.acquire()
    await lease.bind({"d": fd})
    pairs = Join(Scan("d"), Scan("d"), "cross")
    run = asyncio.create_task(
        lease.run(Select(pairs, (Alias(Call("sum", (Call("mul", (Column("a"), Column("a_right"))),)), "s"),)))
    )
    while len(pool._ready) < 2:
        await asyncio.sleep(0.01)
    print(pool._nursery.pid, lease.pid, *(h.pid for h in pool._ready), flush=True)
    await run

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_killed_server(number):
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pids = [int(x) for x in server.stdout.readline().split()]
        assert len(pids) == 4
        assert not any(_gone(p) for p in pids)
        time.sleep(0.2)
        os.kill(server.pid, number)
        server.wait()
    end = time.monotonic() + 30
    while not all(_gone(p) for p in pids):
        assert time.monotonic() < end, [p for p in pids if not _gone(p)]
        time.sleep(0.02)


def test_workers_that_cannot_start_are_an_error(tmp_path):
    from bastion_server.workers.pool import WorkerPool

    broken = tmp_path / "broken.py"
    broken.write_text(
        textwrap.dedent(
            """
            from bastion_server.workers import zygote
            from bastion_server.workers.child import Child
            class Broken(Child):
                @classmethod
                def enclose(cls, limits, parent):
                    raise RuntimeError("a wall does not hold")
            zygote.main(Broken)
            """
        )
    )

    async def scenario():
        with pytest.raises(ServerError) as caught:
            await WorkerPool.start(command=(sys.executable, "-I", str(broken)))
        return caught.value.code

    assert asyncio.run(scenario()) == "server.worker.crashed"


def test_a_pool_may_live_on_any_threads_loop(pooling, table):
    """The zygote must not die with the thread that started it, only with the server."""
    import threading

    fd = table(FRAME)
    results = []

    def body():
        async def scenario():
            async with pooling() as pool:
                return await _sum(pool, fd)

        results.append(asyncio.run(scenario()))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert results == [6]


def test_fair_queue_takes_turns():
    queue: FairQueue[int] = FairQueue()
    for key, item in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)]:
        queue.put(key, item)
    queue.discard("c", 5)
    queue.discard("c", 99)
    assert len(queue) == 5
    assert [queue.take() for _ in range(5)] == [1, 4, 2, 6, 3]
    with pytest.raises(KeyError):
        queue.take()
