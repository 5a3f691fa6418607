"""The k largest or smallest rows."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, c, check, f, names, run_cases

CASES = {
    "largest": Case(
        n.Select(n.TopK(T, 5, names(["i"])), names(["i"])), lambda t, u: t.top_k(5, by="i").select("i"), ordered=False
    ),
    "smallest": Case(
        n.Select(n.TopK(T, 4, names(["ts"]), bottom=True), names(["ts"])),
        lambda t, u: t.bottom_k(4, by="ts").select("ts"),
        ordered=False,
    ),
    "two keys": Case(
        n.Select(n.TopK(T, 6, names(["i", "ts"]), (True, False)), names(["i", "ts"])),
        lambda t, u: t.top_k(6, by=["i", "ts"], reverse=[True, False]).select("i", "ts"),
        ordered=False,
    ),
    "computed": Case(
        n.Select(n.TopK(T, 3, (f("neg", c("i")),)), names(["i"])),
        lambda t, u: t.top_k(3, by=-pl.col("i")).select("i"),
        ordered=False,
    ),
    "none": Case(n.Concat((n.TopK(T, 0, names(["i"])), T)), lambda t, u: pl.concat([t.top_k(0, by="i"), t])),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
