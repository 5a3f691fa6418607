"""Minima, maxima and medians of known columns, of people whom a measure chose, are at thresholds that count."""

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

N, K, PAY = 4000, 10, 61_234
RNG = np.random.default_rng(5)
#: nine known people of ninety earn next to nothing; with the target they are ten, and the oldest
AGES = np.append(RNG.integers(20, 60, N - K), [90] * K)
FRAME = polars.DataFrame(
    {
        "id": np.arange(N), "age": AGES, "area": np.append(RNG.integers(0, 60, N - K), [60] * K),
        "pay": np.append(RNG.integers(10_000, 100_000, N - K), [100] * (K - 1) + [PAY]),
        "other": RNG.integers(0, 100, N),
    }
)  # fmt: skip
ROLES: dict[str, Any] = {
    "id": "identifier", "age": "quasi", "area": "quasi", "pay": measure(0, 100_000), "other": measure(0, 100),
}  # fmt: skip
T, age, pay = Q("t"), pl.col("age"), pl.col("pay")
FORMS: dict[str, Callable[[Q, int], Q]] = {
    "filter": lambda g, c: g.filter(pay < c).select(age.max()),
    "inside": lambda g, c: g.select(age.filter(pay < c).max()),
    "quantile": lambda g, c: g.filter(pay < c).select(age.quantile(1.0)),
    "as floats": lambda g, c: g.filter(pay < c).select(age.cast(polars.Float64).max()),
    "keys": lambda g, c: g.group_by((pay < c).alias("low")).agg(age.max()),
}


def world() -> World:
    return World(remembers=True).add("t", FRAME, Policy(Aggregation(K), Review()), ROLES, "id")


def groups(seed: int = 7):
    """Areas, other ones each time, beside that of the target."""
    rng = np.random.default_rng(seed)
    while True:
        yield T.filter(pl.col("area").is_in([60, *(int(x) for x in rng.choice(60, 20, replace=False))]))


def edges(w: World) -> int:
    (past,) = w.pasts.values()
    return len(past.edges)


@pytest.mark.parametrize("form", FORMS)
def test_a_search_beside_the_oldest_counts(form):
    w, asked, seen = world(), 0, []
    for group, c in zip(groups(), (PAY - 10_000, PAY + 10_000) * EDGE_BUDGET, strict=False):
        answer = w.ask(FORMS[form](group, c).plan)
        if answer.table is None:
            assert {f.rule for f in answer.verdict.findings} == {"edge-budget"}
            break
        asked += 1
        seen.append(answer.table.rows())
    assert seen[0] != seen[1], "the attack tells something"
    assert 1 < asked <= EDGE_BUDGET


@pytest.mark.parametrize(
    "of",
    [
        lambda g: g.filter(pl.col("age") > 30).select(age.max()),
        lambda g: g.filter(pay < 50_000).select(pl.col("other").median()),
        lambda g: g.filter(pay < 50_000).select(pl.len()),
        lambda g: g.group_by("area").agg(age.median()),
    ],
    ids=["nobody is chosen", "nobody knows the values", "no ranks", "public keys"],
)
def test_others_do_not(of):
    w = world()
    for group, _ in zip(groups(), range(3), strict=False):
        assert w.ask(of(group).plan).table is not None
    assert edges(w) == 0


def test_the_same_again_and_more_of_the_same_question_count_once():
    w, group = world(), next(groups())
    for _ in range(2):
        assert w.ask(group.filter(pay < 50_000).select(pl.len(), m=age.median(), o=age.max()).plan).table is not None
    assert edges(w) == 1
    assert w.ask(group.filter(pay < 50_000).select(m=age.median(), a=pl.col("area").median()).plan).table is not None
    assert edges(w) == 2, "of age again, and of area"
