"""The cheap bounds never clear what an exact count would not, on random worlds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.judge_intervals import Histogram, Pieces
from bastion_policy.judge_rules import Rules
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind, Suppress
from bastion_policy.verdict import Outcome
from drive import World
from hypothesis import given
from hypothesis import strategies as st
from query import Q, concat

import bastion.expressions as pl

K = 3
POLICY = Policy(safe_zone=Aggregation(K), unsafe_handling=Suppress())
ROLES = {"u": "identifier", "g": "quasi", "h": "quasi", "x": Role(RoleKind.MEASURE, 0, 100)}


@st.composite
def worlds(draw: Any) -> tuple[polars.DataFrame, str | None]:
    rows = draw(st.integers(0, 60))
    units = draw(st.integers(1, 20))
    pick = st.integers(0, units - 1)
    frame = polars.DataFrame(
        {
            "u": draw(st.lists(pick, min_size=rows, max_size=rows)),
            "g": draw(st.lists(st.sampled_from("abcd"), min_size=rows, max_size=rows)),
            "h": draw(st.lists(st.integers(0, 9), min_size=rows, max_size=rows)),
            "x": draw(st.lists(st.sampled_from([0.0, 1.0, 2.5, 40.0, 99.0, None]), min_size=rows, max_size=rows)),
        },
        schema={"u": polars.Int64, "g": polars.String, "h": polars.Int64, "x": polars.Float64},
    )
    return frame, draw(st.sampled_from([None, "u"]))


def with_units(frame: polars.DataFrame, unit: str | None) -> polars.DataFrame:
    return frame.with_columns(unit=polars.col("u")) if unit else frame.with_row_index("unit")


@given(worlds(), st.integers(0, 9))
def test_every_cell_that_stands_for_itself_is_of_k_units(world: Any, low: int) -> None:
    frame, unit = world
    w = World().add("t", frame, POLICY, ROLES, unit)
    plan = Q("t").filter(pl.col("h") >= low).group_by("g").agg(n=pl.len(), s=pl.col("x").sum())
    table = w.ask(plan.plan).released
    people = with_units(frame, unit)
    kept = people.filter(polars.col("h") >= low)
    everybody = people["unit"].n_unique()
    for key, count, total in table.rows():
        cell = kept.filter(polars.col("g") == key) if key != "(other)" else kept
        assert cell["unit"].n_unique() >= K
        if count is None:
            continue
        # the answer is about the cell, or about everybody
        whole = count == frame.height
        assert whole or key == "(other)" or count == cell.height
        if not whole and key != "(other)":
            # at least K units have a row outside
            rows = cell.group_by("unit").len("inside")
            outside = people.group_by("unit").len("all").join(rows, on="unit", how="left")
            complete = outside.filter(polars.col("all") == polars.col("inside")).height
            assert everybody - complete >= K
            if total is not None:
                assert abs(total - (cell["x"].sum() or 0.0)) < 1e-6
    hidden = kept.filter(~polars.col("g").is_in(table["g"].to_list()))
    if "(other)" in table["g"].to_list():
        assert hidden["unit"].n_unique() >= K


@given(worlds())
def test_sums_that_are_shown_are_not_dominated(world: Any) -> None:
    frame, unit = world
    w = World().add("t", frame, POLICY, ROLES, unit)
    table = w.ask(Q("t").group_by("g").agg(s=pl.col("x").sum()).plan).released
    people = with_units(frame, unit)
    for key, total in table.rows():
        cell = people.filter(polars.col("g") == key)
        if total is None or key == "(other)" or cell.height == 0 or abs((cell["x"].sum() or 0) - total) > 1e-6:
            continue
        parts = sorted(cell.group_by("unit").agg(polars.col("x").sum())["x"].to_list(), reverse=True)
        top = parts[0]
        assert sum(parts) == 0 or sum(parts) - sum(parts[:2]) >= 0.10 * top - 1e-9
        assert sum(parts) == 0 or sum(parts[:2]) <= 0.9 * sum(parts) + 1e-9


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=40), st.floats(0.5, 100))
def test_bounds_prove_dominance_only_where_it_holds(units: list[list[float]], width: float) -> None:
    """`units`: contributions of each unit's rows as a share of the width of the bounds."""
    most = max(map(len, units))
    totals = sorted((sum(rows) * width for rows in units), reverse=True)
    total, one = sum(totals), totals[0]
    two = totals[1] if len(totals) > 1 else 0.0
    rules: Any = SimpleNamespace(effective=SimpleNamespace(p=0.1, shares=((2, 0.9),)))
    if Rules._proven(rules, np.array([total]), width, most)[0]:
        assert total - one - two >= 0.1 * one - 1e-9
        assert one + two <= 0.9 * total + 1e-9


