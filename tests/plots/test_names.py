"""BastionLab's names of plots, with its options and those it handed on to seaborn and matplotlib."""

from __future__ import annotations

import importlib.util
import io
import sys

import polars as pl
import pytest
from bastion_plan.errors import BindError, InputError
from charts import good, told


def test_histplot_takes_a_width(frame):
    chart = frame("default").histplot("Age", "count", bins=10, color="lightblue")
    assert told(chart)[20.0, 30.0] == 220
    assert good(chart)["layer"][0]["encoding"]["color"]["value"] == "lightblue"


def test_histplot_sideways_and_of_two(frame):
    table = frame("default")
    assert table.histplot(y="Age", bins=20).picture.sideways
    both = table.histplot(x="Age", y="Pclass", bins=20)
    assert both.picture.kind == "heat"
    good(both)


@pytest.mark.parametrize("estimator", ["mean", "median", "count", "max", "min", "std", "sum"])
def test_barplot(frame, estimator):
    chart = frame("default").barplot(x="Pclass", y="Age", estimator=estimator, hue="Sex", palette="pastel")
    assert len(told(chart)) == 6
    good(chart)


def test_barplot_of_one_column(frame):
    chart = frame("default").barplot(x="Age", estimator="mean")
    assert list(told(chart).values()) == [pytest.approx(29.699, abs=1e-2)]


def test_boxplot(frame):
    chart = frame("default").boxplot(
        "Pclass", "Age", colors=["red", "blue"], vertical=False, widths=0.5, median_linestyle="-"
    )
    assert chart.picture.sideways
    good(chart)


def test_lineplot_and_scatterplot_of_rows(frame):
    table = frame("open")
    assert len(table.lineplot("Age", "Fare", hue="Sex").picture.hues) == 2
    chart = table.scatterplot("Age", "Fare", hue="Sex", style="Sex")
    assert len(chart.picture.cells) == 714
    good(chart)


def test_pieplot_of_a_frame_of_groups(frame):
    groups = frame("default").group_by("Pclass").agg(pl.len().alias("n")).sort("Pclass")
    chart = groups.pieplot("n", title="Classes", labels="Pclass", key_loc="center left", key_bbox=(1, 0, 0.5, 1))
    assert {c.hue: c.value for c in chart.picture.cells} == {"1": 216, "2": 184, "3": 491}
    named = groups.pieplot(parts="n", labels=["first", "second", "third"], pie_labels=False, key=False)
    assert {c.hue: c.value for c in named.picture.cells} == {"first": 216, "second": 184, "third": 491}
    good(named)
    with pytest.raises(BindError):
        groups.pieplot("nn")


def test_facet_has_columns_first(frame):
    chart = frame("default").facet(col="Sex", row="Pclass", figsize=(9, 6)).histplot("Age", bins=20)
    assert chart.picture.col == "Sex"
    assert chart.picture.row == "Pclass"
    good(chart)


def test_words_that_mean_nothing_are_said(frame):
    with pytest.warns(UserWarning, match="left out: dodge, errwidth"):
        frame("default").barplot("Pclass", "Survived", dodge=True, errwidth=2)


def test_it_draws_into_the_axes_it_is_given(frame):
    figure = pytest.importorskip("matplotlib.figure")
    ax = figure.Figure().subplots()
    assert frame("default").barplot("Pclass", "Survived", ax=ax, title="Rates") is ax
    assert len(ax.patches) == 3
    assert ax.get_title() == "Rates"
    assert ax.get_ylabel() == "mean of Survived"


def test_it_draws_into_pyplot_where_a_program_uses_it(frame, monkeypatch):
    pytest.importorskip("matplotlib")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    try:
        frame("default").histplot("Age", bins=20)
        assert pyplot.gca().patches
    finally:
        pyplot.close("all")
        for name in [m for m in sys.modules if m == "matplotlib.pyplot"]:
            monkeypatch.delitem(sys.modules, name)


def test_nothing_to_draw(frame):
    with pytest.raises(InputError):
        frame("default").barplot()
    with pytest.raises(InputError):
        frame("default").histplot()


def test_titles_and_colours_are_checked(frame):
    table = frame("default")
    for looks in (
        {"color": "url(https://evil.example)"},
        {"palette": "nope"},
        {"title": 3},
        {"alpha": 7},
        {"cmap": "nope"},
    ):
        with pytest.raises(InputError) as error:
            table.plot.bar("Pclass", "Survived", **looks)
        assert error.value.code in ("plot.color", "plot.palette", "plot.option")


def test_long_titles_are_broken_into_lines(frame):
    long = "what a passenger paid for the crossing on average in pounds sterling of the year"
    chart = frame("default").plot.bar("Pclass", "Fare", title=f"{long}, and who they were", xlabel="short", ylabel=long)
    spec = good(chart)
    lines = spec["title"]["text"]
    assert " ".join(lines) == f"{long}, and who they were"
    assert 1 < len(lines) <= 4
    assert max(map(len, lines)) * 8 < 400
    axes = spec["layer"][0]["encoding"]
    assert axes["x"]["title"] == "short"
    assert " ".join(axes["y"]["title"]) == long
    assert max(map(len, axes["y"]["title"])) <= 40
    narrow = good(frame("default").plot.facet(col="Sex").bar("Pclass", "Fare", ylabel=long))
    assert max(map(len, narrow["spec"]["layer"][0]["encoding"]["y"]["title"])) <= 20
    assert good(frame("default").plot.bar("Pclass", "Fare"))["title"]["text"] == "Mean of Fare by Pclass"


def test_without_matplotlib_there_is_vega_and_text(frame, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    chart = frame("default").plot.bar("Pclass", "Survived")
    bundle = chart._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.vegalite.v5+json", "text/plain"}
    assert "1 │████████████████████████████████████████ 0.6296" in bundle["text/plain"]
    with pytest.raises(InputError) as refused:
        chart.png()
    assert refused.value.code == "plot.matplotlib"
    assert "pip install" in refused.value.next_step


def test_a_picture_is_on_white_whatever_the_page(frame):
    image = pytest.importorskip("matplotlib.image")
    picture = image.imread(io.BytesIO(frame("default").plot.bar("Sex").png()))
    assert all((picture[row, column, :3] == 1).all() for row in (0, -1) for column in (0, -1))
    assert picture.shape[2] == 3 or (picture[..., 3] == 1).all()
