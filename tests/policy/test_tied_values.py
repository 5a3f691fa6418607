"""Distinct values, counts by value, modes and histograms of private rows: a group_by by another name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.expressions import Column
from bastion_policy.model import Policy, Role, RoleKind
from bastion_policy.verdict import Outcome
from drive import World
from polars.testing import assert_frame_equal
from query import Q

import bastion.expressions as pl

N, K = 900, 10
MEASURE = Role(RoleKind.MEASURE)
ROLES: dict[str, Role | str] = {
    "id": "identifier", "name": "hidden", "town": "quasi", "age": "quasi", "pay": MEASURE, "hiv": "sensitive",
    "rare": "quasi", "unsure": "quasi", "sure": "quasi",
}  # fmt: skip


def people() -> polars.DataFrame:
    rng = np.random.default_rng(5)
    towns = rng.choice(["a", "b", "c", None], N, p=[0.4, 0.2, 0.2, 0.2]).tolist()
    rare = [f"r{i % 3}" for i in range(N)]
    rare[7], rare[90], rare[91] = "only one", "two", "two"
    unsure = [float(v) if i % 7 else None for i, v in enumerate(rng.integers(0, 10, N) * 10.0)]
    return polars.DataFrame(
        {
            "id": np.arange(N), "name": [f"p{i}" for i in range(N)], "town": towns, "age": rng.integers(0, 10, N) * 10,
            "pay": rng.uniform(0, 100, N), "hiv": rng.random(N) < 0.4, "rare": rare, "unsure": unsure,
            "sure": ["x", "y"] * (N // 2),
        },
        schema_overrides={"town": polars.String},
    )  # fmt: skip


PEOPLE = people()
W = World().add("t", PEOPLE, Policy.default(), ROLES, unit="id")
T = Q("t")
Query = Callable[[Any, Any], Any]
EDGES = [0, 10, 25, 50, 90]

SAME: dict[str, Query] = {
    "unique": lambda f, p: f.select(p.col("town").unique()),
    "unique of bins": lambda f, p: f.select(p.col("pay").floordiv(20).unique()),
    "unique known": lambda f, p: f.select(p.col("town").drop_nulls().unique().sort()),
    "how many are shown": lambda f, p: f.select(p.col("town").unique().len()),
    "value_counts": lambda f, p: f.select(p.col("town").value_counts()),
    "value_counts, named": lambda f, p: f.select(p.col("town").value_counts(name="n").alias("v")),
    "shares": lambda f, p: f.select(p.col("town").value_counts(normalize=True)),
    "shares, named": lambda f, p: f.select(p.col("age").value_counts(normalize=True, name="s")),
    "value_counts of the known": lambda f, p: f.select(p.col("town").drop_nulls().value_counts()),
    "value_counts of some": lambda f, p: f.select(p.col("town").filter(p.col("pay") > 30).value_counts()),
    "value_counts of a condition": lambda f, p: f.select((p.col("age") > 30).value_counts()),
    "value_counts of text": lambda f, p: f.select(p.col("town").str.to_uppercase().value_counts()),
    "field of value_counts": lambda f, p: f.select(p.col("town").value_counts().struct.field("count").max()),
    "mode": lambda f, p: f.select(p.col("town").mode()),
    "mode of ties": lambda f, p: f.select(p.col("sure").mode()),
    "the mode": lambda f, p: f.select(p.col("town").mode().first()),
    "mode of the known": lambda f, p: f.select(p.col("unsure").drop_nulls().mode()),
    "mode of some": lambda f, p: f.filter(p.col("town") == "b").select(p.col("age").mode()),
    "hist": lambda f, p: f.select(p.col("pay").hist(EDGES)),
    "hist with edges": lambda f, p: f.select(p.col("pay").hist(EDGES, include_breakpoint=True)),
    "hist with all": lambda f, p: f.select(
        p.col("pay").hist(EDGES, include_category=True, include_breakpoint=True).alias("h")
    ),
    "hist of whole numbers": lambda f, p: f.select(p.col("age").hist([0, 10, 20, 30], include_category=True)),
    "hist with gaps": lambda f, p: f.select(p.col("unsure").hist([0.0, 0.5, 10.0, 35.5, 45.0, 200.0])),
    "hist of some": lambda f, p: f.filter(p.col("town") == "a").select(p.col("pay").hist([0, 50, 100])),
    "hist beyond": lambda f, p: f.select(p.col("pay").hist([-50, -10, 50, 120, 200], include_breakpoint=True)),
}
SAME |= {
    "distinct rows": lambda f, p: f.select("town", "sure").unique(),
    "distinct keys": lambda f, p: unique(f, ["town", "sure"]).select("sure", p.col("town")),
    "distinct keys, computed with": lambda f, p: unique(f, ["town"]).select(p.col("town").str.len_chars().sum()),
}
ORDERED = {n for n in SAME if n.startswith("hist")}


def unique(frame: Any, subset: list[str]) -> Any:
    return frame.unique(*subset) if isinstance(frame, Q) else frame.unique(subset)


@pytest.mark.parametrize("name", SAME)
def test_the_answer_is_that_of_polars_where_nothing_is_put_together(name: str) -> None:
    plan = SAME[name](T, pl)
    assert W.static(plan.plan).outcome is Outcome.RELEASE, W.static(plan.plan).findings
    answer = W.ask(plan.plan)
    expected = SAME[name](PEOPLE.lazy(), polars).collect()
    found = answer.released
    assert found.schema == expected.schema
    assert list(bind(plan.plan, W.facts).schema) == found.columns
    if name == "how many are shown":
        assert found.item() == 4
    assert_frame_equal(found, expected, check_row_order=name in ORDERED)
    assert answer.verdict.note.merged == 0


def ask(plan: Q, world: World = W) -> polars.DataFrame:
    assert world.static(plan.plan).outcome is Outcome.RELEASE
    return world.ask(plan.plan).released


def test_values_of_few_people_are_no_values() -> None:
    shown = W.ask(T.select(pl.col("rare").unique()).plan)
    values = set(shown.released["rare"].to_list())
    grouped = ask(T.group_by("rare").agg(pl.len()))
    assert values == set(grouped["rare"].to_list()) - {"(other)"}
    assert len(values) == 2  # one of the large ones is put together with the two small ones
    assert shown.verdict.note.merged == 1
    assert any("left out" in note for note in shown.verdict.note.notes)
    frame = ask(T.select("rare").unique())
    assert set(frame["rare"].to_list()) == values
    assert set(ask(unique(T, ["rare"]).select("rare"))["rare"].to_list()) == values


def test_no_missing_value_is_made_up() -> None:
    """The remainder row has a null key where keys are numbers: it is not the value null."""
    frame = PEOPLE.with_columns(age=polars.when(polars.col("id") == 3).then(77).otherwise(polars.col("age")))
    world = World().add("t", frame, Policy.default(), ROLES, unit="id")
    assert None not in ask(T.select("age").unique(), world)["age"].to_list()
    assert None in ask(T.group_by("age").agg(pl.len()), world)["age"].to_list()


def test_value_counts_shows_what_the_group_by_shows() -> None:
    counted = ask(T.select(pl.col("rare").value_counts(sort=True)).of(n.Unnest, (Column("rare"),)))
    grouped = ask(T.group_by("rare").agg(pl.len())).rename({"len": "count"})
    assert_frame_equal(counted, grouped, check_row_order=False)
    assert counted["count"].to_list() == sorted(grouped["count"], reverse=True)
    assert counted["count"].sum() == N


def test_the_mode_is_not_the_remainder() -> None:
    """Together the small cells are the largest; each of them is nobody's value."""
    values = ["big"] * 30 + [f"v{i}" for i in range(70)]
    world = World().add("t", polars.DataFrame({"x": values}), Policy.default(), {"x": "quasi"})
    assert ask(T.select(pl.col("x").mode()), world)["x"].to_list() == ["big"]
    few = polars.DataFrame({"x": [f"v{i}" for i in range(100)]})
    alone = World().add("t", few, Policy.default(), {"x": "quasi"})
    assert ask(T.select(pl.col("x").mode()), alone).height == 0


