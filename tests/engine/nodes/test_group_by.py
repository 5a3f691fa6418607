"""One row per distinct keys."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, lit, named, names, run_cases, sel

CASES = {
    "sums": Case(
        n.GroupBy(T, names(["g"]), (f("sum", c("k")), f("mean", c("y")), named("n", f("pl.len")))),
        lambda t, u: t.group_by("g").agg(pl.col("k").sum(), pl.col("y").mean(), n=pl.len()),
        ordered=False,
    ),
    "in order": Case(
        n.GroupBy(T, names(["k", "b"]), (f("max", c("i")), f("n_unique", c("s"))), maintain_order=True),
        lambda t, u: t.group_by("k", "b", maintain_order=True).agg(pl.col("i").max(), pl.col("s").n_unique()),
    ),
    "nan and zero keys": Case(
        n.GroupBy(T, names(["x"]), (f("count", c("k")),)),
        lambda t, u: t.group_by("x").agg(pl.col("k").count()),
        ordered=False,
    ),
    "computed key": Case(
        n.GroupBy(T, (named("half", f("floordiv", c("i"), 10)),), (f("min", c("d")),)),
        lambda t, u: t.group_by((pl.col("i") // 10).alias("half")).agg(pl.col("d").min()),
        ordered=False,
    ),
    "keys only": Case(n.GroupBy(T, names(["g", "b"])), lambda t, u: t.group_by("g", "b").agg(), ordered=False),
    "lists": Case(
        n.GroupBy(T, names(["g"]), (c("k"), f("add", c("i8"), f("min", c("k"))))),
        lambda t, u: t.group_by("g").agg("k", pl.col("i8") + pl.col("k").min()),
        ordered=False,
    ),
    "selected keys leave the aggregates": Case(
        n.GroupBy(T, (sel("by_name", "i", "k"),), (f("sum", sel("by_class", "integer")),)),
        lambda t, u: t.group_by("i", "k").agg(cs.integer().sum()),
        ordered=False,
    ),
    "all leaves out the keys": Case(
        n.GroupBy(T, names(["g"]), (f("n_unique", sel("exclude", "n")),)),
        lambda t, u: t.group_by("g").agg(pl.exclude("n").n_unique()),
        ordered=False,
    ),
    "filtered": Case(
        n.GroupBy(T, names(["g"]), (f("sum", f("filter", c("k"), f("gt", c("i"), 10))),)),
        lambda t, u: t.group_by("g").agg(pl.col("k").filter(pl.col("i") > 10).sum()),
        ordered=False,
    ),
    "literal": Case(
        n.GroupBy(T, names(["en"]), (named("one", lit(1)), f("add", f("sum", c("k")), f("pl.len")))),
        lambda t, u: t.group_by("en").agg(pl.lit(1).alias("one"), pl.col("k").sum() + pl.len()),
        ordered=False,
    ),
    "twice": Case(
        n.GroupBy(n.GroupBy(T, names(["g", "k"]), (named("m", f("max", c("i"))),)), names(["g"]), (f("sum", c("m")),)),
        lambda t, u: t.group_by("g", "k").agg(m=pl.col("i").max()).group_by("g").agg(pl.col("m").sum()),
        ordered=False,
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
