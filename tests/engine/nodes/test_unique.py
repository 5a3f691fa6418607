"""Distinct rows."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, names, run_cases, sel

CASES = {
    "rows": Case(n.Unique(n.Select(T, names(["g", "k"]))), lambda t, u: t.select("g", "k").unique(), ordered=False),
    "first of a subset": Case(
        n.Unique(T, names(["g", "b"]), "first", maintain_order=True),
        lambda t, u: t.unique(["g", "b"], keep="first", maintain_order=True),
    ),
    "last": Case(
        n.Unique(T, names(["k"]), "last", maintain_order=True),
        lambda t, u: t.unique("k", keep="last", maintain_order=True),
    ),
    "none": Case(n.Unique(T, names(["i"]), "none"), lambda t, u: t.unique("i", keep="none"), ordered=False),
    "nan": Case(n.Unique(n.Select(T, names(["x"]))), lambda t, u: t.select("x").unique(), ordered=False),
    "selector": Case(
        n.Select(n.Unique(T, (sel("by_class", "boolean"), c("en"))), names(["b", "en"])),
        lambda t, u: t.unique([cs.boolean(), pl.col("en")]).select("b", "en"),
        ordered=False,
    ),
    "computed": Case(
        n.Unique(T, (f("mod", c("i"), 5),), "first", maintain_order=True),
        lambda t, u: t.unique(pl.col("i") % 5, keep="first", maintain_order=True),
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
