"""Two frames by equal keys."""

from __future__ import annotations

import polars as pl
from bastion_plan import nodes as n
from plan_strategies import Case, T, U, c, check, f, names, run_cases

CASES = {
    "inner": Case(
        n.Join(T, U, left_on=names(["k"]), right_on=names(["k"])), lambda t, u: t.join(u, on="k"), ordered=False
    ),
    "left": Case(
        n.Join(T, U, "left", names(["g", "b"]), names(["g", "b"])),
        lambda t, u: t.join(u, on=["g", "b"], how="left"),
        ordered=False,
    ),
    "left of other names": Case(
        n.Join(T, U, "left", names(["i"]), names(["k"])),
        lambda t, u: t.join(u, left_on="i", right_on="k", how="left"),
        ordered=False,
    ),
    "left kept apart": Case(
        n.Join(T, U, "left", names(["k"]), names(["i"]), coalesce=False),
        lambda t, u: t.join(u, left_on="k", right_on="i", how="left", coalesce=False),
        ordered=False,
    ),
    "right": Case(
        n.Join(T, U, "right", names(["g", "b"]), names(["g", "b"])),
        lambda t, u: t.join(u, on=["g", "b"], how="right"),
        ordered=False,
    ),
    "right of other names": Case(
        n.Join(T, U, "right", names(["i"]), names(["k"])),
        lambda t, u: t.join(u, left_on="i", right_on="k", how="right"),
        ordered=False,
    ),
    "right kept apart": Case(
        n.Join(T, U, "right", names(["k"]), names(["i"]), coalesce=False),
        lambda t, u: t.join(u, left_on="k", right_on="i", how="right", coalesce=False),
        ordered=False,
    ),
    "full": Case(
        n.Join(T, U, "full", names(["g", "b"]), names(["g", "b"])),
        lambda t, u: t.join(u, on=["g", "b"], how="full"),
        ordered=False,
    ),
    "full of other names": Case(
        n.Join(T, U, "full", names(["i"]), names(["k"])),
        lambda t, u: t.join(u, left_on="i", right_on="k", how="full"),
        ordered=False,
    ),
    "full kept apart": Case(
        n.Join(T, U, "full", names(["k"]), names(["i"]), coalesce=False),
        lambda t, u: t.join(u, left_on="k", right_on="i", how="full", coalesce=False),
        ordered=False,
    ),
    "semi": Case(
        n.Join(T, U, "semi", names(["g", "b"]), names(["g", "b"])),
        lambda t, u: t.join(u, on=["g", "b"], how="semi"),
        ordered=False,
    ),
    "semi of other names": Case(
        n.Join(T, U, "semi", names(["i"]), names(["k"])),
        lambda t, u: t.join(u, left_on="i", right_on="k", how="semi"),
        ordered=False,
    ),
    "semi kept apart": Case(
        n.Join(T, U, "semi", names(["k"]), names(["i"]), coalesce=False),
        lambda t, u: t.join(u, left_on="k", right_on="i", how="semi", coalesce=False),
        ordered=False,
    ),
    "anti": Case(
        n.Join(T, U, "anti", names(["g", "b"]), names(["g", "b"])),
        lambda t, u: t.join(u, on=["g", "b"], how="anti"),
        ordered=False,
    ),
    "anti of other names": Case(
        n.Join(T, U, "anti", names(["i"]), names(["k"])),
        lambda t, u: t.join(u, left_on="i", right_on="k", how="anti"),
        ordered=False,
    ),
    "anti kept apart": Case(
        n.Join(T, U, "anti", names(["k"]), names(["i"]), coalesce=False),
        lambda t, u: t.join(u, left_on="k", right_on="i", how="anti", coalesce=False),
        ordered=False,
    ),
    "full merged": Case(
        n.Join(T, U, "full", names(["i8"]), names(["i"]), coalesce=True),
        lambda t, u: t.join(u, left_on="i8", right_on="i", how="full", coalesce=True),
        ordered=False,
    ),
    "nulls are equal": Case(
        n.Join(T, U, "left", names(["s"]), names(["s"]), nulls_equal=True, suffix="_2"),
        lambda t, u: t.join(u, on="s", how="left", nulls_equal=True, suffix="_2"),
        ordered=False,
    ),
    "nan keys": Case(n.Join(T, U, "inner", names(["x"]), names(["x"])), lambda t, u: t.join(u, on="x"), ordered=False),
    "computed keys": Case(
        n.Join(T, U, "inner", (f("mod", c("i"), 3),), names(["k"])),
        lambda t, u: t.join(u, left_on=pl.col("i") % 3, right_on="k", coalesce=False),
        ordered=False,
    ),
    "computed keys cannot be merged": Case(
        n.Join(T, U, "full", (f("mod", c("i"), 3),), names(["k"]), coalesce=True),
        lambda t, u: t.join(u, left_on=pl.col("i") % 3, right_on="k", how="full", coalesce=False),
        ordered=False,
    ),
    "in order": Case(
        n.Join(T, U, "left", names(["k"]), names(["k"]), maintain_order="left_right"),
        lambda t, u: t.join(u, on="k", how="left", maintain_order="left_right"),
    ),
    "cross": Case(
        n.Join(n.Select(T, names(["k", "s"])), n.Select(U, names(["k"])), "cross"),
        lambda t, u: t.select("k", "s").join(u.select("k"), how="cross"),
        ordered=False,
    ),
    "with itself": Case(
        n.Join(T, n.GroupBy(T, names(["g"]), (f("mean", c("y")),)), "left", names(["g"]), names(["g"])),
        lambda t, u: t.join(t.group_by("g").agg(pl.col("y").mean()), on="g", how="left"),
        ordered=False,
    ),
}


@run_cases(CASES)
def test_equals_polars(case: Case) -> None:
    check(case)
