"""Wide to long."""

from __future__ import annotations

import polars.selectors as cs
from bastion_plan import nodes as n
from plan_strategies import Case, T, check, names, run_cases, sel

CASES = {
    "numbers": Case(
        n.Unpivot(T, names(["k", "i"]), names(["g"])), lambda t, u: t.unpivot(["k", "i"], index="g"), ordered=False
    ),
    "widened": Case(
        n.Unpivot(T, names(["i8", "y", "b"]), names(["s", "d"]), "what", "how much"),
        lambda t, u: t.unpivot(["i8", "y", "b"], index=["s", "d"], variable_name="what", value_name="how much"),
        ordered=False,
    ),
    "strings win": Case(
        n.Unpivot(T, names(["k", "s"]), names(["i"])), lambda t, u: t.unpivot(["k", "s"], index="i"), ordered=False
    ),
    "the rest": Case(
        n.Unpivot(n.Select(T, names(["k", "i", "s"])), None, names(["s"])),
        lambda t, u: t.select("k", "i", "s").unpivot(index="s"),
        ordered=False,
    ),
    "selector": Case(
        n.Unpivot(T, (sel("by_class", "float"),), (sel("by_class", "boolean"),)),
        lambda t, u: t.unpivot(cs.float(), index=cs.boolean()),
        ordered=False,
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
