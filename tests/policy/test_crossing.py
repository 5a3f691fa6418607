"""How many people cross a bound with some of their rows is at a threshold where they are fewer than k."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.model import Aggregation, Policy, Review, measure
from drive import World
from query import Q

import bastion.expressions as pl

PEOPLE, MONTHS = 1200, 4
RNG = np.random.default_rng(9)
ROWS = polars.DataFrame(
    [(p, p % 8, m) for p in range(PEOPLE) for m in range(MONTHS)], schema=["id", "age", "month"], orient="row"
)
#: paid little or much, in all months alike but one person in one; readings go up and down
PAY = np.repeat(RNG.integers(0, 2, PEOPLE), MONTHS) * 3000.0 + 2000 + np.repeat(RNG.integers(0, 900, PEOPLE), MONTHS)
PAY[4 * 77 + 1] = 4900.0 if PAY[4 * 77] < 4000 else 2100.0
FRAME = ROWS.with_columns(pay=PAY, wage=PAY, reading=RNG.uniform(0, 100, PEOPLE * MONTHS))
ROLES: dict[str, Any] = {
    "id": "identifier", "age": "quasi", "month": "quasi", "pay": measure(0, 10_000, varies=True),
    "reading": measure(0, 100, varies=True), "wage": measure(0, 10_000),
}  # fmt: skip
T, pay, reading, people = Q("t"), pl.col("pay"), pl.col("reading"), pl.col("id").n_unique()


def world(frame: polars.DataFrame = FRAME) -> World:
    return World(remembers=True).add("t", frame, Policy(Aggregation(10), Review()), ROLES, "id")


def edges(w: World, plan: Q) -> int:
    assert w.ask(plan.plan).table is not None
    (past,) = w.pasts.values()
    return len(past.edges)


FEW: dict[str, Callable[[], Q]] = {
    "filter": lambda: T.filter(pay < 4000).select(people),
    "by age": lambda: T.filter(pay < 4000).group_by("age").agg(people),
    "inside": lambda: T.select(pl.col("id").filter(pay < 4000).n_unique()),
    "keys": lambda: T.group_by((pay < 4000).alias("low")).agg(people),
    "rows per person": lambda: T.filter(pay < 4000).group_by("id").agg(z=pl.len()).select(pl.len()),
    "numbers per person": lambda: (
        T.filter(pay < 4000).group_by("id").agg(z=reading.sum()).select(pl.col("z").mean(), n=pl.len())
    ),
    "of what stays the same": lambda: T.filter(pl.col("wage") < 4000).select(people),
}
MANY: dict[str, Callable[[], Q]] = {
    "readings": lambda: T.filter(reading < 50).select(people),
    "readings by age, per person": lambda: (
        T.filter(reading < 20).group_by("id").agg(z=reading.mean(), a=pl.col("age").first()).group_by("a").agg(pl.len())
    ),
    "rows": lambda: T.filter(pay < 4000).select(pl.len()),
    "nobody is chosen": lambda: T.filter(pl.col("month") < 2).select(people),
    "all their rows": lambda: T.group_by("id").agg(z=pay.mean()).filter(pl.col("z") < 4000).select(pl.len()),
}


@pytest.mark.parametrize("form", FEW)
def test_few_who_cross_count(form):
    assert edges(world(), FEW[form]()) == 1


@pytest.mark.parametrize("form", MANY)
def test_many_who_cross_do_not(form):
    assert edges(world(), MANY[form]()) == 0


def test_of_one_row_per_person_nobody_crosses():
    assert edges(world(FRAME.filter(polars.col("month") == 0)), FEW["filter"]()) == 0


def test_a_search_for_who_crosses_ends():
    w, asked = world(), 0
    for bound in range(3000, 5000, 100):
        answer = w.ask(T.filter(pay < bound).group_by("age").agg(people).plan)
        if answer.table is None:
            assert {f.rule for f in answer.verdict.findings} == {"edge-budget"}
            break
        asked += 1
    assert asked <= EDGE_BUDGET
