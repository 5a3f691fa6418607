"""A window per row over a sorted index."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, named, names, run_cases

CASES = {
    "days": Case(
        n.Rolling(T, c("ts"), "3d", (f("sum", c("k")), named("n", f("pl.len")))),
        lambda t, u: t.rolling("ts", period="3d").agg(pl.col("k").sum(), n=pl.len()),
    ),
    "offset": Case(
        n.Rolling(T, c("ts"), "2d", (f("max", c("i8")),), offset="-5d", closed="both"),
        lambda t, u: t.rolling("ts", period="2d", offset="-5d", closed="both").agg(pl.col("i8").max()),
    ),
    "whole numbers": Case(
        n.Rolling(T, c("i"), "5i", (f("mean", c("y")), c("b"))),
        lambda t, u: t.rolling("i", period="5i").agg(pl.col("y").mean(), "b"),
    ),
    "dates": Case(
        n.Rolling(T, c("d"), "31d", (f("pl.len"),), closed="left"),
        lambda t, u: t.rolling("d", period="31d", closed="left").agg(pl.len()),
    ),
    "groups": Case(
        n.Rolling(T, c("ts"), "9d", (f("sum", c("k")),), group_by=names(["g"])),
        lambda t, u: t.rolling("ts", period="9d", group_by="g").agg(pl.col("k").sum()),
        ordered=False,
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
