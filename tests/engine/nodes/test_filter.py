"""Rows for which a predicate is true."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, run_cases, sel

CASES = {
    "greater": Case(n.Filter(T, f("gt", c("k"), 1)), lambda t, u: t.filter(pl.col("k") > 1)),
    "null predicate": Case(n.Filter(T, f("eq", c("s"), c("g"))), lambda t, u: t.filter(pl.col("s") == pl.col("g"))),
    "nan": Case(n.Filter(T, f("ge", c("x"), 0.0)), lambda t, u: t.filter(pl.col("x") >= 0.0)),
    "boolean column": Case(n.Filter(T, c("b")), lambda t, u: t.filter("b")),
    "and or not": Case(
        n.Filter(T, f("or_", f("and_", c("b"), f("not_", f("eq", c("s"), "a"))), f("is_null", c("k")))),
        lambda t, u: t.filter((pl.col("b") & ~(pl.col("s") == "a")) | pl.col("k").is_null()),
    ),
    "one selected column": Case(n.Filter(T, sel("by_class", "boolean")), lambda t, u: t.filter(cs.boolean())),
    "aggregate inside": Case(
        n.Filter(T, f("gt", c("k"), f("mean", c("k")))), lambda t, u: t.filter(pl.col("k") > pl.col("k").mean())
    ),
    "twice": Case(
        n.Filter(n.Filter(T, f("gt", c("k"), 0)), f("lt", c("i"), 30)),
        lambda t, u: t.filter(pl.col("k") > 0).filter(pl.col("i") < 30),
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
