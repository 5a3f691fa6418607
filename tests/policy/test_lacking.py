"""Who lacks a value is public: of those whom a measure chose, fewer than k who lack one are at a threshold."""

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

N, PAY = 4000, 61_234
RNG = np.random.default_rng(12)
AREA = np.append(RNG.integers(0, 60, N - 1), 60)
#: of the areas below thirty and the last one, one person has no score; of the others one in three
SCORE = [
    None if i == N - 1 or (30 <= a < 60 and i % 3 == 0) else int(s)
    for i, (a, s) in enumerate(zip(AREA, RNG.integers(0, 50, N), strict=True))
]
FRAME = polars.DataFrame(
    {"id": np.arange(N), "area": AREA, "pay": np.append(RNG.integers(10_000, 100_000, N - 1), PAY), "score": SCORE}
)
ROLES: dict[str, Any] = {
    "id": "identifier", "area": "quasi", "pay": measure(0, 100_000), "score": measure(0, 50),
}  # fmt: skip
T, pay, score = Q("t"), pl.col("pay"), pl.col("score")
FORMS: dict[str, Callable[[Q, int], Q]] = {
    "sum and mean": lambda g, c: g.filter(pay < c).select(pl.len(), s=score.sum(), m=score.mean()),
    "mean": lambda g, c: g.filter(pay < c).select(score.mean()),
    "inside": lambda g, c: g.select(score.filter(pay < c).mean()),
    "keys": lambda g, c: g.group_by((pay < c).alias("low")).agg(score.mean()),
    "by area": lambda g, c: g.filter(pay < c).group_by(pl.col("area") % 2).agg(score.mean()),
}


def world() -> World:
    return World(remembers=True).add("t", FRAME, Policy(Aggregation(10), Review()), ROLES, "id")


def groups(*first: int, of: int = 0):
    """Areas, other ones each time, beside some."""
    rng = np.random.default_rng(7)
    while True:
        yield T.filter(pl.col("area").is_in([*first, *(int(x) for x in of + rng.choice(30, 20, replace=False))]))


def answered(w: World, chosen: Any, form: Callable[[Q, int], Q]) -> int:
    for asked, (group, c) in enumerate(zip(chosen, (PAY - 10_000, PAY + 10_000) * EDGE_BUDGET, strict=False)):
        answer = w.ask(form(group, c).plan)
        if answer.table is None:
            assert {f.rule for f in answer.verdict.findings} <= {"edge-budget", "linear-audit"}
            return asked
    return 2 * EDGE_BUDGET


@pytest.mark.parametrize("form", FORMS)
def test_a_search_beside_the_one_who_lacks_a_value_counts(form):
    assert 1 < answered(world(), groups(60), FORMS[form]) <= EDGE_BUDGET


@pytest.mark.parametrize("form", FORMS)
def test_of_groups_in_which_nobody_lacks_one_it_does_not(form):
    assert answered(world(), groups(), FORMS[form]) == 2 * EDGE_BUDGET


def test_nor_where_many_lack_one():
    assert answered(world(), groups(of=30), FORMS["sum and mean"]) == 2 * EDGE_BUDGET


def test_nor_of_those_who_have_one():
    def kept(group: Q, c: int) -> Q:
        return group.drop_nulls("score").filter(pay < c).select(score.mean())

    assert answered(world(), groups(60), kept) == 2 * EDGE_BUDGET
