"""Order by expressions."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, names, run_cases, sel

CASES = {
    "one key": Case(n.Sort(T, names(["k"]), maintain_order=True), lambda t, u: t.sort("k", maintain_order=True)),
    "directions": Case(
        n.Sort(T, names(["k", "s"]), (True, False), (True, False), maintain_order=True),
        lambda t, u: t.sort("k", "s", descending=[True, False], nulls_last=[True, False], maintain_order=True),
    ),
    "nan": Case(
        n.Sort(T, names(["x"]), (True,), maintain_order=True),
        lambda t, u: t.sort("x", descending=True, maintain_order=True),
    ),
    "computed": Case(
        n.Sort(T, (f("neg", c("i")), c("g")), maintain_order=True),
        lambda t, u: t.sort(-pl.col("i"), "g", maintain_order=True),
    ),
    "categories": Case(
        n.Sort(T, names(["en", "cat"]), maintain_order=True), lambda t, u: t.sort("en", "cat", maintain_order=True)
    ),
    "flag of a selector goes to its columns": Case(
        n.Sort(T, (sel("by_name", "b", "k"), c("d")), (True, False), maintain_order=True),
        lambda t, u: t.sort("b", "k", "d", descending=[True, True, False], maintain_order=True),
    ),
    "unstable": Case(n.Select(n.Sort(T, names(["k"])), names(["k"])), lambda t, u: t.sort("k").select("k")),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
