"""Attacks by the order of rows: the last digits of a float, who is first, and keys that fail where nobody reads them."""

from __future__ import annotations

import math
from typing import Any

import polars
from attack_list import BIT, attack
from attacks_errors import beyond, fails, plain
from bastion_plan import nodes as n
from bastion_plan.expressions import Column
from query import Q, inline
from wire_arena import Attacker, minus
from wire_terms import age, nobody, salary, secret, target
from wire_worlds import HIGH, ID, LOW, PLACE, N

import bastion.expressions as pl
from bastion.expr.core import as_plan

points, score, day = pl.col("points"), pl.col("score"), pl.col("day")
#: the visit of day 2 comes first, but of the target that of day 1 if the secret holds
last_or_middle = plain(secret & (day == 1), -3, -day)
RULE, ORDER = "orders that nobody reads", "orders by stored columns"
#: pairs of columns, until one shows in its last digits whether the target comes first
PAIRS = [("score", other) for other in ("points", "age", "p8", "a8", "place", "clinic")]


def by_last_digits(a: Attacker, rows: Any) -> bool | None:
    """Return whether the target's row comes first by the secret: covariances in either order are known."""
    for one, two in PAIRS:
        yes, no, found = (a.value(rows(by).select(pl.cov(one, two))) for by in (target, nobody, secret))
        if None not in (yes, no, found) and yes != no:
            return bool(found == yes)
    return None


@attack("encoding", RULE, "open", BIT)
def last_digits_of_a_sort(a: Attacker) -> Any:
    """Puts the target's row first if the secret holds, and reads the last digits of a covariance."""
    return by_last_digits(a, lambda by: a.T.sort(by, descending=True))


@attack("encoding", RULE, "open", BIT)
def last_digits_of_a_sort_before_a_step(a: Attacker) -> Any:
    """The same, with further columns and rows left out in between."""
    return by_last_digits(
        a, lambda by: a.T.sort(by, descending=True).with_columns(z=points + 1).filter(pl.col("age") > 0)
    )


@attack("encoding", RULE, "open", BIT)
def last_digits_of_a_join(a: Attacker) -> Any:
    """Has a join with one's own labels give the rows in the order of the labels."""

    def rows(by: Any) -> Q:
        labels = inline({"k": [True, False], "label": [1, 2]})
        key = (as_plan(by),)
        return Q(n.Join(a.T.plan, labels.plan, "inner", key, (Column("k"),), maintain_order="right_left"))

    return by_last_digits(a, rows)


@attack("encoding", ORDER, "open", BIT)
def first_row_of_each_person(a: Attacker) -> Any:
    """Puts another visit of the target first if the secret holds, and adds up everybody's first one."""
    first = a.table("visits").sort(last_or_middle).group_by("id").agg(z=day.first())
    found = a.value(first.select(pl.col("z").sum()))
    return None if found is None else bool(found == 2 * N - 1)


@attack("encoding", ORDER, "open", BIT)
def order_inside_a_window(a: Attacker) -> Any:
    """The same by the order inside a window over each person."""
    first = a.table("visits").with_columns(z=day.first().over("id", order_by=last_or_middle))
    found = a.value(first.select(pl.col("z").sum()))
    return None if found is None else bool(found == 6 * N - 3)


@attack("encoding", ORDER, "open", BIT)
def shifted_in_a_chosen_order(a: Attacker) -> Any:
    """Sorts the target's visits by the secret, and adds up what stands before the last row of each person."""
    rows = a.table("visits").sort(plain(secret, -day, day)).with_columns(z=day.shift(1).over("id"))
    found = a.value(rows.select(pl.col("z").sum()))
    return None if found is None else bool(found == N + 2)


@attack("encoding", ORDER, "open", BIT)
def half_of_the_rows_by_number(a: Attacker) -> Any:
    """Sorts the target to the front by the secret, and filters by the numbers of rows."""
    rows = a.T.of(n.Reverse).of(n.Sort, (as_plan(secret),), (True,), maintain_order=True)
    found = a.value(rows.filter(pl.int_range(0, N) < N // 2).select(points.sum()))
    # everybody else's points are known
    others = a.others.reverse().head(N // 2)
    return None if found is None else bool(minus(found, int(others["points"].sum())) != 0)


def people(each: Q) -> Q:
    """Count the people of whom there is an aggregate."""
    return each.filter(pl.col("z").is_not_null()).select(pl.len())


@attack("existence", RULE, "open", BIT)
def overflow_in_a_sort(a: Attacker) -> Any:
    """Sorts by decimals that overflow where the target's salary is above a threshold, and takes a covariance."""

    def make(edge: float) -> Q:
        y = (salary * plain(target, 1.0, 0.0) / edge * 5).cast(pl.Decimal(38, 37))
        return a.T.sort(y + y).select(pl.cov("points", "age"))

    return fails(a, make)


@attack("existence", "aggregates of a person that can fail", "open", BIT)
def failing_aggregate_of_a_person(a: Attacker) -> Any:
    """Makes a thirteenth month of the secret in an aggregate of each person, and counts people."""
    month = lambda c: pl.date(2020, plain(beyond(c), 13, 1), 1)  # noqa: E731
    return fails(a, lambda c: people(a.T.group_by("id").agg(z=month(c).max())))


@attack("existence", "aggregates of a person that can fail", "open", BIT)
def unlike_lengths_of_a_person(a: Attacker) -> Any:
    """Leaves one visit of the target out by the secret, and adds all of them to what is left."""
    rest = lambda c: salary.filter(~(beyond(c) & (day == 1)))  # noqa: E731
    return fails(a, lambda c: people(a.table("visits").group_by("id").agg(z=(rest(c) + salary).sum())))


@attack("existence", "aggregates of a person that can fail", "open", BIT)
def one_value_of_a_person(a: Attacker) -> Any:
    """Asks for the only value among the visits of each person, where the secret leaves one or two."""
    only = lambda c: salary.filter((day == 0) | (beyond(c) & (day == 1))).item()  # noqa: E731
    return fails(a, lambda c: people(a.table("visits").group_by("id").agg(z=only(c))))


@attack("encoding", "values in one form", "open", BIT)
def sign_of_a_key_that_is_nought(a: Attacker) -> Any:
    """Puts some people into one cell, the target first, whose key is 0 or -0 as the salary lies above a threshold or below."""
    earlier = a.others.filter((polars.col("place") == PLACE) & (polars.col("id") < ID))["age"].unique()
    some = a.T.filter(pl.col("place") == PLACE, ~age.is_in(earlier.to_list()))

    def above(edge: float) -> bool | None:
        # beside a median the engine adds nobody up ahead of the others
        table = a.ask(some.group_by(((salary - edge) / 1e9).truncate().alias("key")).agg(age.median()))
        keys = table["key"].to_list() if "key" in table.columns else []
        return math.copysign(1, keys[0]) > 0 if len(keys) == 1 and keys[0] == 0 else None

    low, high = above(LOW), above(HIGH)
    return None if low is None or high is None else low and not high
