"""The static verdict: reasons from public facts alone."""

from __future__ import annotations

import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.expressions import Alias, Column
from bastion_policy.flow import allowed_outputs, static_verdict
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    FalseRule,
    Log,
    Policy,
    Reject,
    Review,
    Role,
    RoleKind,
    Suppress,
    UserId,
)
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, concat, inline

import bastion.expressions as pl

FRAME = polars.DataFrame(
    {
        "id": [1, 2, 3],
        "name": ["x", "y", "z"],
        "age": [1, 2, 3],
        "pay": [1.0, 2.0, 3.0],
        "sick": [True, False, True],
        "day": [None, None, None],
        "tags": [[1], [2], [3]],
    },
    schema_overrides={"day": polars.Date},
)
ROLES = {
    "id": "identifier", "name": "hidden", "age": "quasi", "pay": Role(RoleKind.MEASURE, 0, 10), "sick": "sensitive",
    "day": "quasi", "tags": "quasi",
}  # fmt: skip
W = World().add("t", FRAME, Policy.default(), ROLES)
T = Q("t")
pay, age = pl.col("pay"), pl.col("age")


def rules(plan: Q, world: World = W) -> set[str]:
    return {f.rule for f in world.static(plan.plan).findings}


RELEASED = {
    "group mean": T.group_by("age").agg(pay.mean(), pl.len()),
    "select": T.select(pay.sum(), age.median(), pl.len()),
    "filter": T.filter(age > 2).select(pay.std()),
    "measure in a filter": T.filter(pay > 2).select(pay.std()),
    "ratio": T.select(r=pay.sum() / pl.len()),
    "affine": T.select(r=(pay * 2 + 1).mean()),
    "combination": T.select(r=(pay * 2 + age).sum()),
    "allowed functions": T.select(c=pay.abs().sum()),
    "date part": T.group_by(pl.col("day").dt.month()).agg(pl.len()),
    "normalised": T.with_columns(z=(pay - pay.mean()) / pay.std()).select(pl.col("z").mean()),
    "binned key": T.group_by((pay / 10).floor()).agg(pl.len()),
    "condition counted": T.select(r=(pay > 3).mean()),
    "nulls counted": T.select(r=pay.is_null().sum(), s=pay.null_count()),
    "own bounds": T.select(r=pay.clip(0, 10).mean()),
    "sort of cells": T.group_by("age").agg(pay.mean()).sort("pay").head(1),
    "join of cells": T.group_by("age").agg(pay.mean()).join(T.group_by("age").agg(n=pl.len()), on="age"),
    "labels": T.join(inline({"age": [1, 2], "g": ["a", "b"]}), on="age", how="left").group_by("g").agg(pl.len()),
    "sensitive aggregated": T.group_by("age").agg(pl.col("sick").mean()),
    "values": T.select("age").unique(),
    "own table": inline({"a": [1]}),
}


@pytest.mark.parametrize("name", RELEASED)
def test_is_released(name: str) -> None:
    verdict = W.static(RELEASED[name].plan)
    assert verdict.outcome is Outcome.RELEASE, verdict.summary