@pytest.mark.parametrize("people_in_the_bin", [0, 1, K - 1])
def test_bins_of_nobody_and_of_a_few_look_the_same(people_in_the_bin: int) -> None:
    x = np.concatenate([np.full(people_in_the_bin, 55.0), np.full(200 - people_in_the_bin, 15.0), np.full(100, 25.0)])
    others = np.full(K + 20, 85.0)
    few = np.concatenate([np.full(4, 95.0), np.full(8, 5.0)])  # so that there is a remainder row in any case
    world = World().add("t", polars.DataFrame({"x": np.concatenate([x, others, few])}), None, {"x": MEASURE})
    counts = ask(T.select(pl.col("x").hist([10, 20, 30, 50, 60, 80, 90])), world)["x"].to_list()
    assert counts == [200 - people_in_the_bin, 100, None, None, None, 30]


def test_a_few_people_are_nobody_where_there_is_nothing_else() -> None:
    world = World().add("t", polars.DataFrame({"x": [1.0, 2.0, 3.0]}), None, {"x": MEASURE})
    assert ask(T.select(pl.col("x").hist([0, 2, 4])), world)["x"].to_list() == [0, 0]
    assert ask(T.select(pl.col("x").value_counts()), World().add("t", polars.DataFrame({"x": [1]}), None)).height == 0


