"""Who stops a question about a strict or private table, or hangs up on it, learns nothing of whether its work was done."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import polars
import pytest
from bastion_plan.canonical import encode
from bastion_plan.errors import ServerError, WireError
from bastion_policy.facts import DatasetFacts
from bastion_policy.history import MOST_A_DAY
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from bastion_policy.verdict import ReleaseNote
from bastion_server.service import latency
from bastion_server.service.latency import leaves_after, paced
from bastion_server.workers.lease import Lease
from bastion_wire import messages as m
from in_process import Asked, with_service
from query import Q

import bastion.expressions as pl
from bastion.policy import measure

N = 300
FRAME = polars.DataFrame({"age": [20 + i % 50 for i in range(N)], "pay": [1000.0 + i % 90 for i in range(N)]})
ROLES = {"age": Role(RoleKind.QUASI), "pay": Role(RoleKind.MEASURE, 0, 2000)}
DEFAULT = Policy(Aggregation(10), Suppress(), unit="row", roles=ROLES)
STRICT = Policy(Aggregation(10), Suppress(), unit="row", roles=ROLES, profile="strict")
PRIVATE = Policy.private(epsilon=5.0, unit="row", roles=ROLES)
FACTS = {"t": DatasetFacts("t", "t", 1, (), Policy.strict(unit="id"))}
TABLE = m.Table((), 0, 0, "", ReleaseNote())


# ---- pacing itself


async def stop_after(seconds: float, work: Any, facts: dict[str, DatasetFacts] = FACTS) -> tuple[float, Asked]:
    """Stop a request; returns how long it took to be heard."""
    asked, started = Asked(m.ListDatasets(), "alice"), time.monotonic()
    task = asyncio.ensure_future(paced(asked, facts, started, work))  # type: ignore[arg-type]
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - started, asked


@pytest.mark.parametrize("how", ["answer", "table", "failure"])
@pytest.mark.parametrize("stopped", [0.0, 0.02, 0.11, 0.13])
def test_a_stop_is_heard_when_the_answer_would_have_left(stopped: float, how: str) -> None:
    """The work takes 120 ms, so its answer leaves after 150: a stop before, in the middle of it, and while it waits."""
    ended = []

    async def work(request: Any) -> None:
        await asyncio.sleep(0.12)
        ended.append(1)
        if how == "failure":
            raise ServerError("It failed.", code="server.worker.time")
        await (request.send("answer") if how == "answer" else request.stream(TABLE, b""))

    taken, asked = asyncio.run(stop_after(stopped, work))
    assert ended, "the work goes on to its end"
    assert not asked.answers
    assert taken >= 0.15


def test_what_is_not_timed_is_stopped_at_once() -> None:
    async def work(_: Any) -> None:
        await asyncio.sleep(60)

    taken, _ = asyncio.run(stop_after(0.01, work, {"t": DatasetFacts("t", "t", 1, (), Policy.default())}))
    assert taken < 1


def test_a_server_that_ends_does_not_wait_for_it() -> None:
    ended = []

    async def work(_: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    async def play() -> None:
        asked = Asked(m.ListDatasets(), "alice")
        task = asyncio.ensure_future(paced(asked, FACTS, time.monotonic(), work))  # type: ignore[arg-type]
        for _ in range(2):
            await asyncio.sleep(0.01)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 5)

    asyncio.run(play())
    assert ended


def test_a_table_on_its_way_is_stopped_at_once() -> None:
    class Large(Asked):
        async def stream(self, table: object, data: object) -> None:
            self.answers.append(table)
            await asyncio.sleep(60)

    async def play() -> None:
        asked = Large(m.ListDatasets(), "alice")
        task = asyncio.ensure_future(
            paced(asked, FACTS, time.monotonic(), lambda request: request.stream(TABLE, b""))  # type: ignore[arg-type]
        )
        while not asked.answers:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 5)

    asyncio.run(play())


def test_stopped_questions_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST_STOPPED", 3)

    async def play() -> None:
        free = asyncio.Event()

        async def work(_: Any) -> None:
            await free.wait()

        def ask(who: str) -> Any:
            return asyncio.ensure_future(
                paced(Asked(m.ListDatasets(), who), FACTS, time.monotonic(), work)  # type: ignore[arg-type]
            )

        tasks = [ask("alice") for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)
        with pytest.raises(WireError):
            await ask("alice")
        others = ask("bob")
        free.set()
        await others
        await asyncio.gather(*tasks, return_exceptions=True)
        await ask("alice")

    asyncio.run(play())
    assert not latency._stopped


# ---- questions

SLOW = 0.3


async def asked_and_stopped(service: Any, body: m.Query, when: float | None) -> tuple[float, Asked, list[str]]:
    """Ask, and stop it; returns how long that took, what came of it, and what the log then had of it."""
    asked, started = Asked(body, "alice"), time.monotonic()
    before = service.store.audit.checkpoint(time.time()).size
    task = asyncio.ensure_future(service.handle(asked))
    if when is not None:
        await asyncio.sleep(when)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await task
    taken = time.monotonic() - started
    # what is written of a stop is not waited for
    await asyncio.sleep(0.2)
    records = service.store.audit.show(limit=service.store.audit.checkpoint(time.time()).size - before)
    return taken, asked, [r.summary for r in records]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each question's first run takes long; returns when each came to its end."""
    begun, ends, seen = Lease.run_to_file, list[float](), set[int]()

    async def run_to_file(lease: Any, *args: Any) -> Any:
        answer = await begun(lease, *args)
        if lease.pid not in seen:
            seen.add(lease.pid)
            await asyncio.sleep(SLOW)
            ends.append(time.monotonic())
        return answer

    monkeypatch.setattr(Lease, "run_to_file", run_to_file)
    return ends


