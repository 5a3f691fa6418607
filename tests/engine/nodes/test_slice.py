"""Rows by position."""

from __future__ import annotations

from bastion_plan import nodes as n
from plan_strategies import Case, T, check, run_cases

CASES = {
    "head": Case(n.Slice(T, 0, 5), lambda t, u: t.head(5)),
    "tail": Case(n.Slice(T, -5, 5), lambda t, u: t.tail(5)),
    "middle": Case(n.Slice(T, 3, 4), lambda t, u: t.slice(3, 4)),
    "to the end": Case(n.Slice(T, 2), lambda t, u: t.slice(2)),
    "from the end": Case(n.Slice(T, -3), lambda t, u: t.slice(-3)),
    "first": Case(n.Slice(T, 0, 1), lambda t, u: t.first()),
    "before the beginning": Case(n.Slice(T, -20, 15), lambda t, u: t.slice(-20, 15)),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
