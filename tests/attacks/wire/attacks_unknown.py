"""Attacks by what nobody can compare: a column of another type, that is gone for a version, that is one of too many.

Whether somebody's value has changed is then not known, and people of whom nothing is known hide nobody. A scientist asks
for a ward, and for those in it who come after the one who is sought: the dozen between the two are known to have nothing,
and nothing has changed. The people are those of `attacks_versions`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars
from attack_list import BIT, attack
from attacks_copies import exported
from attacks_versions import (
    AFTER,
    BED,
    BUT_ONE,
    DOZEN,
    NEAR,
    OFF,
    PAYS,
    SIZE,
    SOUGHT,
    THIRD,
    WARD,
    again,
    before_and_after,
    given,
    mixed,
    month,
    paid,
    pay,
    pays,
    roles_of,
    table,
    total,
    ward,
    with_nothing,
)  # fmt: skip
from bastion_policy.model import Role, RoleKind
from query import Q
from wire_arena import Attacker, minus

import bastion.expressions as pl

UNKNOWN, ITEMS, COPIES = "what is not known", "values of a second table", "one person between copies"
TARGET = 3 * SIZE + SOUGHT


LEAST = 12.41  #: what the dozen are known to have, as little as there is


def of_two_versions(a: Attacker, before: polars.DataFrame, after: polars.DataFrame, **roles: Role) -> Any:
    """Ask for the ward in one version, and for those after the target in the next; columns may have roles of their own."""
    ref, name = a.upload(before, "id", roles=roles_of(before) | roles)
    whole = total(a, Q(ref), THIRD)
    owner = a.arena.owner
    policy = msgspec.structs.replace(owner.dataset(name).dataset.facts.policy, roles=roles_of(after) | roles)
    owner.client.polars.send_df(after, policy, name=name, replace=True)
    return minus(whole, total(a, Q(ref), AFTER))


def at_two_widths(a: Attacker, *types: Any) -> Any:
    """The same where the values, which half the width cannot hold, are stored in two ways."""
    frame = table(pay=np.where(DOZEN, LEAST, pays(a.world) + 0.37))
    versions = (frame.with_columns(polars.col("pay").cast(t)) for t in types)
    found = of_two_versions(a, *versions, pay=Role(RoleKind.MEASURE, LEAST - 0.01, 10_000.0))
    return minus(found, SOUGHT * LEAST)


@attack("versions", UNKNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def half_as_wide_in_the_next_version(a: Attacker) -> Any:
    """Asks for a ward, and for those after the target when the same values are stored at half the width."""
    return at_two_widths(a, polars.Float64, polars.Float32)


@attack("versions", UNKNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def twice_as_wide_in_the_next_version(a: Attacker) -> Any:
    """The same the other way round."""
    return at_two_widths(a, polars.Float32, polars.Float64)


@attack("versions", UNKNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def newest_first_at_half_the_width(a: Attacker) -> Any:
    """Asks for one of two months, and without the target when the file is turned round and stored at half the width."""
    before = exported(a.world, 0, 1).with_columns(polars.col("varied") + 0.37)
    after = exported(a.world, 1, 0).with_columns((polars.col("varied") + 0.37).cast(polars.Float32))
    rows, name = given(a, before)
    whole = total(a, rows, THIRD & (month == 0), "varied")
    again(a, name, after.with_columns(polars.col("month").cast(polars.String)))
    return minus(whole, total(a, rows, BUT_ONE & (month == "0"), "varied"))


@attack("versions", UNKNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def gone_for_a_version(a: Attacker) -> Any:
    """Asks in the first of seven versions and in the last, while the column has another name in the last but one."""
    frame = table(pay=with_nothing(a.world))
    rows, name = given(a, frame)
    whole = total(a, rows, THIRD)
    for i in range(6):
        seen = frame.with_columns(seen=polars.lit(i))
        again(a, name, seen.rename({"pay": "paid"}) if i == 4 else seen)
        a.value(rows.filter(ward == 20 + i).select(pl.len()))
    return minus(whole, total(a, rows, AFTER))


@attack("versions", UNKNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_of_too_many_columns(a: Attacker) -> Any:
    """Asks in two versions of a table with more columns than are compared, before the one that is asked."""
    many = {f"c{i:03}": np.zeros(WARD.size, np.int8) for i in range(260)}
    frame = table(**many, pay=with_nothing(a.world))
    later = frame.with_columns(seen=polars.lit(1))
    return of_two_versions(a, frame, later, **dict.fromkeys(many, Role(RoleKind.SENSITIVE)))


# -- another column that agrees in some rows


def with_another(values: Any) -> polars.DataFrame:
    """Return a table with a second column, which is another one for the ward and for a third of all people."""
    other = np.random.default_rng(13).integers(1000, 9000, WARD.size)
    differs = ((WARD == 3) & (BED != SOUGHT)) | (WARD % 3 == 0)
    return table(pay=values, paid=np.where(differs, other, values))


@attack("differencing", UNKNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def beside_a_column_that_agrees_in_some_rows(a: Attacker) -> Any:
    """Asks for a ward and for those after the target, while a column that is not asked is the same for two thirds."""
    rows, _ = given(a, with_another(with_nothing(a.world)))
    return minus(total(a, rows, THIRD), total(a, rows, AFTER))


@attack("versions", UNKNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def a_version_later_beside_such_a_column(a: Attacker) -> Any:
    """The same with another version of the table in between."""
    frame = with_another(with_nothing(a.world))
    return before_and_after(a, frame, frame.with_columns(seen=polars.lit(1)))


@attack("versions", UNKNOWN, OFF, PAYS, tolerance=0.02, own=True)
def a_version_later_of_who_holds_nearly_all(a: Attacker) -> Any:
    """The same where nobody's pay is known, but the dozen have next to nothing beside the target's."""
    frame = with_another(np.where(DOZEN, BED % 7, pays(a.world)))
    return before_and_after(a, frame, frame.with_columns(seen=polars.lit(1)))


# -- one value that changes in a table whose people another one brought


def changed(a: Attacker, column: str, before: Any, after: Any, joined: bool = False) -> Any:
    """Ask another table of these people, and the same of this one before and after a value came in."""
    first = given(a, table(seen=BED % 3).select("id", "seen"))[0]
    a.value(first.select(pl.len()))
    rows, name = given(a, table(**{column: before}))
    asked = first.join(rows, on="id") if joined else rows
    one = total(a, asked, THIRD, column)
    again(a, name, table(**{column: after}))
    return minus(total(a, asked, THIRD, column), one)


def nothing_yet(world: int) -> np.ndarray:
    """Return the pays while the target has none."""
    return np.where(np.arange(WARD.size) == TARGET, 0, pays(world))


@attack("versions", ITEMS, OFF, PAYS, tolerance=NEAR, own=True)
def a_pay_that_came_in_to_a_second_table(a: Attacker) -> Any:
    """Asks for a ward before and after one pay came in, in a table whose people were asked for in another one first."""
    return changed(a, "pay", nothing_yet(a.world), pays(a.world))


@attack("versions", ITEMS, OFF, PAYS, tolerance=NEAR, own=True)
def a_pay_that_came_in_to_a_joined_table(a: Attacker) -> Any:
    """The same through a join of the two tables."""
    return changed(a, "pay", nothing_yet(a.world), pays(a.world), joined=True)


@attack("versions", ITEMS, OFF, BIT, own=True)
def a_diagnosis_that_came_in_to_a_second_table(a: Attacker) -> Any:
    """The same of a diagnosis, counted."""
    target = np.arange(WARD.size) == TARGET
    found = changed(a, "hiv", mixed() & ~target, np.where(target, a.world == 0, mixed()))
    return None if found is None else found == 1


# -- copies that differ in one person


def of_copies(a: Attacker, first: Any, second: Any, tables: bool) -> Any:
    """Ask for a ward in two columns, of one table or of two; returns the second less the first."""
    if not tables:
        rows, _ = given(a, table(pay=first, paid=second))
        return minus(total(a, rows, THIRD, "paid"), total(a, rows, THIRD))
    one, two = given(a, table(pay=first))[0], given(a, table(pay=second))[0]
    before = total(a, one, THIRD)
    return minus(total(a, two, THIRD), before)


@attack("differencing", COPIES, OFF, PAYS, tolerance=NEAR)
def one_imputed_value(a: Attacker) -> Any:
    """Asks for the same ward in a column in which the target alone has no value, and in the imputed one."""
    raw = [None if i == TARGET else int(v) for i, v in enumerate(pays(a.world))]
    return of_copies(a, raw, pays(a.world), tables=False)


@attack("differencing", COPIES, OFF, PAYS, tolerance=NEAR)
def one_corrected_value(a: Attacker) -> Any:
    """The same of a target who has nothing in the raw column."""
    return of_copies(a, nothing_yet(a.world), pays(a.world), tables=False)


@attack("second datasets", COPIES, OFF, PAYS, tolerance=NEAR, own=True)
def one_value_of_a_second_table(a: Attacker) -> Any:
    """The same in two tables, in columns of one name."""
    return of_copies(a, nothing_yet(a.world), pays(a.world), tables=True)


@attack("second datasets", COPIES, OFF, PAYS, tolerance=NEAR, own=True)
def one_imputed_value_of_a_second_table(a: Attacker) -> Any:
    """The same of a value that is missing in the first table, in columns of two names."""
    raw = [None if i == TARGET else int(v) for i, v in enumerate(pays(a.world))]
    one, two = given(a, table(pay=raw))[0], given(a, table(paid=pays(a.world)))[0]
    before = total(a, one, THIRD)
    return minus(total(a, two, THIRD, "paid"), before)


def diagnosis(a: Attacker) -> Any:
    """Return by how many a ward's count is higher in a column that was corrected for the target alone than in the raw one."""
    target = np.arange(WARD.size) == TARGET
    rows, _ = given(a, table(hiv=mixed() & ~target, flu=np.where(target, a.world == 0, mixed())))
    return minus(total(a, rows, THIRD, "flu"), total(a, rows, THIRD, "hiv"))


