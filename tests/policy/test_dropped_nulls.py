"""Rows without a value are left out before they are counted: `drop_nulls` inside a statistic, in whatever order."""

from __future__ import annotations

from typing import Any

import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

N = 400
FRAME = polars.DataFrame(
    {
        "id": range(N), "g": ["ab"[i % 2] for i in range(N)], "b": [i % 3 == 0 for i in range(N)],
        "x": [None if i % 5 == 0 else float(i % 50) for i in range(N)],
    }
)  # fmt: skip
ROLES: dict[str, Any] = {"id": "identifier", "g": "quasi", "b": "quasi", "x": measure(0, 50)}
T = Q("t")


def world(profile: str) -> World:
    policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Suppress())
    return World(remembers=True).add("t", FRAME, policy, ROLES, "id")


def forms(p: Any) -> dict[str, Any]:
    """The same statistics in Polars and in ours."""
    x, b = p.col("x"), p.col("b")
    return {
        "rows": x.drop_nulls().len(),
        "nulls": x.drop_nulls().null_count(),
        "of a condition": x.filter(b).drop_nulls().len(),
        "nulls of a condition": x.filter(b).drop_nulls().null_count(),
        "of a choice": p.when(b).then(x).drop_nulls().len(),
        "twice": x.drop_nulls().drop_nulls().len(),
        "values": x.drop_nulls().count(),
        "beside others": x.len() - x.drop_nulls().len() + x.null_count(),
        "people": p.col("id").drop_nulls().n_unique(),
    }


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize("name", forms(pl))
def test_a_count_is_the_one_of_polars(name: str, profile: str) -> None:
    answer = world(profile).ask(T.group_by("g").agg(z=forms(pl)[name]).plan)
    true, shown = FRAME.group_by("g").agg(z=forms(polars)[name]).sort("g"), answer.released.sort("g")
    # the strict profile rounds what it counts
    assert shown["z"].to_list() == pytest.approx(true["z"].to_list(), abs=2 if profile == "strict" else 0)
    assert shown.schema == true.schema


@pytest.mark.parametrize("name", forms(pl))
def test_of_everybody(name: str) -> None:
    answer = world("default").ask(T.select(z=forms(pl)[name]).plan)
    assert answer.released["z"].to_list() == FRAME.select(z=forms(polars)[name])["z"].to_list()


def test_few_values_are_counted_as_the_values_they_are():
    """Under the strict profile fewer than k with a value are nobody, whichever way they are counted."""
    frame = FRAME.with_columns(x=polars.when(polars.col("id") < 3).then(5.0))
    w = World(remembers=True).add("t", frame, Policy.strict("id"), ROLES, "id")
    assert w.ask(T.select(z=pl.col("x").drop_nulls().len()).plan).released.item() == 0


@pytest.mark.parametrize("function", ["len", "null_count"])
def test_what_is_hidden_is_not_counted(function: str):
    w = World().add("t", FRAME, Policy(Aggregation(10), Suppress()), ROLES | {"x": "hidden"}, "id")
    verdict = w.ask(T.select(z=getattr(pl.col("x").drop_nulls(), function)()).plan).verdict
    assert {f.rule for f in verdict.findings} == {"hidden-column"}
