"""plot.bar: one number per group."""

from __future__ import annotations

import polars as pl
import pytest
from bastion_plan.errors import BindError, InputError
from charts import good, told


def test_mean_with_hue(frame):
    chart = frame("default").plot.bar(
        "Pclass", "Survived", hue="Sex", title="Who survived?", ylabel="share", palette="set2"
    )
    found = told(chart)
    assert found["1", "female"] == pytest.approx(0.968085, abs=1e-6)
    assert found["3", "male"] == pytest.approx(0.135447, abs=1e-6)
    spec = good(chart)
    assert spec["title"]["text"] == "Who survived?"
    assert spec["layer"][0]["encoding"]["y"]["title"] == "share"
    assert spec["layer"][0]["encoding"]["color"]["scale"]["range"] == ["#66c2a5", "#fc8d62"]
    assert spec["layer"][0]["encoding"]["xOffset"]["field"] == "h"


@pytest.mark.parametrize("estimator", ["mean", "median", "count", "min", "max", "std", "var", "sum"])
def test_estimators(frame, estimator):
    chart = frame("default").plot.bar("Pclass", "Age", estimator=estimator)
    assert list(told(chart)) == ["1", "2", "3"] or set(told(chart)) == {"1", "2", "3"}
    assert chart.picture.value == f"{estimator} of Age"
    assert all(v is not None for v in told(chart).values()) or chart.picture.has_missing
    good(chart)


def test_an_estimator_that_is_none(frame):
    with pytest.raises(InputError, match="no such estimator"):
        frame("default").plot.bar("Pclass", "Age", estimator="mode")


def test_counts(frame):
    chart = frame("default").plot.bar("Embarked", vertical=False)
    assert told(chart) == {"S": 644, "C": 168, "(other)": 79}
    assert good(chart)["layer"][0]["encoding"]["y"]["field"] == "x"


def test_groups_too_small_are_hatched(frame):
    chart = frame("default").plot.bar("Pclass", "Survived", hue="SibSp")
    spec = good(chart)
    assert None in told(chart).values()
    assert any("gradient" in str(layer["mark"].get("color", "")) for layer in spec["layer"])


def test_frames_of_groups_are_drawn_as_they_are(frame):
    table = frame("default").group_by("Pclass", "Sex").agg(pl.col("Fare").mean().alias("fare"))
    chart = table.plot.bar("Pclass", "fare", hue="Sex")
    assert told(chart)["1", "female"] == pytest.approx(106.1258, abs=1e-3)
    good(chart)


def test_strict(frame):
    chart = frame("strict").plot.bar("Pclass", "Fare", hue="Sex")
    assert len(told(chart)) == 6
    good(chart)


def test_an_unknown_column(frame):
    with pytest.raises(BindError, match="no column"):
        frame("default").plot.bar("Pclas", "Survived")