@attack("differencing", COPIES, OFF, BIT)
def one_corrected_diagnosis(a: Attacker) -> Any:
    """Counts a ward in a raw column of yes and no, and in one that was corrected for the target alone."""
    found = diagnosis(a)
    return None if found is None else found == 1


@attack("differencing", COPIES, OFF, BIT)
def one_corrected_diagnosis_by_what_is_withheld(a: Attacker) -> Any:
    """The same, and takes it for a difference where the second count is withheld."""
    return diagnosis(a) in (None, 1)


@attack("differencing", COPIES, OFF, PAYS, tolerance=NEAR)
def one_corrected_value_at_once(a: Attacker) -> Any:
    """Asks for the ward in both columns in one question."""
    rows, _ = given(a, table(pay=nothing_yet(a.world), paid=pays(a.world)))
    found = a.ask(rows.filter(THIRD).select(x=pay.sum(), y=paid.sum()))
    return minus(found["y"][0], found["x"][0]) if {"x", "y"} <= set(found.columns) and found.height else None


@attack("differencing", COPIES, OFF, PAYS, tolerance=NEAR)
def one_corrected_value_by_a_difference(a: Attacker) -> Any:
    """Adds up what the two columns differ by, which is nothing for everybody else."""
    rows, _ = given(a, table(pay=nothing_yet(a.world), paid=pays(a.world)))
    return a.value(rows.filter(THIRD).select(z=(paid - pay).sum()))


@attack("second datasets", COPIES, OFF, PAYS, tolerance=NEAR, own=True)
def one_value_of_a_joined_table(a: Attacker) -> Any:
    """Asks for both in one question, through a join of two tables."""
    raw = given(a, table(pay=nothing_yet(a.world)))[0]
    other = given(a, table(paid=pays(a.world)).select("id", "paid"))[0]
    found = a.ask(raw.join(other, on="id").filter(THIRD).select(x=pay.sum(), y=paid.sum()))
    return minus(found["y"][0], found["x"][0]) if {"x", "y"} <= set(found.columns) and found.height else None
