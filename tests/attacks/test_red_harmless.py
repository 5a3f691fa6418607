"""What resembles the attacks by expression and harms nobody is answered exactly."""

from __future__ import annotations

import math

import polars
import pytest
from bastion_plan.errors import LimitError
from bastion_policy.model import Policy
from bastion_policy.verdict import Outcome
from drive import World
from measured_people import (
    MEASURE,
    PEOPLE,
    ROLES,
    UNITS,
    N,
    T,
    age,
    guarded,
    salary,
)

import bastion.expressions as pl


def related(people: polars.DataFrame) -> float:
    return float(people.select(polars.corr("salary", "age")).item())


#: covariances are rounded before they are scaled
HARMLESS = {
    "affine sum": (T.select(s=(salary * 2 + 1).sum()), lambda t: (t["salary"] * 2 + 1).sum()),
    "affine mean": (T.select(s=((salary - 100) / 4).mean()), lambda t: ((t["salary"] - 100) / 4).mean()),
    "affine var": (T.select(s=(salary * -3 + 1).var()), lambda t: (t["salary"] * 3).var()),
    "affine std": (T.select(s=(salary * -3 + 1).std()), lambda t: (t["salary"] * 3).std()),
    "affine cov": (
        T.select(s=pl.cov(salary * -3, age + 1)),
        lambda t: -3 * float(f"{round(related(t), 2) * t['salary'].std() * t['age'].std():.2g}"),
    ),
    "affine corr": (
        T.select(s=pl.corr(salary * -3, age + 1)),
        lambda t: -round(related(t), 2),
    ),
    "combination": (T.select(s=(salary * 2 + age - 1).mean()), lambda t: (t["salary"] * 2 + t["age"] - 1).mean()),
    "filtered": (
        T.select(s=(salary * 2 + 1).filter(age > 50).sum()),
        lambda t: (t.filter(polars.col("age") > 50)["salary"] * 2 + 1).sum(),
    ),
    "condition": (T.select(s=(age > 30).sum()), lambda t: (t["age"] > 30).sum()),
    "share": (T.select(s=(age > 30).mean()), lambda t: (t["age"] > 30).mean()),
    "one or zero": (T.select(s=pl.when(age > 30).then(1).otherwise(0).sum()), lambda t: (t["age"] > 30).sum()),
    "condition as number": (T.select(s=(age > 30).cast(pl.Int64).mean()), lambda t: (t["age"] > 30).mean()),
    "fill without nulls": (T.select(s=salary.fill_null(0).mean()), lambda t: t["salary"].mean()),
    "wider numbers": (T.select(s=pl.col("a8").cast(pl.Float64).mean()), lambda t: t["a8"].mean()),
    "bins as keys": (T.group_by(age // 20 * 20).agg(pl.len()).select(pl.col("len").sum()), lambda t: t.height),
    "stored": (T.with_columns(x=salary * 2).select(s=pl.col("x").mean()), lambda t: t["salary"].mean() * 2),
    "normalised": (
        T.with_columns(z=(salary - salary.mean()) / salary.std()).select(s=pl.col("z").sum() + 1),
        lambda t: 1,
    ),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_queries_are_answered_exactly(name: str, unit: str) -> None:
    plan, truth = HARMLESS[name]
    answer = guarded[unit].ask(plan.plan)
    assert answer.verdict.outcome is Outcome.RELEASE, answer.verdict.findings
    # twelve digits of each statistic are shown
    assert math.isclose(answer.released.row(0)[0], truth(PEOPLE), rel_tol=1e-8)


def test_a_fill_counts_missing_values_beside_the_others() -> None:
    frame = polars.DataFrame({"x": [float(i) if i % 3 else None for i in range(90)]})
    world = World().add("t", frame, roles={"x": MEASURE})
    row = world.ask(T.select(a=pl.col("x").fill_null(5).sum(), b=pl.col("x").fill_null(5).mean()).plan).released.row(0)
    filled = frame["x"].fill_null(5)
    assert row == (pytest.approx(filled.sum()), pytest.approx(filled.mean()))


def test_long_expressions_are_not_looked_at_to_the_end() -> None:
    total = salary
    for _ in range(11):
        total = total + total
    try:
        outcome = guarded["rows"].static(T.select(s=total.sum()).plan).outcome
    except LimitError:
        return
    assert outcome is not Outcome.RELEASE


def test_few_values_are_answered_as_none() -> None:
    """The values of one person, and of nobody, look the same whatever is computed of them."""
    for rows in (0, 1, 9):
        frame = PEOPLE.with_columns(
            x=polars.when(polars.int_range(N) < rows).then(polars.lit(5.0)), y=polars.col("salary")
        )
        for unit in UNITS.values():
            world = World().add("t", frame, Policy.default(), ROLES | {"x": MEASURE, "y": MEASURE}, unit=unit)
            x = pl.col("x")
            plan = T.select(a=x.sum(), b=x.mean(), c=x.std(), d=pl.corr("x", "y"), e=(x * 2).mean(), f=x.median())
            answer = world.ask(plan.plan)
            assert answer.released.row(0) == (None,) * 6
