"""Tied values, histograms, windows and pivots through a real server, under the default profile."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

QUERIES = {
    "value_counts": lambda f: f.select(pl.col("Pclass").value_counts(sort=True)),
    "shares": lambda f: f.select(pl.col("Sex").value_counts(normalize=True)).unnest("Sex").sort("Sex"),
    "mode": lambda f: f.select(pl.col("Embarked").mode()),
    "unique": lambda f: f.select("Sex").unique().sort("Sex"),
    "hist": lambda f: f.select(
        pl.col("Age").hist([0, 20, 30, 40, 80], include_category=True, include_breakpoint=True).alias("h")
    ),
    "windows": lambda f: f.sort("Pclass").group_by_dynamic("Pclass", every="2i").agg(pl.col("Survived").mean()),
    "pivot": lambda f: f.pivot(
        "Sex", on_columns=["female", "male"], index="Pclass", values="Survived", aggregate_function="mean"
    ).sort("Pclass"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_the_answer_equals_polars(world, titanic, name):
    query = QUERIES[name]
    asked = query(world.user.client.polars.get_df("titanic"))
    assert asked.verdict.outcome == "release"
    found = asked.fetch()
    assert_frame_equal(found, query(titanic.lazy()).collect())
