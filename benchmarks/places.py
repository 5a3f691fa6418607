"""Where the guard is measured: plain Polars, the guard alone in this process, and a real server with many audiences.

What is asked, and of which table, stands here too, for all three must ask the same.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import polars as pl
from bastion_plan.bind import bind
from bastion_plan.errors import BastionError
from bastion_plan.nodes import Node
from bastion_policy.facts import DatasetFacts
from bastion_policy.history import History, Past
from bastion_policy.history.encoding import pack_past, pack_roster, unpack_roster
from bastion_policy.judge import judge
from bastion_policy.verdict import Measured
from bastion_server import start
from bastion_server.process import Handle
from bastion_server.service.queries import columns
from bastion_server.store import Store
from bastion_server.store.histories import ROSTER
from bastion_server.workers import memfd
from bastion_server.workers.messages import Limits
from bastion_server.workers.pool import WorkerPool

from bastion import Connection, Identity
from bastion.policy import Aggregation, Policy, Review, measure
from benchmarks.history import bytes_of, session, spread_over

#: values of the columns that earlier releases were filtered by
FILTERS = 20
LIMITS: dict[str, Any] = {"memory": float(8 << 30), "seconds": 300.0}
#: of all noisy answers together
EPSILON = 1000.0
ROLES: dict[str, Any] = {
    "unit": "identifier", "k": "quasi", "g": "quasi", "f": "quasi", "c": "quasi", "m": "quasi", "n": "quasi",
    "x": measure(0, 100_000, varies=True), "y": measure(0, 1000, varies=True),
}  # fmt: skip


def few(rows: int) -> int:
    """Return how many groups are few in a table of so many rows: 100, or so many that history and new cells stay large."""
    return min(100, max(2, rows // 50_000))


def table(rows_per_unit: int, rows: int) -> pl.DataFrame:
    """Return 9 columns: unit, keys of few (k, c), 20 (g, f), rows / 1,000 (m) and rows / 10 values (n), two values; seeded."""
    n = pl.int_range(rows, dtype=pl.Int64, eager=True).alias("n").to_frame()
    mixed, other = pl.col("n").hash(7), pl.col("n").hash(8)
    return n.select(
        (pl.col("n") // rows_per_unit).alias("unit"),
        (mixed % few(rows)).cast(pl.Int32).alias("k"),
        (mixed // 128 % FILTERS).cast(pl.Int32).alias("g"),
        (mixed // 4096 % 20).cast(pl.Int32).alias("f"),
        (mixed // 131_072 % few(rows)).cast(pl.Int32).alias("c"),
        (other % max(2, rows // 1000)).cast(pl.Int32).alias("m"),
        (other // 65_536 % max(2, rows // 10)).cast(pl.Int32).alias("n"),
        (mixed // 16_777_216 % 100_000).cast(pl.Float64).alias("x"),
        (mixed // 16 % 1000).cast(pl.Int64).alias("y"),
    )


@dataclass(frozen=True)
class Question:
    """A query. exact: whether most of its cells need the exact pass where units have several rows. after: also asked with a history."""

    name: str
    ask: Callable[[Any], Any]
    exact: bool = False
    after: bool = False


def questions(rows: int) -> list[Question]:
    """Return what is asked of a table of so many rows."""

    def mean(frame: Any, key: str) -> Any:
        return frame.group_by(key).agg(pl.col("x").mean())

    return [
        Question(f"{few(rows)} groups", lambda f: mean(f, "c"), after=True),
        Question(f"{max(2, rows // 1000):,} groups", lambda f: mean(f, "m")),
        Question(f"{max(2, rows // 10):,} groups", lambda f: mean(f, "n"), exact=True),
        Question(f"a 5% filter, {few(rows)} groups", lambda f: mean(f.filter(pl.col("f") == 3), "k"), after=True),
    ]


def policies(rows_per_unit: int) -> dict[str, Policy]:
    """Return the profiles, with declared roles and bounds."""
    default = Policy(safe_zone=Aggregation(10), unsafe_handling=Review(), unit="unit", roles=ROLES)
    private = Policy.private(EPSILON, unit="unit", roles=default.roles)
    if rows_per_unit == 1:
        private = msgspec.structs.replace(private, rows_per_unit=1)
    return {
        "default": default,
        "strict": msgspec.structs.replace(Policy.strict("unit"), roles=default.roles),
        "private": private,
    }


# ---- plain Polars ----------------------------------------------------------------------------------------------------


class Plain:
    """Plain Polars on the same file, in a warm process of its own."""

    def __init__(self, path: Path, rows: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._go, self._took = context.Queue(), context.Queue()
        self._process = context.Process(target=_plain, args=(str(path), rows, self._go, self._took))

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._go.put(None)
        self._process.join(30)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def run(self, number: int) -> float:
        """Return the seconds of one run of the question of that number."""
        self._go.put(number)
        return float(self._took.get(timeout=300))


def _plain(path: str, rows: int, go: Any, took: Any) -> None:
    frame, asked = pl.scan_ipc(path), questions(rows)
    while (number := go.get(timeout=3600)) is not None:
        query = asked[number].ask(frame)
        begin = time.perf_counter()
        query.collect()
        took.put(time.perf_counter() - begin)


# ---- the guard alone -------------------------------------------------------------------------------------------------


class Alone:
    """The judge and a pool of workers in this process: no server, no wire, no log, no history."""

    def __init__(self, path: Path) -> None:
        self._runner = asyncio.Runner()
        self._path, self._file = path, -1

    def __enter__(self) -> Self:
        self._pool = self._runner.run(WorkerPool.start(Limits(memory=int(LIMITS["memory"]), seconds=LIMITS["seconds"])))
        self._registered = self._runner.run(self._register())
        self._file = self._registered.file
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._pool.close())
        self._runner.close()
        if self._file >= 0:
            os.close(self._file)

    async def _register(self) -> Any:
        upload = memfd.sealed(self._path.read_bytes())
        try:
            async with await self._pool.acquire("bench") as lease:
                return await lease.register(upload, "unit")
        finally:
            os.close(upload)

    def run(self, plan: Node, facts: DatasetFacts) -> bool:
        """Judge a plan and run what may leave; False where nothing may."""
        return self._runner.run(self._run(plan, facts))

    async def _run(self, plan: Node, facts: DatasetFacts) -> bool:
        known = {facts.id: facts}
        steps = judge(bind(plan, known), known, {facts.id: self._registered.facts}, "bench", History())
        measured: Measured | None = None
        async with await self._pool.acquire("bench") as lease:
            await lease.bind({facts.id: self._file}, wait=False)
            try:
                while True:
                    step = next(steps) if measured is None else steps.send(measured)
                    measured = columns(await lease.run(step.plan, step.keep, step.returns, step.tables))
            except StopIteration as stop:
                verdict = stop.value
            if verdict.release is None:
                return False
            _, large = await lease.run_to_file(verdict.release)
            if large >= 0:
                os.close(large)
        return True


# ---- through a server ------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """A server's directory, its owner, and as many users as there are audiences to be asked for."""

    folder: Path
    rows: int
    runs: int
    owner: Identity = field(init=False)
    users: list[Identity] = field(init=False)

    def __post_init__(self) -> None:
        keys = self.folder / "keys"
        asked = questions(self.rows)
        fresh = 2 * len(asked) * self.runs + 2
        filled = 2 * sum(q.after for q in asked) * self.runs + 1
        self.owner = Identity.create("olga", keys)
        self.users = [Identity.create(f"u{i:03}", keys) for i in range(fresh + filled)]
        self.filled, self.fresh = self.users[:filled], iter(self.users[filled:])

    @contextmanager
    def served(self) -> Iterator[Handle]:
        """Run the server."""
        with start(self.folder / "server", owners=[self.owner], users=self.users, **LIMITS) as server:
            yield server

    def fill(self, name: str, data: pl.DataFrame, releases: int) -> dict[str, float]:
        """Give the users of `filled` a history about a table, beside the server, which must not run; returns bytes.

        The releases are made of the judge's own parts; only asking for all of them would take hours.
        """
        store = Store.open(self.folder / "server", time.time())
        try:
            record = store.datasets.find(name)
            assert record is not None
            facts = record.facts
            _, text = store.histories.get(facts.domain, ROSTER)
            roster = unpack_roster(text)
            kind = np.zeros(roster.size, np.int64)
            kind[roster.versions[facts.id, facts.version]] = (data["k"].cast(pl.Int64) * FILTERS + data["g"]).to_numpy()
            channel = spread_over(session(releases, few(self.rows), FILTERS), kind)
            past = Past({"": channel}, {(facts.id, facts.version, ""): True})
            packed = pack_past(past)
            for user in self.filled:
                domain, audience = facts.audience(user.name)
                store.histories.put(domain, audience, packed, expected=0, now=time.time())
            roster_bytes = len(pack_roster(roster))
        finally:
            store.close(time.time())
        return {"arrays": bytes_of(channel), "disk": len(packed), "roster": roster_bytes}


@contextmanager
def connected(server: Handle, identity: Identity) -> Iterator[Connection]:
    """Connect as someone."""
    with Connection(server.endpoint, identity=identity, server_key=server.server_key) as connection:
        yield connection


def resident(pid: int) -> float:
    """Return the resident MB of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def fetched(query: Any, epsilon: float | None = None) -> str:
    """Run a query to its end; returns the rule that does not let it be answered, or ""."""
    try:
        query.fetch(epsilon=epsilon)
    except BastionError as error:
        return error.code
    return ""
