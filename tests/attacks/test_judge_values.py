"""Attacks on the judge, by plan, for extremes and by encodings. Each works without a guard, and not with the default one.

What is asserted is that the value is not obtained, not that an error was raised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attacking import Ask, Attacks, cell, minus, played
from judged_people import (
    DEBT,
    PEOPLE,
    SALARY,
    TOTAL,
    N,
    T,
    age,
    debt,
    guarded,
    salary,
    target,
    unguarded,
)

import bastion.expressions as pl

ATTACKS = Attacks(SALARY)
attack = ATTACKS.note


# -- extremes


@attack(DEBT)
def maximum(ask: Ask) -> Any:
    return cell(ask(T.select(debt.max())), "debt")


@attack(DEBT)
def quantile_one(ask: Ask) -> Any:
    return cell(ask(T.select(debt.quantile(1.0))), "debt")


@attack(DEBT)
def quantile_nearly_one(ask: Ask) -> Any:
    return cell(ask(T.select(debt.quantile(0.99999))), "debt")


@attack(97)
def maximum_of_whole_numbers(ask: Ask) -> Any:
    return cell(ask(T.select(age.max())), "age")


@attack(DEBT)
def shifted_maximum(ask: Ask) -> Any:
    value = cell(ask(T.select(x=(debt * 7 + 3).max())), "x")
    return None if value is None else (value - 3) / 7


@attack(DEBT)
def clip_differencing(ask: Ask) -> Any:
    low = 50_000.0
    value = cell(ask(T.select(x=debt.clip(low, None).sum())), "x")
    return None if value is None else value - (N - 1) * low


@attack(DEBT)
def absolute_differencing(ask: Ask) -> Any:
    low = 50_000.0
    value = cell(ask(T.select(x=(debt - low).abs().sum())), "x")
    total = float(PEOPLE["debt"].sum())
    # |x - l| + x - l is 2 * max(x - l, 0)
    return None if value is None else (value + total - N * low) / 2 + low


@attack(DEBT)
def dominated_sum(ask: Ask) -> Any:
    rest = float(PEOPLE.filter(polars.col("age") >= 77)["debt"].sum()) - DEBT
    return minus(cell(ask(T.filter(age >= 77).select(debt.sum())), "debt"), rest)


@attack(DEBT)
def shift_against_dominance(ask: Ask) -> Any:
    older = PEOPLE.filter(polars.col("age") >= 77)
    value = cell(ask(T.filter(age >= 77).select(x=(debt + 1_000_000).sum())), "x")
    return None if value is None else value - 1_000_000 * older.height - (float(older["debt"].sum()) - DEBT)


@attack(DEBT)
def dominated_variance(ask: Ask) -> Any:
    older = PEOPLE.filter(polars.col("age") >= 77)["debt"].to_numpy()
    found = cell(ask(T.filter(age >= 77).select(debt.var())), "debt")
    if found is None:
        return None
    grid = np.round(np.linspace(DEBT - 5, DEBT + 5, 1001), 2)
    rest = older[older != DEBT]
    fits = [abs(np.var([*rest, g], ddof=1) - found) for g in grid]
    return float(grid[int(np.argmin(fits))])


@attack(97)
def extreme_of_categories(ask: Ask) -> Any:
    value = cell(ask(T.select(x=age.cast(pl.String).max())), "x")
    return None if value is None else int(value)


@attack(DEBT)
def min_max_scaling(ask: Ask) -> Any:
    found = ask(
        T.with_columns(z=(debt - debt.min()) / (debt.max() - debt.min())).select(pl.col("z").mean(), debt.mean())
    )
    z, mean = cell(found, "z"), cell(found, "debt")
    low = float(PEOPLE["debt"].min())
    return None if not z or mean is None else (mean - low) / z + low


# -- encodings


@attack()
def base_thousand(ask: Ask) -> Any:
    x = pl.when(target).then(salary * 1_000_000).otherwise(salary * 0)
    value = cell(ask(T.select(x=x.sum())), "x")
    return None if value is None else value / 1_000_000


@attack()
def replaced_by_weights(ask: Ask) -> Any:
    weight = pl.col("age").replace({97: 1, **dict.fromkeys(range(18, 97), 0)})
    return cell(ask(T.select(x=(salary * weight).sum())), "x")


@attack()
def product_with_known_column(ask: Ask) -> Any:
    w = pl.when(target).then(1.0).otherwise(0.0)
    return cell(ask(T.with_columns(w=w).select(x=(pl.col("w") * salary).sum())), "x")


@attack()
def covariance_with_a_mask(ask: Ask) -> Any:
    w = pl.when(target).then(1.0).otherwise(0.0)
    found = cell(ask(T.with_columns(w=w).select(x=pl.cov("w", "salary", ddof=0))), "x")
    return None if found is None else found * N + TOTAL / N


@attack(True)
def rounding_by_a_large_constant(ask: Ask) -> Any:
    # adding and taking away 2**52 * 60,000 leaves a multiple of a large step: a condition on the value
    step = 2.0**68
    value = cell(ask(T.select(x=((debt + step) - step).sum())), "x")
    return value is not None and value > 0 and value == float(((PEOPLE["debt"] + step) - step).sum())


@attack(1)
def count_of_narrow_casts(ask: Ask) -> Any:
    value = cell(ask(T.select(x=(debt.cast(pl.Int16, strict=False)).count())), "x")
    return minus(N, value)


test_attack_fails_under_the_default_policy, test_attack_succeeds_without_a_guard = played(ATTACKS, guarded, unguarded)
