"""What is told of a query about people that fails, and how often: it may depend on one person's row."""

from __future__ import annotations

import asyncio
from typing import Any

import polars
import pytest
from bastion_plan.canonical import encode
from bastion_plan.errors import BastionError, PlanError
from bastion_policy import flow_expressions, judge_cells
from bastion_policy.history import MOST_FAILED
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind
from bastion_server.workers.errors import worker_error
from bastion_wire import messages as m
from in_process import Asked, with_service
from query import Q

import bastion.expressions as pl

N = 300
FRAME = polars.DataFrame({"age": [20 + i % 50 for i in range(N)], "pay": [1000.0 + i % 90 for i in range(N)]})
ROLES = {"age": Role(RoleKind.QUASI), "pay": Role(RoleKind.MEASURE, 0, 2000)}
GUARDED = Policy(Aggregation(10), Review(), unit="row", roles=ROLES)
TOLD = "server.query.failed"


def month(edge: float) -> Any:
    """A thirteenth month, if somebody's pay is above an edge."""
    return pl.date(2020, pl.when(pl.col("pay") > edge).then(13).otherwise(1), 1)


def failing(dataset: str, edge: float) -> Q:
    return Q(dataset).filter(month(edge).is_not_null()).select(pl.len())


async def told(service: Any, plan: Q, who: str = "alice") -> str:
    """The code of a failure, the rule of a denial, or "answered"."""
    asked = Asked(m.Query(encode(plan.plan)), who)
    try:
        await service.handle(asked)
    except BastionError as error:
        return error.code
    (answer,) = asked.answers
    return answer.rule if isinstance(answer, m.Denial) else "answered"


@pytest.fixture
def overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard takes a function that fails for one that does not."""
    monkeypatch.setattr(flow_expressions, "TOTAL", flow_expressions.TOTAL | {"pl.date"})
    monkeypatch.setattr(flow_expressions, "TAKES_COLUMNS", flow_expressions.TAKES_COLUMNS | {"pl.date"})


@pytest.mark.usefixtures("overlooked")
def test_few_failures_tell_anything(tmp_path: Any) -> None:
    """The engine fails or not by the largest pay: as a search by thresholds, until the budget ends it."""

    async def use(service: Any, dataset: str) -> None:
        found = [await told(service, failing(dataset, edge)) for edge in range(1050, 1050 + MOST_FAILED + 4)]
        assert found == [TOLD] * MOST_FAILED + ["edge-budget"] * 4
        # whether it would fail or not
        assert await told(service, failing(dataset, 1e6)) == "edge-budget"
        assert await told(service, failing(dataset, 1050)) == "edge-budget"
        # nothing but functions that could fail is for the owner
        q = Q(dataset)
        assert await told(service, q.group_by("age").agg(pl.col("pay").mean())) == "answered"
        assert await told(service, q.filter(pl.col("age") > 40).select(pl.len())) == "answered"
        # others have a budget of their own
        assert await told(service, failing(dataset, 1e6), "bob") == "answered"
        assert await told(service, failing(dataset, 1050), "bob") == TOLD

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


@pytest.mark.usefixtures("overlooked")
def test_the_same_failure_counts_once(tmp_path: Any) -> None:
    async def use(service: Any, dataset: str) -> None:
        for _ in range(MOST_FAILED + 2):
            assert await told(service, failing(dataset, 1050)) == TOLD
        assert await told(service, failing(dataset, 1e6)) == "answered"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


@pytest.mark.usefixtures("overlooked")
def test_a_request_for_what_fails_counts_too(tmp_path: Any) -> None:
    """It is filed where the query fails, and not needed where it does not."""

    async def use(service: Any, dataset: str) -> None:
        for edge in range(1050, 1050 + MOST_FAILED):
            ask = m.RequestAccess(encode(failing(dataset, edge).plan), "why")
            asked = Asked(ask, "alice")
            await service.handle(asked)
            assert isinstance(asked.answers[-1], m.Request)
        assert await told(service, failing(dataset, 1e6)) == "edge-budget"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


@pytest.mark.usefixtures("overlooked")
def test_what_the_judge_cannot_do_counts_too(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One person's row may decide what plans it makes, and whether they can be written down."""

    async def use(service: Any, dataset: str) -> None:
        def unwritten(*_: Any, **__: Any) -> Any:
            msg = "A literal is too large."
            raise PlanError(msg, code="plan.literal")

        with monkeypatch.context() as patch:
            patch.setattr(judge_cells.BoundaryJudge, "run", unwritten)
            for edge in range(1050, 1050 + MOST_FAILED):
                assert await told(service, failing(dataset, edge)) == TOLD
        assert await told(service, failing(dataset, 1e6)) == "edge-budget"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


@pytest.mark.parametrize("where", ["_driven", "_execute"])
def test_all_failures_read_alike_and_the_log_tells_them_apart(tmp_path: Any, where: str) -> None:
    async def use(service: Any, dataset: str) -> None:
        sentences = set()
        for i, reason in enumerate(("refused", "memory", "time", "crashed", "answer")):

            async def killed(*_: Any, reason: str = reason, **__: Any) -> Any:
                raise worker_error(reason)

            setattr(service.queries, where, killed)
            plan = Q(dataset).filter(pl.col("age") > 20 + i).select(pl.len())
            with pytest.raises(BastionError) as caught:
                await service.handle(Asked(m.Query(encode(plan.plan)), "alice"))
            sentences.add(str(caught.value))
            outcome = service.store.audit.show(limit=1)[-1]
            assert outcome.summary == f"failed: server.worker.{reason}"
            assert outcome.red
        (sentence,) = sentences
        assert TOLD in sentence
        busy = "busy"

        async def full(*_: Any, **__: Any) -> Any:
            raise worker_error(busy)

        # what says nothing of the data is told as it is
        setattr(service.queries, where, full)
        assert await told(service, Q(dataset).select(pl.len())) == "server.worker.busy"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))
