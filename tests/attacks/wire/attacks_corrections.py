"""Attacks by a value that was corrected: the sum of a group before, and what comes to it afterwards.

Nobody is asked for twice: the group in one version (or table, or column), its halves or a larger group in the other. The people are
those of `attacks_versions`; the target's pay was wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars
from attack_list import attack
from attacks_versions import (
    BED,
    NEAR,
    OFF,
    PAYS,
    SIZE,
    SOUGHT,
    THIRD,
    WARD,
    again,
    bed,
    given,
    pays,
    table,
    total,
    ward,
)
from query import Q
from wire_arena import Attacker, minus, where

import bastion.expressions as pl

RULE = "values that few people changed"
TARGET = 3 * SIZE + SOUGHT
LOW, FOURTH = bed < 20, ward == 4
UNWATCHED = (
    "within rounding: under strict nothing depends on which sums one person dominates, so what follows is not watched"
)
Sums = Callable[[Attacker, Q, str], Any]


def wrong(world: int) -> np.ndarray:
    """Return the pays with nothing where the target's should be."""
    found = pays(world)
    found[TARGET] = 0
    return found


def plus(one: Any, two: Any) -> Any:
    return None if one is None or two is None else one + two


def halves(a: Attacker, rows: Q, column: str = "pay") -> Any:
    return plus(total(a, rows, THIRD & LOW, column), total(a, rows, THIRD & ~LOW, column))


def larger(a: Attacker, rows: Q, column: str = "pay") -> Any:
    return minus(total(a, rows, THIRD | FOURTH, column), total(a, rows, FOURTH, column))


def corrected(a: Attacker, sums: Sums) -> Any:
    """Ask for the ward, and for what comes to it once the pay is right and another column has changed for everybody."""
    rows, name = given(a, table(pay=wrong(a.world), seen=BED % 3))
    before = total(a, rows, THIRD)
    again(a, name, table(pay=pays(a.world), seen=BED % 2))
    return minus(sums(a, rows, "pay"), before)


