"""Attacks by what is beyond a threshold and nothing there: dates that no calendar has, numbers that do not fit, conditions of nothing.

Of a condition the true and the false are counted, and few of either are not told. Who is nothing is on neither side.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars
from attack_list import BIT, attack
from attacks_errors import beyond, fails
from query import Q
from wire_arena import Attacker
from wire_terms import salary
from wire_worlds import HIGH, LOW, TARGET, TOWN, unnamed

import bastion.expressions as pl

NULLS, DATES = "conditions that make nulls", "dates in the calendar"
#: days since 1970: when the target was born, in the two worlds; everybody else was born before
BORN = (7806, 5784)
FIRST = datetime.date(1970, 1, 1)
born = pl.col("born")
NOTHING = pl.lit(None, dtype=pl.Boolean)


def dated(a: Attacker) -> Q:
    """The owner uploads the people with their dates of birth."""
    days = np.random.default_rng(11).integers(-10_957, 2043, unnamed(0).height)
    days[TARGET] = BORN[a.world]
    frame = unnamed(a.world).select("id", "age", "town", "salary")
    return Q(a.upload(frame.with_columns(born=polars.Series(days, dtype=polars.Int32).cast(polars.Date)))[0])


def far(days: int, last: int = 96_000_000) -> Any:
    """Return 1970 for who was born before a day, and for others a date that no calendar has, or one from a last day on."""
    found = born
    while days < last:
        found, days = found.dt.round(f"{2 * days}d"), 2 * days
    return found


def youngest(a: Attacker, dates: Any) -> Any:
    """Return the last day on which fewer are counted, of those in a town; dates: that are nothing from a day on."""
    rows = dated(a).filter(pl.col("town") == TOWN)

    def counted(day: int) -> Any:
        return a.value(rows.select((dates(day).dt.year() > 0).sum()))

    low, high = 2100, 10_000
    everybody = counted(high)
    while everybody is not None and high - low > 1:
        middle = (low + high) // 2
        found = counted(middle)
        if found is None:
            return None
        low, high = (middle, high) if found < everybody else (low, middle)
    return None if everybody is None else low


@attack("differencing", NULLS, "open", BORN, tolerance=0.0, own=True)
def birthday_by_dates_beyond_the_calendar(a: Attacker) -> Any:
    """Rounds dates until those from a day on leave the calendar, and counts the others, with one day after another."""
    return youngest(a, far)


@attack("differencing", NULLS, "open", BORN, tolerance=0.0, own=True)
def birthday_by_dates_that_nanoseconds_do_not_have(a: Attacker) -> Any:
    """Rounds dates until those from a day on are beyond the last one of nanoseconds, and counts the others."""
    return youngest(a, lambda day: far(day, 106_752).cast(pl.Datetime("ns"), strict=False))


@attack("existence", DATES, "open", BIT, own=True)
def failing_start_of_a_period(a: Attacker) -> Any:
    """Asks for the month of a date that roundings bring beyond the calendar, of the target if above a threshold."""
    rows = dated(a)
    return fails(a, lambda c: rows.filter(beyond(c)).select((far(1000).dt.month_start() > FIRST).mean()))


@attack("existence", DATES, "open", BIT, own=True)
def failing_month_of_a_local_time(a: Attacker) -> Any:
    """Moves the target, if above a threshold, to the hour of March that is none in the table's time zone."""
    frame = unnamed(a.world).select("id", "age", "salary")
    night = polars.lit(datetime.datetime(2019, 3, 5, 1, 30)).dt.replace_time_zone("UTC")
    rows = Q(a.upload(frame.with_columns(at=night.dt.convert_time_zone("Europe/Paris")))[0])
    return fails(a, lambda c: rows.filter(beyond(c)).select(pl.col("at").dt.month_end().is_null().mean()))


def told_apart(a: Attacker, condition: Any) -> Any:
    """Whether the largest salary lies between two thresholds; condition: is true up to a threshold, and beyond nothing."""
    low, high = (a.value(a.T.select(condition(c).sum())) for c in (LOW, HIGH))
    return None if low is None or high is None else low < high


@attack("differencing", NULLS, "open", BIT)
def salary_by_a_condition_or_nothing(a: Attacker) -> Any:
    """Counts those below two thresholds, where all others are nothing instead of false."""
    return told_apart(a, lambda c: (salary <= c) | NOTHING)


@attack("differencing", NULLS, "open", BIT)
def salary_between_a_number_and_nothing(a: Attacker) -> Any:
    """Counts those who are not between a threshold and nothing."""
    return told_apart(a, lambda c: ~salary.is_between(c, pl.lit(None, dtype=pl.Float64)))


@attack("differencing", NULLS, "open", BIT)
def salary_by_numbers_that_do_not_fit(a: Attacker) -> Any:
    """Counts those whose number, moved up to the end of a narrow type, fits it."""
    return told_apart(
        a, lambda c: ((salary.round(0) - c) * 16_000 + 2_147_483_647).cast(pl.Int32, strict=False) > -(2**40)
    )


@attack("differencing", NULLS, "open", BIT)
def salary_by_a_choice_of_a_choice(a: Attacker) -> Any:
    """Counts those who are true by a choice, and all others by a second one that has no other side."""
    nothing = pl.when(salary > 1e9).then(True)
    return told_apart(a, lambda c: pl.when(salary <= c).then(True).otherwise(nothing))
