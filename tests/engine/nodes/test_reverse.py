"""Rows in the opposite order."""

from __future__ import annotations

from bastion_plan import nodes as n
from plan_strategies import Case, T, check, run_cases

CASES = {
    "once": Case(n.Reverse(T), lambda t, u: t.reverse()),
    "twice": Case(n.Reverse(n.Reverse(T)), lambda t, u: t),
    "head of": Case(n.Slice(n.Reverse(T), 0, 3), lambda t, u: t.tail(3).reverse()),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
