"""Attacks by conditions that a measure decides for the target only, beside many who are known and counted beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
from attack_list import attack
from bastion_plan import nodes as n
from query import Q, exprs, inline
from wire_arena import Attacker
from wire_terms import age
from wire_worlds import AGE

import bastion.expressions as pl

BUDGET = "denial budget"
died = pl.col("died")


def others(a: Attacker, seed: int) -> tuple[list[int], int]:
    """Return ages that nobody has asked for, and how many people have one."""
    ages = [int(v) for v in np.random.default_rng(seed).choice(np.arange(20, 80), 30, replace=False)]
    return ages, a.others.filter(polars.col("age").is_in(ages)).height


def bisected(a: Attacker, most: float, rows: Callable[[list[int], float], Q], nearest: float) -> Any:
    """Return the target's value of a column by whether one more is counted than is known; None where that is not told."""
    low, high = 0.0, most
    while high - low > nearest:
        middle = (low + high) / 2
        ages, many = others(a, int(middle * 16))
        found = a.value(rows(ages, middle).select(pl.len()))
        if found is None or found - many not in (0, 1):
            return None
        low, high = (middle, high) if found > many else (low, middle)
    return (low + high) / 2


def by_pairs(a: Attacker, how: str) -> Any:
    """Return the target's salary by joins of ages and bins of salaries with pairs of one's own."""

    def rows(ages: list[int], edge: float) -> Q:
        pairs = [(x, b) for x in ages for b in (False, True)] + [(AGE, True)]
        own = inline({"x": [x for x, _ in pairs], "b": [b for _, b in pairs]})
        return Q(n.Join(a.T.plan, own.plan, how, exprs(age, pl.col("salary") > edge), exprs("x", "b")))

    return bisected(a, 131_072.0, rows, 60.0)


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_pairs_of_keys(a: Attacker) -> Any:
    """Joins ages and whether salaries are high with one's own pairs: both of the others, one of the target."""
    return by_pairs(a, "semi")


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_inner_joins_on_pairs(a: Attacker) -> Any:
    """The same with an inner join."""
    return by_pairs(a, "inner")


@attack("differencing", BUDGET, "history", "died", tolerance=1e-3)
def bisection_beside_missing_values(a: Attacker) -> Any:
    """Counts people of whom it is known that no value is stored, which is filled, and the target by theirs."""

    def rows(ages: list[int], edge: float) -> Q:
        return a.T.filter(age.is_in(ages) | (age == AGE)).filter(died.fill_null(1e6) > edge)

    return bisected(a, 4096.0, rows, 1.0)
