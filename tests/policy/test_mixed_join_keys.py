"""Conditions that a measure decides for one person only, beside many who are known: as keys of a join, or by what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_policy.judge_memory import EDGE_BUDGET
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind
from bastion_policy.verdict import Outcome
from drive import World
from query import Q, exprs, inline

import bastion.expressions as pl
from bastion.expr.core import as_plan

N, TRUTH = 2000, 61_234
RNG = np.random.default_rng(11)
AGES = np.array([20 + i % 50 for i in range(N - 1)] + [97])
PAY = np.array([*RNG.integers(10_000, 100_000, N - 1), TRUTH])
#: of some ages only anything is known
BONUS = [int(v) if a > 65 else None for v, a in zip(PAY, AGES, strict=True)]
PEOPLE = polars.DataFrame({"id": np.arange(N), "age": AGES, "pay": PAY, "bonus": BONUS})
MONEY = Role(RoleKind.MEASURE, 0.0, 100_000.0)
ROLES: dict[str, Role | str] = {"id": "identifier", "age": "quasi", "pay": MONEY, "bonus": MONEY}
T, age, pay, bonus = Q("t"), pl.col("age"), pl.col("pay"), pl.col("bonus")
target = age == 97
OFF = ("history", "linear_audit", "saturation")
Form = Callable[[list[int], int], Q]


def world(*weaken: str) -> World:
    return World(remembers=True).add("t", PEOPLE, Policy(Aggregation(10), Review(), weaken=weaken), ROLES, "id")


def counted(w: World) -> int:
    (past,) = w.pasts.values()
    return len(past.edges)


def low(edge: int) -> Any:
    return (pay < edge).cast(pl.Int64)


def pairs(ages: list[int]) -> Q:
    """Both bins of everybody who is known, one of the target."""
    rows = [(a, b) for a in ages for b in (0, 1)] + [(97, 1)]
    return inline({"a": [a for a, _ in rows], "b": [b for _, b in rows], "label": [1.0] * len(rows)})


def joined(how: str) -> Form:
    def rows(ages: list[int], edge: int) -> Q:
        return T.join(pairs(ages), how=how, left_on=[age, low(edge)], right_on=["a", "b"])

    return rows


def some(ages: list[int]) -> Q:
    return T.filter(age.is_in(ages) | target)


def matched(rows: Q, key: Any, how: str, *, values: list[Any], nulls_equal: bool = False) -> Q:
    own = inline({"k": values, "label": [1.0] * len(values)})
    return Q(n.Join(rows.plan, own.plan, how, exprs(key), exprs("k"), nulls_equal=nulls_equal))


JOINS: dict[str, Form] = {
    "semi": joined("semi"),
    "inner": joined("inner"),
    "labels": lambda ages, edge: joined("left")(ages, edge).drop_nulls("label"),
    "anti": lambda ages, edge: some(ages).join(
        inline({"a": [97], "b": [0]}), how="anti", left_on=[age, low(edge)], right_on=["a", "b"]
    ),
    "one join after another": lambda ages, edge: (
        T.join(inline({"a": [*ages, 97], "g": [*[1.0] * len(ages), 0.0]}), left_on=["age"], right_on=["a"])
        .with_columns(known=pl.col("g") == 1.0, low=pay < edge)
        .join(inline({"known": [True, True, False], "low": [True, False, True]}), on=["known", "low"])
    ),
    "released pairs": lambda ages, edge: Q(
        n.Join(
            some(ages).plan,
            T.filter(age > 30).group_by((age > 96).alias("old"), low(edge).alias("low")).agg(pl.len()).plan,
            "anti",
            exprs(age > 96, low(edge)),
            exprs("old", "low"),
        )
    ),
}
#: of all but the target it is known that nothing is known of their bonus
MISSING: dict[str, Form] = {
    "filled": lambda ages, edge: some(ages).filter(bonus.fill_null(0) < edge),
    "filled in a step": lambda ages, edge: some(ages).with_columns(bonus=bonus.fill_null(0)).filter(bonus < edge),
    "filled everywhere": lambda ages, edge: some(ages).of(n.FillNull, as_plan(pl.lit(0))).filter(bonus < edge),
    "or missing": lambda ages, edge: some(ages).filter(bonus.is_null() | (bonus < edge)),
    "true where missing": lambda ages, edge: some(ages).filter((bonus < edge).fill_null(True)),
    "otherwise": lambda ages, edge: some(ages).filter(pl.when(bonus >= edge).then(False).otherwise(True)),
    "not known to be": lambda ages, edge: some(ages).filter((bonus >= edge).ne_missing(True)),
    "the larger": lambda ages, edge: some(ages).filter(pl.max_horizontal(bonus, pl.lit(0)) < edge),
    "nulls dropped": lambda ages, edge: (
        some(ages).with_columns(z=pl.when(bonus >= edge).then(None).otherwise(1)).drop_nulls("z")
    ),
    "anti join": lambda ages, edge: matched(some(ages), bonus >= edge, "anti", values=[True]),
    "nulls that match": lambda ages, edge: matched(
        some(ages), bonus < edge, "semi", values=[None, True], nulls_equal=True
    ),
    "no label": lambda ages, edge: matched(some(ages), bonus >= edge, "left", values=[True]).filter(
        pl.col("label").is_null()
    ),
    "per person": lambda ages, edge: (
        some(ages).group_by("id").agg(b=bonus.max()).filter(pl.col("b").fill_null(0) < edge)
    ),
}


def fresh() -> Iterator[list[int]]:
    """Sets of people whom nobody has asked about, far from all thresholds."""
    rng = np.random.default_rng(5)
    while True:
        yield sorted(rng.choice(np.arange(20, 66), 22, replace=False).tolist())


def bisected(w: World, form: Form) -> tuple[int, int, int]:
    """Return what the target's value lies between after as many questions as were answered."""
    least, most = 0, 100_000
    for asked, ages in enumerate(fresh()):
        edge = (least + most) // 2
        answer = w.ask(form(ages, edge).select(pl.len()).plan)
        if most - least == 1 or answer.table is None or not answer.table.height:
            return least, most, asked
        chosen = answer.table.item() - int(np.isin(AGES, ages).sum())
        assert chosen in (0, 1)
        least, most = (least, edge) if chosen else (edge, most)
    raise AssertionError


