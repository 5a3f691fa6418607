"""Attacks from what is known besides: margins and their cells, insiders, nine others at the edge of a group of ten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
from attack_list import BIT, attack
from bastion_plan import nodes as n
from bastion_plan.expressions import Column
from query import Q, inline
from wire_arena import Attacker, minus, where
from wire_terms import OFF, RULE, age, known, mine, salary, secret, target, total, town
from wire_worlds import HIGH, LOW, TOWN, N

import bastion.expressions as pl
from bastion.expr.core import as_plan


@attack("differencing", "hidden together", "open")
def margins_less_shown_cells(a: Attacker) -> Any:
    """Subtracts the cells that are shown from their margin, and knows the others of what is held back."""
    rows = a.T.filter(mine).with_columns(old=age > 77)
    margin = where(a.ask(a.T.filter(mine).group_by("town").agg(salary.sum())), "town", TOWN, "salary")
    cells = a.ask(rows.group_by("town", "old").agg(salary.sum()))
    if "old" not in cells.columns:
        return None
    shown = cells.filter((polars.col("town") == TOWN) & ~polars.col("old"))["salary"].to_list()
    others = a.others.filter(known & (polars.col("town") == TOWN) & (polars.col("age") > 77))["salary"].sum()
    return minus(margin, *shown, others) if len(shown) == 1 else None


@attack("differencing", RULE, OFF)
def margins_less_filtered_cells(a: Attacker) -> Any:
    """The same with the small cells filtered away beforehand."""
    margin = where(a.ask(a.T.filter(mine).group_by("town").agg(salary.sum())), "town", TOWN, "salary")
    cells = a.ask(a.T.filter(mine, age <= 77).group_by("town").agg(salary.sum()))
    others = a.others.filter(known & (polars.col("town") == TOWN) & (polars.col("age") > 77))["salary"].sum()
    return minus(margin, where(cells, "town", TOWN, "salary"), others)


@attack("differencing", RULE, OFF, tolerance=1e-3)
def a_cell_of_each_margin(a: Attacker) -> Any:
    """Has two tables whose cells overlap, and solves for the one cell that neither shows."""
    by_town = a.ask(a.T.filter(mine).group_by("town").agg(salary.sum()))
    by_place = a.ask(a.T.filter(mine, ~(target & (town == TOWN))).group_by("place").agg(salary.sum()))
    if by_town.height != 4 or by_place.height != 5 or by_town["salary"].null_count():
        return None
    return float(by_town["salary"].sum()) - float(by_place["salary"].sum())


@attack(
    "differencing", "none in exact profiles", "k", tolerance=1e-2,
    reached={
        "default": "exact: nine who share a group of ten know each other (outside knowledge)",
        "strict": "within rounding: nine who share a group of ten know each other (outside knowledge)",
    },
)  # fmt: skip
def nine_insiders_of_a_group(a: Attacker) -> Any:
    """Nine people of a group of ten put their own values together."""
    group = a.others.filter(known & (polars.col("town") == TOWN)).sort("age", descending=True)
    for least in range(int(group["age"][8]), 19, -1):
        insiders = group.filter(polars.col("age") >= least)
        if insiders.height >= 9:
            break
    found = total(a, mine, town == TOWN, age >= least)
    return minus(found, float(insiders["salary"].sum()))


@attack("differencing", RULE, OFF)
def pair_with_an_insider(a: Attacker) -> Any:
    """Leaves out the target and an insider, who knows their own value."""
    insider = a.others.filter(known & (polars.col("age") == 79)).row(0, named=True)
    own = (age == 79) & (town == insider["town"]) & (pl.col("place") == insider["place"])
    group = (
        polars.col("age").eq(79) & (polars.col("town") == insider["town"]) & (polars.col("place") == insider["place"])
    )
    value = float(a.others.filter(known & group)["salary"].sum())
    return minus(total(a, mine), total(a, mine, ~target, ~own), value)


BUDGET = "denial budget"
EDGE = (
    "one bit a question: who knows nine others and filters by the secret itself moves the edge onto the target; "
    "a budget ends it after eight"
)


def nine_others(a: Attacker, *conditions: Any, count: int = 9) -> Any:
    """Return a condition that nine known people meet, each told apart by their traits."""
    known_people = a.others.unique(["age", "town", "place"], keep="none", maintain_order=True).filter(*conditions)
    found = None
    for row in known_people.head(count).iter_rows(named=True):
        one = (age == row["age"]) & (town == row["town"]) & (pl.col("place") == row["place"])
        found = one if found is None else found | one
    return found


def ten(a: Attacker, condition: Any) -> bool | None:
    """Return whether ten are counted or nobody, None where neither is answered."""
    return ten_of(a, a.T.filter(condition))


def ten_of(a: Attacker, rows: Q) -> bool | None:
    """Return whether there are ten rows or none, None where neither is answered."""
    told = len(a.told)
    found = a.value(rows.select(pl.len()))
    if found is None:
        return False if a.told[told:] == ["answered"] else None
    return found >= 10


@attack("differencing", "quasi predicates", "open", BIT, reached={"default": EDGE})
def padding_to_the_edge(a: Attacker) -> Any:
    """Asks for nine known people, and for the target if a condition on the secret holds: ten are answered, nine not."""
    return ten(a, nine_others(a) | secret)


@attack("differencing", "quasi predicates", "open", BIT, reached={"default": EDGE})
def padding_from_the_whole(a: Attacker) -> Any:
    """Leaves nine known people out, and the target if a condition on the secret holds: ten are missing, or nobody."""
    found = a.value(a.T.filter(~(nine_others(a) | secret)).select(pl.len()))
    return None if found is None else found == N - 10


@attack("differencing", "quasi predicates", "open", BIT, reached={"default": EDGE})
def padding_from_a_stored_population(a: Attacker) -> Any:
    """Leaves nine of one sex out, and the target if a condition holds, after that sex has been asked for."""
    whole = a.value(a.T.filter(mine).select(pl.len()))
    rest = a.value(a.T.filter(mine & ~(nine_others(a, known) | secret)).select(pl.len()))
    found = minus(whole, rest)
    return None if found is None else found == 10


def bisected(above: Callable[[float], bool | None]) -> Any:
    """Return the target's salary by whether it is above one threshold after another, None where that is not told."""
    low, high = 0.0, 131_072.0
    while high - low > 60:
        middle = (low + high) / 2
        found = above(middle)
        if found is None:
            return None
        low, high = (middle, high) if found else (low, middle)
    return (low + high) / 2


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_at_the_edge(a: Attacker) -> Any:
    """Asks the same with one threshold after another, until the salary is known."""
    nine = nine_others(a)
    return bisected(lambda c: ten(a, nine | (target & (salary > c))))


