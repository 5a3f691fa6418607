"""Attacks on the judge, by plan, that narrow an aggregate to one person or subtract two.

Each works without a guard, and not with the default one: what is asserted is that the value is not obtained, not that an error was raised.
"""

from __future__ import annotations

from typing import Any

import polars
from attacking import Ask, Attacks, cell, minus, played
from bastion_plan import nodes as n
from bastion_policy.verdict import Outcome
from judged_people import (
    ID,
    PEOPLE,
    SALARY,
    TARGET,
    TOTAL,
    N,
    T,
    age,
    guarded,
    salary,
    target,
    unguarded,
)
from query import Q, concat, inline

import bastion.expressions as pl

ATTACKS = Attacks(SALARY)
attack = ATTACKS.note


# -- one person


@attack()
def filter_on_identity(ask: Ask) -> Any:
    return cell(ask(T.filter(pl.col("id") == ID).select(salary.mean())), "salary")


@attack()
def filter_on_age(ask: Ask) -> Any:
    return cell(ask(T.filter(target).select(salary.sum())), "salary")


@attack()
def inner_filter(ask: Ask) -> Any:
    return cell(ask(T.select(salary.filter(target).sum())), "salary")


@attack()
def inner_filter_beside_its_complement(ask: Ask) -> Any:
    found = ask(T.select(a=salary.sum(), b=salary.filter(~target).sum()))
    return minus(cell(found, "a"), cell(found, "b"))


@attack()
def when_then_null(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.when(target).then(salary).otherwise(None).sum())), "x")


@attack()
def when_then_zero(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.when(target).then(salary).otherwise(0).sum())), "x")


@attack(1)
def when_then_bit(ask: Ask) -> Any:
    return cell(ask(T.select(x=pl.when(target & (salary > 80_000)).then(1).otherwise(0).sum())), "x")


@attack(1)
def sum_of_condition(ask: Ask) -> Any:
    return cell(ask(T.select(x=(target & (salary > 80_000)).sum())), "x")


@attack(True)
def any_of_condition(ask: Ask) -> Any:
    return cell(ask(T.select(x=(target & (salary > 80_000)).any())), "x")


@attack()
def mask_multiplication(ask: Ask) -> Any:
    return cell(ask(T.select(x=(salary * target.cast(pl.Float64)).sum())), "x")


@attack()
def arithmetic_mask(ask: Ask) -> Any:
    mask = (age - 97).abs().clip(0, 1)
    return minus(TOTAL, cell(ask(T.select(x=(salary * mask).sum())), "x"))


@attack()
def exponential_mask(ask: Ask) -> Any:
    return cell(ask(T.select(x=(salary * (age * 100.0 - 9700.0).exp()).sum())), "x")


@attack()
def two_minus_mask(ask: Ask) -> Any:
    weight = 2 - target.cast(pl.Float64)
    total = cell(ask(T.select(x=(salary * 2).sum())), "x")
    return minus(total, cell(ask(T.select(x=(salary * weight).sum())), "x"))


@attack()
def power_of_column(ask: Ask) -> Any:
    value = cell(ask(T.select(x=(age.cast(pl.Float64) ** 100).sum() ** (1 / 100))), "x")
    return SALARY if value is not None and round(value) == 97 else None


@attack()
def window_over_age(ask: Ask) -> Any:
    return cell(ask(T.select(x=salary.sum().over("age"), age=age).filter(age == 97)), "x")


@attack()
def window_then_group(ask: Ask) -> Any:
    found = ask(T.with_columns(x=salary.sum().over("age")).group_by("town").agg(pl.col("x").sum()))
    plain = PEOPLE.with_columns(x=polars.col("salary").sum().over("age"))
    if "x" not in found.columns:
        return None
    others = plain.filter(polars.col("age") != 97).group_by("town").agg(polars.col("x").sum().alias("y"))
    town = PEOPLE["town"][TARGET]
    rows = found.filter(polars.col("town") == town)
    return minus(cell(rows, "x"), cell(others.filter(polars.col("town") == town), "y"))


@attack()
def self_join_broadcast(ask: Ask) -> Any:
    one = T.filter(target).select(sec=salary)
    return cell(ask(Q(n.Join(T.plan, one.plan, "cross")).select(pl.col("sec").mean())), "sec")


@attack()
def self_join_on_a_constant(ask: Ask) -> Any:
    one = T.filter(target).select(sec=salary, k=age * 0)
    joined = T.with_columns(k=age * 0).join(one, on="k", how="left")
    return cell(ask(joined.select(pl.col("sec").mean())), "sec")


@attack()
def own_candidate_table_inner(ask: Ask) -> Any:
    return cell(ask(T.join(inline({"age": [97]}), on="age").select(salary.sum())), "salary")


@attack()
def own_candidate_table_semi(ask: Ask) -> Any:
    return cell(ask(T.join(inline({"age": [97]}), on="age", how="semi").select(salary.sum())), "salary")


@attack()
def own_candidate_table_anti(ask: Ask) -> Any:
    rest = cell(ask(T.join(inline({"age": [97]}), on="age", how="anti").select(salary.sum())), "salary")
    return minus(TOTAL, rest)


@attack()
def own_candidate_ids(ask: Ask) -> Any:
    return cell(ask(T.join(inline({"id": [ID]}), on="id").select(salary.sum())), "salary")


