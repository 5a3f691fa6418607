"""Attacks by what an approval shows of people who are not in it: running totals, parts of lists, cells put together, lists without a value.

The people are those of `attacks_versions`; all but the target of a ward are shown in ways that do not look like it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attack_list import attack
from attacks_approved import ONE
from attacks_released import offered, released, sum_of
from attacks_versions import BED, NEAR, OFF, PAYS, SIZE, SOUGHT, THIRD, again, bed, given, pay, pays, table, total, ward
from bastion_policy.model import Review
from query import Q
from wire_arena import Attacker, minus, where

import bastion.expressions as pl

OTHERS, BEHIND, WITHOUT = "values of other rows in approved ones", "made of approved cells", "shown without the value"
#: in which the target is the last of the ward
PLACE = (BED - SOUGHT - 1) % SIZE
place = pl.col("place")
FIFTH, NINE = ward == 5, (ward == 5) & (bed < 9)


def placed(a: Attacker, **columns: Any) -> Q:
    return offered(a, table(pay=pays(a.world), place=PLACE, **columns))


@attack("approvals", OTHERS, OFF, PAYS, tolerance=NEAR, own=True)
def running_totals_approved(a: Attacker) -> Any:
    """Has the last but one of a ward's running totals approved, and asks for the sum of the ward."""
    rows = placed(a)
    totals = rows.sort("ward", "place").with_columns(cum=pay.cum_sum().over("ward"))
    found = released(a, totals.filter(place == SIZE - 2).select("ward", "cum"))
    return minus(total(a, rows, THIRD), where(found, "ward", 3, "cum"))


@attack("approvals", OTHERS, OFF, PAYS, tolerance=NEAR, own=True)
def values_of_rows_above_approved(a: Attacker) -> Any:
    """Has rows approved that show the pays of nine others, twenty rows above, and asks for those nine and the target."""
    rows = offered(a)
    moved = rows.sort("ward", "bed").with_columns(above=pay.shift(20))
    found = released(a, moved.filter(FIFTH & (bed >= 20) & (bed < 29)).select("bed", "above"))
    return minus(total(a, rows, NINE | ONE), sum_of(found, "above"))


@attack("approvals", OTHERS, OFF, PAYS, tolerance=NEAR, own=True)
def values_in_another_order_approved(a: Attacker) -> Any:
    """The same of a column that is put into another order than the rows."""
    rows = offered(a)
    turned = rows.filter(FIFTH).select(bed, x=pay.sort_by("bed", descending=True))
    found = released(a, turned.filter(bed < 9))
    return minus(total(a, rows, FIFTH & (bed > 30) | ONE), sum_of(found, "x"))


@attack("approvals", BEHIND, OFF, PAYS, tolerance=NEAR, own=True)
def part_of_an_approved_list(a: Attacker) -> Any:
    """Has the sum of all but the last of a list approved, which is taken after the list was made."""
    rows = placed(a)
    lists = rows.sort("place").group_by("ward", maintain_order=True).agg(pay)
    found = released(a, lists.select("ward", x=pay.list.head(SIZE - 1).list.sum()))
    return minus(total(a, rows, THIRD), where(found, "ward", 3, "x"))


@attack("approvals", BEHIND, OFF, PAYS, tolerance=NEAR, own=True)
def approved_cells_put_together(a: Attacker) -> Any:
    """Has sums of single people approved, put together by ward without the target."""
    rows = placed(a, more=np.where(BED % 2 == 0, 1, 2))
    single = rows.group_by("ward", "place").agg(pay.sum(), x=(place * pl.col("more")).sum()).filter(place < SIZE - 1)
    found = released(a, single.group_by("ward").agg(pay.sum(), pl.col("x").sum()))
    return minus(total(a, rows, THIRD), where(found, "ward", 3, "pay"))


