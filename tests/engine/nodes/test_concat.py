"""Frames below and beside each other."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, U, c, check, named, names, run_cases

CASES = {
    "vertical": Case(n.Concat((T, U, T)), lambda t, u: pl.concat([t, u, t])),
    "one": Case(n.Concat((T,), "vertical_relaxed"), lambda t, u: t),
    "relaxed": Case(
        n.Concat((n.Select(T, names(["i8", "s"])), n.Select(U, (named("i8", c("y")), c("s")))), "vertical_relaxed"),
        lambda t, u: pl.concat([t.select("i8", "s"), u.select(pl.col("y").alias("i8"), "s")], how="vertical_relaxed"),
    ),
    "diagonal": Case(
        n.Concat((n.Select(T, names(["k", "s"])), n.Select(U, names(["s", "x"]))), "diagonal"),
        lambda t, u: pl.concat([t.select("k", "s"), u.select("s", "x")], how="diagonal"),
    ),
    "diagonal relaxed": Case(
        n.Concat((n.Select(T, names(["k", "u"])), n.Select(U, (c("x"), named("u", c("i8"))))), "diagonal_relaxed"),
        lambda t, u: pl.concat([t.select("k", "u"), u.select("x", u="i8")], how="diagonal_relaxed"),
    ),
    "horizontal": Case(
        n.Concat((n.Select(T, names(["k"])), n.Select(T, names(["s", "x"]))), "horizontal"),
        lambda t, u: pl.concat([t.select("k"), t.select("s", "x")], how="horizontal"),
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
