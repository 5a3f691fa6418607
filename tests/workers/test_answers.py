"""What comes back from a worker: small and large answers, heights, kept tables, errors without the engine's words."""

from __future__ import annotations

import asyncio
import datetime as dt
import os

import numpy as np
import polars as pl
import pytest
from bastion_plan.dtypes import INT64
from bastion_plan.errors import ServerError
from bastion_plan.expressions import Alias, Call, Cast, Column, Literal
from bastion_plan.nodes import Filter, GroupBy, Join, Scan, Select
from bastion_server.workers import memfd
from bastion_server.workers.pool import Limits, WorkerPool

DATA = pl.DataFrame(
    {
        "g": ["a", "b", None, "a"],
        "v": [1.5, float("nan"), None, float("-inf")],
        "when": [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1), dt.date(2022, 1, 1)],
        "l": [[1], [], None, [2, 3]],
    }
)


def test_a_plain_pool_answers_a_plan(table):
    """With the product's own zygote and engine, nothing of the tests in it."""
    fd = table(DATA)

    async def scenario():
        async with await WorkerPool.start(Limits(), spares=1) as pool, await pool.acquire("alice") as lease:
            await lease.bind({"d": fd})
            answer = await lease.run(Scan("d"))
            count = await lease.run(GroupBy(Scan("d"), (Column("g"),), (Alias(Call("len", (Column("v"),)), "n"),)))
            return pool.sandbox_report, answer, count

    report, answer, count = asyncio.run(scenario())
    assert report is not None
    assert answer.height == 4
    assert pl.read_ipc(bytes(answer)).equals(DATA)
    assert dict(pl.read_ipc(bytes(count)).rows()) == {"a": 2, "b": 1, None: 1}


def test_returns_choose_what_comes_back(pooling, table):
    fd = table(DATA)

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            nothing = await lease.run(Scan("d"), "#k", ())
            one = await lease.run(Scan("#k"), None, ("v", "g"))
            return nothing, one

    nothing, one = asyncio.run(scenario())
    assert (bytes(nothing), nothing.height) == (b"", 4)
    assert pl.read_ipc_stream(bytes(one)).equals(DATA.select("v", "g"))


def test_a_kept_result_and_the_judges_tables_are_sources(pooling, table):
    fd = table(DATA)
    tables = {
        "#keys": {"g": ["a", None], "w": np.array([10, 20], dtype=np.int64), "day": [dt.date(2020, 1, 1), None]},
        "#empty": {"g": []},
    }

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            await lease.run(Filter(Scan("d"), Call("is_not_null", (Column("g"),))), "#kept", ())
            joined = Join(Scan("#kept"), Scan("#keys"), "inner", (Column("g"),), (Column("g"),))
            answer = await lease.run(joined, None, ("g", "w", "day"), tables)
            empty = await lease.run(Scan("#empty"))
            return answer, empty

    answer, empty = asyncio.run(scenario())
    assert pl.read_ipc_stream(bytes(answer))["w"].to_list() == [10, 10]
    assert empty.height == 0


def test_nothing_is_kept_from_one_lease_to_the_next(pooling, table):
    fd = table(DATA)

    async def scenario():
        async with pooling() as pool:
            async with await pool.acquire() as lease:
                await lease.bind({"d": fd})
                await lease.run(Scan("d"), "#k", ())
            async with await pool.acquire() as lease:
                for name in ("d", "#k", "#warm", "#kept"):
                    with pytest.raises(ServerError) as caught:
                        await lease.run(Scan(name))
                    assert caught.value.code == "server.worker.refused"

    asyncio.run(scenario())


@pytest.mark.parametrize("rows", [60_000, 70_000, 131_072, 1_000_000])
def test_a_large_answer_comes_as_a_sealed_file(rows, pooling, table):
    frame = pl.DataFrame({"n": np.arange(rows), "s": [str(i % 7) for i in range(rows)]})
    fd = table(frame)

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            whole = await lease.run(Scan("d"))
            empty, file = await lease.run_to_file(Scan("d"))
            return whole, empty, file

    whole, empty, file = asyncio.run(scenario())
    assert whole.height == empty.height == rows
    assert pl.read_ipc(bytes(whole)).equals(frame)
    assert file >= 0
    assert memfd.is_sealed(file)
    assert memfd.read(file, os.fstat(file).st_size) == whole
    os.close(file)


def test_an_answer_over_the_limit_is_an_error_and_the_worker_lives(pooling, table):
    fd = table(pl.DataFrame({"n": np.random.default_rng(0).integers(0, 1 << 60, 1_000_000)}))

    async def scenario():
        async with pooling(answer=2 << 20) as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            with pytest.raises(ServerError) as caught:
                await lease.run(Scan("d"))
            again = await lease.run(Scan("d"), None, ())
            return caught.value.code, again.height

    assert asyncio.run(scenario()) == ("server.worker.answer", 1_000_000)


def test_the_engines_words_go_to_the_owners_log_only(pooling, table, words):
    fd = table(pl.DataFrame({"name": ["Mrs Secret Person"]}))

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            with pytest.raises(ServerError) as caught:
                await lease.run(Select(Scan("d"), (Cast(Column("name"), INT64),)))
            ok = await lease.run(Select(Scan("d"), (Alias(Literal(INT64, 1), "one"),)))
            return caught.value, ok.height

    error, height = asyncio.run(scenario())
    assert error.code == "server.worker.refused"
    assert "Secret" not in repr(vars(error)) + str(error)
    assert error.__cause__ is None
    assert any("Mrs Secret Person" in text for text in words)
    assert height == 1


