"""Sums of known columns over people whom a measure chose: so many bits, of so many people."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars
import pytest
from bastion_policy.chosen_sums import _entropy
from bastion_policy.model import Aggregation, Policy, Review, Role
from bastion_policy.roles import measure
from drive import World
from msgspec.structs import replace
from query import Q, inline

import bastion.expressions as pl

T = Q("t")
PEOPLE = 6000
RNG = np.random.default_rng(8)
BORN = polars.Series([dt.date(1950, 1, 1) + dt.timedelta(days=int(v)) for v in RNG.integers(0, 20000, PEOPLE)])
PAY = RNG.integers(0, 100, PEOPLE)
TABLE = polars.DataFrame(
    {
        "id": range(PEOPLE), "area": np.arange(PEOPLE) % 100, "part": np.arange(PEOPLE) % 4, "born": BORN, "pay": PAY,
        "one": RNG.integers(0, 2, PEOPLE), "kids": RNG.integers(0, 8, PEOPLE), "score": RNG.random(PEOPLE), "left": RNG.random(PEOPLE) < 0.5,
    }
)  # fmt: skip
KNOWN = dict.fromkeys(["area", "part", "born", "kids", "score", "left", "one"], "quasi")
ROLES: dict[str, Role | str] = {**KNOWN, "id": "identifier", "pay": measure(0, 100)}
POLICY = Policy(Aggregation(10), Review())


def world(policy: Policy = POLICY) -> World:
    return World(remembers=True).add("t", TABLE, policy, ROLES, "id")


def told(w: World, plan, who: str = "alice") -> bool:
    """Return whether every number of the answer was told."""
    answer = w.ask(plan.plan, who)
    return answer.table is not None and answer.table.height > 0 and not any(answer.table.null_count().row(0))


FEW = T.filter(pl.col("area").is_in([1, 2, 3]))
DAY = pl.col("born").dt.ordinal_day()


@pytest.mark.parametrize(
    "plan",
    [
        FEW.filter(pl.col("pay") < 50).select(DAY.sum()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("kids").mean()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("kids").var()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("born").mean()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("score").sum()),
        FEW.filter(pl.col("pay") < 50).select((pl.col("kids") * 3 + 1).sum()),
        FEW.select(DAY.filter(pl.col("pay") < 50).sum()),
        FEW.group_by(pl.col("pay") // 50).agg(DAY.sum()),
        FEW.with_columns(low=pl.col("pay") < 50).filter(pl.col("low")).select(DAY.sum()),
        FEW.with_columns(low=(pl.col("pay") < 50).cast(polars.Int64)).join(inline({"k": [1]}), left_on="low", right_on="k").select(DAY.sum()),
    ],
    ids=["day", "mean", "variance", "date", "float", "stretched", "inside", "keys", "step", "join"],
)  # fmt: skip
def test_of_some_dozens_none_is_told(plan):
    found = world().ask(plan.plan)
    assert found.table is None
    assert {f.rule for f in found.verdict.findings} == {"linear-audit"}


@pytest.mark.parametrize(
    "plan",
    [
        FEW.select(DAY.sum()),  # nobody is chosen by what is secret
        FEW.filter(pl.col("kids") < 4).select(DAY.sum()),
        FEW.filter(pl.col("pay") < 50).select(pl.len()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("left").mean()),  # a count
        FEW.filter(pl.col("pay") < 50).select((pl.col("kids") > 3).sum()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("one").mean(), v=pl.col("one").var()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("born").count()),
        FEW.filter(pl.col("pay") < 50).select(pl.col("pay").mean()),  # nobody knows it
        T.filter(pl.col("pay") < 50).select(DAY.sum().alias("d"), pl.col("kids").mean(), pl.col("born").mean()),
        T.group_by(pl.col("pay") // 50).agg(DAY.mean(), pl.col("kids").std()),
    ],
    ids=["all", "known", "count", "yes", "condition", "noughts", "values", "measure", "many", "keys"],
)
def test_what_tells_little_of_each_is_told(plan):
    assert told(world(), plan)


def test_the_bits_are_counted_and_the_same_again_costs_nothing():
    w, plan = world(), T.filter(pl.col("part") == 0).filter(pl.col("pay") < 50)
    people = int(((np.arange(PEOPLE) % 4 == 0) & (PAY < 50)).sum())
    date = pl.col("born").dt
    asked = [
        (DAY, 366),
        (date.day(), 31),
        (pl.col("area"), 100),
        (date.year(), 1000),
        (pl.col("kids"), 10),
        (date.month(), 12),
    ]
    left, expected = people / 16, []
    for _, wide in asked:
        each = math.ceil(_entropy(people, wide))
        expected.append(each <= left)
        left -= each if each <= left else 0
    shown = [told(w, plan.select(x.sum())) for x, _ in asked]
    assert shown[:3] == expected[:3] == [True, True, True]
    assert not shown[-1]
    assert told(w, plan.select(DAY.sum())), "the same again"
    assert told(w, plan.select(DAY.mean() * 2)), "the same, beside the number of people"
    wider = T.filter((pl.col("part") == 0) | (pl.col("area") < 4)).filter(pl.col("pay") < 50)
    assert not told(w, wider.select(DAY.sum())), "they are in it"
    assert told(w, T.filter(pl.col("part") == 1).filter(pl.col("pay") < 50).select(DAY.sum())), "others are not"
    assert told(w, plan.select(date.month().sum()), "bob"), "somebody else"


def test_an_integers_entropy_is_less():
    for wide, people in ((1, 40), (6, 30), (30, 12)):
        weights = np.random.default_rng(wide).integers(0, wide + 1, 2 * people)
        odds = np.ones(1)
        for weight in weights:
            shifted = np.concatenate([np.zeros(weight), odds])
            odds = (shifted + np.concatenate([odds, np.zeros(weight)])) / 2
        odds = odds[odds > 0]
        assert -(odds * np.log2(odds)).sum() <= _entropy(people, wide)


def test_it_goes_with_the_audit():
    off = replace(POLICY, weaken=("linear_audit",))
    assert told(world(off), FEW.filter(pl.col("pay") < 50).select(DAY.sum()))


def others(role: Role | str) -> World:
    """Two owners: the second one's table has numbers that it made up for everybody."""
    w = world()
    mine = polars.DataFrame({"id": range(PEOPLE), "w": RNG.random(PEOPLE), "n": RNG.integers(0, 1000, PEOPLE)})
    w.add("b", mine, POLICY, {"id": "identifier", "w": role, "n": measure(0, 1000)}, "id")
    w.facts["t"], w.facts["b"] = replace(w.facts["t"], owner="olga"), replace(w.facts["b"], owner="bob")
    return w


