"""The same words are the same question only where nothing below them can change: other answers, other tables' versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars
import pytest
from bastion_policy.model import Policy, Reject, Review, Suppress, measure
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


@pytest.mark.parametrize("profile", POLICIES)
@pytest.mark.parametrize("seed", range(6))
def test_a_cell_that_is_run_again_shows_the_same(profile: str, seed: int) -> None:
    """Small groups are put together with the same others, though one of those is nearly all that they are together."""
    rng = np.random.default_rng(seed)
    sizes = [40, 25, 21, 18, int(rng.integers(1, 5)), int(rng.integers(1, 4))]
    keys = np.repeat(np.array(list("abcdef")), sizes)
    frame = polars.DataFrame({"id": range(keys.size), "k": keys, "x": np.round(rng.uniform(10, 90, keys.size), 2)})
    policy = msgspec.structs.replace(POLICIES[profile], unsafe_handling=Suppress())
    w = World(remembers=True).add("t", frame, policy, {"id": "identifier", "k": "quasi", "x": measure(0, 100)}, "id")
    question = T.group_by("k").agg(x.mean(), n=pl.len()).plan
    first, *later = (w.ask(question).table for _ in range(3))
    assert first is not None
    for table in later:
        assert table is not None
        assert sorted(map(str, table.rows())) == sorted(map(str, first.rows()))


@pytest.mark.parametrize("profile", POLICIES)
@pytest.mark.parametrize("action", [Review(), Reject(), Suppress()])
def test_a_denial_is_remembered(profile: str, action: Any) -> None:
    """Twenty of whom fewer than three say yes are not told; with one more who says yes they would be."""
    frame = FRAME.with_columns(
        yes=(polars.col("a") < 2) & (polars.col("g") == 0) | ((polars.col("g") == 1) & (polars.col("a") % 3 == 0))
    )
    policy = msgspec.structs.replace(POLICIES[profile], unsafe_handling=action)
    w = World(remembers=True).add("t", frame, policy, ROLES | {"yes": "sensitive"}, "id")
    yes = pl.col("yes").mean()
    twenty = (g == 0) & (a < 20)
    assert number(w, T.filter(twenty).select(yes)) is None
    for one in range(6):
        assert number(w, T.filter(twenty | ((g == 1) & (a == one))).select(yes)) is None
    # without the others before it, it is the answer that names the one
    alone = World(remembers=True).add("t", frame, policy, ROLES | {"yes": "sensitive"}, "id")
    assert number(alone, T.filter(twenty | ((g == 1) & (a == 0))).select(yes)) is not None


def test_a_threshold_that_another_version_gives_counts_again() -> None:
    """The words stay, and the number that stands in them is another one each time."""
    frame = FRAME.with_columns(one=polars.lit(1))

    def other(value: float, count: int) -> polars.DataFrame:
        return polars.DataFrame({"uid": np.arange(count), "v": value + np.arange(count) % 4 * 2.0 - 3})

    roles = ROLES | {"one": "quasi"}
    w = World(remembers=True).add("t", frame, POLICIES["default"], roles, "id")
    side = Q("u").select(v=pl.col("v").mean(), group=pl.len().cast(pl.Int64) // 40, k=pl.lit(1).cast(pl.Int32))
    joined = T.join(side, left_on="one", right_on="k")
    question = joined.filter((g == pl.col("group")) | ((g == 0) & (a == 0) & (x > pl.col("v")))).select(n=pl.len())
    low, high, asked = 0.0, 90_000.0, 0
    while asked < 20:
        middle, asked = (low + high) / 2, asked + 1
        w.add("u", other(middle, 200 + 40 * asked), POLICIES["default"], {"uid": "identifier", "v": "measure"}, "uid")
        w.facts["u"] = msgspec.structs.replace(w.facts["u"], version=asked)
        count = number(w, question)
        if count is None:
            break
        low, high = (middle, high) if count == 41 else (low, middle)
    assert 5 < asked < 12
    assert high - low > 100
