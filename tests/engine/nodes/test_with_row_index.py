"""A running number as first column."""

from __future__ import annotations

from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, run_cases

CASES = {
    "from zero": Case(n.WithRowIndex(T), lambda t, u: t.with_row_index()),
    "named, with an offset": Case(n.WithRowIndex(T, "nr", 100), lambda t, u: t.with_row_index("nr", 100)),
    "after a filter": Case(
        n.WithRowIndex(n.Filter(T, f("is_not_null", c("k")))), lambda t, u: t.drop_nulls("k").with_row_index()
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
