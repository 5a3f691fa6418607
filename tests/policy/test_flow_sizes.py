"""Plans of many or deep parts: judged in no time, or refused before they cost any."""

from __future__ import annotations

import time

import pytest
from bastion_plan.bind import bind
from bastion_plan.errors import LimitError
from bastion_policy.flow import static_verdict
from judged_people import T, guarded, salary


def test_many_broadcast_aggregates_are_judged_in_no_time() -> None:
    """Every window widens the frame that the next one reads: walking all paths would take 2 ** 60 steps."""
    means = [(salary * float(i + 1)).mean() for i in range(60)]
    summed = [a + b for a, b in zip(means[:30], means[30:], strict=True)]
    for plan in (
        T.with_columns([(salary + s).alias(f"z{i}") for i, s in enumerate(summed)]),
        T.with_columns([m.over("sex").alias(f"m{i}") for i, m in enumerate(means)]),
    ):
        start = time.process_time()
        static_verdict(bind(plan.select(salary.mean()).plan, guarded.facts), guarded.facts, "alice")
        assert time.process_time() - start < 1


def test_more_tables_of_cells_than_can_be_measured_are_refused() -> None:
    plan = T.with_columns([(salary * float(i + 1)).mean().over("sex").alias(f"m{i}") for i in range(70)]).select(
        salary.mean()
    )
    with pytest.raises(LimitError) as error:
        static_verdict(bind(plan.plan, guarded.facts), guarded.facts, "alice")
    assert error.value.code == "plan.limit.aggregations"


def test_deep_expressions_by_the_hundred_are_refused_in_no_time() -> None:
    deep = salary
    for _ in range(58):
        deep = -deep
    plan = bind(T.select([deep.sum().alias(f"s{i}") for i in range(150)]).plan, guarded.facts)
    start = time.process_time()
    with pytest.raises(LimitError) as error:
        static_verdict(plan, guarded.facts, "alice")
    assert time.process_time() - start < 1
    assert error.value.code == "plan.limit.nesting"
