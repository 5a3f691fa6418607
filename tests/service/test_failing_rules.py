"""A rule whose implementation raises denies, and takes nothing else down with it."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest
from bastion_plan.canonical import encode
from bastion_plan.errors import InputError, PolicyError
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import Scan, Select
from bastion_policy import judge_cells, judge_values, policy
from bastion_policy.model import Policy
from bastion_server.service import queries
from bastion_wire import messages as m
from in_process import Asked, with_service

FRAME = pl.DataFrame({"a": [float(i) for i in range(100)]})


def mean(dataset: str, name: str = "mean") -> m.Query:
    return m.Query(encode(Select(Scan(dataset), (Alias(Call("mean", (Column("a"),)), name),))))


async def ask(service, query: m.Query) -> object:
    asked = Asked(query, "alice")
    await service.handle(asked)
    (answer,) = asked.answers
    return answer


def broken(*_, **__):
    msg = "the value of alice is SECRET"
    raise RuntimeError(msg)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (judge_values.ValueRules, "judge"),
        (judge_values.ValueRules, "guard_columns"),
        (judge_cells.BoundaryJudge, "run"),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_a_rule_that_raises_denies_and_the_next_query_works(tmp_path, monkeypatch, owner, name):
    async def use(service, dataset):
        assert isinstance(await ask(service, mean(dataset)), m.Table)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            patch.setattr(queries, "static_verdict", lambda *_: queries.StaticVerdict(queries.Outcome.RELEASE, ""))
            answer = await ask(service, mean(dataset, "another"))
            assert isinstance(answer, m.Denial)
            assert (answer.outcome, answer.rule) == ("refuse", "rule-failed")
            assert not answer.has_safe_part
            assert "SECRET" not in str(answer)
            record = service.store.audit.show(limit=1)[-1]
            assert record.red
            assert record.summary == "denied: rule-failed (refuse)"
            assert record.details["incident"] in answer.fix
            # nor may the owner be asked to let it pass
            with pytest.raises(InputError) as caught:
                await ask(service, m.RequestAccess(mean(dataset, "another").plan, "why"))
            assert caught.value.code == "input.request.refused"
        assert isinstance(await ask(service, mean(dataset, "another")), m.Table)

    asyncio.run(with_service(tmp_path, use, FRAME, Policy.default()))


def test_a_rule_that_raises_counts_as_a_failure(tmp_path, monkeypatch):
    """Whether it raises may depend on one row: the same query counts once, and too many that none may run that could."""

    async def use(service, dataset):
        async def failed() -> int:
            (seen,) = (await service.exposure.of(service.store.datasets.get(dataset))).audiences
            return seen.failed

        assert isinstance(await ask(service, mean(dataset)), m.Table)
        assert await failed() == 0
        with monkeypatch.context() as patch:
            patch.setattr(judge_values.ValueRules, "judge", broken)
            for name, count in (("one", 1), ("one", 1), ("two", 2)):
                assert (await ask(service, mean(dataset, name))).rule == "rule-failed"
                assert await failed() == count
        assert isinstance(await ask(service, mean(dataset, "one")), m.Table)
        assert await failed() == 2

    asyncio.run(with_service(tmp_path, use, FRAME, Policy.default()))


@pytest.mark.parametrize(("owner", "name"), [(queries, "static_verdict"), (policy.Policy, "effective")])
def test_a_static_rule_that_raises_denies(tmp_path, monkeypatch, owner, name):
    async def use(service, dataset):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            for mode in ("run", "explain", "safe_part"):
                with pytest.raises(PolicyError) as caught:
                    await ask(service, m.Query(mean(dataset).plan, mode))
                assert caught.value.code == "policy.rule-failed"
                assert "SECRET" not in str(caught.value)
        assert isinstance(await ask(service, mean(dataset)), m.Table)

    asyncio.run(with_service(tmp_path, use, FRAME, Policy.default()))
