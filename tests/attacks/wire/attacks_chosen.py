"""Attacks on whom a measure chose, by numbers that are far from every threshold: ranks, sums, missing values, who is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
from attack_list import attack
from attacks_edges import bisected, nine_others
from query import Q
from wire_arena import Attacker
from wire_terms import age, salary, target

import bastion.expressions as pl

BUDGET, BITS = "denial budget", "bits of known columns"
pay = polars.col("salary")


def asked(a: Attacker, at: float, more: Any = None) -> tuple[Q, polars.DataFrame]:
    """Return people of some ages, other ones each time, beside the target; and the rows of the others, who are known."""
    ages = [int(v) for v in np.random.default_rng(int(at * 16)).choice(np.arange(20, 80), 30, replace=False)]
    known, rows = a.others.filter(polars.col("age").is_in(ages)), age.is_in(ages)
    if more is not None:
        known, rows = known.filter(polars.col(more).is_not_null()), rows & pl.col(more).is_not_null()
    return a.T.filter(rows | target), known


def searched(a: Attacker, chosen: Callable[[Q, polars.DataFrame, float], Any], more: Any = None) -> Any:
    """Return the target's salary by whether the target is among those who earn less than one threshold after another."""

    def above(c: float) -> bool | None:
        found = chosen(*asked(a, c, more), c)
        return None if found is None else not found

    return bisected(above)


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_the_oldest(a: Attacker) -> Any:
    """Asks for the largest age of those who earn less, nine known old people and young ones beside the target."""
    nine = nine_others(a, (pay < 45_000) & (polars.col("age") >= 60))

    def above(c: float) -> bool | None:
        largest = a.value(a.T.filter((age < 40) | nine | target).filter(salary < c).select(age.max()))
        return None if largest is None else largest < 60

    return bisected(above)


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_who_is_left_out(a: Attacker) -> Any:
    """Counts those of a group, of whom all others are known, who earn less: everybody, or all but the target."""
    return searched(
        a,
        lambda q, known, c: (
            None if (n := a.value(q.filter(salary < c).select(pl.len()))) is None else n > known.filter(pay < c).height
        ),
    )


@attack("differencing", BITS, "history", tolerance=1e-3)
def bisection_by_sums_of_ages(a: Attacker) -> Any:
    """Adds up the ages of those of a group who earn less, of whom all others are known."""
    return searched(
        a,
        lambda q, known, c: (
            None
            if (s := a.value(q.filter(salary < c).select(age.sum()))) is None
            else s > known.filter(pay < c)["age"].sum()
        ),
    )


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_who_lacks_a_value(a: Attacker) -> Any:
    """Takes the sum and the mean of a column that only the target lacks in a group, and so how many have a value."""
    loan = pl.col("loan")

    def chosen(q: Q, known: polars.DataFrame, c: float) -> bool | None:
        table = a.ask(q.filter(salary < c).select(pl.len(), s=loan.sum(), m=loan.mean()))
        if not table.height or None in table.row(0):
            return None
        people, total, mean = table.row(0)
        return round(people - total / mean) == 1

    return searched(a, chosen, "loan")


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_beside_not_numbers(a: Attacker) -> Any:
    """Counts people who are known to be no number, which is more than any, and the target by theirs."""

    def above(c: float) -> bool | None:
        q, known = asked(a, c)
        found = a.value(q.filter(pl.col("dose") >= c).select(pl.len()))
        return None if found is None else found > known.height

    return bisected(above)


@attack("differencing", "nulls that types make", "open", "debt", tolerance=1e-3)
def largest_by_nulls_of_types(a: Attacker) -> Any:
    """Makes nulls of who owes more than a threshold (what unsigned numbers lack), and so leaves them out of both sides of a condition."""
    debt, low, high = pl.col("debt"), 0.0, 131_072.0
    while high - low > 60:
        middle = (low + high) / 2
        twice, beyond = (
            (debt > 50).cast(pl.UInt64) * 2,
            (debt >= middle).cast(pl.UInt64) * pl.lit(2**63, dtype=pl.UInt64),
        )
        known = (twice + beyond) + (-1) > 0
        table = a.ask(a.T.select(s=known.sum(), m=known.mean(), n=pl.len()))
        if not table.height or None in table.row(0) or not table["m"][0]:
            return None
        found = round(table["n"][0] - table["s"][0] / table["m"][0])
        low, high = (middle, high) if found else (low, middle)
    return (low + high) / 2


@attack("differencing", "counts of values", "open", tolerance=1e-3)
def bisection_by_how_nulls_vary(a: Attacker) -> Any:
    """Takes the variance of who lacks a value, whom a threshold on the salary picks: it is 0 unless the target is among them."""

    def chosen(q: Q, known: polars.DataFrame, c: float) -> bool | None:
        found = a.value(q.select(pl.col("loan").is_null().filter(salary < c).var()))
        return None if found is None else found > 0

    return searched(a, chosen, "loan")
