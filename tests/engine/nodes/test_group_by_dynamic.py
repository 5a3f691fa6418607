"""Windows of fixed length over a sorted index."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, named, names, run_cases, sel

CASES = {
    "days": Case(
        n.GroupByDynamic(T, c("ts"), "7d", (f("sum", c("k")), f("pl.len"))),
        lambda t, u: t.group_by_dynamic("ts", every="7d").agg(pl.col("k").sum(), pl.len()),
    ),
    "boundaries": Case(
        n.GroupByDynamic(T, c("ts"), "1w", (f("pl.len"),), include_boundaries=True, closed="right", label="right"),
        lambda t, u: t.group_by_dynamic("ts", every="1w", include_boundaries=True, closed="right", label="right").agg(
            pl.len()
        ),
    ),
    "overlapping": Case(
        n.GroupByDynamic(T, c("ts"), "5d", (f("mean", c("k")),), period="10d", offset="-1d", start_by="datapoint"),
        lambda t, u: t.group_by_dynamic("ts", every="5d", period="10d", offset="-1d", start_by="datapoint").agg(
            pl.col("k").mean()
        ),
    ),
    "whole numbers": Case(
        n.GroupByDynamic(T, c("i"), "10i", (f("max", c("i8")),), include_boundaries=True),
        lambda t, u: t.group_by_dynamic("i", every="10i", include_boundaries=True).agg(pl.col("i8").max()),
    ),
    "groups": Case(
        n.GroupByDynamic(T, c("ts"), "10d", (f("count", sel("by_name", "k", "x")),), group_by=names(["b"])),
        lambda t, u: t.group_by_dynamic("ts", every="10d", group_by="b").agg(pl.col("k", "x").count()),
        ordered=False,
    ),
    "renamed index": Case(
        n.GroupByDynamic(T, named("when", c("ts")), "1mo", (f("pl.len"),), start_by="monday"),
        lambda t, u: t.group_by_dynamic(pl.col("ts").alias("when"), every="1mo", start_by="monday").agg(pl.len()),
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
