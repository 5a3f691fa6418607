"""The oracle knows what people with several rows are protected from: it finds what a judge without that rule tells."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars
import pytest
from bastion_policy import judge_averages, judge_remembered, judge_searched, judge_values
from bastion_policy.model import Aggregation, Policy, Role, Suppress, measure
from query import Q

import bastion.expressions as pl

sys.path.insert(0, str(Path(__file__).parent))
from drive import World
from random_queries import Case
from row_play import play, read

PEOPLE, K = 40, 5
MONTH = pl.col("month")


def table(changed: int = 0) -> polars.DataFrame:
    """Three months of the same people, whose pay stays the same but for some."""
    pay = [float(20 + 7 * i % 61) for i in range(PEOPLE)]
    rows = [
        {"id": i, "month": m, "age": i, "pay": pay[i] + (5.0 if m == 2 and i < changed else 0.0)}
        for m in (1, 2, 3)
        for i in range(PEOPLE)
    ]
    return polars.DataFrame(rows)


def found(plans: list[Q], *, varies: bool = False, changed: int = 0) -> set[str]:
    """The rules of what the oracle finds in the answers to some questions."""
    roles: dict[str, Role | str] = {
        "id": "identifier", "month": "quasi", "age": "quasi", "pay": measure(0, 100, varies=varies),
    }  # fmt: skip
    policy = Policy(Aggregation(K), Suppress(), weaken=("saturation",))
    others = polars.DataFrame({"id": [0, 1], "score": [1.0, 2.0], "ward": ["u", "v"]})
    return {f.rule for f in play(Case(table(changed), others, "id", policy, policy, plans, roles))}


def total(*conditions: Any) -> Q:
    return Q("t").filter(*conditions).select(pl.col("pay").sum())


#: the sum of all in one month, less that of all but one in the next
ALL_BUT_ONE = [total(MONTH == 1), total(MONTH == 2, pl.col("age") != 7)]
#: two halves of everybody in two months, and all but one in the third
HALVES = [
    total(MONTH == 1, pl.col("age") < 20),
    total(MONTH == 2, pl.col("age") >= 20),
    total(MONTH == 3, pl.col("age") != 7),
]
#: the very same people, of whom few have changed
MONTHS = [total(MONTH == 1), total(MONTH == 2)]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that takes no two rows for copies."""
    for module in (judge_values, judge_remembered, judge_searched):
        monkeypatch.setattr(module, "compared", lambda *_: [])


@pytest.mark.parametrize("plans", [ALL_BUT_ONE, HALVES, MONTHS])
def test_what_the_judge_tells_of_people_is_allowed(plans: list[Q]) -> None:
    assert not found(plans, changed=2)
    assert not found(plans, varies=True, changed=2)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(
    ("plans", "changed", "rule"), [(ALL_BUT_ONE, 0, "value"), (HALVES, 0, "audit"), (MONTHS, 2, "value")]
)
def test_a_judge_without_the_rule_is_found_out(plans: list[Q], changed: int, rule: str) -> None:
    assert found(plans, changed=changed) == {rule}
    assert not found(plans, changed=changed, varies=True)


@pytest.mark.usefixtures("without")
def test_the_very_same_people_may_be_asked_in_another_month() -> None:
    assert not found(MONTHS)
    assert not found(MONTHS, changed=K)


def test_numbers_of_a_person_that_one_row_may_give_are_not_added_up() -> None:
    each = Q("t").group_by("id").agg(m=pl.col("pay").max(), s=pl.col("pay").sum())
    world = World(remembers=True).add("t", table(), Policy(Aggregation(K), Suppress()), {"pay": measure(0, 100)}, "id")
    assert world.ask(each.select(pl.col("m").mean()).plan).table is None
    assert world.ask(each.select(pl.col("s").mean()).plan).table is not None


def test_means_of_unequal_numbers_of_rows_are_not_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are they where the judge would tell them: the oracle finds it."""
    rows = Q("t").filter((MONTH == 1) | (pl.col("age") < 20))
    plans = [q.group_by("id").agg(m=pl.col("pay").mean()).select(pl.col("m").sum()) for q in (rows, Q("t"))]
    assert not found(plans, varies=True, changed=PEOPLE)
    monkeypatch.setattr(judge_averages.Averages, "weighed", lambda *_: frozenset())
    assert found(plans[:1], varies=True, changed=PEOPLE) == {"value"}
    assert not found(plans[1:], varies=True, changed=PEOPLE)


#: of a join of people with one row each, sums of the other table's columns by month: in the second one person is missing
JOINED = (
    "eJxNTtsJwDAIXCUD5MOYp7OU7r9GzxNDQfG4Fz6rlnZ2LdYmUK9l4GANxzUR8HI5BcoBC__kDOJGw0rVq4RUWC2a0tEpWVq9WjPqMSUHF947v7"
    "TGH4epnawn3g9ouSMu"
)


def test_rows_of_another_table_are_no_unknowns_of_a_sum() -> None:
    """Other months are other rows of the column's table, whose values are their own; the joined people are none of its values."""
    case = read(JOINED)
    assert play(case, remembers=case.most > 1) == []
