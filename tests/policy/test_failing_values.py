"""Whether a query fails, or is taken at all, must not depend on what one person's row holds."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

N = 60
T = Q("t")
x, price, born, seen, text = (pl.col(c) for c in ("x", "price", "born", "seen", "text"))
WIDE = pl.Decimal(38, 37)
#: a decimal that overflows in the row of person 7 alone, if that one's x is large
LARGE = (x * (pl.col("id") == 7).cast(pl.Float64) / 1000).cast(WIDE)
#: dates beyond the calendar for who was born late
FAR = born.cast(pl.Datetime("ms")) + dt.timedelta(days=95_013_000)
LATE = pl.when(x > 50).then(dt.date(9999, 12, 31)).otherwise(born)


def rounded(column: Any, days: int, last: int) -> Any:
    """Return 1970 for dates before a day, and others twice as far at each step, as days from there."""
    while days < last:
        column, days = column.dt.round(f"{2 * days}d"), 2 * days
    return column


def world(largest: float = 100.0, *, declared: bool = False, profile: str = "default") -> World:
    days = [dt.date(1950, 1, 1) + dt.timedelta(days=400 * i) for i in range(N)]
    frame = polars.DataFrame(
        {
            "id": range(N),
            "g": [i % 2 for i in range(N)],
            "x": [float(i) for i in range(N - 1)] + [largest],
            "price": polars.Series([f"{i}.25" for i in range(N)]).cast(polars.Decimal(10, 2)),
            "born": days,
            "seen": [dt.datetime(2020, 1, 1) + dt.timedelta(hours=i) for i in range(N)],
            "text": [d.isoformat() for d in days],
            "dis": ["asthma", "flu", "hiv"] * (N // 3),
        }
    )
    roles: dict[str, Any] = {"id": "identifier", "x": "measure", "price": "measure"}
    roles |= dict.fromkeys(("g", "born", "seen", "text", "dis"), "quasi")
    policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Review())
    return World().add("t", frame, policy, roles)


def _often(column: Any, every: str, times: int) -> Any:
    for _ in range(times):
        column = column.dt.round(every)
    return column


FAILING: dict[str, Any] = {
    "decimals add up": LARGE + LARGE,
    "a decimal less another": LARGE - (-LARGE),
    "the larger decimal": pl.max_horizontal(LARGE, price),
    "decimals of unlike digits compared": price < LARGE,
    "a decimal by a condition": pl.when(x > 50).then(LARGE).otherwise(price),
    "a cast to decimals": LARGE,
    "the first decimal there is": pl.coalesce(LARGE, price),
    "month of a date beyond the calendar": FAR.dt.month_start(),
    "year of a date beyond the calendar": FAR.dt.year(),
    "rounded beyond the calendar": FAR.dt.truncate("1mo"),
    "as text": FAR.cast(pl.String),
    "joined to text": pl.concat_str(FAR, text),
    "moved twice": born + dt.timedelta(days=300_000) + dt.timedelta(days=300_000),
    "a chosen date": LATE.dt.month_end(),
    "the start of a period before the calendar": born.dt.truncate("270000y").dt.year(),
    "that of a period of more digits than are read": born.dt.truncate("4294967297y").dt.year(),
    "that of a period in two units": born.dt.truncate("1y3000000mo").dt.year(),
    "that of a period that wraps around": seen.dt.round("18446744073709551616y").dt.year(),
    "that of a period below the unit": seen.dt.round("1ns"),
    "rounded again and again": rounded(born, 6574, 96_000_000).dt.year(),
    "rounded by a hundred years, often": _often(born, "36000d", 11),
    "rounded after it was moved": (born + dt.timedelta(days=365_000)).dt.round("36000d"),
    "a text and a choice of texts": pl.col("dis") > pl.lit("flu", dtype=pl.Enum(["asthma", "flu"])),
    "a local time that is not": pl.when(x > 50).then(pl.lit("2020-03-29 02:30")).otherwise(pl.lit("2020-01-01 00:00"))
    .str.to_datetime("%Y-%m-%d %H:%M", time_zone="Europe/Paris"),
    "lists of another width": text.str.split("-").cast(pl.Array(pl.String, 2)),
    "lists of decimals": text.str.split("-").cast(pl.List(WIDE)).list.sum(),
    "a chosen date in text": pl.when(x > 50).then(pl.lit("262143-12-31")).otherwise(text).str.to_date("%Y-%m-%d").dt.month_end(),
}  # fmt: skip


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize("name", FAILING)
def test_what_fails_at_one_value_is_not_run(name: str, profile: str) -> None:
    for plan in (T.sort(FAILING[name]).select(pl.len()), T.filter(FAILING[name].is_not_null()).select(pl.len())):
        judged = world(profile=profile).ask(plan.plan)
        assert judged.table is None, name
        assert judged.verdict.outcome is not Outcome.RELEASE


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize(
    "step", [lambda d: d.dt.round("36000d"), lambda d: d.dt.month_end().dt.round("1mo").dt.round("99y")]
)
def test_dates_that_steps_move_are_added_up(step: Any, profile: str) -> None:
    moved = T
    for _ in range(11):
        moved = moved.with_columns(born=step(born))
    for plan in (moved.filter(born.dt.year() > 0).select(pl.len()), moved.select((born.dt.year() > 0).sum())):
        judged = world(profile=profile).ask(plan.plan)
        assert judged.table is None
        assert judged.verdict.outcome is not Outcome.RELEASE
    few = T.with_columns(born=step(born)).with_columns(born=step(born))
    assert world(profile=profile).ask(few.filter(born.dt.year() > 0).select(pl.len()).plan).table is not None


@pytest.mark.parametrize("zone", ["Europe/Paris", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize(
    "starts",
    [
        lambda d: d.dt.month_start(),
        lambda d: d.dt.month_end(),
        lambda d: d.dt.truncate("2h"),
        lambda d: d.dt.round("1d"),
    ],
)
def test_local_times_are_brought_to_no_gap(starts: Any, zone: str) -> None:
    """The last of March 2019 at half past two is none in Paris: who is moved there, and nobody else, would fail."""
    frame = polars.DataFrame(
        {"id": range(N), "at": [dt.datetime(2019, 3, 1) + dt.timedelta(hours=i) for i in range(N)]}
    )
    frame = frame.with_columns(polars.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    for policy in (Policy(Aggregation(10), Review()), Policy.strict("id")):
        w = World().add("t", frame, policy, {"id": "identifier", "at": "quasi"}, "id")
        judged = w.ask(T.filter(starts(pl.col("at") + dt.timedelta(days=3)).is_not_null()).select(pl.len()).plan)
        assert (judged.table is not None) == (zone == "UTC")
        assert w.ask(T.group_by(pl.col("at").dt.date().dt.truncate("50y")).agg(pl.len()).plan).table is not None


HARMLESS: dict[str, Q] = {
    "sum of decimals": T.select(pl.col("price").sum()),
    "decimals compared": T.filter(price > 10).select(pl.len()),
    "decimals between": T.filter(price.is_between(10, 50)).select(pl.len()),
    "decimals as floats": T.select((price.cast(pl.Float64) * 2).sum()),
    "months": T.group_by(born.dt.truncate("50y")).agg(pl.len()),
    "a month later": T.group_by((seen + dt.timedelta(days=30)).dt.month()).agg(pl.len()),
    "weeks before": T.filter((born - dt.timedelta(weeks=20)).dt.year() > 1960).select(pl.len()),
    "text as dates": T.group_by(text.str.to_date("%Y-%m-%d").dt.truncate("50y")).agg(pl.len()),
    "days between": T.filter((seen.cast(pl.Date) - born).dt.total_days() > 5000).select(pl.len()),
    "dates in a step": T.with_columns(d=seen.cast(pl.Date)).group_by(pl.col("d").dt.month_end()).agg(pl.len()),
    "rounded to hours": T.group_by(seen.dt.round("6h").dt.truncate("1d")).agg(pl.len()),
    "periods of a hundred years": T.group_by(born.dt.round("100y")).agg(pl.len()),
    "as many quarters": T.group_by(born.dt.truncate("400q").dt.truncate("1mo")).agg(pl.len()),
    "months of months": T.group_by((born + dt.timedelta(days=9000)).dt.month_end().dt.truncate("50y")).agg(pl.len()),
    "dates as text": T.group_by(seen.dt.date().cast(pl.String).str.head(7)).agg(pl.len()),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_people_do_with_dates_and_decimals_goes_on(name: str) -> None:
    judged = world().ask(HARMLESS[name].plan)
    assert judged.verdict.outcome is Outcome.RELEASE, judged.verdict.findings
    assert judged.table is not None


def test_whether_a_question_is_taken_does_not_tell_the_largest_value() -> None:
    """Else a shift that is just small enough is the largest value of the column, times a thousand."""
    taken = {largest: _taken(largest) for largest in (123_456.0, 412_345.67, 999_999.0)}
    assert taken[123_456.0] == taken[412_345.67] == taken[999_999.0]
    assert set(taken[412_345.67]) == {True, False}, "some are taken, some are not"


def _taken(largest: float) -> list[bool]:
    steps = [10.0**e * m for e in range(4, 10) for m in (1.0, 2.5, 4.2, 9.9)]
    many = [T.select((x + c).sum()) for c in steps] + [T.select((x * 10 + 1 + c).sum()) for c in steps]
    found = [world(largest).ask(q.plan).verdict.findings for q in many]
    return [all(f.rule != "argument" for f in findings) for findings in found]


def test_signs_of_single_values_do_not_decide() -> None:
    outcomes = {low: world(low).ask(T.select(x.abs().sum()).plan).verdict.outcome for low in (100.0, -1.0)}
    assert len(set(outcomes.values())) == 1


def test_who_dominates_is_seen_from_the_measured_bounds() -> None:
    """Plans are judged by coarse bounds, values by measured ones: a cast or a shift hides nobody."""
    rng = np.random.default_rng(1)
    frame = polars.DataFrame(
        {"g": [0] * 20 + [1] * 40, "x": [*rng.uniform(1000, 1010, 19), 9000.0, *rng.uniform(1000, 1010, 40)]}
    )
    for expr in (x, x * 2 + 5, x.cast(pl.Float64), -x):
        w = World().add("t", frame, Policy.default(), {"g": "quasi", "x": "measure"})
        judged = w.ask(T.group_by("g").agg(expr.sum()).plan)
        shown = {} if judged.table is None else dict(judged.table.rows())
        assert shown.get(0) is None, expr


def rules_of(expr: Any) -> set[str]:
    return {finding.rule for finding in world().ask(T.select(expr).plan).verdict.findings}


@pytest.mark.parametrize("function", [pl.cov, pl.corr])
def test_a_column_and_a_function_of_it_have_no_covariance(function: Any) -> None:
    for one, two in ((x, x), (x, x * 2), (x * 2 + 1, x - 3)):
        assert "row-level" in rules_of(function(one, two))
    assert "row-level" not in rules_of(function(x, price.cast(pl.Float64)))


@pytest.mark.parametrize("expr", [x.sqrt(), x.log1p(), x.exp(), x.log(), x**2])
def test_bent_numbers_are_not_added_up(expr: Any) -> None:
    """One sum of roots of ten whole numbers below 60, with its sixteen digits, has one solution."""
    judged = world().ask(T.group_by("g").agg(expr.sum()).plan)
    assert judged.verdict.outcome is not Outcome.RELEASE
    assert judged.table is None


@pytest.mark.parametrize("day", ["9999-12-31", "1600-01-01"])
def test_casts_to_nanoseconds_leave_nobody_out_unseen(day: str) -> None:
    """Nanoseconds have no dates before 1677 and after 2262: casts to them make nulls, which would tell of one person."""
    frame = polars.DataFrame({"id": range(40), "d": ["2014-01-01"] * 39 + [day]}).with_columns(
        polars.col("d").str.to_date()
    )
    w = World(remembers=True).add("t", frame, Policy.default(), {"id": "identifier", "d": "quasi"}, "id")
    nanos = pl.col("d").cast(pl.Datetime("ns"))
    for asked in (nanos.count(), nanos.null_count(), nanos.mean()):
        assert w.ask(Q("t").select(asked).plan).table is None
    assert w.ask(Q("t").select(pl.col("d").cast(pl.Datetime("us")).count()).plan).released.item() == 40
