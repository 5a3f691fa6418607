"""Attacks that count the target twice: the people of two populations are the same, their rows are not."""

from __future__ import annotations

from typing import Any

import polars
from attack_list import attack
from query import Q, concat
from wire_arena import Attacker, minus, values
from wire_terms import age, mine, salary, target, town
from wire_worlds import AGE, CLINIC, EVERYBODY_ELSE, SECRETS, TOWN

import bastion.expressions as pl


@attack("differencing", "distinct units", "open")
def weights_by_days(a: Attacker) -> Any:
    """Counts each person's row of one day, and two of the target's: the people are the same."""
    visits, day = a.table("visits"), pl.col("day")
    once = a.value(visits.filter(mine & (day == 0)).select(salary.sum()))
    rows = mine & ((day == 1) | (target & (day == 2)))
    return minus(a.value(visits.filter(rows).select(salary.sum())), once)


@attack(
    "differencing",
    "distinct units",
    "open",
    tolerance=0.03,
)
def weights_by_days_of_a_few(a: Attacker) -> Any:
    """The same in the smallest group that is answered, where rounding leaves most digits."""
    visits, day = a.table("visits"), pl.col("day")
    few = (age == 79) | (age == AGE) | ((age == 78) & mine)
    once = a.value(visits.filter(few & (day == 0)).select(salary.sum()))
    rows = few & ((day == 1) | (target & (day == 2)))
    return minus(a.value(visits.filter(rows).select(salary.sum())), once)


def twice(a: Attacker, rows: Q, first: Any, second: Any) -> Any:
    """Return what the target adds when counted twice; either condition alone takes one row of each person."""
    once = a.value(rows.filter(mine & first).select(salary.sum()))
    return minus(a.value(rows.filter(mine & (second | target)).select(salary.sum())), once)


@attack("inflation", "distinct units", "open")
def weights_by_list_elements(a: Attacker) -> Any:
    """Unpacks lists of an odd and an even number: one of them is each person once, and both are the target twice."""
    even = pl.col("tags") % 2 == 0
    return twice(a, a.T.explode("tags"), even, ~even)


@attack("inflation", "distinct units", "open")
def weights_by_a_join(a: Attacker) -> Any:
    """Joins a table of several rows per person, and takes one day of everybody and two of the target."""
    rows = a.T.join(a.table("visits").select("id", "day"), on="id").filter(pl.col("day") < 2)
    return twice(a, rows, pl.col("day") == 0, pl.col("day") == 1)


@attack("inflation", "a union of parts", "open")
def weights_by_stacked_parts(a: Attacker) -> Any:
    """Stacks the table below itself with a mark, and takes one part of everybody and both of the target."""
    rows = concat(a.T.with_columns(v=pl.lit(1)), a.T.with_columns(v=pl.lit(2)))
    return twice(a, rows, pl.col("v") == 1, pl.col("v") == 2)


@attack("inflation", "columns into rows", "open")
def weights_by_melted_columns(a: Attacker) -> Any:
    """Turns a column and its copy into rows, and takes one of everybody and both of the target."""
    rows = a.T.select("age", "sex", salary=salary, copy=salary).unpivot(["salary", "copy"], ["age", "sex"])
    rows = rows.with_columns(salary=pl.col("value"))
    return twice(a, rows, pl.col("variable") == "salary", pl.col("variable") == "copy")


@attack("inflation", "distinct units", "open")
def weights_by_persons_sums(a: Attacker) -> Any:
    """Sums each person's rows first: one day of everybody, two of the target."""
    visits, day = a.table("visits"), pl.col("day")
    found = []
    for rows in (day == 0, (day == 1) | (target & (day == 2))):
        each = visits.filter(mine & rows).group_by("id").agg(pay=salary.sum())
        found.append(a.value(each.select(pl.col("pay").sum())))
    return minus(found[1], found[0])


@attack(
    "inflation",
    "distinct units",
    "open",
    tolerance=0.03,
)
def weights_by_a_join_of_a_few(a: Attacker) -> Any:
    """Joins several rows per person in the smallest group that is answered."""
    day = pl.col("day")
    few = (age == 79) | (age == AGE) | ((age == 78) & mine)
    rows = a.T.join(a.table("visits").select("id", "day"), on="id").filter(few)
    once = a.value(rows.filter(day == 0).select(salary.sum()))
    return minus(a.value(rows.filter((day == 1) | (target & (day == 2))).select(salary.sum())), once)


