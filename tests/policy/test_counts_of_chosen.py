"""Who has a value is public, and who is chosen by a measure is not: counts of values of such people are those of a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

N, K, TARGET, PAY = 3000, 10, 97, 61_234
RNG = np.random.default_rng(3)
#: nobody aged 40 to 83 has a bonus but the target; nine known people of 96 have one, and earn next to nothing
AGES = np.array([20 + i % 64 for i in range(N - K)] + [96] * (K - 1) + [TARGET])
FRAME = polars.DataFrame(
    {
        "id": np.arange(N), "age": AGES,
        "pay": np.append(RNG.integers(10_000, 100_000, N - K), [100] * (K - 1) + [PAY]),
        "bonus": [float(3 + i % 7) if a < 40 or a >= 96 else None for i, a in enumerate(AGES)],
    }
)  # fmt: skip
ROLES: dict[str, Any] = {"id": "identifier", "age": "quasi", "pay": measure(0, 100_000), "bonus": measure(0, 10)}
T, bonus, age = Q("t"), pl.col("bonus"), pl.col("age")


def world() -> World:
    return World(remembers=True).add("t", FRAME, Policy(Aggregation(K), Suppress()), ROLES, "id")


def number(w: World, q: Q) -> Any:
    table = w.ask(q.plan).table
    return None if table is None or not table.height else table[table.columns[0]][0]


#: how many of those who are chosen have a bonus
COUNTS: dict[str, Callable[[Q, Any], Q]] = {
    "values, inside": lambda q, c: q.select(bonus.filter(c).count()),
    "values": lambda q, c: q.filter(c).select(bonus.count()),
    "values left": lambda q, c: q.filter(c).select(bonus.drop_nulls().len()),
    "values of a choice": lambda q, c: q.select(pl.when(c).then(bonus).count()),
    "missing ones": lambda q, c: q.filter(c).select(pl.len() - bonus.null_count()),
    "missing ones, inside": lambda q, c: q.select(bonus.filter(c).len() - bonus.filter(c).null_count()),
    "conditions": lambda q, c: q.filter(c).select(bonus.is_not_null().sum()),
    "conditions, inside": lambda q, c: q.select(bonus.is_not_null().filter(c).sum()),
    "a share": lambda q, c: q.filter(c).select(pl.len() * bonus.is_not_null().mean()),
    "a group": lambda q, c: q.group_by(c.alias("k")).agg(z=bonus.count()).filter(pl.col("k")).select("z"),
}
#: numbers of people who are counted, or of those who have a value
THRESHOLDS: dict[str, Callable[[Q, Any], Q]] = COUNTS | {
    "a condition": lambda q, c: q.filter(c).select((age >= 96).sum()),
    "a count of a condition": lambda q, c: q.filter(c).select(age.filter(age >= 96).count()),
    "a mean of a condition": lambda q, c: q.filter(c).select(age.filter(age >= 96).mean()),
    "a group of a condition": lambda q, c: q.group_by(c.alias("k")).agg(z=(age >= 96).sum()).filter(pl.col("k")).select("z"),
    "a mean of values": lambda q, c: q.filter(c).select(bonus.mean()),
    "a group's mean of values": lambda q, c: q.group_by(c.alias("k")).agg(z=bonus.mean()).filter(pl.col("k")).select("z"),
    "a variance of values": lambda q, c: q.filter(c).select(bonus.var()),
}  # fmt: skip


def some(rng: np.random.Generator, *more: int) -> Q:
    """Half of those without a bonus, other ones each time, and some more."""
    return T.filter(age.is_in([*map(int, rng.choice(np.arange(40, 84), 22, replace=False)), *more]))


@pytest.mark.parametrize("name", COUNTS)
def test_a_single_value_is_nobodys(name: str):
    """The target has the only bonus: whether it is counted would say on which side of a threshold the target's pay is."""
    rng, w = np.random.default_rng(7), world()
    for threshold in (30_000, 80_000, 45_000):
        assert number(w, COUNTS[name](some(rng, TARGET), pl.col("pay") < threshold)) in (0, None)


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_of_values_is_one_of_the_measure(name: str):
    """Nine known people have a bonus and next to no pay: the tenth is told where the target is chosen as well."""
    rng, w, low, high = np.random.default_rng(7), world(), 5_000, 100_000
    for _ in range(16):
        middle = (low + high) // 2
        answer = w.ask(THRESHOLDS[name](some(rng, 96, TARGET), pl.col("pay") < middle).plan)
        if any(f.rule == "edge-budget" for f in answer.verdict.findings):
            break
        found = None if answer.table is None or not answer.table.height else answer.table[answer.table.columns[0]][0]
        low, high = (low, middle) if found else (middle, high)
    assert high - low > 200


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_many_are_told(name: str):
    chosen = FRAME.filter((polars.col("age") < 60) & (polars.col("pay") < 50_000))
    assert number(world(), COUNTS[name](T.filter(age < 60), pl.col("pay") < 50_000)) == pytest.approx(
        chosen["bonus"].count()
    )


def test_where_no_measure_chooses_every_value_is_counted():
    w = world()
    assert number(w, T.filter(age.is_between(70, 97)).select(bonus.count())) == K
    assert number(w, T.filter(age.is_between(60, 97)).select(bonus.filter(age.is_between(70, 97)).count())) == K
    few = (age > 40) & ((age < 84) | (age == TARGET))
    assert number(w, T.filter(few).select(bonus.count())) in (0, 1), "which values are missing is public"


def test_a_column_without_missing_values_is_counted_as_rows_are():
    """Thresholds of conditions are the only ones there are."""
    w = world()
    for low in range(12):
        q = T.filter(pl.col("pay") < 50_000 + 2_000 * low)
        chosen = FRAME.filter(polars.col("pay") < 50_000 + 2_000 * low)
        assert number(w, q.select(age.count())) == chosen.height
        assert number(w, q.select((age > 50).sum())) == chosen.filter(polars.col("age") > 50).height
        assert number(w, q.select(bonus.mean())) == pytest.approx(chosen["bonus"].mean())
