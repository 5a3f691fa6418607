"""plot.box: quartiles and safe whiskers."""

from __future__ import annotations

import polars as pl
import pytest
from bastion_plan.errors import InputError
from charts import good


def test_by_group(frame, passengers):
    chart = frame("default").plot.box("Pclass", "Age")
    boxes = {c.x: c.five for c in chart.picture.cells}
    assert set(boxes) == {"1", "2", "3"}
    for five in boxes.values():
        assert list(five) == sorted(five)
    truth = passengers.filter(pl.col("Pclass") == 1)["Age"]
    assert boxes["1"][2] == pytest.approx(truth.median(), abs=5)
    assert boxes["1"][4] < truth.max(), "no whisker ends at one person's age"
    assert any("5% and 95%" in note for note in chart.notes)
    good(chart)


def test_sideways_with_hue(frame):
    chart = frame("default").plot.box("Pclass", "Age", hue="Sex", vertical=False, median_color="crimson")
    spec = good(chart)
    assert len(chart.picture.cells) == 6
    assert spec["layer"][-1]["mark"].get("color") == "crimson"
    # a category has 44 pixels: its boxes leave a gap to the next one
    assert 2 * spec["layer"][-1]["mark"]["size"] < 40


def test_of_the_whole_table(frame):
    chart = frame("strict").plot.box(y="Age")
    assert len(chart.picture.cells) == 1
    good(chart)


def test_of_texts(frame):
    with pytest.raises(InputError, match="not a column of numbers"):
        frame("default").plot.box("Pclass", "Sex")