REVIEWED = {
    "measure": (T.select(pl.col("pay").unique()), "measure-key"),
    "mode of a measure": (T.select(pl.col("pay").mode()), "measure-key"),
    "values of a measure": (T.select(pl.col("pay").value_counts()), "measure-key"),
    "identifier": (T.select(pl.col("id").value_counts()), "identifier"),
    "hashed identifier": (T.select((pl.col("id") % 7).unique()), "identifier"),
    "sensitive": (T.select(pl.col("hiv").value_counts()), "sensitive"),
    "hidden": (T.select(pl.col("name").mode()), "hidden-column"),
    "hist of an identifier": (T.select(pl.col("id").hist([0, 10, 20])), "identifier"),
    "hist of a secret": (T.select(pl.col("hiv").cast(pl.Int8).hist([0, 1])), "sensitive"),
    "counts named like values": (T.select(pl.col("town").value_counts(name="town")), "row-level"),
    "edges of the data": (T.select(pl.col("pay").hist(bin_count=10)), "row-level"),
    "edges of the data by default": (T.select(pl.col("pay").hist()), "row-level"),
    "falling edges": (T.select(pl.col("pay").hist([10, 0])), "row-level"),
    "two columns": (T.select((pl.col("age") + pl.col("pay")).value_counts()), "key"),
    "weights": (T.select((pl.col("age") * pl.col("pay")).mode()), "key"),
    "other rows": (T.select(pl.col("age").shift(1).value_counts()), "order-dependent"),
    "an aggregate's values": (T.select(pl.col("age").max().unique()), "row-level"),
    "beside another": (T.select(a=pl.col("town").mode().first(), b=pl.col("pay").mean()), "row-level"),
    "outer reads rows": (T.select(pl.col("town").unique() == pl.col("rare")), "row-level"),
    "within groups": (T.group_by("sure").agg(pl.col("town").mode()), "row-level"),
    "on rows": (T.with_columns(m=pl.col("town").mode().first()), "row-level"),
    "a row of each": (unique(T, ["town"]), "row-level"),
    "another column of each": (unique(T, ["town"]).select("pay"), "row-level"),
    "filter on an identifier": (T.select(pl.col("town").filter(pl.col("id") == 3).unique()), "identifier"),
    "filter on a secret": (T.select(pl.col("town").filter(pl.col("hiv")).mode()), "sensitive"),
}


@pytest.mark.parametrize("name", REVIEWED)
def test_what_is_not_released_says_why(name: str) -> None:
    plan, rule = REVIEWED[name]
    verdict = W.static(plan.plan)
    assert verdict.outcome is not Outcome.RELEASE
    assert rule in {f.rule for f in verdict.findings}, verdict.findings
    answer = W.ask(plan.plan)
    assert answer.verdict.outcome is verdict.outcome
    assert answer.table is None
