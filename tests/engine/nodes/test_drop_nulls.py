"""Rows without nulls or NaN."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
from bastion_plan import nodes as n
from plan_strategies import Case, T, check, names, run_cases, sel

CASES = {
    "subset": Case(n.DropNulls(T, names(["k", "s"])), lambda t, u: t.drop_nulls(["k", "s"])),
    "all columns": Case(
        n.DropNulls(n.Select(T, (sel("exclude", "n", "l"),))), lambda t, u: t.select(pl.exclude("n", "l")).drop_nulls()
    ),
    "selector": Case(n.DropNulls(T, (sel("by_class", "float"),)), lambda t, u: t.drop_nulls(cs.float())),
    "nans": Case(n.DropNulls(T, nans=True), lambda t, u: t.drop_nans()),
    "nans of a subset": Case(n.DropNulls(T, names(["y"]), nans=True), lambda t, u: t.drop_nans("y")),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
