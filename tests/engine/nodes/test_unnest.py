"""The fields of structs as columns."""

from __future__ import annotations

import polars.selectors as cs
from bastion_plan import nodes as n
from plan_strategies import Case, T, check, names, run_cases, sel

CASES = {
    "struct": Case(n.Unnest(T, names(["st"])), lambda t, u: t.unnest("st")),
    "selector": Case(n.Unnest(T, (sel("by_class", "struct"),)), lambda t, u: t.unnest(cs.struct())),
    "nothing": Case(n.Unnest(T, (sel("by_class", "decimal"),)), lambda t, u: t),
    "used": Case(n.Select(n.Unnest(T, names(["st"])), names(["q", "p"])), lambda t, u: t.unnest("st").select("q", "p")),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
