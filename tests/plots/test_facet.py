"""plot.facet: panels of one query."""

from __future__ import annotations

import pytest
from bastion_plan.errors import BindError, InputError
from charts import good, told


@pytest.mark.parametrize("policy", ["default", "strict"])
def test_rows_and_columns(frame, policy):
    chart = frame(policy).plot.facet(row="Sex", col="Pclass").hist("Age", width=20)
    assert chart.picture.rows == ("female", "male") or chart.picture.rows == ("male", "female")
    assert chart.picture.cols == ("1", "2", "3")
    spec = good(chart)
    assert spec["facet"]["row"]["title"] == "Sex"
    assert spec["facet"]["column"]["title"] == "Pclass"
    assert "layer" in spec["spec"]
    assert None in told(chart).values()


@pytest.mark.parametrize(
    "draw",
    [
        lambda p: p.bar("Pclass", "Survived"),
        lambda p: p.line("Age", "Survived", width=20),
        lambda p: p.scatter("Age", "SibSp", width=20),
        lambda p: p.box("Pclass", "Age"),
        lambda p: p.pie("Pclass"),
        lambda p: p.heatmap("Pclass", "Survived"),
    ],
    ids=["bar", "line", "scatter", "box", "pie", "heatmap"],
)
def test_every_verb_has_panels(frame, draw):
    chart = draw(frame("default").plot.facet(col="Sex"))
    assert set(chart.picture.cols) == {"female", "male"}
    good(chart)


def test_rows_in_panels(frame):
    chart = frame("open").plot.facet(col="Sex").scatter("Age", "Fare")
    assert chart.picture.kind == "points"
    good(chart)


def test_a_facet_needs_a_column(frame):
    with pytest.raises(InputError, match="needs a column"):
        frame("default").plot.facet()
    with pytest.raises(BindError):
        frame("default").plot.facet(col="Sexx")


def test_it_is_not_drawn_into_one_pair_of_axes(frame):
    figure = pytest.importorskip("matplotlib.figure")
    ax = figure.Figure().subplots()
    with pytest.raises(InputError, match="several panels"):
        frame("default").plot.facet(col="Sex").hist("Pclass", ax=ax)
