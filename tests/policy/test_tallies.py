"""Numbers per person that are made of a yes-or-no column are told where k people differ, as its conditions are."""

from __future__ import annotations

from typing import Any

import polars
import pytest
from bastion_policy.model import Policy, measure
from drive import World
from query import Q

import bastion.expressions as pl

ROLES = {"id": "identifier", "flag": "quasi", "sick": "sensitive", "pay": measure(0, 100)}


def told(yes: int, expr: Any, policy: Policy, column: str = "flag") -> list[Any]:
    """What is told of a number per person; as many people as `yes` have said so in one of their two rows."""
    rows = {
        "id": [i // 2 for i in range(200)],
        "flag": [i % 2 == 0 and i < 2 * yes for i in range(200)],
        "sick": [i % 2 == 0 and i < 2 * yes for i in range(200)],
        "pay": [float(i % 50) for i in range(200)],
    }
    world = World(remembers=True).add("t", polars.DataFrame(rows), policy, ROLES, "id")
    each = Q("t").group_by("id").agg(expr(pl.col(column)).alias("x"))
    plan = each.select(pl.col("x").sum().alias("s"), pl.col("x").mean().alias("m")).plan
    answer = world.ask(plan)
    table = world.ask(plan, safe_part=True).table if answer.table is None else answer.table
    return [None, None] if table is None else list(table.row(0))


@pytest.mark.parametrize("name", ["sum", "mean", "n_unique"])
def test_fewer_than_k_who_say_yes_read_like_nobody(name: str) -> None:
    def expr(column: Any) -> Any:
        return getattr(column, name)()

    counts = [told(yes, expr, Policy.default()) for yes in (0, 1, 3, 5, 9)]
    assert counts == [[None, None]] * 5
    sums = {"sum": 12, "mean": 6, "n_unique": 112}
    assert told(12, expr, Policy.default())[0] == pytest.approx(sums[name])


def test_so_under_the_strict_profile() -> None:
    strict = [told(yes, lambda c: c.sum(), Policy.strict(unit="id")) for yes in (0, 5, 9)]
    assert strict == [[None, None]] * 3
    assert told(50, lambda c: c.sum(), Policy.strict(unit="id")) == [50, pytest.approx(0.5)]


def test_a_column_that_chooses_nobody_has_the_rule_of_values_alone() -> None:
    assert told(5, lambda c: c.sum(), Policy.default(), "sick")[0] == 5