def test_bounds_prove_nothing_without_a_bound_on_rows_or_of_what_is_not_finite() -> None:
    def proven(most: int | None, total: float, width: float) -> bool:
        rules: Any = SimpleNamespace(effective=SimpleNamespace(p=0.1, shares=((2, 0.9),)))
        return bool(Rules._proven(rules, np.array([total]), width, most)[0])

    assert proven(1, 1000.0, 1.0)
    assert not proven(None, 1000.0, 1.0)
    assert not proven(1, float("nan"), 1.0)
    assert not proven(1, float("inf"), 1.0)
    assert not proven(1, 1000.0, float("inf"))
    assert not proven(1, -1.0, 0.0)


MANY, OPENED = 200, 5_000
LISTS = polars.DataFrame(
    {
        "u": np.arange(MANY), "n": np.arange(MANY), "h": np.arange(MANY) % 2,
        "x": np.full(MANY, 50.0), "y": np.full(MANY, 50.0),
        "tags": [[9] * OPENED if i == 7 else [1, 2] for i in range(MANY)],
    }
)  # fmt: skip
FEW = Q("t").filter(pl.col("n").is_between(6, 7))
REPEATED = {
    "explode": FEW.explode("tags"),
    "explode, then filter": Q("t").explode("tags").filter(pl.col("tags") == 9),
    "unpivot": FEW.unpivot(["x", "y"], ["h"]),
    "a union": concat(FEW, FEW),
}


def of_one_row_each() -> World:
    """Each is one row, so that rows are people until something repeats them."""
    roles = ROLES | {"n": "quasi", "y": ROLES["x"], "tags": "quasi"}
    return World().add("t", LISTS, POLICY, roles, "u")


@pytest.mark.parametrize("words", REPEATED)
def test_rows_that_were_repeated_prove_no_people(words: str) -> None:
    """One or two people are more than K rows each time."""
    assert of_one_row_each().ask(REPEATED[words].select(n=pl.len()).plan).released.height == 0
    assert of_one_row_each().ask(Q("t").select(n=pl.len()).plan).released.height == 1


def test_rows_that_were_repeated_prove_nobody_small() -> None:
    """Nobody's row is more than the bound, and one person's 5,000 rows are nearly all of the sum."""
    opened, s = Q("t").explode("tags"), pl.col("x").sum()
    assert of_one_row_each().ask(opened.select(s=s).plan).released["s"].to_list() in ([], [None])
    others = opened.filter(~pl.col("n").is_between(5, 9))
    assert of_one_row_each().ask(others.select(s=s).plan).released["s"].to_list() == [50.0 * 2 * (MANY - 5)]


def bins(values: np.ndarray) -> Histogram:  # type: ignore[type-arg]
    """One cell; two significant digits, as the plan computes them."""
    size = np.abs(values)
    exponent = np.where(size > 0, np.floor(np.log10(np.where(size > 0, size, 1))) - 1, 0).astype(np.int64)
    digits = np.where(size > 0, np.floor(size / 10.0**exponent + 1e-9), 0).astype(np.int64)
    sign = np.where(values < 0, -1, 1)
    keys, counts = np.unique(np.stack([sign, exponent, digits]), axis=1, return_counts=True)
    rows = counts.astype(float)
    return Histogram(np.zeros(keys.shape[1], np.int64), keys[0], keys[1], keys[2], rows, rows, whole=False)


@given(
    st.lists(st.integers(-5000, 5000).map(lambda i: i / 10), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(1, 12),
)
def test_intervals_hold_k_values_near_the_order_statistic(values: list[float], share: float, k: int) -> None:
    array = np.array(values)
    low, high, known = Pieces(bins(array), k, 1).told(share, 1, k)
    assert known[0] == (array.size >= k)
    if not known[0]:
        return
    # [low, high) above zero, mirrored below
    left = array >= low[0] - 1e-9 if low[0] >= 0 else array > low[0]
    right = array < high[0] - 1e-9 if high[0] > 0 else array <= high[0]
    inside = left & right if low[0] < high[0] else array == 0
    assert inside.sum() >= k
    below, upto = (array < low[0] - 1e-9).sum(), (array <= high[0] + 1e-9).sum()
    # ranks are known to half of k, and what holds fewer than k reads like its neighbour
    assert below - 2.5 * k <= share * (array.size - 1) <= upto + 2.5 * k


@given(worlds())
def test_the_judge_never_says_more_of_few_than_of_nobody(world: Any) -> None:
    frame, unit = world
    w = World().add("t", frame, Policy(safe_zone=Aggregation(K), unsafe_handling=Review()), ROLES, unit)
    people = with_units(frame, unit)
    few = w.ask(Q("t").filter(pl.col("h") < 0).select(pl.len(), pl.col("x").sum()).plan)
    assert few.released.height == 0
    for edge in range(10):
        count = people.filter(polars.col("h") < edge)["unit"].n_unique()
        answer = w.ask(Q("t").filter(pl.col("h") < edge).select(n=pl.len()).plan)
        if count < K:
            assert answer.verdict.outcome is Outcome.RELEASE
            assert answer.released.height == 0