def by_own_table(a: Attacker, how: str) -> Any:
    """Return what a bisection by the key of a join with a table of one's own finds."""
    nine, own = nine_others(a), inline({"k": [True]})

    def rows(c: float) -> Q:
        key = as_plan(nine | (target & (salary > c)))
        return Q(n.Join(a.T.plan, own.plan, how, (key,), (Column("k"),)))  # type: ignore[arg-type]

    return bisected(lambda c: ten_of(a, rows(c)))


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_semi_joins(a: Attacker) -> Any:
    """The same, with the condition as the key of a semi join with a table of one's own."""
    return by_own_table(a, "semi")


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_inner_joins(a: Attacker) -> Any:
    """The same with an inner join."""
    return by_own_table(a, "inner")


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_dropped_nulls(a: Attacker) -> Any:
    """The same with a column that is null where the condition does not hold, and rows without nulls."""
    nine = nine_others(a)

    def rows(c: float) -> Q:
        return a.T.with_columns(z=pl.when(nine | (target & (salary > c))).then(1).otherwise(None)).drop_nulls("z")

    return bisected(lambda c: ten_of(a, rows(c)))


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_beside_large_groups(a: Attacker) -> Any:
    """The same as one group of several, of which the others are large and were not asked for before."""
    nine, rng = nine_others(a, polars.col("town") == TOWN), np.random.default_rng(5)

    def above(c: float) -> bool | None:
        ages = [[int(v) for v in rng.choice(np.arange(20, 80), size, replace=False)] for size in (24, 33)]
        fresh = ((town == "b") & age.is_in(ages[0])) | ((town == "c") & age.is_in(ages[1]))
        told = len(a.told)
        table = a.ask(a.T.filter(fresh | nine | (target & (salary > c))).group_by("town").agg(pl.len()))
        return TOWN in table["town"].to_list() if a.told[told:] == ["answered"] else None

    return bisected(above)


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_counted_others(a: Attacker) -> Any:
    """Counts other people of whom it is known how many they are, and the target if the salary is above a threshold."""
    rng = np.random.default_rng(5)

    def above(c: float) -> bool | None:
        ages = [int(v) for v in rng.choice(np.arange(20, 80), 30, replace=False)]
        many = a.others.filter((polars.col("town") == "b") & polars.col("age").is_in(ages)).height
        found = a.value(a.T.filter(((town == "b") & age.is_in(ages)) | (target & (salary > c))).select(pl.len()))
        return None if found is None else found > many

    return bisected(above)


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_bins(a: Attacker) -> Any:
    """Groups some people by whether they earn little, as nine known ones do, or more than a threshold."""
    pay = polars.col("salary")
    poor = nine_others(a, pay < 40_000)
    some = nine_others(a, pay.is_between(42_000, 58_000), count=30)

    def above(c: float) -> bool | None:
        told = len(a.told)
        key = (salary < 40_000) | (salary > c)
        table = a.ask(a.T.filter(poor | some | target).group_by(key.alias("z")).agg(pl.len()))
        return True in table["z"].to_list() if a.told[told:] == ["answered"] else None

    return bisected(lambda c: True if c < 60_000 else above(c))


@attack("differencing", BUDGET, "history", BIT)
def all_digits_at_once(a: Attacker) -> Any:
    """Asks in one question for nine known people, and for the target, by each binary digit of the salary."""
    bits = []
    for i in range(17):
        others = nine_others(a, (polars.col("age") % 6 == i % 6) & (polars.col("place") != i % 10))
        digit = (salary / 2.0**i).floor() % 2 == 1
        bits.append(age.filter(others | (target & digit)).count().alias(f"d{i}"))
    told = len(a.told)
    table = a.ask(a.T.select(bits))
    if a.told[told:] != ["answered"] or not table.height:
        return None
    found = sum(2**i for i in range(17) if (table[f"d{i}"][0] or 0) >= 10)
    return LOW <= found < HIGH if found else None


@attack("differencing", BUDGET, "history", tolerance=1e-3)
def bisection_by_a_missing_key(a: Attacker) -> Any:
    """The same by a key that the target alone lacks, where all others have the least there is: is there one, or a failure?"""
    key = pl.when(target).then(None).otherwise(-(2**63)).alias("key")

    def above(c: float) -> bool | None:
        found = a.ask(a.T.filter((target & (salary > c)) | (age < 60)).group_by(key).agg(pl.len()))
        if found.height:
            return None in found["key"]
        return True if a.told[-1].startswith("failed") else None

    return bisected(above)
