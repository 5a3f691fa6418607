"""Attacks by what a query does when it fails or takes long: a branch that only the secret takes."""

from __future__ import annotations

import datetime
from typing import Any

from attack_list import BIT, attack
from attacks_edges import BUDGET, bisected
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Column
from query import Q, inline
from wire_arena import Attacker
from wire_terms import age, salary, target
from wire_worlds import HIGH, LOW

import bastion.expressions as pl


def fails(a: Attacker, make: Any) -> bool:
    """Whether a query fails between two thresholds and not beyond."""
    return a.failed(make(LOW)) != a.failed(make(HIGH))


def plain(secret: Any, yes: Any, no: Any) -> Any:
    """Return a choice by the secret."""
    return pl.when(secret).then(yes).otherwise(no)


def beyond(edge: float) -> Any:
    """Return the condition that the target is above a threshold."""
    return target & (salary > edge)


@attack("existence", "functions that can fail", "open", BIT)
def failing_conversion(a: Attacker) -> Any:
    """Converts a text that is no number if the secret is above a threshold."""
    text = lambda c: plain(beyond(c), pl.lit("x"), pl.lit("1")).cast(pl.Int64)  # noqa: E731
    return fails(a, lambda c: a.T.with_columns(z=text(c)).group_by("z").agg(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_date(a: Attacker) -> Any:
    """Makes a thirteenth month of the secret."""
    return fails(a, lambda c: a.T.filter(pl.date(2020, plain(beyond(c), 13, 1), 1).is_not_null()).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_power(a: Attacker) -> Any:
    """Raises whole numbers to a negative power."""
    return fails(a, lambda c: a.T.filter((age ** plain(beyond(c), -1, 1)) > 0).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_pattern(a: Attacker) -> Any:
    """Makes a pattern of the secret that is not one."""
    pattern = lambda c: plain(beyond(c), pl.lit("("), pl.lit("f"))  # noqa: E731
    return fails(a, lambda c: a.T.filter(pl.col("sex").str.count_matches(pattern(c)) >= 0).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_mapping(a: Attacker) -> Any:
    """Maps a value that the mapping does not have."""
    return fails(a, lambda c: a.T.filter(plain(beyond(c), 2, 1).replace_strict({1: 1}) == 1).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_order(a: Attacker) -> Any:
    """Joins the nearest of rows that are out of order if the secret is above a threshold."""
    labels = n.Inline((n.InlineColumn("age", DType("Int64"), (0, 50)),))

    def make(edge: float) -> Q:
        rows = a.T.sort(plain(beyond(edge), -1, age))
        return Q(n.JoinAsof(rows.plan, labels, Column("age"), Column("age"))).select(pl.len())

    return fails(a, make)


@attack("existence", "functions that can fail", "open", BIT)
def failing_lists(a: Attacker) -> Any:
    """Unpacks two lists of unequal lengths."""
    marks = lambda c: plain(beyond(c), pl.concat_list(age), pl.col("marks"))  # noqa: E731
    return fails(a, lambda c: a.T.with_columns(marks=marks(c)).explode("tags", "marks").select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_decimal(a: Attacker) -> Any:
    """Filters by a decimal that overflows if the secret is above a threshold."""

    def make(edge: float) -> Q:
        wide = (pl.when(target).then(salary).otherwise(0.0) / edge * 5).cast(pl.Decimal(38, 37), strict=False)
        return a.T.filter((wide + wide) >= 0).select(pl.len())

    return fails(a, make)


@attack("existence", "functions that can fail", "open", BIT)
def failing_calendar(a: Attacker) -> Any:
    """Asks for the month of a date that lies beyond the calendar if the secret is above a threshold."""

    def make(edge: float) -> Q:
        years = plain(beyond(edge), datetime.timedelta(days=95_200_000), datetime.timedelta())
        day = pl.lit(datetime.datetime(2020, 1, 1)).cast(pl.Datetime("ms"))
        return a.T.filter((day + years).dt.month_start().is_not_null()).select(pl.len())

    return fails(a, make)


@attack("existence", "functions that can fail", "open", BIT)
def failing_bounds(a: Attacker) -> Any:
    """Clips whole numbers to bounds that their type does not hold, in the row of the target if above a threshold."""
    return fails(a, lambda c: a.T.filter(age.clip(plain(beyond(c), 1e300, 0.0)) >= 0).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_constant_of_who_is_left(a: Attacker) -> Any:
    """Gives those above a threshold a thirteenth month: it fails where the target is left, and not where nobody is."""
    return fails(
        a, lambda c: a.T.filter(beyond(c)).with_columns(m=pl.lit(13)).filter(pl.date(2020, pl.col("m"), 1).is_null())
    )


@attack("existence", "functions that can fail", "open", BIT)
def failing_label_of_who_is_left(a: Attacker) -> Any:
    """Joins a bound that whole numbers do not hold to those of the target's age, of whom who is below a threshold has gone."""
    bounds = inline({"age": [97, 98], "most": [1e300, 1.0]})

    def make(edge: float) -> Q:
        left = a.T.filter(beyond(edge) | (age < 60)).join(bounds, on="age", how="left")
        return left.filter(age.clip(pl.col("most")) > 0).select(pl.len())

    return fails(a, make)


@attack("existence", "functions that can fail", "open", BIT)
def failing_member(a: Attacker) -> Any:
    """Compares who is left with a text that is no member: it fails where the target is left, and not where nobody is."""
    sex = pl.col("sex").cast(pl.Enum(["f", "m"]))
    wrong = pl.when(sex.is_not_null()).then(sex > "zz").otherwise(False)
    return fails(a, lambda c: a.T.filter(beyond(c)).select(wrong.mean()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_quotient(a: Attacker) -> Any:
    """Divides yes or no of who is left by a fraction."""
    wrong = pl.when(age.is_not_null()).then((age > 50) // 0.5 > 0).otherwise(False)
    return fails(a, lambda c: a.T.filter(beyond(c)).select(wrong.mean()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_common_type(a: Attacker) -> Any:
    """Brings a negative number together with an unsigned one that signed ones do not hold, if the secret is above a threshold."""
    large = lambda c: plain(beyond(c), pl.lit(2**64 - 1), pl.lit(0)).cast(pl.UInt64)  # noqa: E731
    return fails(a, lambda c: a.T.filter(pl.coalesce(large(c), pl.lit(-5)) >= 0).select(pl.len()))


@attack("existence", "functions that can fail", "open", BIT)
def failing_days(a: Attacker) -> Any:
    """Brings days together with nanoseconds, which end in 2262, if the secret is above a threshold."""

    def make(edge: float) -> Q:
        day = plain(beyond(edge), pl.lit(datetime.date(2300, 1, 1)), pl.lit(datetime.date(2020, 1, 1)))
        never = pl.lit(None, dtype=pl.Datetime("ns"))
        return a.T.filter(pl.coalesce(never, day).is_not_null()).select(pl.len())

    return fails(a, make)


@attack("existence", "functions that can fail", "open", BIT)
def timing_of_a_branch(a: Attacker) -> Any:
    """Does heavy work if the secret is above a threshold, and looks at the clock."""
    many = inline({"i": list(range(5000))})

    def work(edge: float) -> n.Node:
        rows = Q(n.Join(a.T.filter(beyond(edge)).plan, many.plan, "cross"))
        rows = Q(n.Join(rows.plan, inline({"j": list(range(9000))}).plan, "cross"))
        return rows.select(x=((pl.col("i") * pl.col("j")) % 7).sum()).plan

    # in turns, so that what else the machine does counts for both
    pairs = [(a.line().timed(work(LOW)), a.line().timed(work(HIGH))) for _ in range(7)]
    # in all turns but one: a machine that is busy makes one question slower than another now and then
    apart = sorted(one - two for one, two in pairs)[1] > 0.06
    a.told.append(f"{'told apart' if apart else 'alike'} by time")
    return apart


#: seconds after which a question is stopped; without the condition it takes a tenth of that
LONG = 1.5


@attack("existence", BUDGET, "open", tolerance=1e-3)
def bisection_by_stopped_questions(a: Attacker) -> Any:
    """Asks what takes long if the secret is above a threshold, and stops it before it fails."""

    def above(c: float) -> bool:
        text = (salary > c).cast(pl.String).str.replace_all("^true$", "Ω" * 1000)
        for one, next_one in ("ΩΨ", "ΨΔ", "ΔΘ"):
            text = text.str.replace_all(one, next_one * 1000, literal=True)
        found = a.line().takes(a.T.filter(target).select((text == "x").mean()).plan, LONG)
        a.told.append("stopped" if found else "answered or denied")
        return found

    return bisected(above)


@attack("existence", BUDGET, "open", tolerance=1e-3)
def bisection_by_rows_that_fail(a: Attacker) -> Any:
    """Asks for rows, of which a safe part is measured, with a condition that fails if the secret is above a threshold."""

    def above(c: float) -> bool:
        least = pl.when(target & (salary > c)).then(1e300).otherwise(0.0)
        return a.failed(a.T.filter(age.clip(least) >= 0))

    return bisected(above)


@attack("existence", "functions that can fail", "open", BIT)
def timing_of_a_text(a: Attacker) -> Any:
    """Writes a million letters where the target is above a threshold and a word elsewhere, reads them often, and looks at the clock.

    With a thousand times as many, which is one step more, the question fails there: too much to be played here.
    """

    def work(edge: float) -> n.Node:
        text = beyond(edge).cast(pl.String)
        for one, two in (("^true$", "\u03a9"), ("\u03a9", "\u03a8")):
            text = text.str.replace_all(one, two * 1000)
        for one, two in ("\u03a8\u03a6", "\u03a6\u03a8") * 10:
            text = text.str.replace_all(one, two, literal=True)
        return a.T.select((text == "x").mean()).plan

    pairs = [(a.line().timed(work(LOW)), a.line().timed(work(HIGH))) for _ in range(7)]
    apart = sorted(one - two for one, two in pairs)[1] > 0.06
    a.told.append(f"{'told apart' if apart else 'alike'} by time")
    return apart
