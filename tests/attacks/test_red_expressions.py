"""Attacks by expression that a red team found: each gets a person's value without a guard, and nothing with the default one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from attacking import Ask, Attacks, minus
from bastion_plan import nodes as n
from bastion_plan.expressions import Over
from drive import World
from measured_people import (
    PEOPLE,
    SALARY,
    UNITS,
    N,
    T,
    age,
    bonus,
    debt,
    gain,
    guarded,
    salary,
    unguarded,
)
from query import Q, inline

import bastion.expressions as pl

target = age == 97
ATTACKS = Attacks(SALARY)
attack = ATTACKS.note


def differ(ask: Ask, plan: Callable[[float], Q]) -> bool:
    """Whether the answer tells on which side of a threshold the target's salary is."""
    return bool(ask(plan(81_000.0)) != ask(plan(82_000.0)))


@attack()
def absorbed_sum_of_columns(ask: Ask) -> Any:
    value = ask(T.select(s=(((salary * 1e-9 * 1e-9 * 1e-3) + (age - 97)) - (age - 97)).sum()))
    return None if value is None else value * 1e21


@attack()
def absorbed_mean_of_columns(ask: Ask) -> Any:
    value = ask(T.select(s=(((salary * 1e-9 * 1e-9 * 1e-3) + (age - 97)) - (age - 97)).mean()))
    return None if value is None else value * 1e21 * N


@attack(True)
def stacked_shifts(ask: Ask) -> Any:
    """Shifts that make room for larger shifts round a column to two values."""
    shifted = salary * 1e-9 * 1e-4
    for power in (-4, 1, 6, 9):
        shifted = shifted + 10.0**power
    for power in (9, 6, 1, -4):
        shifted = shifted - 10.0**power
    return ask(T.with_columns(x=shifted).select(s=pl.col("x").n_unique())) == 1


