"""The same words are the same question only where nothing below them can change: other answers, other tables' versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars
import pytest
from bastion_policy.model import Policy, measure
from drive import World
from query import Q

import bastion.expressions as pl

N, GROUP, TARGET = 1200, 3, 15
RNG = np.random.default_rng(1)
FRAME = polars.DataFrame({
    "id": np.arange(N), "g": np.arange(N) // 40, "a": np.arange(N) % 40, "x": np.round(RNG.uniform(1000, 90_000, N), 2),
})  # fmt: skip
ROLES: dict[str, Any] = {"id": "identifier", "g": "quasi", "a": "quasi", "x": measure(0, 100_000)}
T, a, g, x = Q("t"), pl.col("a"), pl.col("g"), pl.col("x")
SECRET = float(FRAME.filter((polars.col("g") == GROUP) & (polars.col("a") == TARGET))["x"][0])
POLICIES = {"default": Policy.default(), "strict": Policy.strict(unit="id")}


def world(profile: str) -> World:
    return World(remembers=True).add("t", FRAME, POLICIES[profile], ROLES, "id")


def number(w: World, q: Q) -> Any:
    table = w.ask(q.plan).table
    return None if table is None or not table.height else table[table.columns[0]][0]


@pytest.mark.parametrize("profile", POLICIES)
def test_a_group_that_is_put_together_the_first_time_only(profile: str) -> None:
    """The keys that a join leaves out are those of cells that were shown: the second time they are others."""
    w = world(profile)
    few = T.filter(a.is_in([TARGET, TARGET + 2]) | ((a == TARGET + 1) & (g < 3))).group_by("a").agg(pl.len())
    question = T.filter(g == GROUP).join(few, on="a", how="anti").select(x.sum())
    one, two = number(w, question), number(w, question)
    assert one is not None
    assert two is None or abs(abs(one - two) - SECRET) > 0.2 * SECRET


@pytest.mark.parametrize("profile", POLICIES)
def test_another_version_of_another_table(profile: str) -> None:
    """A released count of other people stands in the plan, and tells whom a join leaves out."""

    def others(count: int) -> polars.DataFrame:
        return polars.DataFrame({"uid": np.arange(count), "v": np.ones(count)})

    w = world(profile).add("u", others(600), POLICIES["default"], {"uid": "identifier", "v": "measure"}, "uid")
    count = Q("u").select(n=pl.len().cast(pl.Int64) // 40)
    question = T.filter(g == GROUP).join(count, left_on="a", right_on="n", how="anti").select(x.sum())
    one = number(w, question)
    w.frames["u"] = others(1640)
    w.facts["u"] = msgspec.structs.replace(w.facts["u"], version=2)
    w.private["u"] = replace(w.private["u"], rows=1640, units=1640)
    two = number(w, question)
    assert one is not None
    assert two is None or abs(abs(one - two) - SECRET) > 0.2 * SECRET


def test_a_question_without_others_below_it_is_settled() -> None:
    w = world("default")
    question = T.group_by("g").agg(x.mean())
    first = w.ask(question.plan).measures
    again = w.ask(question.plan).measures
    assert len(again) < len(first), "nothing is compared"
