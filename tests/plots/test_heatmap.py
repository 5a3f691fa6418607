"""plot.heatmap and plot.corr."""

from __future__ import annotations

import pytest
from bastion_plan.errors import InputError
from charts import good, told


def test_the_safe_part_is_drawn_and_the_rest_marked(frame):
    chart = frame("default").plot.heatmap("Pclass", "SibSp", "Survived")
    assert chart.denied is not None
    assert chart.denied.outcome == "review", "the whole may be asked for"
    assert "8 of 10 numbers drawn" in chart.notes[0]
    assert told(chart)["1", "0"] == pytest.approx(0.562, abs=1e-3)
    rows = {(r["x"], r["y"]): r for r in good(chart)["data"]["values"]}
    assert rows["3", "2"]["vt"] == "taken out by the guard"
    assert rows["1", "3"]["vt"].startswith("fewer than 10")


def test_counts_and_scale(frame):
    chart = frame("strict").plot.heatmap("Pclass", "Sex", cmap="Greens")
    assert good(chart)["layer"][0]["encoding"]["color"]["scale"]["range"][-1] == "#0d5a2d"


def test_corr(frame):
    chart = frame("default").plot.corr("Survived", "Pclass", "SibSp")
    found = told(chart)
    assert found["Survived", "Pclass"] == found["Pclass", "Survived"] == pytest.approx(-0.34, abs=0.01)
    assert found["SibSp", "SibSp"] == 1
    good(chart)


def test_corr_of_all_columns_leaves_out_what_may_not_be_used(frame):
    chart = frame("default").plot.corr()
    assert "PassengerId" not in chart.picture.x.places
    assert None in told(chart).values(), "Age and Fare: a single person decides much"
    good(chart)


def test_corr_of_one_column(frame):
    with pytest.raises(InputError, match="two or more"):
        frame("default").plot.corr("Age")
