"""A service without a network: its answers are collected."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import polars as pl
from bastion_policy.facts import DatasetFacts, column_facts
from bastion_policy.model import Policy
from bastion_server.channel.keys import Principal
from bastion_server.service.server import Service
from bastion_server.service.uploads import seal
from bastion_server.store import Datasets, Store
from bastion_server.workers import memfd
from bastion_server.workers.pool import WorkerPool
from bastion_wire import messages as m

NUMBERS = pl.DataFrame({"a": range(100)})
OPEN = Policy.open()


class Asked:
    """A request without a network."""

    def __init__(self, body: m.AnyRequest, who: str) -> None:
        self.body = body
        self.principal = Principal(who, ("user",), "", b"")
        self.answers: list[object] = []

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        pass

    async def send(self, body: object, data: object = None) -> None:
        self.answers.append(body)

    async def stream(self, table: object, data: object) -> None:
        self.answers.append(table)


async def with_service(
    folder: Path,
    use: Callable[[Service, str], Awaitable[None]],
    frame: pl.DataFrame = NUMBERS,
    policy: Policy = OPEN,
) -> None:
    """Call `use(service, dataset id)` with a service that has one table of olga's, an open one unless told otherwise."""
    store = Store.open(folder, time.time())
    try:
        async with await WorkerPool.start() as pool:
            service = Service(store, pool, lambda name, push: 0)
            file = memfd.sealed(_ipc(frame))
            async with await pool.acquire() as lease:
                found = await lease.register(file)
            facts = DatasetFacts(
                id=Datasets.new_id(), name="t", version=1, columns=column_facts(found.schema, found.facts, policy),
                policy=policy, owner="olga",
            )  # fmt: skip
            sealed = seal(store, found.file, found.size)
            store.datasets.add(facts, found.facts, now=1.0, sealed=sealed, allow=("*",))
            try:
                await use(service, facts.id)
            finally:
                await service.close()
    finally:
        store.close()


def _ipc(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_ipc(out)
    return out.getvalue()
