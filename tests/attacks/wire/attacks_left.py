"""Attacks by which rows of a person are left: how many there are, how long a list is, whether the last one has a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attack_list import attack
from attacks_edges import bisected
from query import Q
from wire_arena import Attacker
from wire_terms import age, target
from wire_worlds import DIAGNOSES, RATES

import bastion.expressions as pl

BUDGET = "denial budget"
day, n_, a_ = pl.col("day"), pl.col("n"), pl.col("a")


def ages(seed: int, sets: int = 1) -> list[list[int]]:
    """Return sets of 20 ages, other ones each time."""
    found = np.random.default_rng(seed).permutation(np.arange(20, 80)).tolist()
    return [found[20 * i : 20 * i + 20] for i in range(sets)]


def of_age(a: Attacker, years: list[int]) -> int:
    """Return how many others are so old, which is known."""
    return a.others.filter(polars.col("age").is_in(years)).height


def bisection_by_rows(a: Attacker, n: Any) -> Any:
    """Return the target's wage: some have one row, others two, and the target three, of whom the wage is looked at."""
    rows = a.table("wages")

    def above(c: float) -> bool | None:
        ours, others = ages(int(16 * c), 2)
        two = age.is_in(others) & (day < 2)
        some = rows.filter((age.is_in(ours) & (day == 0)) | two | (target & (day < 3)))
        per = some.group_by("id").agg(n=n, w=pl.col("wage").first())
        found = a.value(per.filter((n_ == 1) | ((n_ == 3) & (pl.col("w") < c))).select(pl.len()))
        return None if found is None else found == of_age(a, ours)

    return bisected(above)


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_numbers_of_rows(a: Attacker) -> Any:
    """Adds nothing to the number of a person's rows, which so is of no column, and asks for it or a wage below a threshold."""
    return bisection_by_rows(a, pl.len() + 0)


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_numbers_of_wages(a: Attacker) -> Any:
    """Counts the wages of each person, so that the condition names wages alone."""
    return bisection_by_rows(a, pl.col("wage").len())


@attack("encoding", "sensitive columns choose nobody", "open", DIAGNOSES)
def length_of_an_exploded_list(a: Attacker) -> Any:
    """Counts the target among those of an age if so many rows come of the list of diagnoses."""
    low, high = 0, 16
    while high - low > 1:
        middle = (low + high) // 2
        (ours,) = ages(middle)
        rows: Q = a.table("lists").filter(age.is_in(ours) | target).explode("diagnoses")
        per = rows.group_by("id").agg(n=pl.len(), a=age.first())
        found = a.value(per.filter(a_.is_in(ours) | (n_ >= middle)).select(pl.len()))
        if found is None:
            return None
        # of the others all are counted
        low, high = (middle, high) if found > of_age(a, ours) else (low, middle)
    return low


@attack("encoding", BUDGET, "history", RATES)
def nulls_in_the_order_of_rates(a: Attacker) -> Any:
    """Counts whose tip is missing on the day with the higher rate: of others the only day, of the target one of two."""
    found = 0
    for i in range(12):
        (ours,) = ages(i)
        rows = a.table("shifts").filter((age.is_in(ours) & (day == 0)) | (target & day.is_in([2 * i, 2 * i + 1])))
        last = rows.sort("rate").group_by("id").agg(t=pl.col("tip").last())
        people = a.value(last.filter(pl.col("t").is_null()).select(pl.len()))
        if people is None:
            return None
        found |= int(people > of_age(a, ours)) << i
    return found