@attack("versions", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def halves_after_a_correction(a: Attacker) -> Any:
    """Asks for a ward before a value is corrected, and for its halves afterwards."""
    return corrected(a, halves)


@attack("versions", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def two_wards_less_one_after_a_correction(a: Attacker) -> Any:
    """Asks for a ward before a value is corrected; afterwards for it with another one, and for the other one."""
    return corrected(a, larger)


@attack("versions", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def halves_of_two_later_versions(a: Attacker) -> Any:
    """Asks for a ward before a value is corrected, for a half of it in the next version, and for the other half in one after that."""
    rows, name = given(a, table(pay=wrong(a.world), seen=BED % 3))
    before = total(a, rows, THIRD)
    again(a, name, table(pay=pays(a.world), seen=BED % 2))
    low = total(a, rows, THIRD & LOW)
    again(a, name, table(pay=pays(a.world), seen=BED % 5))
    return minus(plus(low, total(a, rows, THIRD & ~LOW)), before)


@attack("second datasets", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def halves_in_a_second_table(a: Attacker) -> Any:
    """Asks for a ward in one table of the people, and for its halves in another one that has the right value."""
    one, two = (given(a, table(pay=values))[0] for values in (wrong(a.world), pays(a.world)))
    return minus(halves(a, two), total(a, one, THIRD))


@attack("second datasets", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def two_wards_less_one_in_a_second_table(a: Attacker) -> Any:
    """Asks for a ward in one table, and in the other one for it with another one, and for the other one."""
    one, two = (given(a, table(pay=values))[0] for values in (wrong(a.world), pays(a.world)))
    return minus(larger(a, two), total(a, one, THIRD))


@attack("differencing", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def halves_in_the_corrected_column(a: Attacker) -> Any:
    """Asks for a ward in a raw column, and for its halves in the corrected one."""
    rows, _ = given(a, table(pay=wrong(a.world), paid=pays(a.world)))
    return minus(halves(a, rows, "paid"), total(a, rows, THIRD))


# -- the same people in another form after the refresh


def of_wards(a: Attacker, rows: Q) -> Any:
    """Return the sum of the ward, asked of all wards at once."""
    return where(a.ask(rows.group_by("ward").agg(pl.col("pay").sum())), "ward", 3, "pay")


@attack("versions", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def another_form_after_a_correction(a: Attacker) -> Any:
    """Asks for all wards before a value is corrected, and for the one alone afterwards."""
    rows, name = given(a, table(pay=wrong(a.world), seen=BED % 3))
    before = of_wards(a, rows)
    again(a, name, table(pay=pays(a.world), seen=BED % 3 + 3))
    return minus(total(a, rows, THIRD), before)


@attack("versions", RULE, OFF, PAYS, tolerance=NEAR, own=True)
def nearly_the_same_people_after_a_correction(a: Attacker) -> Any:
    """The same of the ward without somebody else, whose pay is known; they are answered as the ward."""
    rows, name = given(a, table(pay=wrong(a.world), seen=BED % 3))
    before = of_wards(a, rows)
    again(a, name, table(pay=pays(a.world), seen=BED % 3 + 3))
    rest = total(a, rows, THIRD & (bed != 0))
    return None if None in (rest, before) else rest + int(pays(a.world)[3 * SIZE]) - before


@attack("differencing", "stored populations", OFF, PAYS, tolerance=NEAR, own=True)
def a_ward_less_one_after_a_refresh(a: Attacker) -> Any:
    """Asks for all wards, and for the ward without the target when every row has changed in another column."""
    rows, name = given(a, table(pay=pays(a.world), seen=BED % 3))
    before = of_wards(a, rows)
    again(a, name, table(pay=pays(a.world), seen=BED % 3 + 3))
    return minus(before, total(a, rows, THIRD & (bed != SOUGHT)))


@attack("differencing", "stored populations", OFF, PAYS, tolerance=NEAR, own=True)
def a_ward_that_somebody_left_in_a_refresh(a: Attacker) -> Any:
    """Asks for all wards, and for the ward alone when the target is in another one."""
    frame = table(pay=pays(a.world), seen=BED % 3)
    rows, name = given(a, frame)
    before = of_wards(a, rows)
    moved = np.where(np.arange(WARD.size) == TARGET, 4, WARD)
    again(a, name, frame.with_columns(seen=BED % 3 + 3, ward=moved))
    return minus(before, total(a, rows, THIRD))


@attack("versions", "linear audit", OFF, PAYS, tolerance=NEAR, own=True)
def somebody_who_came_where_values_are_missing(a: Attacker) -> Any:
    """Asks for the sum of a column with missing values before the target is in the table, and for two halves of it afterwards."""
    values = [None if b % 5 == 3 else int(v) for v, b in zip(pays(a.world), BED, strict=True)]
    frame = table(pay=values)
    rows, name = given(a, frame.filter(polars.col("id") != TARGET))
    before = a.value(rows.select(pl.col("pay").sum()))
    again(a, name, frame)
    return minus(plus(total(a, rows, ward < 30), total(a, rows, ward >= 30)), before)


# -- a sum that one person makes up, told in parts of several tables


def few_with_much(world: int) -> np.ndarray:
    """Return pays of which the target's makes up nearly all of their dozen's."""
    found = pays(world)
    found[(WARD == 3) & (BED < SOUGHT)] = 1
    return found


def dozen(a: Attacker, tables: tuple[Q, Q], columns: tuple[str, str]) -> Any:
    """Return the sum of a dozen of whom the target has nearly all: of them with two others, less each of the two."""
    (one, two), (here, there) = tables, columns
    every = total(a, one, (ward == 3) & (bed <= SOUGHT) | (ward == 5) | (ward == 6), here)
    return minus(minus(every, total(a, two, ward == 5, there)), total(a, two, ward == 6, there))


@attack("second datasets", "dominance", OFF, PAYS, tolerance=0.05, own=True, reached={"strict": UNWATCHED})
def a_dominated_dozen_in_parts_of_two_tables(a: Attacker) -> Any:
    """Asks for a dominated dozen with two wards in one table, and for the two wards in another one that holds the same."""
    one, two = (given(a, table(pay=few_with_much(a.world)))[0] for _ in range(2))
    return dozen(a, (one, two), ("pay", "pay"))


@attack("differencing", "dominance", OFF, PAYS, tolerance=0.05, own=True)
def a_dominated_dozen_in_parts_of_two_columns(a: Attacker) -> Any:
    """The same in two columns of one table that are equal."""
    rows, _ = given(a, table(pay=few_with_much(a.world), paid=few_with_much(a.world)))
    return dozen(a, (rows, rows), ("pay", "paid"))


# -- two columns that are equal, asked in turn

BOTH = "two columns that hold the same"


def some_missing(world: int) -> list[int | None]:
    """Return the pays of the first half of each ward; of the others there is none."""
    return [int(v) if place < 20 else None for v, place in zip(pays(world), BED, strict=True)]


@attack("differencing", BOTH, OFF, PAYS, tolerance=NEAR, own=True)
def hidden_by_who_has_no_value_in_a_copy(a: Attacker) -> Any:
    """Asks for a ward in one column, and for it without the target and a dozen who have no value in an equal one."""
    rows, _ = given(a, table(pay=some_missing(a.world), paid=some_missing(a.world)))
    rest = total(a, rows, THIRD & (bed != SOUGHT) & (bed < 32), "paid")
    return minus(total(a, rows, THIRD), rest)


@attack("versions", BOTH, OFF, PAYS, tolerance=NEAR, own=True)
def hidden_by_who_had_no_value(a: Attacker) -> Any:
    """The same with one column, in the next version of which nothing is missing: a 0 stands there."""
    rows, name = given(a, table(pay=some_missing(a.world)))
    whole = total(a, rows, THIRD)
    again(a, name, table(pay=[v or 0 for v in some_missing(a.world)]))
    return minus(whole, total(a, rows, THIRD & (bed != SOUGHT) & (bed < 32)))


@attack("differencing", BOTH, OFF, PAYS, tolerance=NEAR, own=True)
def raw_and_corrected_in_one_column(a: Attacker) -> Any:
    """Turns the raw column and the corrected one into rows, and asks for the sum of either in one question."""
    rows, _ = given(a, table(pay=wrong(a.world), paid=pays(a.world)))
    found = a.ask(
        rows.filter(THIRD).unpivot(on=["pay", "paid"], index=["id"]).group_by("variable").agg(x=pl.col("value").sum())
    )
    return minus(*(where(found, "variable", c, "x") for c in ("paid", "pay")))