UNSAFE = {
    "rows": (T, "row-level"),
    "head": (T.head(5), "row-level"),
    "head then mean": (T.head(5).select(pay.mean()), "row-level"),
    "sample": (T.sample(2).select(pay.mean()), "row-level"),
    "top_k": (T.top_k(1, "pay").select(pay.mean()), "row-level"),
    "first": (T.select(pay.first()), "row-level"),
    "column in agg": (T.group_by("age").agg(pay), "row-level"),
    "n_unique": (T.select(age.n_unique()), "row-level"),
    "identifier counted": (T.select(pl.col("id").n_unique()), "row-level"),
    "product": (T.select(r=(pay * age).sum()), "argument"),
    "square": (T.select(r=(pay * pay).sum()), "argument"),
    "power": (T.select(r=(pay**2).sum()), "row-level"),
    "bins as an argument": (T.select(r=(pay // 2).sum()), "argument"),
    "conditions on two columns": (T.select(r=((pay > 2) & (age > 1)).sum()), "argument"),
    "shifted median": (T.select(r=(pay + 1).median()), "argument"),
    "identifier in a filter": (T.filter(pl.col("id") == 1).select(pl.len()), "identifier"),
    "identifier as key": (T.group_by(pl.col("id") // 2).agg(pl.len()), "identifier"),
    "mean of an identifier": (T.select(pl.col("id").mean()), "identifier"),
    "sensitive in a filter": (T.filter(pl.col("sick")).select(pl.len()), "sensitive"),
    "sensitive as key": (T.group_by("sick").agg(pl.len()), "sensitive"),
    "sensitive by another name": (T.with_columns(x=pl.col("sick")).group_by("x").agg(pl.len()), "sensitive"),
    "measure as key": (T.group_by("pay").agg(pl.len()), "measure-key"),
    "row index": (T.with_row_index().select(pay.mean()), "order-dependent"),
    "shift": (T.with_columns(x=pay.shift(1)).select(pl.col("x").mean()), "order-dependent"),
    "many to many": (T.join(T, on="age").select(pl.len()), "join"),
    "repeating labels": (T.join(inline({"age": [1, 1]}), on="age").select(pl.len()), "join"),
    "outer labels": (T.join(inline({"age": [1, 2]}), on="age", how="full").select(pl.len()), "join"),
    "ids of their own": (T.join(inline({"id": [1]}), on="id", how="semi").select(pl.len()), "identifier"),
    "rolling": (T.of(n.GroupByDynamic, Column("day"), "1d", (Alias(pay.mean().plan, "m"),), "2d"), "windows"),
    "pivot": (T.of(n.Pivot, "age", (1, 2), ("day",), ("pay",), "first"), "row-level"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_needs_review(name: str) -> None:
    plan, rule = UNSAFE[name]
    verdict = W.static(plan.plan)
    assert verdict.outcome is Outcome.REVIEW
    assert rule in rules(plan)
    assert all(f.reason.endswith(".") and not f.private for f in verdict.findings)


REFUSED = {
    "filter": T.filter(pl.col("name") == "x").select(pl.len()),
    "alias": T.with_columns(x=pl.col("name")).filter(pl.col("x") == "x").select(pl.len()),
    "string operation": T.select(pl.col("name").str.len_chars().mean()),
    "key": T.group_by("name").agg(pl.len()),
    "sort": T.sort("name").select(pay.mean()),
    "over": T.with_columns(m=pay.mean().over("name")).select(pl.col("m").mean()),
    "inner filter": T.select(pay.filter(pl.col("name") == "x").mean()),
    "join key": T.join(inline({"name": ["x"]}), on="name").select(pl.len()),
    "top_k": T.top_k(1, "name").select(pay.mean()),
    "count": T.select(pl.col("name").count()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hidden_columns_are_of_no_use(name: str) -> None:
    verdict = W.static(REFUSED[name].plan)
    assert verdict.outcome is Outcome.REFUSE
    assert "hidden-column" in {f.rule for f in verdict.findings}
    opened = W.with_policy(Policy.open()).static(REFUSED[name].plan)
    assert opened.outcome is Outcome.REFUSE


def test_cross_join_is_refused() -> None:
    verdict = W.static(Q(n.Join(T.plan, T.plan, "cross")).select(pl.len()).plan)
    assert verdict.outcome is Outcome.REFUSE


def test_names_of_the_judge_are_refused_to_users() -> None:
    verdict = W.static(T.with_columns(pay.alias("#~u0")).select(pl.len()).plan)
    assert verdict.outcome is Outcome.REFUSE
    assert verdict.findings[0].rule == "reserved-name"


def test_hidden_rows_go_to_review_not_to_refusal() -> None:
    assert W.static(T.head(2).plan).outcome is Outcome.REVIEW


def test_concat_with_other_rows_keeps_both_occurrences() -> None:
    assert W.static(concat(T, T.filter(age > 1)).select(pay.mean()).plan).outcome is Outcome.RELEASE


def test_pre_aggregation_by_unit_stays_private() -> None:
    world = World().add("t", FRAME, Policy.default(), ROLES, unit="id")
    per_unit = T.group_by("id").agg(pay.sum())
    assert world.static(per_unit.plan).outcome is Outcome.REVIEW
    assert world.static(per_unit.select(pay.mean()).plan).outcome is Outcome.RELEASE


def test_order_dependent_functions_pass_when_partitioned_by_unit() -> None:
    world = World().add("t", FRAME, Policy.default(), ROLES, unit="id")
    plan = T.with_columns(d=pay.shift(1).over("id")).select(pl.col("d").mean())
    assert world.static(plan.plan).outcome is Outcome.RELEASE


def test_listed_formula_is_an_argument() -> None:
    plan = T.select(b=(pay / age).mean())
    assert rules(plan) == {"argument"}
    listed = Policy(safe_zone=Aggregation(10), unsafe_handling=Review(), derived={"rate": "pay / age"})
    assert W.with_policy(listed).static(plan.plan).outcome is Outcome.RELEASE


ACTIONS = [
    (Review(), Outcome.REVIEW, "Needs the owner's review"),
    (Reject(), Outcome.REFUSE, "Refused"),
    (Log(), Outcome.RELEASE, "Released, and logged as unsafe"),
    (Suppress(), Outcome.RELEASE, "Only the safe part"),
]


@pytest.mark.parametrize(("action", "outcome", "words"), ACTIONS)
def test_actions(action: object, outcome: Outcome, words: str) -> None:
    world = W.with_policy(Policy(safe_zone=Aggregation(10), unsafe_handling=action))  # type: ignore[arg-type]
    verdict = world.static(T.head(5).plan)
    assert (verdict.outcome, verdict.summary.startswith(words)) == (outcome, True)


def test_outside_the_review_zone_is_refused() -> None:
    world = W.with_policy(Policy(safe_zone=Aggregation(10), unsafe_handling=Log(), review_zone=UserId("bob")))
    assert world.static(T.head(5).plan, "alice").outcome is Outcome.REFUSE
    assert world.static(T.head(5).plan, "bob").outcome is Outcome.RELEASE
    never = W.with_policy(Policy(safe_zone=Aggregation(10), unsafe_handling=Review(), review_zone=FalseRule()))
    assert never.static(T.head(5).plan).outcome is Outcome.REFUSE


def test_a_trusted_user_gets_everything() -> None:
    zone = AtLeastNOf(1, (UserId("bob"), Aggregation(10)))
    world = W.with_policy(Policy(safe_zone=zone, unsafe_handling=Reject()))
    assert world.static(T.select("pay").plan, "bob").outcome is Outcome.RELEASE
    assert world.static(T.select("pay").plan, "alice").outcome is Outcome.REFUSE


def test_the_strictest_policy_of_all_tables_counts() -> None:
    world = World().add("t", FRAME, Policy.default(), ROLES, unit="id")
    world.add("s", FRAME, Policy(safe_zone=FalseRule(), unsafe_handling=Reject()), ROLES, unit="id")
    joined = T.join(Q("s").select("id", sex=pl.col("age")), on="id").select(pay.mean())
    assert world.static(joined.plan).outcome is Outcome.REFUSE
    assert world.static(T.select(pay.mean()).plan).outcome is Outcome.RELEASE


def test_allowed_outputs_of_a_description() -> None:
    plan = T.select(a=pl.col("id").mean(), b=pl.col("id").count(), c=pl.col("name").count(), d=pay.mean())
    assert allowed_outputs(bind(plan.plan, W.facts), W.facts) == ("b", "d")


def test_the_verdict_names_columns_and_what_would_pass() -> None:
    verdict = W.static(T.head(5).plan)
    assert "head(5)" in verdict.summary
    assert verdict.findings[0].fix == "Aggregate first, e.g. .group_by('age').agg(pl.col('pay').mean())."
    used = static_verdict(bind(T.filter(age > 1).select(pay.mean()).plan, W.facts), W.facts, "alice").columns
    assert used == ("t.age", "t.pay")


def test_conditions_per_unit_stay_conditions() -> None:
    """A window or a pre-aggregation by unit does not turn a condition into a column of its own."""
    world = World().add("t", FRAME, Policy.default(), ROLES, unit="id")
    high = (pay > 3).cast(pl.Int64)
    for plan in (
        T.with_columns(d=high.sum().over("id")).select(pl.col("d").sum()),
        T.group_by("id").agg(d=high.sum()).select(pl.col("d").sum()),
        T.group_by("id").agg(d=(pay > 3).n_unique()).select(pl.col("d").sum()),
    ):
        assert rules(plan, world) == {"argument"}
