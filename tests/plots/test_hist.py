"""plot.hist: counts by bin."""

from __future__ import annotations

import pytest
from bastion_plan.errors import InputError
from charts import good, told

import bastion.expressions as pl
from bastion.client.denied import Denied
from bastion.client.frames import RemoteLazyFrame

AGES = {(0, 10): 62, (10, 20): 102, (20, 30): 220, (30, 40): 167, (40, 50): 89, (50, 60): 48}


def test_bins_of_a_width(frame):
    chart = frame("default").plot.hist("Age", width=10)
    assert told(chart) == AGES
    assert any("26 rows" in note for note in chart.notes), "what is put together is said"
    assert any("177 rows without Age" in note for note in chart.notes)
    good(chart)


def test_small_bins_are_hatched_and_never_zero(frame):
    chart = frame("default").plot.hist("Age", bins=[0, 10, 20, 30, 40, 50, 60, 70, 80])
    assert told(chart) == AGES | {(60, 70): None, (70, 80): None}
    spec = good(chart)
    few = [row for row in spec["data"]["values"] if row.get("few")]
    assert [(row["x"], row["vt"]) for row in few] == [
        (60, "fewer than 10, none, or put together with such"),
        (70, "fewer than 10, none, or put together with such"),
    ]
    assert not any("v" in row for row in few)
    assert "░░░ fewer than 10" in repr(chart)


def test_a_range_gives_round_edges(frame):
    chart = frame("default").plot.hist("Fare", range=(0, 100), bins=5)
    assert list(chart.picture.x.places) == [(0, 20), (20, 40), (40, 60), (60, 80), (80, 100)]
    assert "80 or more" in repr(chart), "the last bin is open: nobody is left out"


def test_bounds_of_the_owner_give_edges(frame):
    chart = frame("strict").select("Pclass", "Fare").plot.bar("Pclass", "Fare")
    good(chart)
    from bastion.client.binning import Wish, key_of

    assert key_of(frame("strict"), "Fare", Wish()).edges == (
        0,
        50,
        100,
        150,
        200,
        250,
        300,
        350,
        400,
        450,
        500,
        550,
        600,
    )


def test_without_public_facts_it_says_what_to_write(frame):
    with pytest.raises(InputError, match="never taken from the data") as error:
        frame("default").plot.hist("Fare", bins=12)
    assert error.value.code == "plot.bins"
    assert "width=10" in error.value.next_step


def test_a_column_has_the_same_bins_in_all_plots(frame):
    table = frame("default")
    table.plot.hist("Age", width=20)
    assert table.plot.bar("Age", "Survived").picture.x.places == table.plot.hist("Age").picture.x.places
    assert table.filter(pl.col("Pclass") > 0).plot.hist("Age").picture.x.places[0] == (0, 20)


@pytest.mark.parametrize(
    "draw",
    [
        lambda p: p.hist("Age", width=20, hue="Survived"),
        lambda p: p.hist("Age", "Pclass", width=20),
        lambda p: p.bar("Pclass", "Survived", hue="Sex"),
        lambda p: p.box("Pclass", "Age"),
        lambda p: p.line("Age", "Survived", width=20),
        lambda p: p.scatter("Age", "SibSp", width=20),
        lambda p: p.pie("Pclass"),
        lambda p: p.heatmap("Pclass", "Sex"),
        lambda p: p.corr("Survived", "Pclass", "SibSp"),
        lambda p: p.facet(row="Sex", col="Pclass").hist("Age", width=20, hue="Survived"),
    ],
    ids=["hist", "hist of two", "bar", "box", "line", "scatter", "pie", "heatmap", "corr", "facet"],
)
def test_one_query_each_and_no_rows(frame, monkeypatch, draw):
    table = frame("default")
    asked = []
    real = type(table.connection)._run_plan

    async def counting(self, plan, *more, **named):
        asked.append(plan)
        return await real(self, plan, *more, **named)

    monkeypatch.setattr(type(table.connection), "_run_plan", counting)
    draw(table.plot)
    (plan,) = asked
    assert RemoteLazyFrame(table.connection, plan).verdict.outcome == "release", (
        "aggregates: the rows stay on the server"
    )


def test_hue_is_stacked(frame):
    chart = frame("default").plot.hist("Age", width=10, hue="Sex")
    rows = {(r["x"], r["h"]): r for r in good(chart)["data"]["values"]}
    assert rows[20, "female"]["v"] + rows[20, "male"]["v"] == 220
    assert rows[20, "male"]["lo"] == rows[20, "female"]["up"]


def test_two_columns_are_cells(frame):
    chart = frame("default").plot.hist("Age", "Pclass", width=20)
    assert chart.picture.kind == "heat"
    assert told(chart)[(20.0, 40.0), "3"] > 100, "Pclass has few values: it has no bins"
    good(chart)


def test_sideways(frame):
    chart = frame("default").plot.hist(y="Age", width=10)
    encoding = good(chart)["layer"][0]["encoding"]
    assert encoding["y"]["field"] == "x"
    assert encoding["x"]["field"] == "lo"
    assert told(chart) == AGES


def test_categories_and_dates(frame):
    table = frame("default")
    chart = table.plot.hist("Embarked")
    assert told(chart) == {"S": 644, "C": 168, "(other)": 79}
    good(chart)
    months = table.plot.hist("boarded", every="1mo")
    assert months.picture.x.places[2] == ("1912-04-01T00:00:00", "1912-05-01T00:00:00")
    assert "Apr 1912 │" in repr(months)
    good(months)


def test_strict_rounds_and_needs_quasi_axes(frame):
    chart = frame("strict").plot.hist("Age", width=10)
    assert all(value % 5 == 0 for value in told(chart).values())
    good(chart)
    with pytest.raises(InputError, match="Nothing can be drawn along this column") as error:
        frame("strict").plot.hist("Fare")
    assert error.value.code == "plot.axis"
    assert "quasi" in error.value.next_step


def test_without_a_guard_absent_is_nobody(frame):
    chart = frame("open").plot.hist("Age", width=10)
    assert told(chart)[70.0, 80.0] == 6
    assert not chart.picture.has_missing


def test_hidden_columns_are_denied(frame):
    with pytest.raises(Denied, match="hidden"):
        frame("default").plot.hist("Name")


@pytest.mark.parametrize("bins", [[3], [2, 1], [0, float("nan")], 0, 10_000, "ten"])
def test_bins_that_are_none(frame, bins):
    with pytest.raises(InputError) as error:
        frame("default").plot.hist("Age", bins=bins, range=(0, 100) if isinstance(bins, int) else None)
    assert error.value.code == "plot.bins"
