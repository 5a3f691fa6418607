"""What is taken by the order that a measure puts a person's rows in tells of that measure, as `sort_by` does."""

from __future__ import annotations

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_policy.model import Policy, Role, RoleKind
from drive import Answer, World
from query import Q, concat

import bastion.expressions as pl

PEOPLE, MONTHS, TARGET, BEST = 700, 6, 97, 3
T = Q("t")
C = pl.col
MONTH = C("month")


def rows() -> polars.DataFrame:
    rng = np.random.default_rng(4)
    made = []
    for who in range(PEOPLE):
        pays = rng.permutation(MONTHS) * 100 + 2000 + who % 50
        if who == PEOPLE - 1:
            pays[BEST] = 9000
        age = TARGET if who == PEOPLE - 1 else 20 + who % 64
        made += [(who, age, month, float(pays[month]), month // 2) for month in range(MONTHS)]
    return polars.DataFrame(made, schema=["id", "age", "month", "pay", "part"], orient="row")


ROWS = rows()
ROLES = {
    "id": "identifier",
    "age": "quasi",
    "month": "quasi",
    "part": "quasi",
    "pay": Role(RoleKind.MEASURE, 0.0, 10_000.0),
}


def world() -> World:
    return World(remembers=True).add("t", ROWS, Policy.default(), ROLES, "id")


def best(order: str) -> dict[str, Q]:
    """A column of the month that comes last in an order, or first in the opposite one."""
    sorted_ = T.sort(order)
    return {
        "grouped": sorted_.group_by("id").agg(C("age").max(), best=MONTH.last()),
        "reversed": sorted_.of(n.Reverse).group_by("id").agg(C("age").max(), best=MONTH.first()),
        "computed": sorted_.group_by("id").agg(C("age").max(), best=MONTH.last() * 1),
        "after steps": sorted_.with_columns(x=C("part") + 1)
        .filter(C("part") >= 0)
        .group_by("id")
        .agg(C("age").max(), best=MONTH.last()),
        "sorted again": sorted_.sort("part").group_by("id").agg(C("age").max(), best=MONTH.last()),
        "a window": sorted_.with_columns(best=MONTH.last().over("id")),
        "a window's order": T.with_columns(best=MONTH.last().over("id", order_by=order)),
        "sorted inside": T.group_by("id").agg(C("age").max(), best=MONTH.sort_by(order).last()),
    }


FORMS = list(best("pay"))


def tracked(table: Q, month: int) -> Answer:
    """Those of some known ages, and the target if a month is their best."""
    ages = list(range(20, 52))
    chosen = C("age").is_in(ages) | ((C("age") == TARGET) & (C("best") == month))
    return world().ask(table.filter(chosen).select(C("id").n_unique()).plan)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_a_measure_chooses_nobody_unseen(form: str) -> None:
    answer = tracked(best("pay")[form], BEST)
    assert answer.table is None
    assert {f.rule for f in answer.verdict.findings} == {"edge-budget"}


@pytest.mark.parametrize("form", [f for f in FORMS if f != "sorted again"])
def test_the_order_of_a_known_column_tells_nothing(form: str) -> None:
    """The last month is nobody's secret."""
    assert tracked(best("month")[form], MONTHS - 1).released.height == 1


def test_a_condition_inside_a_window_is_seen_too() -> None:
    ages = C("age").is_in(list(range(20, 52)))
    for condition in (MONTH.last().over("id") == BEST, MONTH.cum_count().over("id") == 1):
        plan = T.sort("pay").filter(ages | ((C("age") == TARGET) & condition)).select(C("id").n_unique()).plan
        assert {f.rule for f in world().ask(plan).verdict.findings} == {"edge-budget"}


def test_parts_of_a_stack_keep_their_orders() -> None:
    halves = [T.filter(C("part") == p).sort("pay") for p in (0, 1)]
    table = concat(*halves).group_by("id").agg(C("age").max(), best=MONTH.last())
    assert tracked(table, BEST).table is None


def test_latest_values_are_group_keys() -> None:
    for by in (("month",), ("id", "month")):
        latest = T.sort(*by).group_by("id").agg(part=C("part").last())
        assert world().ask(latest.group_by("part").agg(pl.len()).plan).released["len"].to_list() == [PEOPLE]


def test_orders_that_nothing_reads_change_nothing() -> None:
    per_person = T.sort("pay").group_by("id").agg(C("age").max(), x=C("pay").mean(), m=C("month").max())
    found = world().ask(per_person.group_by("m").agg(C("x").mean(), n=pl.len()).plan).released
    assert found["n"].to_list() == [PEOPLE]
    assert world().ask(T.sort("pay").group_by("part").agg(C("pay").mean()).plan).released.height == MONTHS // 2
    largest = T.sort("pay").group_by("id").agg(top=C("pay").last())
    assert world().ask(largest.filter(C("top") > 2520).select(pl.len()).plan).released.height == 1
