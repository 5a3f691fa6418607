"""In which order a measurement of a model takes workers, tries and pays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars
import pytest
from bastion_plan.bind import bind
from bastion_plan.canonical import encode
from bastion_plan.errors import BastionError, ServerError
from bastion_plan.nodes import Scan
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.private.training import rows_for
from bastion_policy.private.verdicts import account_of
from bastion_server.private import mechanisms
from bastion_server.service.journal import Journal
from bastion_server.service.measuring import MeasuringService
from bastion_server.service.private import PrivateService
from bastion_server.store import AuditLog, Charge, Record, load_or_create
from bastion_server.store.binding import binding
from bastion_server.workers import memfd
from bastion_server.workers.errors import worker_error
from bastion_wire import messages as m
from faulty_files import FaultyFiles
from fit_line import people, spec
from in_process import Asked, with_service
from noisy import Desk
from query import Q

import bastion.expressions as pl


class World:
    """A service whose workers do as they are told; `did` is what happened."""

    def __init__(self, **fails: str) -> None:
        self.did: list[str] = []
        self.records: list[Record] = []
        self.aside: list[float] = []  # the noise on how many rows there are, of each count
        self.fails = fails
        policy = Policy.private(epsilon=8.0, unit="id", roles={"id": "identifier"})
        desk = Desk.of(people(20), policy, "id")
        bound, facts = bind(Scan("t"), desk.facts), desk.facts
        rows = rows_for(bound, facts, 1, spec())
        subject = SimpleNamespace(bound=bound, facts=facts, records={}, joint=False)
        self.terms = SimpleNamespace(
            spec=spec(), account=account_of([policy]), rows=rows, subject=subject, most_rows=100
        )
        training = SimpleNamespace(
            store=SimpleNamespace(
                ledger=SimpleNamespace(spend=lambda *_, **__: self.do("pay")),
                sealed=SimpleNamespace(load_into_memfd=lambda *_: memfd.sealed(b"weights")),
                runs=SimpleNamespace(metric=lambda *_: None, measured=lambda *place: place[-2]),
            ),
            journal=SimpleNamespace(write=self.write),
            turn=self.lent, pool=SimpleNamespace(acquire=self.acquire),
            queries=SimpleNamespace(
                lease=self.lent, pool=SimpleNamespace(acquire=self.trial), catalogue=SimpleNamespace(check_unchanged=lambda *_: None)
            ),
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

        async def try_out(*_: Any) -> None:
            pass

        yield SimpleNamespace(run=run, try_out=try_out, run_to_file=run_to_file, close=close)

    async def trial(self, *_: Any, **__: Any) -> Any:
        return self.lent()

    async def acquire(self, *_: Any, **__: Any) -> Any:
        @asynccontextmanager
        async def lease() -> AsyncIterator[Any]:
            yield SimpleNamespace(load=self.load, evaluate=self.evaluate)

        return lease()

    async def load(self, graph: bytes, spec: Any, key: bytes, rows: int, weights: int, **_: Any) -> None:
        self.whose = "of people" if os.fstat(rows).st_size == 4 else "of nobody"

    async def evaluate(self, metric: str, part: str, bound: float, aside: float) -> Any:
        self.aside.append(aside)
        self.do(f"count {self.whose}")
        return SimpleNamespace(counts=(30_000, 90_000) if self.whose == "of people" else (0, 0))

    async def write(self, records: Any) -> None:
        self.records += records

    async def send(self, body: object) -> None:
        self.told = body

    @property
    def asked(self) -> tuple[Any, m.TestRun, Any]:
        run = SimpleNamespace(
            id="f", graph=b"", spec=spec(), versions={}, plan_hash="", fit_hash="", requester="alice", words=""
        )
        return run, m.TestRun("f", "accuracy", epsilon=4.0), SimpleNamespace(sealed=None, step=1)

    def measure(self) -> tuple[m.Metric, str]:
        run, body, weights = self.asked
        return asyncio.run(self.service._measure(run, self.terms, weights, body, 4.0, "alice"))  # type: ignore[arg-type]

    def answer(self) -> m.Metric:
        run, body, weights = self.asked
        request = SimpleNamespace(principal=SimpleNamespace(name="alice"), send=self.send)
        asyncio.run(self.service._answer(request, run, self.terms, weights, body, 4.0))  # type: ignore[arg-type]
        assert isinstance(self.told, m.Metric)
        return self.told


ORDER = ["count of nobody", "rehearse", "reader", "pay", "read", "count of people"]


def test_all_that_may_fail_of_itself_comes_before_the_payment() -> None:
    world = World()
    found, failed = world.measure()
    assert found.value == pytest.approx(0.75, abs=0.01)
    assert failed == ""
    assert world.did == ORDER


@pytest.mark.parametrize("rows", [1, 4])
def test_a_measurement_is_charged_what_its_noise_costs(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise on the numbers, and that on how many rows there are, which the clock tells, both by all rows of a person."""
    world, paid, scales, real = World(), list[dict[str, Charge]](), list[float](), mechanisms.gaussian

    def gaussian(values: Any, scale: float, *rest: Any) -> Any:
        scales.append(scale)
        return real(values, scale, *rest)

    monkeypatch.setattr(mechanisms, "gaussian", gaussian)
    training, account = world.service._training, world.terms.account
    assert account is not None
    training.fits = SimpleNamespace(domains=lambda *_: (), accounts=lambda _: {"people": account})  # type: ignore[assignment]
    training.store.ledger.spend = lambda charges, **_: paid.append(charges)  # type: ignore[method-assign,assignment]
    world.terms.spec = spec(rows=rows, batch=64)
    found, _ = world.measure()
    ((charge,),) = (some.values() for some in paid)
    assert (charge.cap, charge.order) == (account.cap, account.order)
    assert account.epsilon_of(charge.cost) == pytest.approx(4.0, rel=1e-3) and found.epsilon == 4.0
    assert len(world.aside) == 2 and len({*world.aside}) == 1, "nobody is counted as people are"
    noise = (rows / scales[0]) ** 2 / 2 + (rows / world.aside[0]) ** 2 / 2
    assert len(scales) == 1
    assert charge.cost.rho_value * 0.999 < noise <= charge.cost.rho_value


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
    """Noise about nobody, whatever it was. The log has as many records as otherwise: its size goes with answers."""
    world, other = World(**{step: reason}), World()
    found = world.answer()
    assert found.noisy
    assert found.value is None, "too few to say"
    assert world.did[-1] == step
    assert other.answer().value is not None
    assert [r.kind for r in world.records] == [r.kind for r in other.records] == ["intent", "outcome"]
    assert [r.red for r in world.records] == [False, True]
    words = f"; failed: {worker_error(reason).code}; answered with noise as if nobody were there"
    assert world.records[-1].summary == other.records[-1].summary + words
    assert not any(r.red for r in other.records)


