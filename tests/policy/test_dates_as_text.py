"""Dates written as text, by formats that fail at no date: group keys that are bins of one column."""

from __future__ import annotations

import datetime as dt
import string
from typing import Any

import polars
import pytest
from bastion_plan import dtypes
from bastion_policy.flow_total import MAX_FORMAT, writes
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


# -- parts of dates that nobody may choose by


PARTS = ("year", "iso_year", "quarter", "month", "week", "weekday", "day", "ordinal_day")
SINCE = pl.col("since")


def of_two_years(role: str, few: int, policy: Policy | None = None) -> World:
    """Return thirty people in group 3 of whom a few are of a second year, and many others."""
    later = [i % 30 < few if i // 30 == 3 else i % 2 == 0 for i in range(1200)]
    days = [dt.date(2023 if b else 2022, 1 + i % 12, 1 + i % 28) for i, b in enumerate(later)]
    frame = polars.DataFrame({"id": range(1200), "g": [i // 30 for i in range(1200)], "since": days})
    roles = {"id": "identifier", "g": "quasi", "since": role}
    return World(remembers=True).add("t", frame, policy or Policy(Aggregation(10), Review()), roles, "id")


OF_THEM = T.filter(pl.col("g") == 3)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("statistic", ["sum", "mean", "var"])
@pytest.mark.parametrize("role", ["sensitive", "measure"])
def test_parts_of_dates_are_not_added_up(role: str, statistic: str, part: str) -> None:
    """Sixteen sums and variances of ten people's parts leave a few sets of dates that they may have."""
    q = OF_THEM.select(x=getattr(getattr(SINCE.dt, part)(), statistic)())
    answer = of_two_years(role, 12).ask(q.plan)
    assert answer.table is None or answer.table["x"].to_list() == [None]
    of_quasi = of_two_years("quasi", 12).ask(q.plan)
    assert of_quasi.released["x"][0] is not None, "who may choose by it knows it"


@pytest.mark.parametrize("few", [2, 6, 9])
def test_a_few_of_a_second_year_are_not_counted_by_a_sum_of_years(few: int) -> None:
    year = SINCE.dt.year()
    asked = OF_THEM.select(s=year.sum(), n=year.count())
    for policy in (None, Policy.strict("id")):
        table = of_two_years("sensitive", few, policy).ask(asked.plan).table
        assert table is None or None in (table["s"][0], table["n"][0])
    off = of_two_years("sensitive", few, Policy.open()).ask(asked.plan).released
    assert off["s"][0] - 2022 * off["n"][0] == few


def test_means_of_such_dates_are_told() -> None:
    assert of_two_years("measure", 12).ask(OF_THEM.select(x=SINCE.mean()).plan).released["x"][0].year == 2022