def test_what_another_owner_uploaded_is_known_to_them():
    both = T.join(Q("b"), on="id")
    w = others(measure(0, 1))
    for statistic in (pl.cov("pay", "w"), pl.corr("w", "pay"), pl.cov("w", "kids")):
        found = w.ask(both.select(statistic).plan).verdict
        assert {f.rule for f in found.findings} == {"argument"}
    few = both.filter(pl.col("area").is_in([1, 2, 3]) & True)
    assert not told(others(measure(0, 1)), few.filter(pl.col("pay") < 50).select(pl.col("n").sum()))
    assert told(others(measure(0, 1)), few.filter(pl.col("kids") < 4).select(pl.col("n").sum()))


def test_what_was_shown_is_known_from_then_on():
    product = T.select(pl.cov("pay", "stay"))
    frame = TABLE.with_columns(stay=RNG.integers(0, 90, PEOPLE), ill=RNG.random(PEOPLE) < 0.5)
    roles = {**ROLES, "stay": measure(0, 100), "ill": "sensitive"}
    w = World(remembers=True).add("t", frame, POLICY, roles, "id")
    few = T.filter(pl.col("part") == 0)
    assert told(w, few.select(pl.cov("pay", "stay"), pl.cov(pl.col("ill").cast(polars.Float64), "stay")))
    w.approve(T.select("id", "stay").plan)
    assert told(w, product)
    spent = [told(w, T.filter(pl.col("area") % i < i - 1).select(pl.cov("pay", "stay"))) for i in range(3, 60)]
    assert spent[0], "what is told once"
    assert not all(spent), "and what is told often"
    ill = T.filter(pl.col("part") == 1).select(pl.cov(pl.col("ill").cast(polars.Float64), "stay"))
    assert not told(w, ill)