class Full:
    """A real log whose disk is full from some moment on."""

    def __init__(self, folder: Path) -> None:
        self.disk = FaultyFiles()
        self.log = AuditLog(folder, load_or_create(folder), 1000.0, files=self.disk)

    def break_now(self) -> None:
        self.disk.fail_at = len(self.disk.calls)


@pytest.mark.parametrize("step", ["read", "count of people"])
def test_a_log_that_cannot_be_written_behind_the_payment_tells_nothing(tmp_path: Path, step: str) -> None:
    """Whether a count failed is not told by a log that breaks: nothing is written before what was paid is drawn, the next record fails."""
    full, world = Full(tmp_path), World(**{step: "memory"})
    journal = world.service._training.journal = Journal(SimpleNamespace(audit=full.log))  # type: ignore[arg-type,assignment]
    pays = world.service._training.store.ledger.spend

    def spend(*args: Any, **more: Any) -> None:
        pays(*args, **more)
        full.break_now()

    world.service._training.store.ledger.spend = spend  # type: ignore[method-assign]
    found, failed = world.measure()
    assert found.noisy
    assert found.value is None
    assert failed
    assert world.did.count("pay") == 1
    assert len(full.disk.calls) == full.disk.fail_at, "nothing was tried behind the payment"
    with pytest.raises(ServerError) as caught:
        asyncio.run(journal.write([Record(1000.0, "outcome", "alice", "answered")]))
    assert caught.value.code == "server.audit.failed"
    full.log.close(2000.0)


