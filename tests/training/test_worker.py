"""One real training worker behind its walls: fits end to end, what is refused, and how it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import pytest_asyncio
from bastion_plan.errors import BastionError
from bastion_plan.models.graph import Graph, Node, Ref, encode
from bastion_plan.models.graph import Tensor as Spec
from safetensors.torch import load
from safetensors.torch import save as to_bytes

sys.path.insert(0, str(Path(__file__).parent))
from bastion_server.training import lease as leases
from bastion_server.training.lease import TrainingLease, TrainingPool
from bastion_server.workers import memfd
from bastion_server.workers.messages import MACHINE_MEMORY, Limits
from fitting import GB, KEY, arrow, mlp, sent, spec, table
from models import MODELS, batch, made

from bastion.client.training.exporting import export

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[TrainingPool]:
    words: list[str] = []
    pool = TrainingPool(
        Limits(memory=2 * GB, threads=1, seconds=600), on_engine_text=lambda label, text: words.append(text)
    )
    pool.words = words  # type: ignore[attr-defined]
    yield pool
    await pool.close()


async def begin(worker: TrainingLease, how: Any, graph: bytes, weights: bytes, frame: Any = None, **more: Any) -> Any:
    rows, numbers = memfd.sealed(arrow(table() if frame is None else frame)), memfd.sealed(weights)
    try:
        return await worker.load(graph, how, KEY, rows, numbers, **({"memory": GB} | more))
    finally:
        os.close(rows)
        os.close(numbers)


def taken(file: int) -> bytes:
    try:
        return bytes(memfd.read(file, os.fstat(file).st_size))
    finally:
        os.close(file)


async def test_a_fit_behind_the_walls_from_the_first_step_to_the_weights(pool: TrainingPool) -> None:
    graph, weights = sent(mlp())
    async with await pool.acquire() as worker:
        report = pool.sandbox_report
        assert report is not None and report.seccomp and report.landlock
        how = spec(steps=12)
        loaded = await begin(worker, how, encode(graph), weights)
        assert (loaded.people, loaded.rows, loaded.step) == (200, 200, 0)
        done = await worker.steps(5, 1.0)
        assert done.step == 5 and done.finite and done.loss is not None
        with pytest.raises(BastionError) as refused:
            await worker.evaluate("confusion", "train", 10.0, 0.0)
        assert refused.value.code == "train.noise"
        counted = await worker.evaluate("confusion", "train", 10.0, 20.0)
        assert sum(counted.counts) == 200 and counted.sensitivity == 1.0
        state = taken(await worker.save(checkpoint=True))
        plain = load(taken(await worker.save(checkpoint=False)))
        assert plain.keys() == {w.name for w in graph.weights}
        with pytest.raises(BastionError) as refused:
            await worker.steps(1, 0.0)
        assert refused.value.code == "train.noise"
        # and it goes on in another worker, from the checkpoint
        assert await worker.tight(0.2, 1.0, 5, 1e-5) == pytest.approx(3.891, rel=1e-3)
    async with await pool.acquire() as worker:
        loaded = await begin(worker, how, encode(graph), state, checkpoint=True)
        assert loaded.step == 5
        assert (await worker.steps(7, 1.0)).step == 12
        # without noise, on data that an owner gave free
        exact = spec(private=False, steps=60, batch=50)
        await begin(worker, exact, encode(graph), weights)
        assert (await worker.steps(60)).finite
        wrong, right = (await worker.evaluate("accuracy", "train", 1.0, 0.0)).counts
        assert right / (wrong + right) > 0.9


@pytest.mark.parametrize("private", [True, False])
async def test_models_of_every_kind_are_trained_behind_the_walls(pool: TrainingPool, private: bool) -> None:
    """Nothing is left that torch would import, open or compile on the way."""
    async with await pool.acquire() as worker:
        for name in MODELS:
            module, row = made(name)
            one = not name.endswith("regression")
            exported = export(module, [row])
            weights = to_bytes({w.name: exported.weights[w.name].contiguous() for w in exported.graph.weights})
            rows = batch(row, 6).reshape(6, -1).tolist()
            frame = table(6, 1).with_columns(x0=pl.Series(rows), y=pl.Series([0, 1] * 3))
            how = spec(
                1, private=private, loss="cross_entropy" if one else "l2", rate=0.5, expected=3.0, steps=2, batch=3
            )
            await begin(worker, how, encode(exported.graph), weights, frame)
            assert (await worker.steps(2, 1.0 if private else 0.0)).finite, name
            assert sum((await worker.evaluate("loss", "train", 5.0, 3.0 if private else 0.0)).counts) == 6 * 4096, name


async def test_what_is_refused_says_why_and_the_worker_lives_on(pool: TrainingPool) -> None:
    graph, weights = sent(mlp())
    bomb = Graph(
        "sample",
        (Spec("x", (4,), trained=False),),
        (Spec("w", (2, 4)),),
        (
            Node("full", ((1, 1 << 38), 1.0, None)),
            Node("sum", (Ref(2), None, False)),
            Node("linear", (Ref(0), Ref(1), None)),
        ),
        4,
    )
    other = sent(mlp(wide=9))[1]
    nulls = table().with_columns(x1=None)
    for code, how, with_graph, with_weights, frame in (
        ("model.memory", spec(), bomb, weights, None),
        ("model.weights", spec(), graph, other, None),
        ("model.weights", spec(), graph, b"\x80\x04cposix\nsystem\n.", None),
        ("fit.columns", spec(labels=("name",)), graph, weights, None),
        ("fit.columns", spec(), graph, weights, table().with_columns(y=table()["y"].cast(str))),
        ("fit.nulls", spec(private=False), graph, weights, nulls.cast({"x1": float})),
        ("fit.device", spec(device="cuda"), graph, weights, None),
        ("fit.loss", spec(loss="__import__"), graph, weights, None),
        ("fit.privacy", spec(clip=float("nan")), graph, weights, None),
    ):
        async with await pool.acquire() as worker:
            with pytest.raises(BastionError) as refused:
                await begin(worker, how, encode(with_graph), with_weights, frame)
            assert refused.value.code == code, refused.value
            assert refused.value.next_step
            await begin(worker, spec(), encode(graph), weights)


async def test_the_kernel_itself_keeps_a_training_worker_s_limits(pool: TrainingPool) -> None:
    """As it says them of the process: what a fit may reserve, write and open, and that it leaves no dump."""
    limits = Limits(memory=2 * GB)
    async with await pool.acquire() as worker:
        lines = Path(f"/proc/{worker.pid}/limits").read_text().splitlines()[1:]
    found = {line[:26].strip(): tuple(line[26:].split()[:2]) for line in lines}
    for name, most in (
        ("Max address space", limits.address_wall), ("Max file size", MACHINE_MEMORY), ("Max open files", limits.files),
        ("Max core file size", 0),
    ):  # fmt: skip
        soft, hard = found[name]
        assert soft == hard and 0 <= int(soft) <= most, (name, found[name])


async def test_a_worker_that_dies_or_is_stopped_is_an_error(pool: TrainingPool) -> None:
    graph, weights = sent(mlp())
    async with await pool.acquire() as worker:
        await begin(worker, spec(steps=100_000), encode(graph), weights)
        running = asyncio.create_task(worker.steps(100_000, 1.0))
        await asyncio.sleep(0)
        worker.kill()
        with pytest.raises(BastionError) as refused:
            await running
        assert refused.value.code == "interrupted.query"
    async with await pool.acquire() as worker:
        await begin(worker, spec(), encode(graph), weights)
        os.kill(worker.pid, 9)
        with pytest.raises(BastionError) as refused:
            await worker.steps(1, 1.0)
        assert refused.value.code == "server.worker.crashed"


async def test_without_torch_a_server_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "find_spec", lambda name: None)
    with pytest.raises(BastionError) as refused:
        await TrainingPool().acquire()
    assert refused.value.code == "train.missing"
    assert "pip install '.[train]'" in refused.value.next_step
