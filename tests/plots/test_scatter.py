"""plot.scatter: bubbles where rows are guarded, rows where they are not."""

from __future__ import annotations

import polars as pl
import pytest
from charts import good, told


def test_bubbles(frame):
    chart = frame("default").plot.scatter("Age", "Fare", bins=([0, 20, 40, 60, 80], [0, 20, 50, 100, 600]))
    assert chart.picture.kind == "bubbles"
    assert told(chart)[(20.0, 40.0), (0.0, 20.0)] > 100
    assert None in told(chart).values(), "cells of few people are hatched"
    good(chart)


def test_hue(frame):
    good(frame("default").plot.scatter("Age", "SibSp", hue="Sex", width=20))


def test_hexagons_are_for_the_owner_and_rectangles_are_drawn(frame):
    """A hexagon follows from both columns together: docs/plots.md says so, and what to draw instead."""
    x, y = pl.col("Age"), pl.col("SibSp")
    row = (y / 2).floor()
    hexagons = frame("default").group_by(((x + row % 2 * 10) / 20).floor().alias("h"), row.alias("r")).agg(pl.len())
    assert hexagons.verdict.outcome == "review"
    chart = frame("default").plot.hist("Age", "SibSp", width=(20, 2))
    assert chart.picture.kind == "heat"
    good(chart)


@pytest.mark.parametrize("policy", ["log", "open"])
def test_rows(frame, policy):
    chart = frame(policy).plot.scatter("Age", "Fare", hue="Sex")
    assert chart.picture.kind == "points"
    assert len(chart.picture.cells) == 714
    spec = good(chart)
    assert {"xm", "ym", "h"} <= set(spec["data"]["values"][0])


def test_strict_never_draws_the_one_row_of_a_safe_part(frame):
    chart = frame("strict").plot.scatter("Age", "SibSp", width=20)
    assert chart.picture.kind == "bubbles"
    good(chart)
