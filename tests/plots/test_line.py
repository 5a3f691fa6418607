"""plot.line: a number along dates, numbers, categories."""

from __future__ import annotations

import polars as pl
from charts import good, told


def test_along_numbers(frame):
    chart = frame("default").plot.line("Age", "Fare", width=10)
    assert chart.picture.x.kind == "bins"
    assert 20 < told(chart)[20.0, 30.0] < 40
    good(chart)


def test_a_missing_step_breaks_the_line(frame):
    chart = frame("default").plot.line("Age", "Survived", hue="Sex", bins=[0, 10, 20, 30, 40, 50, 60, 70, 80])
    assert None in told(chart).values()
    spec = good(chart)
    rows = [r for r in spec["data"]["values"] if r.get("few")]
    assert rows
    assert not any("v" in r for r in rows)
    assert "a gap" in " ".join(spec["title"]["subtitle"])


def test_along_dates(frame):
    chart = frame("default").plot.line("boarded", hue="Sex", every="month")
    assert chart.picture.x.kind == "times"
    assert good(chart)["layer"][-1]["encoding"]["x"]["type"] == "temporal"
    assert "Apr 1912" in repr(chart)


def test_dates_of_groups(frame):
    months = (
        frame("default").group_by(pl.col("boarded").dt.truncate("1mo").alias("month")).agg(pl.len().alias("people"))
    )
    chart = months.plot.line("month", "people")
    assert chart.picture.x.kind == "times"
    good(chart)


def test_rows_under_a_policy_that_lets_them_be_seen(frame):
    chart = frame("log").plot.line("Age", "Fare")
    assert chart.picture.x.kind == "number"
    assert len(chart.picture.cells) == 88
    good(chart)


def test_strict(frame):
    good(frame("strict").plot.line("Age", "Fare", width=20))