def test_the_books_hold_when_the_log_breaks_behind_a_payment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked is told of the log; the answer that was paid is kept, as one of nobody, and is had for nothing later."""
    frame = polars.DataFrame({"x": [i % 2 for i in range(100)]})
    policy = Policy.private(epsilon=8.0, unit="row", roles={"x": Role(RoleKind.MEASURE, 0, 1)})

    async def use(service: Any, dataset: str) -> None:
        store, disk = service.store, FaultyFiles()
        spend = store.ledger.spend

        def pays(*args: Any, **more: Any) -> None:
            spend(*args, **more)
            store.audit._files, disk.fail_at = disk, 0

        async def fails(*_: Any) -> Any:
            raise worker_error("memory")

        monkeypatch.setattr(store.ledger, "spend", pays)
        monkeypatch.setattr(PrivateService, "_measured", _failing(PrivateService._measured, fails))
        plan = Q(dataset).select(pl.col("x").sum()).plan
        asked = Asked(m.Query(encode(plan), epsilon=2.0), "alice")
        with pytest.raises(ServerError) as caught:
            await service.handle(asked)
        assert caught.value.code == "server.audit.failed"
        assert asked.answers == []
        assert disk.failed == 1, "it was the outcome that failed"
        subject, _ = await service.queries.subject(encode(plan), "alice")
        kept = store.ledger.answer(subject.plan_hash, binding(subject.versions, subject.policy_versions), None)
        assert kept is not None and kept.epsilon == pytest.approx(2.0)
        assert len(store.ledger.entries(dataset)) == 1

    asyncio.run(with_service(tmp_path, use, frame, policy))


@pytest.mark.parametrize("reason", ["", "memory", "crashed"])
def test_a_log_is_as_long_whether_a_measurement_failed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """How many records there are goes with every answer. The owner finds a red outcome, which is no unsafe answer."""
    frame = polars.DataFrame({"x": [i % 2 for i in range(100)]})
    policy = Policy.private(epsilon=8.0, unit="row", roles={"x": Role(RoleKind.MEASURE, 0, 1)})

    async def fails(*_: Any) -> Any:
        raise worker_error(reason)

    async def use(service: Any, dataset: str) -> None:
        if reason:
            monkeypatch.setattr(PrivateService, "_measured", _failing(PrivateService._measured, fails))
        plan = Q(dataset).select(pl.col("x").sum()).plan
        asked = Asked(m.Query(encode(plan), epsilon=2.0), "alice")
        await service.handle(asked)
        audit = service.store.audit
        records = [audit.record(i) for i in range(len(audit))]
        assert [r.kind_of for r in records] == ["intent", "outcome"]
        (head,) = asked.answers
        assert isinstance(head, m.Table)
        assert head.checkpoint is not None and head.checkpoint.size == 2
        assert (records[-1].red, "as if nobody" in records[-1].summary) == (bool(reason), bool(reason))
        again = Asked(m.Query(encode(plan), epsilon=2.0), "alice")
        await service.handle(again)
        assert [audit.record(i).red for i in range(2, len(audit))] == [False] * (len(audit) - 2), "it is told once"
        (exposed,) = (await service.exposure.of(service.store.datasets.get(dataset))).audiences
        assert (exposed.answers, exposed.unsafe) == (2, 0)

    asyncio.run(with_service(tmp_path, use, frame, policy))


def _failing(measured: Any, fails: Any) -> Any:
    """Measure with a worker that fails at every run."""

    async def run(self: Any, lease: Any, *rest: Any) -> Any:
        return await measured(self, SimpleNamespace(run=fails), *rest)

    return run