@pytest.mark.parametrize("name", [name for name in JOINS if name != "released pairs"])
def test_keys_that_are_compared_together_are_one_condition(name: str) -> None:
    least, most, asked = bisected(world(), JOINS[name])
    assert asked == EDGE_BUDGET
    assert most - least > 100
    assert bisected(world(*OFF), JOINS[name])[0] == TRUTH


@pytest.mark.parametrize("name", MISSING)
def test_whoever_is_taken_in_without_a_value_is_known(name: str) -> None:
    least, most, asked = bisected(world(), MISSING[name])
    assert asked == EDGE_BUDGET
    assert most - least > 100
    assert bisected(world(*OFF), MISSING[name])[0] == TRUTH


def test_pairs_that_were_released_count_as_well() -> None:
    w = world()
    for step, ages in zip(range(3), fresh(), strict=False):
        w.ask(JOINS["released pairs"](ages, 30_000 + 10_000 * step).select(pl.len()).plan)
    assert counted(w) >= 3


def test_the_same_inside_a_statistic() -> None:
    """Of two groups only the target has a bonus, and one of them is left out inside."""
    w = world()
    for step, ages in zip(range(3), fresh(), strict=False):
        inside = age.filter(age.is_in(ages[:11]) | target, bonus.fill_null(0) < 10_000 * (step + 1))
        assert w.ask(some(ages).select(inside.len()).plan).verdict.outcome is Outcome.RELEASE
    assert counted(w) == 3


def test_what_takes_in_nobody_who_is_known_is_not_counted() -> None:
    own = inline({"a": list(range(20, 60))})
    plans = [
        T.join(own, how="semi", left_on=["age"], right_on=["a"]).select(pl.len()),
        T.join(inline({"b": [1]}), how="semi", left_on=[low(50_000)], right_on=["b"]).select(pl.len()),
        T.join(own, how="anti", left_on=["age"], right_on=["a"]).select(pl.len(), pay.mean()),
        T.filter(bonus > 40_000).select(pl.len()),
        T.filter(bonus > 30_000, age < 69).select(pl.len()),
        T.filter(bonus.is_not_null() & (bonus > 45_000)).select(pl.len()),
        T.filter(bonus.fill_null(0) > 35_000).select(pl.len()),
        T.with_columns(bonus=bonus.fill_null(0)).filter(bonus >= 25_000).select(pl.len()),
        T.of(n.FillNull, as_plan(pl.lit(0))).filter(bonus > 55_000).select(pl.len()),
        T.with_columns(band=pl.when(bonus > 50_000).then(pl.lit("high")).otherwise(pl.lit("low")))
        .filter(pl.col("band") == "high")
        .select(pl.len()),
        T.filter(~(bonus > 60_000)).select(pl.len()),
        T.filter(bonus.is_between(20_000, 70_000)).select(pl.len()),
        T.filter(bonus.is_null()).group_by("age").agg(pay.mean()),
        T.filter(age < 60).with_columns(bonus=bonus.fill_null(0)).drop_nulls().select(pl.len(), pay.mean()),
        T.drop_nulls("bonus").filter(pay > 50_000).select(pl.len()),
        T.with_columns(twice=bonus * 2).drop_nulls("twice").filter(pl.col("twice") > 90_000).select(pl.len()),
    ]
    for i, plan in enumerate(plans):
        w = world()
        assert w.ask(plan.plan).verdict.outcome is Outcome.RELEASE, i
        assert counted(w) == 0, i
