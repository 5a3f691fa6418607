"""How much of a table the released populations cover."""

from __future__ import annotations

import polars
import pytest
from bastion_policy.history import Past, Roster
from bastion_policy.history.coverage import coverage
from bastion_policy.model import Aggregation, Policy, Review
from drive import World
from query import Q

import bastion.expressions as pl

ROWS = polars.DataFrame(
    {"who": [i // 2 for i in range(200)], "age": [i // 2 for i in range(200)], "x": [float(i % 7) for i in range(200)]}
)
RULES = Policy(Aggregation(5), Review(), weaken=("dominance",))
ROLES = {"who": "identifier", "age": "quasi", "x": "measure"}
T = Q("t")


def world(unit: str | None) -> World:
    return World(remembers=True).add("t", ROWS, RULES, ROLES, unit)


def share(w: World, requester: str = "alice") -> float:
    domain, audience = w.facts["t"].audience(requester)
    found = coverage(w.pasts.get((domain, audience), Past()), w.rosters[domain], "t", 1)
    assert found is not None
    return found.share


@pytest.mark.parametrize("unit", [None, "who"])
def test_the_union_of_what_was_released(unit):
    w = world(unit)
    assert w.ask(T.select(pl.col("x").mean()).plan).released.height
    # the whole table counts as known from the start
    assert share(w) == 0.0
    for low, high, union in ((0, 20, 0.2), (10, 40, 0.4), (60, 80, 0.6)):
        plan = T.filter((pl.col("age") >= low) & (pl.col("age") < high)).select(pl.col("x").mean())
        assert w.ask(plan.plan).released.height
        assert share(w) == pytest.approx(union)
    assert share(w, "bob") == 0.0


def test_a_table_that_nobody_asked_has_no_figures():
    assert coverage(Past(), Roster(), "t", 1) is None


def test_the_rank_is_told_with_its_limit():
    w = world(None)
    w.ask(T.group_by(pl.col("age") // 25).agg(pl.len()).plan)
    domain_audience = w.facts["t"].audience("alice")
    found = coverage(w.pasts[domain_audience], w.rosters["t"], "t", 1)
    assert found is not None
    assert (found.rank, found.limit) == (4, None), "all atoms are large: nothing to audit yet"
    for key in (pl.col("age") // 2, pl.col("age") // 3):
        w.ask(T.group_by(key).agg(pl.len()).plan)
    found = coverage(w.pasts[domain_audience], w.rosters["t"], "t", 1)
    assert found is not None
    assert found.limit is not None
    assert 4 <= found.rank <= found.limit


@pytest.mark.parametrize("unit", [None, "who"])
@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (T.select(pl.col("x").mean()), 1.0),
        (T.filter(pl.col("age") < 20).select(pl.col("x").mean()), 0.2),
        (T.filter(pl.col("age") < 20).group_by(pl.col("age") // 10).agg(pl.len()), 0.2),
        # all but two people are everybody
        (T.filter(pl.col("age") < 98).select(pl.col("x").sum()), 1.0),
        # groups of one and two people are together in the remainder row
        (T.group_by(pl.when(pl.col("age") < 90).then(0).otherwise(pl.col("age"))).agg(pl.len()), 1.0),
    ],
    ids=["whole", "filter", "groups", "nearly whole", "remainder"],
)
def test_an_answer_says_what_share_of_people_it_is_about(plan, expected, unit):
    verdict = world(unit).ask(plan.plan).verdict
    assert verdict.facts["coverage"] == pytest.approx(expected)
    assert "coverage" not in str(verdict.note)


def test_rows_of_an_earlier_group_are_told_from_the_remainder_row():
    w = world(None)
    ages = T.filter(pl.col("age") < 20).group_by(pl.col("age") // 10).agg(pl.len())
    first = w.ask(ages.plan).verdict.note
    assert (first.merged, first.again) == (0, 0)
    other = T.filter(pl.col("age") < 20).group_by((pl.col("age") + 100) // 10).agg(pl.len())
    again = w.ask(other.plan).verdict.note
    assert (again.merged, again.again) == (2, 2)
    small = (
        T.filter(pl.col("age") > 90)
        .group_by(pl.when(pl.col("age") < 97).then(0).otherwise(pl.col("age")))
        .agg(pl.len())
    )
    rest = w.ask(small.plan).verdict.note
    assert rest.merged - (rest.again or 0) == 1
