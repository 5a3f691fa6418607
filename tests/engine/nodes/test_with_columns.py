"""New columns beside the old ones."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
from bastion_plan import nodes as n
from bastion_plan.expressions import NameChange, Over
from plan_strategies import Case, T, c, check, f, lit, named, run_cases, sel

CASES = {
    "new": Case(n.WithColumns(T, (named("z", f("add", c("k"), 1)),)), lambda t, u: t.with_columns(z=pl.col("k") + 1)),
    "replace": Case(n.WithColumns(T, (f("add", c("i8"), 1),)), lambda t, u: t.with_columns(pl.col("i8") + 1)),
    "swap": Case(
        n.WithColumns(T, (named("k", c("i")), named("i", c("k")))),
        lambda t, u: t.with_columns(k=pl.col("i"), i=pl.col("k")),
    ),
    "aggregate is broadcast": Case(
        n.WithColumns(T, (named("m", f("mean", c("y"))),)), lambda t, u: t.with_columns(m=pl.col("y").mean())
    ),
    "suffix": Case(
        n.WithColumns(T, (NameChange(f("neg", sel("by_class", "float")), "suffix", ("_neg",)),)),
        lambda t, u: t.with_columns((-cs.float()).name.suffix("_neg")),
    ),
    "literal": Case(n.WithColumns(T, (lit("x"),)), lambda t, u: t.with_columns(pl.lit("x"))),
    "window": Case(
        n.WithColumns(T, (named("r", Over(f("mean", c("k")), (c("g"),))),)),
        lambda t, u: t.with_columns(r=pl.col("k").mean().over("g")),
    ),
    "nothing": Case(n.WithColumns(T, ()), lambda t, u: t),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
