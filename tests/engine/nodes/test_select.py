"""New columns instead of the old ones; aggregates of the whole frame."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
from bastion_plan import nodes as n
from bastion_plan.dtypes import INT8, STRING, datetime
from bastion_plan.expressions import Cast, Over, Ternary
from plan_strategies import Case, T, c, check, f, lit, named, run_cases, sel

CASES = {
    "columns": Case(n.Select(T, (c("s"), c("k"))), lambda t, u: t.select("s", "k")),
    "arithmetic": Case(
        n.Select(T, (f("add", c("k"), c("i8")), f("mul", lit(2), c("x")), named("z", f("truediv", c("k"), c("i"))))),
        lambda t, u: t.select(pl.col("k") + pl.col("i8"), 2 * pl.col("x"), z=pl.col("k") / pl.col("i")),
    ),
    "aggregates": Case(
        n.Select(T, (f("mean", c("k")), f("sum", c("y")), f("max", c("d")), f("pl.len"), f("n_unique", c("g")))),
        lambda t, u: t.select(
            pl.col("k").mean(), pl.col("y").sum(), pl.col("d").max(), pl.len(), pl.col("g").n_unique()
        ),
    ),
    "aggregate is broadcast": Case(
        n.Select(T, (f("sub", c("k"), f("min", c("k"))), c("s"))),
        lambda t, u: t.select(pl.col("k") - pl.col("k").min(), "s"),
    ),
    "literals": Case(
        n.Select(T, (c("k"), lit(1), named("f", lit(1.5)), named("s", lit("é")), named("n", lit(None)))),
        lambda t, u: t.select("k", pl.lit(1), f=1.5, s=pl.lit("é"), n=None),
    ),
    "all": Case(n.Select(T, (sel("all"),)), lambda t, u: t.select(pl.all())),
    "star": Case(n.Select(T, (c("*"),)), lambda t, u: t.select("*")),
    "numeric times two": Case(
        n.Select(T, (f("mul", sel("by_class", "integer"), 2),)), lambda t, u: t.select(cs.integer() * 2)
    ),
    "conditional": Case(
        n.Select(T, (Ternary(f("gt", c("k"), 1), c("x"), lit(0)), named("w", Ternary(c("b"), lit("yes"), c("s"))))),
        lambda t, u: t.select(
            pl.when(pl.col("k") > 1).then("x").otherwise(0), w=pl.when("b").then(pl.lit("yes")).otherwise("s")
        ),
    ),
    "cast": Case(
        n.Select(
            T, (Cast(c("k"), STRING), Cast(c("x"), INT8, strict=False), Cast(c("d"), datetime("us"), strict=False))
        ),
        lambda t, u: t.select(
            pl.col("k").cast(pl.String),
            pl.col("x").cast(pl.Int8, strict=False),
            pl.col("d").cast(pl.Datetime("us"), strict=False),
        ),
    ),
    "window": Case(
        n.Select(T, (Over(f("sum", c("k")), (c("g"),)), Over(f("max", c("i")), (c("b"), c("k"))))),
        lambda t, u: t.select(pl.col("k").sum().over("g"), pl.col("i").max().over("b", "k")),
    ),
    "nothing": Case(
        n.Select(T, (f("pl.len"), sel("by_class", "decimal"))), lambda t, u: t.select(pl.len(), cs.decimal())
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
