"""Who is not a number is known, and compares as the greatest: conditions that take them in count at whatever number they lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.expressions import Column
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.model import Aggregation, Policy, Review, measure
from drive import World
from query import Q

import bastion.expressions as pl

N, VALUE = 3000, 61_234.0
RNG = np.random.default_rng(4)
#: of the areas from 40 upwards nobody has a value but one person; of those from 30 to 39 everybody is known to earn little or much
AREA = np.append(RNG.integers(0, 80, N - 1), 80)
PAY = np.where(AREA < 40, RNG.uniform(1e4, 1e5, N), math.nan)
PAY = np.where((AREA >= 30) & (AREA < 40), np.where(AREA < 35, 100.0, 99_999.0), PAY)
PAY[-1] = VALUE
FRAME = polars.DataFrame({"id": np.arange(N), "area": AREA, "pay": PAY})
ROLES: dict[str, Any] = {"id": "identifier", "area": "quasi", "pay": measure(0, 100_000)}
T, pay = Q("t"), pl.col("pay")
CHOICES: dict[str, Callable[[float], Any]] = {
    "at least": lambda c: pay >= c,
    "more": lambda c: pay > c,
    "not less": lambda c: ~(pay < c),
    "not between": lambda c: ~pay.is_between(0, c),
    "twice": lambda c: pay * 2 >= 2 * c,
    "filled": lambda c: pay.fill_nan(100_000.0) >= c,
    "or not a number": lambda c: pay.is_nan() | (pay < c),
    "not known": lambda c: pay.sqrt() >= math.sqrt(c),
}


def world(frame: polars.DataFrame = FRAME) -> World:
    return World(remembers=True).add("t", frame, Policy(Aggregation(10), Review()), ROLES, "id")


def groups(first: int):
    """Areas, other ones each time, beside that of the one person and those of whom everything is known."""
    rng = np.random.default_rng(7)
    while True:
        others = (int(x) for x in first + rng.choice(30, 15, replace=False))
        yield T.filter(pl.col("area").is_in([80, *range(30, 40), *others]))


def answered(w: World, first: int, ask: Callable[[Q, float], Q]) -> int:
    """Return how many questions about the one person, beside others, were answered."""
    for asked, (group, c) in enumerate(zip(groups(first), (VALUE - 1000, VALUE + 1000) * EDGE_BUDGET, strict=False)):
        answer = w.ask(ask(group, c).plan)
        if answer.table is None:
            assert {f.rule for f in answer.verdict.findings} <= {"edge-budget", "linear-audit"}
            return asked
    return 2 * EDGE_BUDGET


@pytest.mark.parametrize("choice", CHOICES)
def test_a_search_beside_those_who_are_not_numbers_counts(choice):
    told = answered(world(), 42, lambda g, c: g.filter(CHOICES[choice](c)).select(pl.len()))
    assert 1 < told <= EDGE_BUDGET + 1


def test_so_does_one_inside_a_statistic():
    assert answered(world(), 42, lambda g, c: g.select((pay >= c).sum())) <= EDGE_BUDGET + 1


def test_and_by_values_that_a_condition_drops():
    def ask(group: Q, c: float) -> Q:
        return group.with_columns(z=pl.when(pay >= c).then(1)).drop_nulls("z").select(pl.len())

    assert 1 < answered(world(), 42, ask) <= EDGE_BUDGET + 1


LEAVES_OUT: dict[str, Callable[[Q, float], Q]] = {
    "less": lambda g, c: g.filter(pay < c),
    "between": lambda g, c: g.filter(pay.is_between(0, c)),
    "and finite": lambda g, c: g.filter(pay.is_finite() & (pay >= c)),
    "a number first": lambda g, c: g.filter(pay.is_not_nan()).filter(pay >= c),
    "dropped first": lambda g, c: (
        Q(n.DropNulls(g.plan, (Column("pay"),), nans=True)).with_columns(z=pay / 2).filter(pl.col("z") >= c / 2)
    ),
    "two conditions": lambda g, c: g.filter((pay >= c) & (pay < 90_000)),
}


@pytest.mark.parametrize("how", LEAVES_OUT)
def test_conditions_that_leave_them_out_count_at_thresholds_alone(how):
    assert answered(world(), 0, lambda g, c: LEAVES_OUT[how](g, c).select(pl.len())) == 2 * EDGE_BUDGET


def test_of_columns_of_numbers_alone_nothing_counts():
    frame = FRAME.with_columns(pay=polars.col("pay").fill_nan(5.0))
    assert answered(world(frame), 0, lambda g, c: g.filter(pay >= c).select(pl.len())) == 2 * EDGE_BUDGET
