"""Attacks by what people held in another version, or hold in another table.

A scientist asks for a ward, and elsewhere for those in it who come after the one who is sought. What a dozen others between the
two held where the first was asked is known: they had no result yet, or nothing. So what is left is one person's number.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars
from attack_list import BIT, attack
from bastion_policy.model import Role, RoleKind
from query import Q
from wire_arena import Attacker, minus, where

import bastion.expressions as pl

WARDS, SIZE = 60, 40
WARD, BED = np.arange(WARDS * SIZE) // SIZE, np.arange(WARDS * SIZE) % SIZE
#: who is sought lies in this bed of the third ward; those in the beds before are known to have had nothing at first
SOUGHT = 12
PAYS = (5682, 4959)
MOST = 10_000
DOZEN = (WARD == 3) & (BED < SOUGHT)
_MEASURE = Role(RoleKind.MEASURE, 0.0, float(MOST))
ROLES = {
    "id": Role(RoleKind.IDENTIFIER), "pay": _MEASURE, "paid": _MEASURE, "cents": Role(RoleKind.MEASURE, 0.0, 100.0 * MOST),
    "varied": Role(RoleKind.MEASURE, 0.0, float(MOST), varies=True), "hiv": Role(RoleKind.SENSITIVE), "flu": Role(RoleKind.SENSITIVE),
    "ill": Role(RoleKind.SENSITIVE),
}  # fmt: skip
pay, paid, hiv, ward, bed, month = (pl.col(c) for c in ("pay", "paid", "hiv", "ward", "bed", "month"))
THIRD = ward == 3
AFTER, BUT_ONE, BUT_DOZEN = (THIRD & c for c in (bed > SOUGHT, bed != SOUGHT, bed >= SOUGHT))
DIFFERENCES, ROWS, OFF = "differences", "people of several rows", "history"
NEAR = 0.003  #: how near numbers are that the strict profile rounds

# -- the tables


def pays(world: int, month: int = 0) -> np.ndarray:
    """Return everybody's pay, another one each month; that of who is sought is secret in month 0."""
    found = np.random.default_rng(11 + month).integers(1000, 9000, WARD.size)
    if month == 0:
        found[3 * SIZE + SOUGHT] = PAYS[world]
    return found


def table(**columns: Any) -> polars.DataFrame:
    """Return one row per person."""
    return polars.DataFrame({"id": np.arange(WARD.size), "ward": WARD, "bed": BED, **columns}, strict=False)


def without(world: int) -> list[int | None]:
    """Return the pays before the results of the dozen came in."""
    return [None if out else int(v) for v, out in zip(pays(world), DOZEN, strict=True)]


def with_nothing(world: int) -> np.ndarray:
    """Return the pays while the dozen have none."""
    return np.where(DOZEN, 0, pays(world))


def alike(world: int) -> np.ndarray:
    """Return who has the disease: all of the dozen, or none of them."""
    return np.where(DOZEN, world == 0, mixed())


def mixed() -> np.ndarray:
    """Return who has the disease later."""
    return np.random.default_rng(12).random(WARD.size) < 0.5


def roles_of(frame: polars.DataFrame) -> dict[str, Role]:
    """Return what the owner declares of a table's columns."""
    return {c: ROLES.get(c, Role(RoleKind.QUASI)) for c in frame.columns}


def given(a: Attacker, frame: polars.DataFrame, **changes: Any) -> tuple[Q, str]:
    """The owner uploads a table of these people; returns it and its name."""
    domain = f"{a.attack.name}-{a.setting}-{a.world}-{a.turn}"[-60:]
    ref, name = a.upload(frame, "id", roles=roles_of(frame), unit_domain=domain, **changes)
    return Q(ref), name


def again(a: Attacker, name: str, frame: polars.DataFrame) -> None:
    """The owner uploads a new version, which may have other columns."""
    owner = a.arena.owner
    policy = msgspec.structs.replace(owner.dataset(name).dataset.facts.policy, roles=roles_of(frame))
    owner.client.polars.send_df(frame, policy, name=name, replace=True)


