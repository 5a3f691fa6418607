"""A sum of nothing is 0: people whose values are missing must not count as people with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

N, GROUP = 400, 40
RNG = np.random.default_rng(2)
#: twelve of a group have no points, and three others are asked for beside them
FRAME = polars.DataFrame(
    {
        "id": np.arange(N), "g": np.arange(N) // GROUP, "a": np.arange(N) % GROUP,
        "points": [None if i // GROUP == 3 and i % GROUP < 12 else int(v) for i, v in enumerate(RNG.integers(100, 9000, N))],
        "ill": [None if i // GROUP == 3 and i % GROUP < 12 else bool(v) for i, v in enumerate(RNG.random(N) < 0.5)],
    }
)  # fmt: skip
ROLES: dict[str, Any] = {"id": "identifier", "g": "quasi", "a": "quasi", "points": measure(0, 10_000), "ill": "sensitive"}  # fmt: skip
T, points, few = Q("t"), pl.col("points"), (pl.col("g") == 3) & (pl.col("a") < 15)
OF_THREE = float(FRAME.filter((polars.col("g") == 3) & (polars.col("a") < 15))["points"].sum())
#: numbers about fifteen people, of whom three have a value
FILLED = {
    "a sum per person": T.filter(few).group_by("id").agg(z=points.sum()).select(pl.col("z").sum()),
    "its mean": T.filter(few).group_by("id").agg(z=points.sum()).select(pl.col("z").mean() * 15),
    "scaled": T.filter(few).group_by("id").agg(z=points.sum() * 2).select(pl.col("z").sum() / 2),
    "a window": T.filter(few).with_columns(z=points.sum().over("id")).select(pl.col("z").sum()),
    "a window inside": T.filter(few).select(points.sum().over("id").sum()),
}


def world(profile: str, *weaken: str) -> World:
    policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Suppress(), weaken=weaken)
    return World(remembers=True).add("t", FRAME, policy, ROLES, "id")


def number(w: World, q: Q) -> Any:
    table = w.ask(q.plan).table
    return None if table is None or not table.height else table[table.columns[0]][0]


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize("name", FILLED)
def test_people_without_a_value_are_not_counted(name: str, profile: str) -> None:
    w = world(profile)
    assert number(w, FILLED[name]) is None
    rules = {f.rule for f in w.ask(FILLED[name].plan).verdict.findings}
    assert rules & {"missing-values", "argument", "strict-argument"}


@pytest.mark.parametrize("name", FILLED)
def test_three_of_them_are_told_where_the_rules_are_off(name: str) -> None:
    table = World().add("t", FRAME, Policy.open(), ROLES, "id").ask(FILLED[name].plan).table
    assert table is not None
    assert table[table.columns[0]][0] == pytest.approx(OF_THREE)


def test_where_they_are_left_out_the_others_count() -> None:
    whole = FRAME["points"].drop_nulls()
    for rows in (T.drop_nulls("points"), T.filter(points.is_not_null())):
        w = world("default")
        assert number(w, rows.group_by("id").agg(z=points.sum()).select(pl.col("z").mean())) == pytest.approx(
            whole.mean()
        )
        assert number(w, rows.filter(few).group_by("id").agg(z=points.sum()).select(pl.col("z").sum())) is None
    # a mean of nothing is nothing
    mean = T.group_by("id").agg(z=points.mean()).select(pl.col("z").mean())
    assert number(world("default"), mean) == pytest.approx(whole.mean())


def test_yes_or_no_of_a_person_is_no_where_it_is_missing() -> None:
    asked = T.filter(pl.col("g") == 3).group_by("id").agg(z=pl.col("ill").any()).select(pl.col("z").sum())
    answer = world("default").ask(asked.plan)
    assert answer.table is None or answer.table.item() is None


@pytest.mark.parametrize("counted", ["count", "null_count", "n_unique"])
def test_strict_does_not_count_them_person_by_person(counted: str) -> None:
    """3 to 9 missing values look like none; added up person by person they would be told."""
    for seen, outcome in (("strict", False), ("default", True)):
        q = T.group_by("id").agg(z=getattr(points, counted)()).select(pl.col("z").sum())
        answer = world(seen).ask(q.plan)
        assert (answer.table is not None and answer.table.item() is not None) is outcome
        assert outcome or "strict-argument" in {f.rule for f in answer.verdict.findings}