@attack("differencing", "distinct units", "open")
def weights_by_days_and_counts(a: Attacker) -> Any:
    """The same by a mean and a count of rows."""
    visits, day = a.table("visits"), pl.col("day")
    found = []
    for rows in (mine & (day == 0), mine & ((day == 1) | (target & (day == 2)))):
        table = a.ask(visits.filter(rows).select(m=salary.mean(), c=salary.count()))
        mean, count = ((values(table, k) or [None])[0] for k in "mc")
        found.append(None if mean is None or count is None else mean * count)
    return minus(found[1], found[0])


# -- the audit takes weights for ones


EVENLY = "rows that repeat"
HOME, AWAY = mine & (town == TOWN), mine & (town == "b")


def once_more(a: Attacker, rows: Q, first: Any, second: Any, more: Any, what: Any = salary) -> Any:
    """Return what is left of two groups together when each of them is taken off: the target is in once more.

    Who is in the three is told apart by many people, and the third is the other two together.
    """
    parts = [rows.filter(group & first) for group in (HOME, AWAY)]
    one, two = (a.value(part.select(x=what.sum())) for part in parts)
    both = a.value(rows.filter(((HOME | AWAY) & second) | more).select(x=what.sum()))
    return minus(both, one, two)


def by_days(a: Attacker) -> Q:
    """Return everybody's row once per day."""
    return a.T.join(a.table("visits").select("id", "day"), on="id")


@attack("inflation", EVENLY, "history")
def group_and_group_and_a_joined_row(a: Attacker) -> Any:
    """Joins a table of several rows per person: two groups on one day, and both on another with two days of the target."""
    day = pl.col("day")
    return once_more(a, by_days(a), day == 0, day == 1, target & (day == 2))


@attack("inflation", EVENLY, "history")
def group_and_group_and_a_joined_row_first(a: Attacker) -> Any:
    """The same, the sum with the target's second row first."""
    day, rows = pl.col("day"), by_days(a)
    both = a.value(rows.filter(((HOME | AWAY) & (day == 1)) | (target & (day == 2))).select(salary.sum()))
    one, two = (a.value(rows.filter(group & (day == 0)).select(salary.sum())) for group in (HOME, AWAY))
    return minus(both, one, two)


@attack("inflation", EVENLY, "history")
def everybody_twice_less_once(a: Attacker) -> Any:
    """Joins several rows per person: two groups twice, one of them once, and the other once with two rows of the target."""
    day, rows = pl.col("day"), by_days(a)
    more = a.value(rows.filter((HOME & (day == 0)) | (target & (day == 1))).select(salary.sum()))
    once = a.value(rows.filter(AWAY & (day == 0)).select(salary.sum()))
    doubled = a.value(rows.filter((HOME | AWAY) & (day > 0)).select(salary.sum()))
    return minus(more, None if once is None or doubled is None else doubled / 2 - once)


@attack("inflation", EVENLY, "history")
def group_and_group_and_a_melted_row(a: Attacker) -> Any:
    """Turns two columns into rows beside the salary, and takes one of everybody and both of the target."""
    variable = pl.col("variable")
    rows = a.T.unpivot(["a8", "p8"], ["age", "sex", "town", "salary"])
    return once_more(a, rows, variable == "a8", variable == "a8", target)


@attack("inflation", EVENLY, "history")
def group_and_group_and_a_list_element(a: Attacker) -> Any:
    """Unpacks lists of an odd and an even number: two groups by the one, both by the other, the target by either."""
    even = pl.col("tags") % 2 == 0
    return once_more(a, a.T.explode("tags"), even, ~even, target)


@attack("inflation", EVENLY, "history", truth=tuple(s["debt"] - s["salary"] for s in SECRETS))  # type: ignore[operator]
def another_column_of_the_target(a: Attacker) -> Any:
    """Turns two columns into rows, and adds up one of them of everybody but of the target the other one."""
    variable = pl.col("variable")
    rows = a.T.unpivot(["salary", "debt"], ["age", "sex", "town"])
    first = variable == "salary"
    return once_more(a, rows, first, first & ~target, target & (variable == "debt"), pl.col("value"))


@attack("inflation", EVENLY, "history", truth="debt")
def dominated_group_by_doubled_rows(a: Attacker) -> Any:
    """Takes the sums of all other groups, each person's row twice, off the whole: one who has most of a group is left."""
    debt, clinic, rows = pl.col("debt"), pl.col("clinic"), by_days(a).filter(pl.col("day") < 2)
    left = a.value(a.T.select(debt.sum()))
    for number in (1, 2, 4, 5, 6, 7, 8):
        left = minus(left, a.value(rows.filter(clinic == number).select(debt.sum() / 2)))
    return minus(left, EVERYBODY_ELSE.filter(polars.col("clinic") == CLINIC)["debt"].sum())