def total(a: Attacker, rows: Q, who: Any, column: str = "pay", of: str = "a") -> Any:
    """Return the sum of a column over those who meet a condition."""
    return a.value(rows.filter(who).select(pl.col(column).sum()), who=of)


def before_and_after(a: Attacker, before: polars.DataFrame, *after: polars.DataFrame, of: str = "a") -> Any:
    """Ask for the ward in the first version, and for those after who is sought in the last; returns the difference."""
    rows, name = given(a, before)
    whole = total(a, rows, THIRD)
    for version in after:
        again(a, name, version)
    return minus(whole, total(a, rows, AFTER, of=of))


def of_two_tables(a: Attacker, one: polars.DataFrame, two: polars.DataFrame, less: Any = AFTER) -> Any:
    """Ask for the ward in a table, and for less of it in another one."""
    first, second = given(a, one)[0], given(a, two)[0]
    return minus(total(a, first, THIRD), total(a, second, less))


# -- results that came in later


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_that_came_in_later(a: Attacker) -> Any:
    """Asks for a ward while a dozen have no result, and when all have one for those after the dozen and the target."""
    return before_and_after(a, table(pay=without(a.world)), table(pay=pays(a.world)))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_of_those_who_had_nothing(a: Attacker) -> Any:
    """The same of a dozen who have nothing at first."""
    return before_and_after(a, table(pay=with_nothing(a.world)), table(pay=pays(a.world)))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_of_those_who_had_all(a: Attacker) -> Any:
    """The same of a dozen who have as much as there is at first."""
    most = np.where(DOZEN, MOST, pays(a.world))
    return minus(before_and_after(a, table(pay=most), table(pay=pays(a.world))), SOUGHT * MOST)


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_while_other_columns_change(a: Attacker) -> Any:
    """The same of missing results, while every row changes in another column."""
    seen = BED % 3
    return before_and_after(a, table(pay=without(a.world), seen=seen), table(pay=pays(a.world), seen=seen + 1))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_from_nothing_while_other_columns_change(a: Attacker) -> Any:
    """The same of those who had nothing, while every row changes in another column."""
    seen = BED % 3
    return before_and_after(a, table(pay=with_nothing(a.world), seen=seen), table(pay=pays(a.world), seen=seen + 1))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_with_a_column_more(a: Attacker) -> Any:
    """The same of missing results, when the table has got another column."""
    return before_and_after(a, table(pay=without(a.world)), table(pay=pays(a.world), seen=BED % 3))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_in_another_order_of_rows(a: Attacker) -> Any:
    """The same of missing results, when the rows have been put into another order."""
    return before_and_after(a, table(pay=without(a.world)), table(pay=pays(a.world)).reverse())


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_two_versions_later(a: Attacker) -> Any:
    """The same of missing results, with a version in between that nobody asks."""
    early = table(pay=without(a.world))
    return before_and_after(a, early, early.with_columns(seen=polars.lit(1)), table(pay=pays(a.world)))


def uploaded_each_month(a: Attacker, early: polars.DataFrame, late: polars.DataFrame, asked: bool = True) -> Any:
    """Ask for the ward, let three versions pass, of each of which another ward is asked, and ask for those after the target."""
    rows, name = given(a, early)
    whole = total(a, rows, THIRD)
    for i in range(3):
        again(a, name, early.with_columns(seen=polars.lit(i)))
        if asked:
            total(a, rows, ward == 20 + i, of="b")
    again(a, name, late)
    return minus(whole, total(a, rows, AFTER))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_five_versions_later(a: Attacker) -> Any:
    """Asks while a dozen have no result, and when all have one, four versions later; somebody asks of each of them."""
    return uploaded_each_month(a, table(pay=without(a.world)), table(pay=pays(a.world)))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_five_unasked_versions_later(a: Attacker) -> Any:
    """The same where nobody asks in between."""
    return uploaded_each_month(a, table(pay=without(a.world)), table(pay=pays(a.world)), asked=False)


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def known_zeros_five_versions_later(a: Attacker) -> Any:
    """Asks for a ward, and four versions later for those in it after a dozen who have nothing and the target."""
    frame = table(pay=with_nothing(a.world))
    return uploaded_each_month(a, frame, frame.with_columns(seen=polars.lit(9)))


