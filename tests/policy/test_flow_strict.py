"""The strict profile before data is touched: who may be chosen by what, and which arguments statistics take."""

from __future__ import annotations

import polars
import pytest
from bastion_policy.model import Aggregation, AtLeastNOf, Policy, Role, RoleKind, Rounding, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, concat, inline

import bastion.expressions as pl

FRAME = polars.DataFrame(
    {
        "id": [1, 2, 3],
        "name": ["x", "y", "z"],
        "ticket": ["p", "q", "r"],
        "age": [1, 2, 3],
        "town": ["a", "b", "a"],
        "pay": [1.0, 2.0, None],
        "debt": [1, 2, 3],
        "sick": [True, False, True],
        "day": [None, None, None],
    },
    schema_overrides={"day": polars.Date},
)
ROLES = {
    "id": "identifier", "name": "hidden", "ticket": "identifier", "age": "quasi", "town": "quasi",
    "pay": Role(RoleKind.MEASURE, 0, 10), "debt": "measure", "sick": "sensitive", "day": "measure",
}  # fmt: skip
STRICT = Policy(
    safe_zone=Aggregation(10), unsafe_handling=Suppress(), unit="id", profile="strict", derived={"rate": "pay / age"}
)
W = World().add("t", FRAME, STRICT, ROLES, unit="id").add("s", FRAME, STRICT, ROLES, unit="id")
T = Q("t")
pay, age, debt, sick = pl.col("pay"), pl.col("age"), pl.col("debt"), pl.col("sick")
per_unit = T.group_by("id").agg(total=pay.sum())

FREE = {
    "count": T.group_by("town").agg(pl.len()),
    "statistics": T.group_by("town").agg(pay.sum(), m=pay.mean(), v=pay.var(), s=pay.std()),
    "sensitive mean": T.group_by("town").agg(sick.mean()),
    "sensitive as a number": T.group_by("town").agg(sick.cast(pl.Int64).mean()),
    "affine": T.group_by("town").agg((pay * 2 + 1).mean(), s=(3 - pay / 4).sum()),
    "affine beside": T.with_columns(z=pay * 2 + 1).group_by("town").agg(pl.col("z").mean(), v=pl.col("z").var()),
    "affine alone": T.select(z=pay * 2).select(pl.col("z").mean()),
    "affine of affine": T.with_columns(z=-pay / 2).with_columns(y=pl.col("z") * 3 - 1).select(pl.col("y").sum()),
    "affine of a cast": T.select((debt.cast(pl.Float64) * 2).mean()),
    "listed": T.select((pay / age).mean()),
    "listed beside": T.with_columns(r=pay / age).select(pl.col("r").mean()),
    "renamed": T.with_columns(x=pay).select(pl.col("x").mean()),
    "filter on quasi": T.filter(age > 2).select(pay.mean()),
    "inner filter on quasi": T.select(pay.filter(age > 2).mean()),
    "bins of quasi": T.group_by((age / 10).floor()).agg(pay.mean()),
    "median": T.select(pay.median(), lo=debt.min()),
    "interval of dates": T.select(pl.col("day").max()),
    "covariance": T.select(pl.cov("pay", "debt"), c=pl.corr("pay", "age")),
    "counts of secrets": T.group_by("town").agg(pay.count(), n=pay.null_count(), z=pay.is_null().sum()),
    "people counted": T.group_by("town").agg(pl.col("id").n_unique()),
    "per unit": per_unit.select(pl.col("total").mean(), s=pl.col("total").var()),
    "own labels": T.join(inline({"town": ["a", "b"], "g": [1, 2]}), on="town").group_by("g").agg(pay.mean()),
    "the unit joins": T.join(Q("s").select("id", other=pl.col("debt")), on="id").select(pl.col("other").mean()),
    "windows of quasi": T.with_columns(m=pay.mean().over("town")).group_by("town").agg(age.mean()),
    "stacked": concat(T, Q("s")).select(pay.mean()),
    "values of quasi": T.select("town").unique(),
}  # fmt: skip


@pytest.mark.parametrize("name", FREE)
def test_is_free(name: str) -> None:
    verdict = W.static(FREE[name].plan)
    assert not verdict.findings
    assert verdict.outcome is Outcome.RELEASE