def test_an_unsealed_file_is_not_bound(pooling):
    async def scenario():
        file = memfd.empty("open")
        try:
            async with pooling() as pool, await pool.acquire() as lease:
                with pytest.raises(ServerError) as caught:
                    await lease.bind({"d": file})
                return caught.value.code
        finally:
            os.close(file)

    assert asyncio.run(scenario()) == "server.worker.unsealed"


def test_many_datasets_are_bound_at_once(pooling, table):
    datasets = {f"d{i}": table(pl.DataFrame({"v": [i]})) for i in range(40)}

    async def scenario():
        async with pooling(files=128) as pool, await pool.acquire() as lease:
            await lease.bind(datasets)
            return [pl.read_ipc(bytes(await lease.run(Scan(name)))).item() for name in datasets]

    assert asyncio.run(scenario()) == list(range(40))


def test_a_bind_that_nobody_waits_for_comes_before_the_run(pooling, table):
    datasets = {f"d{i}": table(pl.DataFrame({"v": [i]})) for i in range(40)}

    async def scenario():
        async with pooling(files=128) as pool, await pool.acquire() as lease:
            await lease.bind(datasets, wait=False)
            return [pl.read_ipc(bytes(await lease.run(Scan(name)))).item() for name in datasets]

    assert asyncio.run(scenario()) == list(range(40))


def test_a_bind_that_fails_unheard_fails_the_run(pooling, probe, table):
    fd = table(DATA)
    source = "def bind(*a):\n    raise MemoryError\nchild.bind = bind"

    async def scenario():
        async with pooling() as pool:
            async with await pool.acquire() as lease:
                await probe(lease, source)
                await lease.bind({"d": fd}, wait=False)
                with pytest.raises(ServerError) as caught:
                    await lease.run(GroupBy(Scan("d"), (Column("g"),), (Alias(Call("len", (Column("v"),)), "n"),)))
            async with await pool.acquire() as lease:
                await lease.bind({"d": fd}, wait=False)
                return caught.value.code, (await lease.run(Scan("d"))).height

    code, height = asyncio.run(scenario())
    assert (code, height) == ("server.worker.memory", 4)


BROKEN = {
    "garbage": "child.sock.sendall(b'\\xff' * 64)",
    "a huge head": "import struct; child.sock.sendall(struct.pack('<II', 2**31, 0))",
    "a huge body": "import struct; child.sock.sendall(struct.pack('<II', 1, 2**31) + b'\\xc0')",
    "another message": "from bastion_server.workers.messages import Ready, SandboxReport; from bastion_server.workers.framing "
    "import send; send(child.sock, Ready(SandboxReport(0, False, False)))",
    "the end": "import os; os._exit(0)",
    "an abort": "import os; os.abort()",
    "a closed channel": "child.sock.close(); import time; time.sleep(60)",
    "a crash": "import ctypes; ctypes.string_at(8)",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_worker_that_talks_nonsense_is_a_crash_and_no_more(name, pooling, probe, table):
    fd = table(DATA)
    source = (
        "real = child.run\ndef run(*a):\n    "
        + BROKEN[name].replace("; ", "\n    ")
        + "\n    return real(*a)\nchild.run = run"
    )

    async def scenario():
        async with pooling() as pool:
            async with await pool.acquire() as lease:
                await lease.bind({"d": fd})
                await probe(lease, source)
                with pytest.raises(ServerError) as caught:
                    await lease.run(Scan("d"))
            async with await pool.acquire() as lease:
                await lease.bind({"d": fd})
                return caught.value.code, (await lease.run(Scan("d"))).height

    assert asyncio.run(scenario()) == ("server.worker.crashed", 4)


@pytest.mark.parametrize(
    "lie",
    [
        # the size is not the file's
        "os.ftruncate(file, 100); return Done(height=1, size=200), b''",
        # the file stays writable under the server's eyes
        "os.ftruncate(file, 4096); child.map = mmap.mmap(file, 4096); return Done(height=1, size=4096), b''",
    ],
)
def test_a_worker_cannot_cheat_with_the_answers_file(lie, pooling, probe, table):
    fd = table(DATA)
    source = (
        "import os, mmap\nfrom bastion_server.workers.messages import Done\ndef run(p, k, r, t, file):\n    "
        + lie.replace("; ", "\n    ")
    )

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            await probe(lease, source + "\nchild.run = run")
            with pytest.raises(ServerError) as caught:
                await lease.run(Scan("d"))
            return caught.value.code

    assert asyncio.run(scenario()) == "server.worker.crashed"


def test_workers_draw_different_random_rows(pooling, probe):
    """A fork copies no state of a random generator."""
    source = "import polars as pl; result = pl.DataFrame({'a': range(1000000)}).sample(5)['a'].to_list()"

    async def scenario():
        async with pooling() as pool:
            drawn = []
            for _ in range(2):
                async with await pool.acquire() as lease:
                    drawn.append(await probe(lease, source))
            return drawn

    first, second = asyncio.run(scenario())
    assert first != second
