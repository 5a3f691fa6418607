"""Answers lie within the stated error bars as often as stated, and clamps do what they say."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from bastion_policy.model import Policy
from bastion_policy.roles import measure, quasi
from noisy import Desk, draws
from query import Q

from bastion import pl as b

COUNT = 3_000
TIMES = 400
#: that 400 draws of which 95 % lie inside show fewer than 90 % happens once in 100,000 runs
LEAST = 0.90


def desk(**changes: object) -> Desk:
    rng = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "g": rng.choice(["a", "b"], COUNT, p=[0.7, 0.3]),
            "x": rng.gamma(4.0, 10.0, COUNT),
            "i": rng.integers(0, 50, COUNT),
            "yes": rng.random(COUNT) < 0.25,
        }
    )
    roles = {"g": quasi("a", "b"), "x": measure(0, 200), "i": measure(0, 49), "yes": "sensitive"}
    return Desk.of(frame, Policy.private(epsilon=2.0, unit="row", roles=roles))


STATISTICS = {
    "len": (b.len(), lambda f: f.height),
    "sum": (b.col("x").sum(), lambda f: f["x"].sum()),
    "whole sum": (b.col("i").sum(), lambda f: f["i"].sum()),
    "rate": (b.col("yes").mean(), lambda f: f["yes"].mean()),
    "mean": (b.col("x").mean(), lambda f: f["x"].mean()),
    "var": (b.col("x").var(), lambda f: f["x"].var()),
    "affine": ((b.col("x") * 2 + 5).mean(), lambda f: (f["x"] * 2 + 5).mean()),
    "ratio": (b.col("x").sum() / b.len(), lambda f: f["x"].sum() / f.height),
}


@pytest.mark.parametrize("name", [n for n in STATISTICS if n != "ratio"])
def test_the_noise_keeps_to_the_bars(name):
    expr, exact = STATISTICS[name]
    world = desk()
    query = Q("t").select(expr.alias("n"))
    (bar,) = world.priced(query).bars
    half = bar.error * (bar.people / COUNT if bar.people else 1)
    found = np.array([a.item() for a in world.answers(query, TIMES)], dtype=float)
    wanted = float(exact(world.tables["t"].frame))
    inside = np.mean(np.abs(found - wanted) <= half)
    assert inside >= LEAST
    assert np.std(found) > 0.2 * half, "a bar that is much too wide tells nothing"
    assert abs(np.mean(found) - wanted) < half / 3, "the noise does not pull to one side"


def test_arithmetic_over_statistics_is_free():
    world = desk()
    query = Q("t").select((b.col("x").sum() / b.len()).alias("n"))
    priced = world.priced(query)
    assert priced.cost == world.priced(Q("t").select(b.len())).cost
    assert [bar.statistic for bar in priced.bars] == ["sum(x)", "len()"]
    exact = world.tables["t"].frame["x"].mean()
    assert abs(np.median([a.item() for a in world.answers(query, 50)]) - exact) < exact


@pytest.mark.parametrize(("share", "column"), [(0.5, "x"), (0.1, "x"), (0.9, "i"), (0.25, "i")])
def test_quantiles_are_right_within_the_ranks_stated(share, column):
    world = desk()
    query = Q("t").select(b.col(column).quantile(share).alias("n"))
    priced = world.priced(query)
    (bar,), (cells,), (noise,) = priced.bars, priced.draft.cells, priced.noise
    (exact,) = world.measured(priced)
    values = np.sort(world.tables["t"].frame[column].to_numpy().astype(float))
    grid = cells.quantiles[0][0].grid
    width = grid[1] - grid[0]
    off = []
    for found in draws(cells, noise, exact, "#~q0", TIMES):
        low, high = np.searchsorted(values, found - width, "left"), np.searchsorted(values, found + width, "right")
        off.append(max(0.0, low - share * COUNT, share * COUNT - high))
    assert np.mean(np.array(off) <= bar.error) >= LEAST


def test_groups_that_are_declared_are_all_there_and_in_order():
    world = desk()
    for found in world.answers(Q("t").group_by("g").agg(b.len(), b.col("x").mean()), 5):
        assert found["g"].to_list() == ["a", "b"]
        assert found.schema == {"g": pl.String, "len": pl.UInt32, "x": pl.Float64}
    empty = desk()
    empty.tables["t"].frame = empty.tables["t"].frame.clear()
    found = empty.answer(Q("t").group_by("g").agg(b.len(), b.col("x").mean(), b.col("i").median()))
    assert found["g"].to_list() == ["a", "b"]
    assert sum(found.null_count().row(0)) == 0


def test_a_histogram_has_the_bins_of_polars():
    world = desk()
    edges = [0.0, 10.0, 25.0, 40.0, 200.0]
    query = Q("t").select(b.col("x").hist(edges))
    priced = world.priced(query, 2.0)
    half = priced.bars[0].error
    exact = world.tables["t"].frame.select(pl.col("x").hist(edges))["x"]
    found = world.answer(query, 2.0)["x"]
    assert found.len() == exact.len()
    assert (found.cast(pl.Float64) - exact.cast(pl.Float64)).abs().max() < 4 * half
    (measured,) = world.measured(priced)
    by_bin = dict(measured.sums.rows())
    assert [by_bin.get(i, 0) for i in range(4)] == exact.to_list(), "bin by bin, edges included"


def test_values_outside_the_bounds_are_clipped_to_them():
    frame = pl.DataFrame({"x": [-1e9, 5.0, 1e9, math.inf, -math.inf]})
    world = Desk.of(frame, Policy.private(1.0, unit="row", roles={"x": measure(0, 10)}))
    priced = world.priced(Q("t").select(b.col("x").sum(), b.col("x").count().alias("n")))
    (exact,) = world.measured(priced)
    total, count = exact.sums.row(0)
    assert total * priced.draft.cells[0].parts[0].step == pytest.approx(0 + 5 + 10 + 10 + 0, abs=1e-6)
    assert count == 5


def test_missing_values_add_nothing_and_are_not_counted():
    frame = pl.DataFrame({"x": [None, math.nan, 4.0, None], "i": [1, None, 2, 3]})
    world = Desk.of(frame, Policy.private(1.0, unit="row", roles={"x": measure(1, 10), "i": measure(0, 5)}))
    query = Q("t").select(
        b.col("x").sum(), b.col("x").count().alias("n"), b.col("x").null_count().alias("missing"),
        b.col("i").mean(), b.len(),
    )  # fmt: skip
    priced = world.priced(query)
    (exact,) = world.measured(priced)
    parts = priced.draft.cells[0].parts
    row = exact.sums.row(0)
    assert row[0] * parts[0].step == pytest.approx(4.0, abs=1e-6)
    assert row[1] == 1, "NaN is no value, unlike Polars' count"
    assert row[2] == 3
    assert row[-1] == 4


def test_a_mean_never_leaves_the_bounds_even_of_nobody():
    frame = pl.DataFrame({"x": pl.Series([], dtype=pl.Float64)})
    world = Desk.of(frame, Policy.private(1.0, unit="row", roles={"x": measure(20, 30)}))
    found = world.answers(Q("t").select(b.col("x").mean().alias("m"), b.col("x").std().alias("s")), 60)
    assert all(20 <= a["m"].item() <= 30 for a in found)
    assert all(0 <= a["s"].item() <= 100 for a in found)
