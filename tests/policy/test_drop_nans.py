"""Rows without NaN: what has none is refused by its type, so that no failure tells whether rows are there."""

from __future__ import annotations

import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.errors import BindError
from bastion_plan.expressions import Column
from bastion_policy.model import Aggregation, Policy, Suppress
from drive import World
from query import Q, inline

import bastion.expressions as pl

N = 400
POLICIES = {
    "default": Policy(Aggregation(10), Suppress()),
    "strict": Policy(Aggregation(10), Suppress(), profile="strict"),
    "open": Policy.open(),
}


def world(profile: str, pay: int) -> World:
    """People of five towns; one is 97, whose pay is what is secret."""
    towns = ["abcde"[i % 5] for i in range(N)]
    frame = polars.DataFrame(
        {
            "age": range(N), "town": towns, "pay": [pay if i == 97 else 20_000 + (i * 7919) % 60_000 for i in range(N)],
            "x": [float("nan") if i % 4 == 0 else float(i) for i in range(N)],
        }
    )  # fmt: skip
    return World(remembers=True).add("t", frame, POLICIES[profile], dict.fromkeys(frame.columns, "quasi"))


def dropped(plan: Q, *names: str) -> Q:
    return Q(n.DropNulls(plan.plan, tuple(map(Column, names)) or None, nans=True)).select(pl.len())


@pytest.mark.parametrize("profile", POLICIES)
@pytest.mark.parametrize("pay", [30_000, 70_000])
def test_a_failure_tells_of_nobody(profile: str, pay: int) -> None:
    """Behind a join the engine looks at the type only where a row is left: of the one who earns so much, or of nobody."""
    one = Q("t").filter((pl.col("age") == 97) & (pl.col("pay") < 50_000))
    labels = inline({"town": list("abcde"), "label": list("vwxyz")})
    with pytest.raises(BindError) as caught:
        world(profile, pay).ask(dropped(one.join(labels, on="town", how="left"), "label").plan)
    assert caught.value.code == "plan.bind.types"


@pytest.mark.parametrize("profile", ["default", "open"])
def test_numbers_are_taken_and_all_columns_are_those_that_may_hold_one(profile: str) -> None:
    for names, rows in ((("x",), 300), (("x", "age"), 300), (("age",), 400), ((), 300)):
        found = world(profile, 0).ask(dropped(Q("t"), *names).plan)
        assert found.table is not None, found.verdict.findings
        assert found.table.item() == rows


def test_a_table_without_fractions_loses_no_rows() -> None:
    found = world("default", 0).ask(dropped(Q("t").select("town", "age")).plan)
    assert found.table is not None
    assert found.table.item() == N