@pytest.mark.usefixtures("slow")
def test_a_strict_question_is_on_record_as_if_it_had_been_answered(tmp_path: Any) -> None:
    async def use(service: Any, dataset: str) -> None:
        def query(edge: int) -> m.Query:
            plan = Q(dataset).filter(pl.col("age") > edge).select(pl.len().alias("n"), pl.col("pay").mean())
            return m.Query(encode(plan.plan))

        _, asked, wanted = await asked_and_stopped(service, query(20), None)
        assert isinstance(asked.answers[-1], m.Table)
        for number in range(MOST_A_DAY + 2):
            taken, asked, found = await asked_and_stopped(service, query(30 + number), SLOW / 3 * (1 + number % 2))
            assert found == wanted
            assert not asked.answers
            assert taken >= leaves_after(SLOW)
            # so none of them is a failure
        record = service.store.datasets.get(dataset)
        assert sum(a.failed for a in (await service.exposure.of(record)).audiences) == 0
        taken, asked, found = await asked_and_stopped(service, query(30), None)
        assert isinstance(asked.answers[-1], m.Table)

    asyncio.run(with_service(tmp_path, use, FRAME, STRICT))


@pytest.mark.usefixtures("slow")
def test_a_question_of_the_default_profile_is_stopped_at_once_and_counts(tmp_path: Any) -> None:
    async def use(service: Any, dataset: str) -> None:
        plan = Q(dataset).filter(pl.col("age") * 1.5 > 40).select(pl.len()).plan
        taken, _, found = await asked_and_stopped(service, m.Query(encode(plan)), SLOW / 2)
        assert taken < SLOW
        assert found[-1] == "cancelled"

    asyncio.run(with_service(tmp_path, use, FRAME, DEFAULT))


@pytest.mark.parametrize("when", [0.0, SLOW / 2, None])
def test_a_private_question_keeps_what_it_paid_for(tmp_path: Any, when: float | None, slow: list[float]) -> None:
    async def use(service: Any, dataset: str) -> None:
        plan = encode(Q(dataset).filter(pl.col("age") < 40).select(pl.len().alias("n"), pl.col("pay").sum()).plan)

        async def costs() -> float:
            asked = Asked(m.Query(plan, "summarize", None, 0.05), "alice")
            await service.handle(asked)
            return asked.answers[-1].cost

        taken, asked, found = await asked_and_stopped(service, m.Query(plan, "run", None, 0.05), when)
        assert len(asked.answers) == (when is None)
        assert taken >= leaves_after(SLOW)
        assert [words.partition(" ")[0] for words in found] == ["query", "released"]
        assert await costs() == 0.0
        (answer,) = (await asked_and_stopped(service, m.Query(plan, "run", None, 0.05), None))[1].answers
        assert answer.note.cost == 0.0

    asyncio.run(with_service(tmp_path, use, FRAME, PRIVATE))


@pytest.mark.parametrize("policy", [STRICT, PRIVATE], ids=["strict", "private"])
def test_nothing_tells_before_the_step_that_the_work_is_done(tmp_path: Any, slow: list[float], policy: Policy) -> None:
    """Who asks elsewhere meanwhile for the size of the log, or for the price, sees neither change before the answer may leave."""

    async def use(service: Any, dataset: str) -> None:
        plan = encode(Q(dataset).filter(pl.col("age") < 40).select(pl.len().alias("n"), pl.col("pay").sum()).plan)

        async def seen() -> tuple[int, float]:
            asked = Asked(m.Query(plan, "summarize"), "alice")
            await service.handle(asked)
            return service.store.audit.checkpoint(time.time()).size, asked.answers[-1].cost

        # a long step to wait for, once the work is done
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(latency, "leaves_after", lambda taken: taken + 0.5)
            task = asyncio.ensure_future(service.handle(Asked(m.Query(plan), "alice")))
            while not slow:
                await asyncio.sleep(0.01)
            before = await seen()
            await asyncio.sleep(0.3)
            assert not task.done()
            assert await seen() == before
            await task
            assert await seen() != before

    asyncio.run(with_service(tmp_path, use, FRAME, policy))


@pytest.mark.parametrize("how", ["stop", "hang-up"])
def test_a_server_brings_it_to_its_end_whether_it_is_stopped_or_hung_up_on(world: Any, how: str) -> None:
    name, roles = f"steps {how}", {"age": "quasi", "pay": measure(0, 2000)}
    policy = Policy(Aggregation(10), Suppress(), unit="row", roles=roles, profile="strict")
    world.owner.client.polars.send_df(FRAME, policy, name=name)
    (table,) = (card.facts.id for card in world.owner.cards() if card.facts.name == name)
    plan = Q(table).filter(pl.col("age") < 40).select(pl.len()).plan

    async def stopped(session: Any) -> None:
        heard = asyncio.Event()
        task = asyncio.ensure_future(session.query(m.Query(encode(plan)), lambda *_: heard.set()))
        await heard.wait()
        if how == "stop":
            task.cancel()
        else:
            await session.close()
        with pytest.raises((asyncio.CancelledError, WireError)):
            await task

    connection = world.connect(world.alice)
    connection._run(stopped(connection._open_session))
    connection.close()
    until = time.monotonic() + 30
    while (found := [r.summary for r in world.owner.audit(name)])[-1] != "released" and time.monotonic() < until:
        time.sleep(0.05)
    assert found[-2:] == ["query", "released"]
