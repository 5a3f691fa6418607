"""Random chains of verbs: the whole plan equals the same chain of Polars' methods, and so does its schema."""

from __future__ import annotations

import random
from collections.abc import Callable

import polars as pl
import pytest
from bastion_plan import nodes as n
from bastion_plan.expressions import Over
from plan_strategies import SEEDS, Case, T, c, check, f, lit, named, names, sel

#: each keeps the columns k (whole number), g (text) and y (float), so that any may follow any
Step = tuple[Callable[[n.Node], n.Node], Callable[[pl.LazyFrame], pl.LazyFrame]]
STEPS: list[Step] = [
    (lambda p: n.Filter(p, f("gt", c("k"), 0)), lambda t: t.filter(pl.col("k") > 0)),
    (lambda p: n.Filter(p, f("is_not_null", c("g"))), lambda t: t.filter(pl.col("g").is_not_null())),
    (lambda p: n.WithColumns(p, (f("mul", c("y"), 2.0),)), lambda t: t.with_columns(pl.col("y") * 2.0)),
    (lambda p: n.WithColumns(p, (named("k", f("add", c("k"), 1)),)), lambda t: t.with_columns(pl.col("k") + 1)),
    (lambda p: n.Select(p, names(["y", "g", "k"])), lambda t: t.select("y", "g", "k")),
    (
        lambda p: n.WithColumns(p, (named("y", Over(f("mean", c("y")), (c("k"),))),)),
        lambda t: t.with_columns(y=pl.col("y").mean().over("k")),
    ),
    (
        lambda p: n.GroupBy(p, names(["k", "g"]), (f("sum", c("y")),), maintain_order=True),
        lambda t: t.group_by("k", "g", maintain_order=True).agg(pl.col("y").sum()),
    ),
    (
        lambda p: n.GroupBy(p, names(["g"]), (f("max", sel("by_name", "k", "y")),), maintain_order=True),
        lambda t: t.group_by("g", maintain_order=True).agg(pl.col("k", "y").max()),
    ),
    (
        lambda p: n.Sort(p, names(["k", "g", "y"]), (True, False, False), maintain_order=True),
        lambda t: t.sort("k", "g", "y", descending=[True, False, False], maintain_order=True),
    ),
    (lambda p: n.Slice(p, 1, 40), lambda t: t.slice(1, 40)),
    (lambda p: n.Reverse(p), lambda t: t.reverse()),
    (
        lambda p: n.Unique(p, names(["k"]), "first", maintain_order=True),
        lambda t: t.unique("k", keep="first", maintain_order=True),
    ),
    (lambda p: n.FillNull(p, lit(0)), lambda t: t.fill_null(0)),
    (lambda p: n.DropNulls(p, names(["y"])), lambda t: t.drop_nulls("y")),
    (
        lambda p: n.Join(p, n.GroupBy(p, names(["k"]), (named("m", f("pl.len")),)), "left", names(["k"]), names(["k"]), maintain_order="left"),
        lambda t: t.join(t.group_by("k").agg(m=pl.len()), on="k", how="left", maintain_order="left").drop("m_right", strict=False),
    ),
    (lambda p: n.Concat((p, n.Slice(p, 0, 3))), lambda t: pl.concat([t, t.slice(0, 3)])),
]  # fmt: skip
JOIN = 14


@pytest.mark.parametrize("number", range(2 * SEEDS))
def test_chain_equals_polars(number: int) -> None:
    rng = random.Random(number)
    chosen = rng.sample([s for i, s in enumerate(STEPS) if i != JOIN], rng.randrange(2, 7))
    if rng.random() < 0.3:
        chosen.append(STEPS[JOIN])
    plan: n.Node = n.Select(T, names(["k", "g", "y"]))
    for ours, _ in chosen:
        plan = ours(plan)

    def polars(t: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
        t = t.select("k", "g", "y")
        for _, theirs in chosen:
            t = theirs(t)
        return t

    check(Case(plan, polars))
