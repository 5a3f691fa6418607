"""A measure that leaves out few of a public group, or nobody, is at a threshold as one that leaves few is."""

from __future__ import annotations

import numpy as np
import polars
import pytest
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.model import Role
from bastion_policy.roles import measure
from drive import World
from query import Q

import bastion.expressions as pl

T = Q("t")
PEOPLE = 3000
RNG = np.random.default_rng(3)
AREA, PAY = RNG.integers(0, 100, PEOPLE), RNG.integers(1000, 95_000, PEOPLE)
PAY[0] = 99_123
ROLES: dict[str, Role | str] = {"area": "quasi", "pay": measure(0, 100_000)}


def world() -> World:
    return World(remembers=True).add("t", polars.DataFrame({"area": AREA, "pay": PAY}), None, ROLES)


def groups():
    """Areas, other ones each time, that hold the richest person."""
    rng = np.random.default_rng(11)
    while True:
        yield [int(AREA[0]), *(int(x) for x in rng.choice(np.setdiff1d(np.arange(100), [AREA[0]]), 12, replace=False))]


@pytest.mark.parametrize("keyed", [False, True], ids=["count", "by key"])
def test_a_bisection_of_the_largest_value_counts(keyed):
    w, low, high, asked = world(), 90_000, 100_000, 0
    for areas in groups():
        middle = (low + high) // 2
        rows = T.filter(pl.col("area").is_in(areas)).filter(pl.col("pay") < middle)
        plan = rows.group_by(pl.col("area") % 2).agg(pl.len()) if keyed else rows.select(pl.len())
        answer = w.ask(plan.plan)
        if answer.table is None:
            assert {f.rule for f in answer.verdict.findings} == {"edge-budget"}
            break
        asked += 1
        everybody = int(answer.table["len"].sum()) == int(np.isin(AREA, areas).sum())
        low, high = (low, middle) if everybody else (middle, high)
        assert high - low > 1
    assert asked <= EDGE_BUDGET + 2


def test_a_choice_that_leaves_out_many_of_each_is_none():
    w, rows = world(), T.filter(pl.col("pay") < 50_000)
    for i in range(2 * EDGE_BUDGET):
        areas = [int(x) for x in np.random.default_rng(i).choice(100, 40, replace=False)]
        assert w.ask(rows.filter(pl.col("area").is_in(areas)).select(pl.len()).plan).table is not None
    (past,) = w.pasts.values()
    assert not past.edges
