"""Answers about strict tables leave at fixed steps of time."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any, Literal, get_args

import pytest
from bastion_plan.errors import ServerError
from bastion_policy.facts import DatasetFacts
from bastion_policy.model import Aggregation, AtLeastNOf, Policy, Suppress, UserId
from bastion_policy.verdict import ReleaseNote
from bastion_server.service import latency
from bastion_server.service.latency import GROWTH, STEP, leaves_after, steps, timed
from bastion_wire.messages import Table


def test_steps_are_multiples_that_grow_by_a_quarter() -> None:
    first = list(itertools.islice(steps(), 40))
    assert [round(s * 1000) for s in first[:10]] == [50, 100, 150, 200, 250, 350, 450, 600, 750, 950]
    assert all(abs(s / STEP - round(s / STEP)) < 1e-9 for s in first)
    assert all(a < b <= a * GROWTH + STEP + 1e-9 for a, b in itertools.pairwise(first))
    assert first[-1] > 600


@pytest.mark.parametrize(("taken", "leaves"), [(0.0, 0.05), (0.05, 0.05), (0.051, 0.1), (0.26, 0.35), (0.7, 0.75)])
def test_an_answer_leaves_at_the_next_step(taken: float, leaves: float) -> None:
    assert leaves_after(taken) == pytest.approx(leaves)


STRICT = DatasetFacts("t", "t", 1, (), Policy.strict(unit="id"))
TRUSTED = DatasetFacts(
    "t", "t", 1, (), Policy(AtLeastNOf(1, (UserId("bob"), Aggregation(10))), Suppress(), profile="strict")
)


def test_who_is_timed() -> None:
    assert timed(STRICT, "alice")
    assert timed(DatasetFacts("t", "t", 1, (), Policy.private(1.0)), "alice")
    assert not timed(DatasetFacts("t", "t", 1, (), Policy.default()), "alice")
    assert timed(TRUSTED, "alice")
    assert not timed(TRUSTED, "bob")


class Clock:
    """Time that passes only by working and by waiting."""

    ensure_future, wait = staticmethod(asyncio.ensure_future), staticmethod(asyncio.wait)
    CancelledError = asyncio.CancelledError

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


class Asked:
    """A request that notes what was sent, and when."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.principal = SimpleNamespace(name="alice")
        self.sent: list[tuple[float, Any]] = []
        self.stages: list[str] = []

    async def send(self, body: Any, data: Any = None) -> None:
        self.sent.append((self.clock.now, body))

    async def stream(self, table: Table, data: Any) -> None:
        self.sent.append((self.clock.now, table))

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        self.stages.append(stage)


TABLE = Table((), 0, 0, "", ReleaseNote(), elapsed=0.0123)
How = Literal["table", "denial", "failure"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    monkeypatch.setattr(latency, "asyncio", clock)
    return clock


def answered(clock: Clock, work: float, facts: DatasetFacts, how: How = "table") -> tuple[float, Asked]:
    """Seconds until the peer hears of it."""
    asked: Any = Asked(clock)

    async def run() -> float:
        started = clock.now

        async def working(request: Any) -> None:
            request.progress("judging")
            clock.now += work
            request.progress("running")
            if how == "failure":
                raise ServerError("It failed.", code="server.worker.time")
            await (request.stream(TABLE, b"") if how == "table" else request.send("denied"))

        try:
            await latency.paced(asked, {"t": facts}, started, working)
        except ServerError:
            return clock.now - started
        return asked.sent[0][0] - started

    return asyncio.run(run()), asked


@pytest.mark.parametrize("how", get_args(How))
@pytest.mark.parametrize("work", [0.0, 0.02, 0.06, 0.0999, 0.31, 7.0])
def test_work_of_different_length_ends_at_one_time(clock: Clock, work: float, how: How) -> None:
    taken, asked = answered(clock, work, STRICT, how)
    assert taken == pytest.approx(latency.leaves_after(work))
    assert asked.stages == ["running"]
    if how == "table":
        assert asked.sent[0][1].elapsed == pytest.approx(latency.leaves_after(work))


def test_other_tables_are_answered_at_once(clock: Clock) -> None:
    taken, asked = answered(clock, 0.013, DatasetFacts("t", "t", 1, (), Policy.default()))
    assert taken == pytest.approx(0.013)
    assert asked.sent[0][1].elapsed == TABLE.elapsed
    assert asked.stages == ["judging", "running"]