@attack(True)
def underflow(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        tiny = salary * 1e-9 * 1e-9 * 1e-9 * 1e-9 * 1e-9
        return T.filter(age > 76).select(s=(tiny * (0.7e-45 / edge * 1e45)).cast(pl.Float32).sum())

    return differ(ask, plan)


@attack(True)
def overflow_of_narrow_floats(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        big = salary * 1e9 * 1e9 * 1e9 * (3.4028235677973366e38 / edge / 1e27)
        return T.select(s=big.cast(pl.Float32).mean())

    return differ(ask, plan)


@attack(True)
def overflow_by_a_text_constant(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        factor = pl.lit(repr(1.7976931348623157e308 / edge)).cast(pl.Float64)
        return T.with_columns(x=salary * factor).select(s=pl.col("x").max() / 1e300)

    return differ(ask, plan)


@attack()
def null_pattern_of_another_column(ask: Ask) -> Any:
    return ask(T.select(s=(salary + pl.col("died") * 0).sum()))


@attack(98_765.43)
def clip_of_values_outside_the_bounds(ask: Ask) -> Any:
    excess = minus(ask(T.select(s=debt.sum())), ask(T.select(s=debt.clip(0, 1000).sum())))
    return None if excess is None else excess + 1000


@attack(4321.5)
def one_negative_value(ask: Ask) -> Any:
    twice = minus(ask(T.select(s=gain.abs().sum())), ask(T.select(s=gain.sum())))
    return None if twice is None else twice / 2


@attack(True)
def roots_of_negative_values(ask: Ask) -> Any:
    value = ask(T.select(s=gain.sqrt().sum()))
    return value is not None and math.isnan(value)


@attack(True)
def held_values(ask: Ask) -> Any:
    return differ(ask, lambda c: T.select(s=pl.when(target & (salary > c)).then(1).otherwise(0).sum()))


@attack(True)
def held_values_of_text(ask: Ask) -> Any:
    x = pl.lit("x")
    return differ(ask, lambda c: T.select(s=pl.when(target & (salary > c)).then(x).otherwise(pl.lit("y")).min()))


@attack(True)
def held_values_by_maximum(ask: Ask) -> Any:
    return differ(ask, lambda c: T.select(s=pl.when(target & (salary > c)).then(1).otherwise(0).max()))


@attack(True)
def held_values_of_one_column(ask: Ask) -> Any:
    """Nobody above a threshold and one person above it look the same."""
    top = float(PEOPLE["salary"].max())
    return ask(T.select(s=(salary > top - 1).sum())) != ask(T.select(s=(salary > top + 1).sum()))


@attack(True)
def held_values_as_mean(ask: Ask) -> Any:
    top = float(PEOPLE["salary"].max())
    return ask(T.select(s=(salary <= top - 1).mean())) != ask(T.select(s=(salary <= top + 1).mean()))


@attack(True)
def held_values_by_labels(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        labels = inline({"k": [True, False], "v": [1, 0]})
        return T.with_columns(k=target & (salary > edge)).join(labels, on="k").select(s=pl.col("v").sum())

    return differ(ask, plan)


@attack(True)
def bins_of_one_column(ask: Ask) -> Any:
    top = float(PEOPLE["salary"].max())
    return ask(T.select(s=(salary // (top - 1)).sum())) != ask(T.select(s=(salary // (top + 1)).sum()))


@attack(True)
def shape_of_filtered_correlation(ask: Ask) -> Any:
    both = age > 50
    return differ(ask, lambda c: T.select(s=pl.corr(salary.filter(both), debt.filter(both & ~(target & (salary > c))))))


@attack(True)
def shape_without_nulls(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        holes = T.with_columns(x=pl.when(~(target & (salary > edge))).then(salary))
        return holes.select(s=pl.cov(pl.col("x").drop_nulls(), "debt"))

    return differ(ask, plan)


@attack(True)
def failing_date(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        month = pl.when(target & (salary > edge)).then(13).otherwise(1)
        return T.filter(pl.date(2020, month, 1).is_not_null()).select(pl.len())

    return differ(ask, plan)


@attack(True)
def failing_power(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        return T.filter((age ** pl.when(target & (salary > edge)).then(-1).otherwise(1)) > 0).select(pl.len())

    return differ(ask, plan)


@attack(True)
def failing_pattern(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        pattern = pl.when(target & (salary > edge)).then(pl.lit("(")).otherwise(pl.lit("f"))
        return T.filter(pl.col("sex").str.count_matches(pattern) >= 0).select(pl.len())

    return differ(ask, plan)


@attack(True)
def failing_mapping(ask: Ask) -> Any:
    def plan(edge: float) -> Q:
        key = pl.when(target & (salary > edge)).then(2).otherwise(1)
        return T.filter(key.replace_strict({1: 1}) == 1).select(pl.len())

    return differ(ask, plan)


@attack(7777.77)
def fill_far_below(ask: Ask) -> Any:
    return ask(T.select(s=bonus.fill_null(-1e9).sum()))


@attack(2020.0)
def fill_of_nearly_all(ask: Ask) -> Any:
    return minus(ask(T.select(s=pl.col("died").fill_null(2010).sum())), 2010 * (N - 1))


@attack(2020.0)
def fill_of_the_frame(ask: Ask) -> Any:
    filled = Q(n.FillNull(T.select("died").plan, pl.lit(2010.0).plan))
    return minus(ask(filled.select(s=pl.col("died").sum())), 2010 * (N - 1))


@attack(1)
def small_integers_wrap(ask: Ask) -> Any:
    a, p = pl.col("a8"), pl.col("p8")
    value = ask(T.select(s=(a + p * 0 + pl.lit(31).cast(pl.Int8)).sum()))
    return None if value is None else (int(PEOPLE["a8"].sum()) + 31 * N - value) / 256


@attack(True)
def sensitive_in_a_condition(ask: Ask) -> Any:
    return ask(T.select(s=pl.when(target & ~pl.col("hiv")).then(1).otherwise(0).sum())) == 0


@attack(1)
def sensitive_counted_apart(ask: Ask) -> Any:
    return minus(ask(T.select(s=pl.col("hiv").sum())), ask(T.select(s=(pl.col("hiv") & ~target).sum())))


@attack(1)
def text_that_is_no_number(ask: Ask) -> Any:
    return minus(N, ask(T.select(s=pl.col("code").cast(pl.Float64, strict=False).count())))


@attack(1)
def conditions_that_become_null(ask: Ask) -> Any:
    hit = pl.when(target).then(None).otherwise(age > 50)
    return minus(minus(N, ask(T.select(s=hit.sum()))), ask(T.select(s=(~hit).sum())))


@attack(1)
def whole_numbers_of_floats(ask: Ask) -> Any:
    """Cutting floats off is a binning."""
    factor = 1 / (float(PEOPLE["salary"].max()) - 1)
    return ask(T.select(s=(salary * factor).cast(pl.Int64).sum()))


@attack()
def window_over_unit_and_condition(ask: Ask) -> Any:
    over = Over(salary.sum().plan, (pl.col("id").plan, target.plan))
    split = T.with_columns(pl.Expr(over).alias("x")).filter(pl.col("x") > 0)
    return minus(ask(split.select(s=pl.col("x").sum())), float(PEOPLE["salary"].sum()) - SALARY)


@attack(True)
def two_grids_of_one_column(ask: Ask) -> Any:
    """The same order statistic on two grids, whose cells overlap in a few people."""
    one, two = ask(T.select(s=pl.col("score").median())), ask(T.select(s=pl.col("score").abs().median()))
    return one is not None and two is not None and math.isclose(one, two, rel_tol=0.05)


def _ask(world: World, plan: Q) -> Any:
    """What the attacker sees: the value, "error", or nothing; the safe part where that is on offer."""
    try:
        answer = world.ask(plan.plan)
        table = answer.table
        if table is None and answer.verdict.safe_part is not None:
            table = world.ask(plan.plan, safe_part=True).table
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException):
        return "error"
    return table.row(0)[0] if table is not None and table.height else None


def same(one: Any, two: Any) -> bool:
    if isinstance(one, str) or one is None:
        return False
    if isinstance(two, bool):
        return bool(one is two or (isinstance(one, np.bool_) and bool(one) is two))
    return math.isclose(one, two, rel_tol=1e-6)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_fails_under_the_default_policy(name: str, unit: str) -> None:
    function, truth = ATTACKS[name]
    assert not same(function(lambda q: _ask(guarded[unit], q)), truth)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_succeeds_without_a_guard(name: str) -> None:
    function, truth = ATTACKS[name]
    assert same(function(lambda q: _ask(unguarded["people"], q)), truth)