@attack(
    "versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True,
    reached={
        "default": "exact: who knows by how much everybody's value changed subtracts that (outside knowledge)",
        "strict": "within the rounding: as under default",
    },
)  # fmt: skip
def results_with_a_known_rise(a: Attacker) -> Any:
    """Asks while a dozen have no result, and when all have one and everybody has got a hundred more."""
    found = before_and_after(a, table(pay=without(a.world)), table(pay=pays(a.world) + 100))
    return None if found is None else found + 100 * (SIZE - SOUGHT - 1)


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_that_came_and_went(a: Attacker) -> Any:
    """The same of results that are there in a version in between only."""
    early, late = table(pay=without(a.world)), table(pay=pays(a.world))
    rows, name = given(a, early)
    again(a, name, late)
    rest = total(a, rows, AFTER)
    again(a, name, early)
    return minus(total(a, rows, THIRD), rest)


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_that_were_taken_back(a: Attacker) -> Any:
    """Asks for those after the target first, and for the ward when a dozen have lost their results."""
    rows, name = given(a, table(pay=pays(a.world)))
    rest = total(a, rows, AFTER)
    again(a, name, table(pay=without(a.world)))
    return minus(total(a, rows, THIRD), rest)


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_under_another_name(a: Attacker) -> Any:
    """Asks for missing results, and for all of them when the column has got another name."""
    rows, name = given(a, table(pay=without(a.world)))
    whole = total(a, rows, THIRD)
    again(a, name, table(paid=pays(a.world)))
    return minus(whole, total(a, rows, AFTER, "paid"))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_by_their_mean(a: Attacker) -> Any:
    """Multiplies the means of those with a result, before and after, by how many they are known to be."""
    rows, name = given(a, table(pay=without(a.world)))
    before = a.value(rows.filter(THIRD).select(pay.mean()))
    again(a, name, table(pay=pays(a.world)))
    after = a.value(rows.filter(AFTER).select(pay.mean()))
    count = SIZE - SOUGHT
    return None if None in (before, after) else before * count - after * (count - 1)


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_person_by_person(a: Attacker) -> Any:
    """Asks for those after the target as a sum of sums per person."""
    rows, name = given(a, table(pay=with_nothing(a.world)))
    whole = total(a, rows, THIRD)
    again(a, name, table(pay=pays(a.world)))
    each = rows.filter(AFTER).group_by("id").agg(z=pay.sum())
    return minus(whole, a.value(each.select(pl.col("z").sum())))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_through_a_join(a: Attacker) -> Any:
    """Asks for those after the target through a join with another table of the same people."""
    rows, name = given(a, table(pay=without(a.world)))
    whole = total(a, rows, THIRD)
    again(a, name, table(pay=pays(a.world)))
    other = given(a, table(seen=BED % 3).select("id", "seen"))[0]
    return minus(whole, total(a, rows.join(other, on="id"), AFTER))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_in_groups(a: Attacker) -> Any:
    """Asks for the sums of all wards, and of all wards without their first beds when the results are there."""
    rows, name = given(a, table(pay=without(a.world)))
    whole = where(a.ask(rows.group_by("ward").agg(pay.sum())), "ward", 3, "pay")
    again(a, name, table(pay=pays(a.world)))
    rest = a.ask(rows.filter(bed > SOUGHT).group_by("ward").agg(pay.sum()))
    return minus(whole, where(rest, "ward", 3, "pay"))


