"""What is told of a query about people that fails, and how often: it may depend on one person's row."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.canonical import encode
from bastion_plan.errors import BastionError, PlanError, ServerError
from bastion_plan.expressions import Column
from bastion_policy import flow_expressions, flow_total, judge_cells
from bastion_policy.history import DAY, MOST_A_DAY, MOST_FAILED
from bastion_policy.history.encoding import unpack_past
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind
from bastion_server.channel.keys import Principal
from bastion_server.service import exposure, histories
from bastion_server.workers.errors import worker_error
from bastion_server.workers.lease import Lease
from bastion_wire import messages as m
from in_process import Asked, with_service
from query import Q

import bastion.expressions as pl
from bastion import Identity

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


async def subject(service: Any, plan: Q) -> tuple[Any, str]:
    """What a plan of alice's is about."""
    return (await service.queries.subject(encode(plan.plan), "alice"))[0], "alice"


@pytest.fixture
def overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard takes a function that fails for one that does not."""
    monkeypatch.setattr(flow_total, "TOTAL", flow_total.TOTAL | {"pl.date"})
    monkeypatch.setattr(flow_expressions, "TAKES_COLUMNS", flow_expressions.TAKES_COLUMNS | {"pl.date"})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The hour that it is."""
    now = [480_000]
    monkeypatch.setattr(histories, "hour", lambda: now[0])
    monkeypatch.setattr(exposure, "hour", lambda: now[0])
    return now


@pytest.mark.usefixtures("overlooked")
def test_few_failures_tell_anything(tmp_path: Any, clock: list[int]) -> None:
    """The engine fails or not by the largest pay: as a search by thresholds, until the budgets end it."""

    async def use(service: Any, dataset: str) -> None:
        edges, found = iter(range(1000, 1089)), []
        for _ in range(MOST_FAILED // MOST_A_DAY):
            for late in (0, DAY - 1):
                clock[0] += late
                found += [await told(service, failing(dataset, next(edges))) for _ in range(MOST_A_DAY + 1)]
            clock[0] += 1
        day = [TOLD] * MOST_A_DAY + ["edge-budget"] * (MOST_A_DAY + 2)
        assert found == day * (MOST_FAILED // MOST_A_DAY)
        clock[0] += 100 * DAY
        # whether it would fail or not
        assert await told(service, failing(dataset, 1e6)) == "edge-budget"
        assert await told(service, failing(dataset, 1050)) == "edge-budget"
        # nothing but functions that could fail is for the owner
        q = Q(dataset)
        assert await told(service, q.group_by("age").agg(pl.col("pay").mean())) == "answered"
        assert await told(service, q.filter(pl.col("age") > 40).select(pl.len())) == "answered"
        # nor is a safe part measured for who asks for rows
        for mode in ("run", "safe_part"):
            for edge in (1050, 1e6):
                asked = Asked(m.Query(encode(q.filter(month(edge).is_not_null()).plan), mode), "alice")
                await service.handle(asked)
                (denial,) = asked.answers
                assert (denial.rule, denial.has_safe_part) == ("row-level", False)
                assert "edge-budget" in {f.rule for f in denial.verdict.findings}
        # others have a budget of their own
        assert await told(service, failing(dataset, 1e6), "bob") == "answered"
        assert await told(service, failing(dataset, 1050), "bob") == TOLD

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


@pytest.mark.usefixtures("overlooked")
def test_the_same_failure_counts_once(tmp_path: Any) -> None:
    async def use(service: Any, dataset: str) -> None:
        for _ in range(MOST_A_DAY + 2):
            assert await told(service, failing(dataset, 1050)) == TOLD
        assert await told(service, failing(dataset, 1e6)) == "answered"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


@pytest.mark.parametrize("how", ["unpivot", "concat"])
def test_what_fails_by_its_types_alone_is_told_before_anything_is_measured(tmp_path: Any, how: str) -> None:
    """The engine stacks texts and durations where nobody is, and fails where somebody is: neither is ever asked of it."""
    frame = FRAME.with_columns(s=polars.lit("a"), t=polars.lit(dt.timedelta(1)))

    async def use(service: Any, dataset: str) -> None:
        for edge in range(MOST_A_DAY + 1):
            rows = Q(dataset).filter(pl.col("pay") > 1000 + edge)
            parts = (rows.select("age", v=pl.col("s")).plan, rows.select("age", v=pl.col("t")).plan)
            stacked = n.Unpivot(rows.plan, (Column("s"), Column("t")), (Column("age"),)) if how == "unpivot" else (
                n.Concat(parts, "vertical_relaxed")
            )  # fmt: skip
            plan = Q(stacked).select(pl.len())
            assert await told(service, plan) == "plan.bind.types"
        assert await told(service, Q(dataset).filter(pl.col("age") * 1.5 > 40).select(pl.len())) == "answered"

    asyncio.run(with_service(tmp_path, use, frame, GUARDED))


@pytest.mark.usefixtures("overlooked")
def test_a_request_for_what_fails_counts_too(tmp_path: Any) -> None:
    """It is filed where the query fails, and not needed where it does not."""

    async def use(service: Any, dataset: str) -> None:
        for edge in range(1050, 1050 + MOST_A_DAY):
            ask = m.RequestAccess(encode(failing(dataset, edge).plan), "why")
            asked = Asked(ask, "alice")
            await service.handle(asked)
            assert isinstance(asked.answers[-1], m.Request)
        assert await told(service, failing(dataset, 1e6)) == "edge-budget"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


@pytest.mark.usefixtures("overlooked")
def test_an_owner_clears_all_eight_and_nothing_else(tmp_path: Any, clock: list[int]) -> None:
    async def use(service: Any, dataset: str) -> None:
        olga, store = Identity.create("olga"), service.store
        principal, record = Principal("olga", ("owner",), "", olga.verify_key), store.datasets.get(dataset)

        async def clear(failed: int) -> m.Cleared:
            terms = {"action": "clear_failures", "dataset": dataset, "who": "alice", "failed": failed}
            signed = olga.sign_statement(terms, audience=store.keys.curve_public.decode())
            return await service.failed.clear(m.ClearFailures(dataset, "alice", failed, signed), principal, record)

        def edges() -> tuple[bytes, ...]:
            return unpack_past(store.histories.get(dataset, "alice")[1]).edges

        # a choice at a threshold, which is no failure
        for top in (1089, 1088):
            await told(service, Q(dataset).filter(pl.col("pay") < top).select(pl.len()))
        others = edges()
        assert others
        for edge in range(1000, 1000 + MOST_FAILED):
            assert await told(service, failing(dataset, edge)) == TOLD
            clock[0] += DAY
        clock[0] += 100 * DAY
        assert await told(service, failing(dataset, 1e6)) == "edge-budget"
        (seen,) = (await service.exposure.of(record)).audiences
        assert (seen.failed, seen.failed_today) == (MOST_FAILED, 0)

        # what cannot be written down has not happened
        write = store.audit.append_nowait
        store.audit.append_nowait = lambda _: (_ for _ in ()).throw(ServerError("full", code="server.audit.write"))
        before = store.histories.get(dataset, "alice")
        with pytest.raises(ServerError):
            await clear(MOST_FAILED)
        store.audit.append_nowait = write
        assert store.histories.get(dataset, "alice") == before
        assert await told(service, failing(dataset, 1e6)) == "edge-budget"

        assert await clear(MOST_FAILED) == m.Cleared("alice", MOST_FAILED)
        assert edges() == others
        assert await told(service, failing(dataset, 1e6)) == "answered"
        assert await told(service, failing(dataset, 1050)) == TOLD
        # an owner decides about what they were shown
        with pytest.raises(BastionError) as caught:
            await clear(0)
        assert caught.value.code == "input.failures.changed"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))


