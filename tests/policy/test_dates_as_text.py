"""Dates written as text, by formats that fail at no date: group keys that are bins of one column."""

from __future__ import annotations

import datetime as dt
import string
from typing import Any

import polars
import pytest
from bastion_plan import dtypes
from bastion_policy.flow_expressions import MAX_FORMAT, writes
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

#: days since 1970 of the first and the last date that the calendar has, and dates around years that are written in another way
DAYS = [
    -96_465_292,
    -96_465_292 + 365,
    -719_529,
    -719_528,
    -719_163,
    -719_162,
    -1,
    0,
    19_787,
    2_932_896,
    2_932_897,
    95_026_236,
]
TYPES = {
    "Date": polars.Series(DAYS, dtype=polars.Int32).cast(polars.Date),
    **{
        unit: polars.Series([d * n + more for d in DAYS for more in (0, n - 1)], dtype=polars.Int64).cast(polars.Datetime(unit))  # type: ignore[arg-type]
        for unit, n in (("ms", 86_400_000), ("us", 86_400_000_000))
    },
    "ns": polars.Series([-(2**63), -1, 0, 10**18, 2**63 - 1], dtype=polars.Int64).cast(polars.Datetime("ns")),
}  # fmt: skip
OURS = {"Date": dtypes.DATE, **{unit: dtypes.DType("Datetime", unit=unit) for unit in ("ms", "us", "ns")}}
EVERY = [
    f"%{more}{letter}" for more in ("", "-", "_", "0", ".", "3", ":") for letter in (*string.ascii_letters, "+", "%")
]
T, day = Q("t"), pl.col("day")


@pytest.mark.parametrize("name", TYPES)
def test_what_is_taken_fails_at_no_date(name: str) -> None:
    taken = [one for one in EVERY if writes(OURS[name], one)]
    assert {"%Y", "%m", "%d", "%b", "%-m", "%q", "%F"} <= set(taken)
    assert ("%H" in taken) == (name != "Date")
    for one in [*taken, "%Y-%m", "", "text", "%Y年%%", None]:
        assert writes(OURS[name], one)
        written = TYPES[name].dt.to_string(one)
        assert written.null_count() == 0
        assert written.len() == TYPES[name].len()


@pytest.mark.parametrize(
    "one", ["%", "%Y-%", "%Z", "%z", "%:z", "%E", "%Q", "%-b", "%--m", "%.f", "%s", "x" * (MAX_FORMAT + 1), 3]
)
def test_what_fails_or_is_long_is_not_taken(one: Any) -> None:
    assert not any(writes(dtype, one) for dtype in OURS.values())


@pytest.mark.parametrize("dtype", [dtypes.DType("Time"), dtypes.DType("Duration", unit="us"), dtypes.STRING, None])
def test_other_types_are_not_taken(dtype: Any) -> None:
    assert not writes(dtype, "%Y")


def test_times_with_a_zone_are_not_taken() -> None:
    assert not writes(dtypes.DType("Datetime", unit="us", zone="Europe/Paris"), "%Y")


def world() -> World:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(180)]
    days[3] = dt.date(2020, 2, 2)
    frame = polars.DataFrame({"id": range(180), "day": days, "x": [float(i % 9) for i in range(180)]})
    frame = frame.with_columns(time=polars.col("day").cast(polars.Datetime("us")))
    roles = {"id": "identifier", "day": "quasi", "time": "quasi", "x": "measure"}
    return World().add("t", frame, Policy(Aggregation(10), Review(), unit="id"), roles, "id")


@pytest.mark.parametrize("key", [day.dt.strftime("%Y-%m"), pl.col("time").dt.to_string("%Y-%m")])
def test_months_are_keys_and_one_person_s_month_is_not_named(key: Any) -> None:
    found = world().ask(T.group_by(key.alias("month")).agg(pl.len()).plan).released
    months = dict(found.iter_rows())
    assert months["2024-02"] == 29
    assert "2020-02" not in months
    assert "(other)" in months, "who is alone in a month is in the remainder row"


@pytest.mark.parametrize(
    "key",
    [
        day.dt.strftime("%H"),
        day.dt.strftime("%Y-%"),
        (day + dt.timedelta(days=300_000) + dt.timedelta(days=300_000)).dt.strftime("%Y"),
        pl.col("time").dt.strftime("%Z"),
    ],
)
def test_what_may_fail_at_one_date_is_not_run(key: Any) -> None:
    answer = world().ask(T.group_by(key.alias("k")).agg(pl.len()).plan)
    assert answer.table is None
    assert answer.verdict.outcome is not Outcome.RELEASE


def test_numbers_of_such_texts_are_bins() -> None:
    """A text with all digits of a date is the date: each value is held by k people, or not shown."""
    found = world().ask(T.group_by(day.dt.strftime("%Y-%m-%d")).agg(pl.len()).plan).table
    assert found is None or set(found[found.columns[0]]) <= {"(other)"}
    for lone in (day.dt.strftime("%j").cast(pl.Int64).sum(), day.dt.strftime("%Y").max()):
        answer = world().ask(T.select(lone).plan)
        assert answer.verdict.outcome is not Outcome.RELEASE
