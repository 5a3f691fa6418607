"""In which order a measurement of a model takes workers, tries and pays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from bastion_plan.bind import bind
from bastion_plan.errors import BastionError
from bastion_plan.nodes import Scan
from bastion_policy.model import Policy
from bastion_policy.private.training import rows_for
from bastion_policy.private.verdicts import account_of
from bastion_server.service.measuring import MeasuringService
from bastion_server.workers import memfd
from bastion_server.workers.errors import worker_error
from bastion_wire import messages as m
from fit_line import people, spec
from noisy import Desk


class World:
    """A service whose workers do as they are told; `did` is what happened."""

    def __init__(self, **fails: str) -> None:
        self.did: list[str] = []
        self.fails = fails
        policy = Policy.private(epsilon=8.0, unit="id", roles={"id": "identifier"})
        desk = Desk.of(people(20), policy, "id")
        bound, facts = bind(Scan("t"), desk.facts), desk.facts
        rows = rows_for(bound, facts, 1, spec())
        subject = SimpleNamespace(bound=bound, facts=facts, records={})
        self.terms = SimpleNamespace(
            spec=spec(), account=account_of([policy]), rows=rows, subject=subject, most_rows=100
        )
        training = SimpleNamespace(
            store=SimpleNamespace(
                ledger=SimpleNamespace(spend=lambda *_, **__: self.do("pay")),
                sealed=SimpleNamespace(load_into_memfd=lambda *_: memfd.sealed(b"weights")),
            ),
            journal=SimpleNamespace(write=self.note),
            turn=self.lent, pool=SimpleNamespace(acquire=self.acquire), queries=SimpleNamespace(lease=self.lent, pool=SimpleNamespace(acquire=self.trial)),
            split_key=lambda _: bytes(32), settings=SimpleNamespace(memory=1 << 28),
            fits=SimpleNamespace(domains=lambda *_: (), accounts=lambda _: {}),
        )  # fmt: skip
        self.service = MeasuringService(training)  # type: ignore[arg-type]

    def do(self, what: str) -> None:
        self.did.append(what)
        if what in self.fails:
            raise worker_error(self.fails[what])

    @asynccontextmanager
    async def lent(self, *args: Any) -> AsyncIterator[Any]:
        if len(args) > 1:
            self.do("reader")

        async def run(*_: Any) -> None:
            self.do("rehearse")

        async def run_to_file(*_: Any) -> tuple[bytes, int]:
            self.do("read")
            return b"", memfd.sealed(b"rows")

        async def close() -> None:
            pass

        yield SimpleNamespace(run=run, run_to_file=run_to_file, close=close)

    async def trial(self, *_: Any, **__: Any) -> Any:
        return self.lent()

    async def acquire(self, *_: Any, **__: Any) -> Any:
        @asynccontextmanager
        async def lease() -> AsyncIterator[Any]:
            yield SimpleNamespace(load=self.load, evaluate=self.evaluate)

        return lease()

    async def load(self, graph: bytes, spec: Any, key: bytes, rows: int, weights: int, **_: Any) -> None:
        self.whose = "of people" if os.fstat(rows).st_size == 4 else "of nobody"

    async def evaluate(self, *_: Any) -> Any:
        self.do(f"count {self.whose}")
        return SimpleNamespace(counts=(30_000, 90_000) if self.whose == "of people" else (0, 0))

    async def note(self, records: Any) -> None:
        self.did += ["owner's log"] if any(r.red for r in records) else []

    def measure(self) -> m.Metric:
        run = SimpleNamespace(
            id="f", graph=b"", spec=spec(), versions={}, plan_hash="", fit_hash="", requester="alice", words=""
        )
        body, weights = m.TestRun("f", "accuracy", epsilon=4.0), SimpleNamespace(sealed=None)
        return asyncio.run(self.service._measure(run, self.terms, weights, body, 4.0, "alice"))  # type: ignore[arg-type]


ORDER = ["count of nobody", "rehearse", "reader", "pay", "read", "count of people"]


def test_all_that_may_fail_of_itself_comes_before_the_payment() -> None:
    world = World()
    assert world.measure().value == pytest.approx(0.75, abs=0.01)
    assert world.did == ORDER


@pytest.mark.parametrize("step", ["count of nobody", "rehearse", "reader"])
@pytest.mark.parametrize("reason", ["busy", "refused", "memory"])
def test_what_fails_before_is_told_and_nothing_is_paid(step: str, reason: str) -> None:
    world = World(**{step: reason})
    with pytest.raises(BastionError) as failed:
        world.measure()
    assert failed.value.code in (f"server.worker.{reason}", "fit.plan")
    assert "pay" not in world.did
    assert world.did[-1] == step


@pytest.mark.parametrize("step", ["read", "count of people"])
@pytest.mark.parametrize("reason", ["busy", "refused", "memory", "crashed", "stopped"])
def test_what_fails_behind_it_is_told_to_the_owner_alone(step: str, reason: str) -> None:
    """Noise about nobody, whatever it was."""
    world = World(**{step: reason})
    found = world.measure()
    assert found.noisy
    assert found.value is None, "too few to say"
    assert world.did[-2:] == [step, "owner's log"]