def test_what_a_request_would_show_counts_too(tmp_path: Any, clock: list[int]) -> None:
    """Who files one waits while the owner's figures are made, of a plan that breaks any rules."""

    async def use(service: Any, dataset: str) -> None:
        async def figures(edge: float) -> set[str]:
            asked = Asked(m.RequestAccess(encode(failing(dataset, edge).plan), "why"), "alice")
            await service.handle(asked)
            return set(service.store.requests.get(asked.answers[-1].info.id).shown.figures)

        assert "rows" in await figures(1e6)
        plain = Q(dataset).filter(pl.col("age") * 1.5 > 40).select(pl.len())
        for edge in range(1050, 1050 + MOST_A_DAY):
            assert await told(service, plain) == "answered"
            assert "rows" not in await figures(edge)
        assert await told(service, plain) == "edge-budget"
        # nor is it run any more
        assert "rows" not in await figures(1e7)
        clock[0] += DAY
        assert "rows" in await figures(1e8)

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
            for edge in range(1050, 1050 + MOST_A_DAY):
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


def test_a_query_that_is_stopped_counts(tmp_path: Any, clock: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit takes long and is stopped, a miss is answered at once: stopping is an answer, once the data was touched."""

    async def use(service: Any, dataset: str) -> None:
        queries, begun, reached = service.queries, Lease.run, asyncio.Event()
        goes_on = asyncio.Event()

        async def slow(lease: Any, *args: Any) -> Any:
            answer = await begun(lease, *args)
            reached.set()
            await goes_on.wait()
            return answer

        async def stopped(plan: Q, mode: str = "run") -> None:
            reached.clear()
            asked = asyncio.ensure_future(service.handle(Asked(m.Query(encode(plan.plan), mode), "alice")))
            await reached.wait()
            asked.cancel()
            # who hangs up as well
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked

        def computed(edge: float) -> Q:
            return Q(dataset).filter((pl.col("age") * 1.5) > edge).select(pl.len())

        # the table is numbered once
        assert await told(service, Q(dataset).select(pl.len())) == "answered"
        # who waits for a turn, or a worker, has seen nothing of the data
        async with queries.histories.turn(*await subject(service, computed(50.0))):
            for edge in range(MOST_A_DAY + 1):
                waits = asyncio.ensure_future(told(service, computed(30.0 + edge)))
                await asyncio.sleep(0.05)
                waits.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waits
        with monkeypatch.context() as patch:
            patch.setattr(Lease, "run", slow)
            await stopped(computed(40.0))
            await stopped(computed(40.0))
            goes_on.set()
            assert await told(service, computed(41.0)) == "answered"
            goes_on.clear()
            await stopped(computed(42.0), "safe_part")
        assert await told(service, computed(43.0)) == "edge-budget"
        clock[0] += DAY
        assert await told(service, computed(43.0)) == "answered"

    asyncio.run(with_service(tmp_path, use, FRAME, GUARDED))
