"""Attacks by what is stored twice: a column and a corrected one, people by another type of identifier, rows in another order.

A scientist asks for a ward, and for less of it where the same values stand in another form. The people are those of
`attacks_versions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars
from attack_list import BIT, attack
from attacks_versions import (
    AFTER,
    BUT_DOZEN,
    BUT_ONE,
    DIFFERENCES,
    NEAR,
    OFF,
    PAYS,
    ROWS,
    THIRD,
    again,
    alike,
    all_alike,
    given,
    mixed,
    month,
    of_two_tables,
    paid,
    pay,
    pays,
    table,
    total,
    with_nothing,
    without,
)  # fmt: skip
from wire_arena import Attacker, minus

NEAR_ONES = "populations near earlier ones"

# -- a column that a table holds twice


def raw_and_other(a: Attacker, raw: Any, order: int = 1) -> Any:
    """Ask for the ward in the raw column, and for those after in the other one, in this order or the other."""
    rows, _ = given(a, table(pay=raw, paid=pays(a.world)))
    asked: list[tuple[str, Any]] = [("pay", THIRD), ("paid", AFTER)]
    found = {column: total(a, rows, who, column) for column, who in asked[::order]}
    return minus(found["pay"], found["paid"])


@attack("differencing", DIFFERENCES, OFF, PAYS, tolerance=NEAR)
def raw_and_imputed(a: Attacker) -> Any:
    """Asks for a ward in a column that a dozen have no value in, and for those after in the imputed column."""
    return raw_and_other(a, without(a.world))


@attack("differencing", DIFFERENCES, OFF, PAYS, tolerance=NEAR)
def imputed_and_raw(a: Attacker) -> Any:
    """The same, the imputed column first."""
    return raw_and_other(a, without(a.world), -1)


@attack("differencing", DIFFERENCES, OFF, PAYS, tolerance=NEAR)
def raw_and_corrected(a: Attacker) -> Any:
    """The same of a dozen who have nothing in the raw column."""
    return raw_and_other(a, with_nothing(a.world))


@attack("differencing", DIFFERENCES, OFF, PAYS, tolerance=NEAR)
def corrected_and_raw(a: Attacker) -> Any:
    """The same, the corrected column first."""
    return raw_and_other(a, with_nothing(a.world), -1)


@attack("differencing", DIFFERENCES, OFF, PAYS, tolerance=NEAR)
def raw_and_imputed_at_once(a: Attacker) -> Any:
    """Asks for both in one question, which chooses the people within its statistics."""
    rows, _ = given(a, table(pay=without(a.world), paid=pays(a.world)))
    found = a.ask(rows.select(x=pay.filter(THIRD).sum(), y=paid.filter(AFTER).sum()))
    return minus(found["x"][0], found["y"][0]) if {"x", "y"} <= set(found.columns) and found.height else None


@attack("differencing", DIFFERENCES, OFF, PAYS, tolerance=NEAR)
def raw_and_imputed_as_fractions(a: Attacker) -> Any:
    """The same with the imputed column as fractions."""
    rows, _ = given(a, table(pay=without(a.world), paid=pays(a.world).astype(float)))
    return minus(total(a, rows, THIRD), total(a, rows, AFTER, "paid"))


LIMIT = "exact: a column that says the same in other words (in cents, reversed) is another column"


@attack(
    "differencing", DIFFERENCES, OFF, PAYS, tolerance=NEAR,
    reached={"default": LIMIT, "strict": "within rounding: as under default"},
)  # fmt: skip
def raw_and_imputed_in_cents(a: Attacker) -> Any:
    """The same with the imputed column in cents."""
    rows, _ = given(a, table(pay=without(a.world), cents=pays(a.world) * 100))
    rest = total(a, rows, AFTER, "cents")
    return minus(total(a, rows, THIRD), None if rest is None else rest / 100)


@attack("one person", "homogeneity", OFF, BIT)
def raw_and_corrected_of_a_dozen(a: Attacker) -> Any:
    """Counts who has a disease by the raw column, with a dozen alike in it, and by the corrected one without them."""
    rows, _ = given(a, table(hiv=alike(a.world), flu=mixed()))
    return all_alike(minus(total(a, rows, THIRD, "hiv"), total(a, rows, BUT_DOZEN, "flu")))


# -- people whose identifier has another type


def retyped(a: Attacker, to: Callable[[polars.Series], polars.Series], first: Any = None, second: bool = False) -> Any:
    """Ask for the ward, and for the ward without the target when identifiers have another type."""
    frame = table(pay=pays(a.world))
    frame = frame if first is None else frame.with_columns(first(frame["id"]))
    other = frame.with_columns(to(frame["id"]))
    if second:
        return of_two_tables(a, frame, other, BUT_ONE)
    rows, name = given(a, frame)
    whole = total(a, rows, THIRD)
    again(a, name, other)
    return minus(whole, total(a, rows, BUT_ONE))


def _text(ids: polars.Series) -> polars.Series:
    return ids.cast(polars.String)


def _named(ids: polars.Series) -> polars.Series:
    return ("p" + ids.cast(polars.String)).alias(ids.name)


def _float(ids: polars.Series) -> polars.Series:
    return ids.cast(polars.Float64)


def _decimal_text(ids: polars.Series) -> polars.Series:
    return ids.cast(polars.Decimal(12, 2)).cast(polars.String)


def _enum(ids: polars.Series) -> polars.Series:
    return ids.cast(polars.Enum(ids.unique().sort()))


def _category(ids: polars.Series) -> polars.Series:
    return ids.cast(polars.Categorical)


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_fractions_as_identifiers(a: Attacker) -> Any:
    """Asks for a ward, and without the target when identifiers are stored as fractions."""
    return retyped(a, _float)


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_text_as_identifiers(a: Attacker) -> Any:
    """The same with identifiers as text."""
    return retyped(a, _text)


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_zeros_before_their_identifiers(a: Attacker) -> Any:
    """The same with identifiers as text of six digits."""
    return retyped(a, lambda ids: _text(ids).str.zfill(6))


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_numbers_instead_of_text(a: Attacker) -> Any:
    """The same with identifiers that were text, and are numbers."""
    return retyped(a, lambda ids: ids.cast(polars.Int64), _text)


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_categories_as_identifiers(a: Attacker) -> Any:
    """The same with text as categories."""
    return retyped(a, _category, _named)


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_enums_as_identifiers(a: Attacker) -> Any:
    """The same with text as an enumeration."""
    return retyped(a, _enum, _named)


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_decimals_as_identifiers(a: Attacker) -> Any:
    """The same with identifiers as decimals."""
    return retyped(a, lambda ids: ids.cast(polars.Decimal(12, 2)))


@attack("versions", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def people_with_decimals_as_text(a: Attacker) -> Any:
    """The same with identifiers as text of two decimals, as a decimal is written to a file."""
    return retyped(a, _decimal_text)


@attack("second datasets", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def second_table_with_decimals_as_text(a: Attacker) -> Any:
    """The same in a table of the same people."""
    return retyped(a, _decimal_text, second=True)


@attack("second datasets", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def second_table_with_fractions_as_identifiers(a: Attacker) -> Any:
    """Asks for a ward, and without the target of a table of the same people with identifiers as fractions."""
    return retyped(a, _float, second=True)


@attack("second datasets", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def second_table_with_text_as_identifiers(a: Attacker) -> Any:
    """The same with identifiers as text."""
    return retyped(a, _text, second=True)


@attack("second datasets", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def second_table_with_categories_as_identifiers(a: Attacker) -> Any:
    """The same with text as categories."""
    return retyped(a, _category, _named, second=True)


@attack("second datasets", NEAR_ONES, OFF, PAYS, tolerance=NEAR, own=True)
def second_table_with_enums_as_identifiers(a: Attacker) -> Any:
    """The same with text as an enumeration."""
    return retyped(a, _enum, _named, second=True)


# -- several rows per person, in another order


def exported(world: int, *months: int) -> polars.DataFrame:
    """Return a row per person and month, the months in an order."""
    return polars.concat([table(varied=pays(world, i)).with_columns(month=polars.lit(i)) for i in months])


def turned(a: Attacker, before: polars.DataFrame, after: polars.DataFrame) -> Any:
    """Ask for a month of the ward, and for the same month without the target in the next version."""
    rows, name = given(a, before)
    whole = total(a, rows, THIRD & (month == 0), "varied")
    again(a, name, after)
    return minus(whole, total(a, rows, BUT_ONE & (month == 0), "varied"))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def newest_month_first(a: Attacker) -> Any:
    """Asks for the oldest month, and without the target when a month has come in before it."""
    return turned(a, exported(a.world, 1, 0), exported(a.world, 2, 1, 0))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def oldest_month_dropped(a: Attacker) -> Any:
    """The same when an older month is in the file no more."""
    return turned(a, exported(a.world, 1, 0), exported(a.world, 0))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def newest_first_and_oldest_dropped(a: Attacker) -> Any:
    """The same with one month less and one more, newest first."""
    return turned(a, exported(a.world, 0, 1, 2), exported(a.world, 3, 2, 0))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def months_the_other_way_round(a: Attacker) -> Any:
    """The same when the file is turned round."""
    return turned(a, exported(a.world, 0, 1, 2), exported(a.world, 2, 1, 0))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def months_in_any_order(a: Attacker) -> Any:
    """The same when the rows stand in any order, with a month more."""
    shuffled = exported(a.world, 2, 1, 0).sample(fraction=1.0, shuffle=True, seed=3)
    return turned(a, exported(a.world, 0, 1), shuffled)


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def newest_first_while_other_columns_change(a: Attacker) -> Any:
    """The same with the newest month first, when the date of the export is another one in every row."""
    before, after = exported(a.world, 1, 0), exported(a.world, 2, 1, 0)
    return turned(a, before.with_columns(seen=polars.lit(0)), after.with_columns(seen=polars.lit(1)))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def newest_first_with_a_column_more(a: Attacker) -> Any:
    """The same when the table has got another column."""
    return turned(a, exported(a.world, 1, 0), exported(a.world, 2, 1, 0).with_columns(seen=polars.lit(1)))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def newest_first_with_a_column_less(a: Attacker) -> Any:
    """The same when a column is gone."""
    return turned(a, exported(a.world, 1, 0).with_columns(seen=polars.lit(1)), exported(a.world, 2, 1, 0))


@attack("second datasets", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def second_table_newest_first(a: Attacker) -> Any:
    """Asks for the oldest month, and without the target in a later export of the same people, newest first."""
    one, two = given(a, exported(a.world, 1, 0))[0], given(a, exported(a.world, 2, 1, 0))[0]
    whole = total(a, one, THIRD & (month == 0), "varied")
    return minus(whole, total(a, two, BUT_ONE & (month == 0), "varied"))
