"""Two frames by the nearest key."""

from __future__ import annotations

from bastion_plan import nodes as n
from plan_strategies import Case, T, U, c, check, run_cases

CASES = {
    "backward": Case(n.JoinAsof(T, U, c("i"), c("i")), lambda t, u: t.join_asof(u, on="i")),
    "forward": Case(
        n.JoinAsof(T, U, c("ts"), c("ts"), strategy="forward"), lambda t, u: t.join_asof(u, on="ts", strategy="forward")
    ),
    "nearest within": Case(
        n.JoinAsof(T, U, c("i"), c("i"), strategy="nearest", tolerance=3, suffix="_u"),
        lambda t, u: t.join_asof(u, on="i", strategy="nearest", tolerance=3, suffix="_u"),
    ),
    "duration": Case(
        n.JoinAsof(T, U, c("ts"), c("ts"), tolerance="1d12h", allow_exact_matches=False, coalesce=False),
        lambda t, u: t.join_asof(u, on="ts", tolerance="1d12h", allow_exact_matches=False, coalesce=False),
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
