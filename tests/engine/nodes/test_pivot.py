"""Long to wide, with the new columns known beforehand."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, named, names, run_cases

CASES = {
    "first": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "first"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="first"),
        ordered=False,
    ),
    "len": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "len"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="len"),
        ordered=False,
    ),
    "sum": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "sum"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="sum"),
        ordered=False,
    ),
    "mean": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "mean"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="mean"),
        ordered=False,
    ),
    "median": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "median"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="median"),
        ordered=False,
    ),
    "min": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "min"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="min"),
        ordered=False,
    ),
    "max": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "max"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="max"),
        ordered=False,
    ),
    "last": Case(
        n.Pivot(T, "k", (0, 1, 3), ("g",), ("i8", "y"), "last"),
        lambda t, u: t.pivot("k", [0, 1, 3], index="g", values=["i8", "y"], aggregate_function="last"),
        ordered=False,
    ),
    "item": Case(
        n.Pivot(
            n.GroupBy(n.WithColumns(T, (named("k", f("mod", c("i"), 1)),)), names(["g", "k"]), (f("max", c("i")),)),
            "k",
            (0,),
            ("g",),
            ("i",),
            "item",
        ),
        lambda t, u: (
            t.with_columns(k=pl.col("i") % 1)
            .group_by("g", "k")
            .agg(pl.col("i").max())
            .pivot("k", [0], index="g", values="i", aggregate_function="item")
        ),
        ordered=False,
    ),
    "strings and null": Case(
        n.Pivot(T, "g", ("a", "Ä", None), ("b",), ("k",), "max"),
        lambda t, u: t.pivot("g", ["a", "Ä", None], index="b", values="k", aggregate_function="max"),
        ordered=False,
    ),
    "boolean": Case(
        n.Pivot(T, "b", (True, False), ("g",), ("k",), "sum"),
        lambda t, u: t.pivot("b", [True, False], index="g", values="k", aggregate_function="sum"),
        ordered=False,
    ),
    "index left out": Case(
        n.Pivot(n.Select(T, names(["g", "k", "i"])), "k", (0, 2), (), ("i",), "min", separator="-"),
        lambda t, u: t.select("g", "k", "i").pivot("k", [0, 2], values="i", aggregate_function="min", separator="-"),
        ordered=False,
    ),
    "values left out": Case(
        n.Pivot(n.Select(T, names(["g", "k", "i", "y"])), "k", (0, 2), ("g",), (), "min", separator="-"),
        lambda t, u: t.select("g", "k", "i", "y").pivot(
            "k", [0, 2], index="g", aggregate_function="min", separator="-"
        ),
        ordered=False,
    ),
    "categories": Case(
        n.Pivot(T, "en", ("p", "q"), ("b",), ("k",), "sum"),
        lambda t, u: t.pivot(
            "en", pl.Series(["p", "q"], dtype=pl.Enum(["r", "q", "p"])), index="b", values="k", aggregate_function="sum"
        ),
        ordered=False,
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