@attack("versions", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_for_two_of_one_audience(a: Attacker) -> Any:
    """One of an audience asks before the results come in, the other one afterwards."""
    names = a.identity("a").name, a.identity("b").name
    rows, name = given(a, table(pay=without(a.world)), audiences={"lab": names})
    whole = total(a, rows, THIRD)
    again(a, name, table(pay=pays(a.world)))
    return minus(whole, total(a, rows, AFTER, of="b"))


@attack("versions", ROWS, OFF, PAYS, tolerance=NEAR, own=True)
def results_in_two_rows_per_person(a: Attacker) -> Any:
    """The same of one of two months, in which everybody has the same pay."""

    def months(values: Any) -> polars.DataFrame:
        return polars.concat([table(pay=values).with_columns(month=polars.lit(i)) for i in range(2)])

    rows, name = given(a, months(with_nothing(a.world)))
    whole = total(a, rows, THIRD & (month == 0))
    again(a, name, months(pays(a.world)))
    return minus(whole, total(a, rows, AFTER & (month == 0)))


def all_alike(found: Any) -> bool | None:
    """Return whether all of the dozen have it, by how many of them do; None where that is neither all nor none."""
    if found is not None:
        for all_of_them, expected in ((True, SOUGHT), (False, 0)):
            if abs(found - expected) <= 5:  # what two rounded counts may be away
                return all_of_them
    return None


@attack("versions", "homogeneity", OFF, BIT, own=True)
def a_dozen_who_were_all_alike(a: Attacker) -> Any:
    """Counts who has a disease with a dozen who all had it, or none, and without them when some do."""
    rows, name = given(a, table(hiv=alike(a.world)))
    whole = total(a, rows, THIRD, "hiv")
    again(a, name, table(hiv=mixed()))
    return all_alike(minus(whole, total(a, rows, BUT_DOZEN, "hiv")))


@attack("versions", "homogeneity", OFF, BIT, own=True)
def a_dozen_who_have_become_alike(a: Attacker) -> Any:
    """The same in the other order: they are all alike in the later version, which is asked with them."""
    rows, name = given(a, table(hiv=mixed()))
    rest = total(a, rows, BUT_DOZEN, "hiv")
    again(a, name, table(hiv=alike(a.world)))
    return all_alike(minus(total(a, rows, THIRD, "hiv"), rest))


# -- results that another table holds already


@attack("second datasets", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_of_a_second_table(a: Attacker) -> Any:
    """Asks for a ward in a table in which a dozen have no result, and for those after in one in which all have."""
    return of_two_tables(a, table(pay=without(a.world)), table(pay=pays(a.world)))


@attack("second datasets", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_of_a_second_table_from_nothing(a: Attacker) -> Any:
    """The same of a dozen who have nothing in the first table."""
    return of_two_tables(a, table(pay=with_nothing(a.world)), table(pay=pays(a.world)))


@attack("second datasets", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_of_a_second_table_first(a: Attacker) -> Any:
    """The same, of the table in which all have a result first."""
    full, early = given(a, table(pay=pays(a.world)))[0], given(a, table(pay=without(a.world)))[0]
    rest = total(a, full, AFTER)
    return minus(total(a, early, THIRD), rest)


@attack("second datasets", DIFFERENCES, OFF, PAYS, tolerance=NEAR, own=True)
def results_of_a_second_table_by_another_name(a: Attacker) -> Any:
    """The same, in a column of another name in the second table."""
    early, full = given(a, table(pay=without(a.world)))[0], given(a, table(paid=pays(a.world)))[0]
    return minus(total(a, early, THIRD), total(a, full, AFTER, "paid"))


@attack("second datasets", "homogeneity", OFF, BIT, own=True)
def a_dozen_alike_in_one_of_two_tables(a: Attacker) -> Any:
    """Counts who has a disease with a dozen who are alike in one table, and without them in another one."""
    one, two = (given(a, table(hiv=v))[0] for v in (alike(a.world), mixed()))
    return all_alike(minus(total(a, one, THIRD, "hiv"), total(a, two, BUT_DOZEN, "hiv")))