@attack("approvals", WITHOUT, OFF, PAYS, tolerance=NEAR, own=True)
def shown_without_the_value(a: Attacker) -> Any:
    """Has a list of a ward without pays approved, and the pays of some in another one; asks for nine of these and the target."""
    rows = offered(a)
    released(a, rows.filter(THIRD).select("ward", "bed"))
    found = released(a, rows.filter(FIFTH & (bed < 20)).select("bed", "pay"))
    known = sum_of(found.filter(polars.col("bed") < 9)) if found.height else None
    return minus(total(a, rows, NINE | ONE), known)


@attack("approvals", WITHOUT, OFF, PAYS, tolerance=NEAR, own=True)
def shown_before_the_value_changed(a: Attacker) -> Any:
    """Has the rows of a ward approved, and asks for its sum when the target's pay has changed."""
    before = pays(a.world)
    before[3 * SIZE + SOUGHT] = 0
    changes = {} if a.setting == "private" else {"unsafe_handling": Review()}
    rows, name = given(a, table(pay=before), **changes)
    known = sum_of(released(a, rows.filter(THIRD).select("bed", "pay")))
    again(a, name, table(pay=pays(a.world)))
    return minus(
        total(a, rows, THIRD & (bed < 30)), None if known is None else known - before[3 * SIZE + 30 : 4 * SIZE].sum()
    )


@attack("approvals", OTHERS, OFF, PAYS, tolerance=NEAR, own=True)
def cells_of_values_above_approved(a: Attacker) -> Any:
    """Has one sum approved of the pays of nine others, which were put into rows twenty below, and asks for those nine and the target."""
    rows = offered(a)
    moved = rows.sort("ward", "bed").with_columns(above=pay.shift(20)).filter(FIFTH & (bed >= 20) & (bed < 29))
    found = released(a, moved.select(x=pl.col("above").sum()))
    return minus(total(a, rows, NINE | ONE), sum_of(found, "x"))


@attack("approvals", OTHERS, OFF, PAYS, tolerance=NEAR, own=True)
def exploded_windows_approved(a: Attacker) -> Any:
    """Has rows approved into which a window puts the pays of others, and asks for those and the target."""
    rows = offered(a)
    moved = rows.filter(FIFTH & (bed < 18)).with_columns(
        x=pay.sort_by("bed", descending=True).over("ward", mapping_strategy="explode")
    )
    found = released(a, moved.filter(bed >= 9).select("bed", "x"))
    return minus(total(a, rows, NINE | ONE), sum_of(found, "x"))


@attack("approvals", BEHIND, OFF, PAYS, tolerance=NEAR, own=True)
def a_number_beside_an_approved_list(a: Attacker) -> Any:
    """Has a list of beds approved with the sum of all but the last of a ward beside it."""
    rows = placed(a)
    lists = rows.filter(THIRD).sort("place").group_by("ward", maintain_order=True).agg(bed, x=pay.head(SIZE - 1).sum())
    found = released(a, lists)
    return minus(total(a, rows, THIRD), where(found, "ward", 3, "x"))


@attack("approvals", BEHIND, OFF, PAYS, tolerance=NEAR, own=True)
def the_largest_of_one_approved_number(a: Attacker) -> Any:
    """Has the largest of one number approved, which is the sum of all but the last of a ward."""
    rows = placed(a)
    only = rows.sort("place").group_by("ward", maintain_order=True).agg(x=pay.head(SIZE - 1).sum().max())
    found = released(a, only)
    return minus(total(a, rows, THIRD), where(found, "ward", 3, "x"))


@attack("approvals", WITHOUT, OFF, PAYS, tolerance=NEAR, own=True)
def shown_by_a_condition(a: Attacker) -> Any:
    """Has who of a ward earns more than 5,000 approved, and the pays of others; asks for nine of these and the target."""
    rows = offered(a)
    released(a, rows.filter(THIRD).select("bed", more=pay > 5000))
    found = released(a, rows.filter(FIFTH).select("bed", "pay"))
    known = found.filter(polars.col("bed") < 9) if found.height else found
    return minus(total(a, rows, NINE | ONE), sum_of(known, "pay"))
