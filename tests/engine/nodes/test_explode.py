"""One row per list element."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
from bastion_plan import nodes as n
from plan_strategies import Case, T, U, c, check, f, named, names, run_cases, sel

CASES = {
    "list": Case(n.Explode(T, names(["l"])), lambda t, u: t.explode("l")),
    "two lists": Case(
        n.Explode(n.WithColumns(T, (named("m", c("l")),)), (sel("by_class", "list"),)),
        lambda t, u: t.with_columns(m="l").explode(cs.list()),
    ),
    "groups taken apart": Case(
        n.Explode(n.GroupBy(T, names(["g"]), (c("k"), c("i")), maintain_order=True), names(["k", "i"])),
        lambda t, u: t.group_by("g", maintain_order=True).agg("k", "i").explode("k", "i"),
    ),
    "then grouped": Case(
        n.GroupBy(n.Explode(U, names(["l"])), names(["l"]), (f("pl.len"),)),
        lambda t, u: u.explode("l").group_by("l").agg(pl.len()),
        ordered=False,
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