#: the plan, the rule, and the column that it names
HELD_BACK = {
    "measure in a filter": (T.filter(pay > 2).select(pl.len()), "strict-role", "t.pay"),
    "measure in an inner filter": (T.select(age.filter(pay > 2).mean()), "strict-role", "t.pay"),
    "measure in a condition": (T.select(pl.when(pay > 2).then(age).mean()), "strict-role", "t.pay"),
    "binned measure as key": (T.group_by((pay / 10).floor()).agg(pl.len()), "strict-role", "t.pay"),
    "measure as key": (T.group_by("debt").agg(pl.len()), "strict-role", "t.debt"),
    "missing measure as key": (T.group_by(pay.is_null()).agg(pl.len()), "strict-role", "t.pay"),
    "missing measure": (T.filter(pay.is_null()).select(pl.len()), "strict-role", "t.pay"),
    "rows with a measure": (T.drop_nulls("pay").select(pl.len()), "strict-role", "t.pay"),
    "sensitive in a filter": (T.filter(sick).select(pl.len()), "sensitive", "t.sick"),
    "sensitive as key": (T.group_by("sick").agg(pl.len()), "sensitive", "t.sick"),
    "identifier as key": (T.group_by("ticket").agg(pl.len()), "identifier", "t.ticket"),
    "window over a measure": (T.with_columns(m=age.mean().over("debt")).select(age.mean()), "strict-role", "t.debt"),
    "labels of a measure": (T.join(inline({"debt": [1], "g": [2]}), on="debt").group_by("g").agg(pl.len()),
        "strict-role", "t.debt"),
    "semi join on a measure": (T.join(inline({"debt": [1]}), on="debt", how="semi").select(pl.len()),
        "strict-role", "t.debt"),
    "join on an identifier": (T.join(Q("s").select("ticket", o=pl.col("debt")), on="ticket").select(pl.len()),
        "identifier", "t.ticket"),
    "values of a measure": (T.select("debt").unique(), "strict-role", "t.debt"),
    "condition": (T.select((pay > 2).mean()), "strict-argument", "t.pay"),
    "condition on quasi": (T.select((age > 2).sum()), "strict-argument", "t.age"),
    "sum of columns": (T.select((pay + age).sum()), "strict-argument", "t.pay"),
    "absolute value": (T.select(pay.abs().mean()), "strict-argument", "t.pay"),
    "root": (T.select(pay.sqrt().mean()), "strict-argument", "t.pay"),
    "clip": (T.select(pay.clip(0, 10).mean()), "strict-argument", "t.pay"),
    "product": (T.select((pay * age).mean()), "strict-argument", "t.pay"),
    "bins": (T.select((age // 2).sum()), "strict-argument", "t.age"),
    "missing filled": (T.select(pay.fill_null(0).sum()), "strict-argument", "t.pay"),
    "date part": (T.select(pl.col("day").dt.year().mean()), "strict-argument", "t.day"),
    "mean of dates": (T.select(pl.col("day").mean()), "strict-argument", "t.day"),
    "shifted median": (T.select((pay + 1).median()), "strict-argument", "t.pay"),
    "affine, its column gone": (
        T.select("town", z=pay * 2).join(inline({"town": ["a", "b"]}), on="town").select(pl.col("z").mean()),
        "strict-argument",
        "t.pay",
    ),
    "affine of a statistic": (T.with_columns(z=pay - pay.mean()).select(pl.col("z").mean()), "strict-argument", "t.pay"),
    "columns below each other": (T.unpivot(["pay", "age"]).select(pl.col("value").mean()), "strict-argument", "t.pay"),
    "length of text": (T.select(pl.col("town").str.len_chars().mean()), "strict-argument", "t.town"),
}  # fmt: skip


@pytest.mark.parametrize("name", HELD_BACK)
def test_is_held_back_by_name(name: str) -> None:
    plan, rule, column = HELD_BACK[name]
    found = [f for f in W.static(plan.plan).findings if f.rule == rule]
    assert found, W.static(plan.plan).findings
    assert any(column in f.columns for f in found)
    assert all(f.reason.endswith(".") and f.fix.endswith(".") and not f.private for f in found)


def test_the_default_profile_allows_what_only_strict_refuses() -> None:
    loose = W.with_policy(Policy(safe_zone=Aggregation(10), unsafe_handling=Suppress(), unit="id"))
    for name in (
        "measure in a filter",
        "binned measure as key",
        "absolute value",
        "affine of a statistic",
        "missing measure",
    ):
        assert not loose.static(HELD_BACK[name][0].plan).findings, name


def test_strict_wins_where_one_of_several_tables_is_strict() -> None:
    world = World().add("t", FRAME, STRICT, ROLES, unit="id").add("s", FRAME, Policy.default(), ROLES, unit="id")
    joined = T.join(Q("s").select("id", other=pl.col("debt")), on="id")
    verdict = world.static(joined.filter(pl.col("other") > 1).select(pl.len()).plan)
    assert "strict-role" in {f.rule for f in verdict.findings}
    assert not world.static(Q("s").filter(debt > 1).select(pl.len()).plan).findings


@pytest.mark.parametrize("plan", [
    concat(T, T).select(pl.len()), concat(T, T.filter(age > 1)).select(pay.sum()), T.unpivot(["age", "debt"]).select(pl.len()),
], ids=["itself", "a part of itself", "unpivot"])  # fmt: skip
def test_rows_are_not_repeated_where_numbers_are_rounded(plan: Q) -> None:
    for policy in (STRICT, Policy(AtLeastNOf(2, (Aggregation(10), Rounding())), Suppress(), unit="id")):
        assert "repeated-rows" in {f.rule for f in W.with_policy(policy).static(plan.plan).findings}
    loose = W.with_policy(Policy(Aggregation(10), Suppress(), unit="id"))
    assert "repeated-rows" not in {f.rule for f in loose.static(plan.plan).findings}