@attack()
def label_by_join(ask: Ask) -> Any:
    labels = inline({"age": list(range(18, 99)), "label": [1 if a == 97 else 0 for a in range(18, 99)]})
    found = ask(T.join(labels, on="age", how="left").group_by("label").agg(salary.sum()))
    return cell(found.filter(polars.col("label") == 1), "salary") if "label" in found.columns else None


@attack()
def weight_by_join(ask: Ask) -> Any:
    labels = inline({"age": list(range(18, 99)), "w": [1.0 if a == 97 else 0.0 for a in range(18, 99)]})
    return cell(ask(T.join(labels, on="age", how="left").select(x=(salary * pl.col("w")).sum())), "x")


@attack()
def repetition_by_join(ask: Ask) -> Any:
    twice = inline({"age": [*range(18, 99), 97], "w": [0] * 82})
    return minus(cell(ask(T.join(twice, on="age").select(salary.sum())), "salary"), TOTAL)


@attack()
def nested_group_by(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary.sum()).group_by("age").agg(salary.max()))
    return cell(found.filter(polars.col("age") == 97), "salary") if "age" in found.columns else None


@attack()
def max_of_group_sums(ask: Ask) -> Any:
    found = ask(T.group_by("age").agg(salary.sum()).select(salary.min()))
    return cell(found, "salary")


# -- inflation


@attack()
def concat_with_itself(ask: Ask) -> Any:
    one = T.filter(target)
    return cell(ask(concat(*[one] * 20).select(salary.mean())), "salary")


@attack()
def concat_as_weight(ask: Ask) -> Any:
    return minus(cell(ask(concat(T, T.filter(target)).select(salary.sum())), "salary"), TOTAL)


@attack()
def concat_without_target(ask: Ask) -> Any:
    found = cell(ask(concat(T, T.filter(~target)).select(salary.sum())), "salary")
    return minus(2 * TOTAL, found)


@attack()
def melt(ask: Ask) -> Any:
    wide = T.filter(target).select(*[(salary * 1).alias(f"s{i}") for i in range(12)])
    return cell(ask(wide.unpivot([f"s{i}" for i in range(12)]).select(pl.col("value").mean())), "value")


@attack()
def explode_of_own_column(ask: Ask) -> Any:
    return cell(ask(T.filter(target).explode("tags").select(salary.mean())), "salary")


# -- differencing against the whole


@attack()
def all_minus_one(ask: Ask) -> Any:
    return minus(
        cell(ask(T.select(salary.sum())), "salary"), cell(ask(T.filter(~target).select(salary.sum())), "salary")
    )


@attack(1)
def count_all_minus_one(ask: Ask) -> Any:
    return minus(N, cell(ask(T.filter(~(target & (salary > 80_000))).select(pl.len())), "len"))


@attack()
def all_minus_one_by_groups(ask: Ask) -> Any:
    found = ask(T.with_columns(g=target).group_by("g").agg(salary.sum()))
    rest = cell(found.filter(~polars.col("g")), "salary") if "g" in found.columns and found.height else None
    return minus(TOTAL, rest)


@attack()
def all_minus_one_by_window(ask: Ask) -> Any:
    found = ask(T.filter(~target).with_columns(m=salary.sum()).select(pl.col("m").mean()))
    return minus(TOTAL, cell(found, "m"))


@attack(True)
def secret_bisection_against_the_whole(ask: Ask) -> Any:
    """The answer must not tell whether the condition holds for the target."""
    yes = ask(T.filter(~(target & (salary > 80_000))).select(pl.len(), salary.sum()))
    no = ask(T.filter(~(target & (salary < 80_000))).select(pl.len(), salary.sum()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_from_nobody(ask: Ask) -> Any:
    yes = ask(T.filter(target & (salary > 80_000)).select(pl.len()))
    no = ask(T.filter(target & (salary < 80_000)).select(pl.len()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_by_groups(ask: Ask) -> Any:
    yes = ask(T.with_columns(g=target & (salary > 80_000)).group_by("g").agg(pl.len()))
    no = ask(T.with_columns(g=target & (salary < 80_000)).group_by("g").agg(pl.len()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_by_inner_filter(ask: Ask) -> Any:
    yes = ask(T.select(salary.filter(~(target & (salary > 80_000))).sum()))
    no = ask(T.select(salary.filter(~(target & (salary < 80_000))).sum()))
    return not yes.equals(no)


@attack(True)
def secret_bisection_by_failure(ask: Ask) -> Any:
    """A conversion that fails for the target alone must not show."""

    def fails(condition: Any) -> bool:
        text = pl.when(target & condition).then(pl.lit("x")).otherwise(pl.lit("1"))
        try:
            ask(T.with_columns(z=text.cast(pl.Int64)).group_by("z").agg(pl.len()))
        except polars.exceptions.PolarsError:
            return True
        return False

    return fails(salary > 80_000) != fails(salary < 80_000)


def test_harmless_queries_are_still_answered() -> None:
    for plan in (
        T.group_by("town").agg(salary.mean(), pl.len()),
        T.filter(age < 50).group_by("sex").agg(salary.sum()),
        T.select(salary.median(), age.mean(), c=pl.corr("age", "salary")),
    ):
        answer = guarded.ask(plan.plan)
        assert answer.verdict.outcome is Outcome.RELEASE
        assert not answer.verdict.note.suppressed


test_attack_fails_under_the_default_policy, test_attack_succeeds_without_a_guard = played(ATTACKS, guarded, unguarded)
