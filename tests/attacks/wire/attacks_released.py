"""Attacks with an approval between two questions, and with approved numbers that are not of everybody in their cell.

An owner lets rows, or numbers that the policy holds back, be read. What the scientist was told of the same people before,
or what was chosen, weighed or drawn within the approved plan, must not leave one person's value over.
The people are those of `attacks_versions`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attack_list import BIT, attack
from attacks_approved import ONE, SHOWN
from attacks_versions import BED, NEAR, OFF, PAYS, SIZE, SOUGHT, WARD, bed, given, pay, pays, table, total, ward
from bastion_plan.canonical import encode
from bastion_policy.model import Review
from bastion_wire import messages as m
from query import Q
from wire_arena import Attacker, minus, where

import bastion.expressions as pl

FIRST, PICKED, TWICE = "told before it was shown", "chosen within an approval", "one run of an approval"
ALIKE, BLURRED = "told by an approval", "approved of a copy"
NINE = SHOWN & (bed < 9)
ill = pl.col("ill")


def offered(a: Attacker, frame: polars.DataFrame | None = None) -> Q:
    """The owner uploads the table, and decides case by case what is beyond the policy, unless nothing is ever (private)."""
    changes = {} if a.setting == "private" else {"unsafe_handling": Review()}
    return given(a, table(pay=pays(a.world)) if frame is None else frame, **changes)[0]


def released(a: Attacker, asked: Q) -> polars.DataFrame:
    """Return what the owner approved, an empty table where nothing can be filed."""
    filed = a.say(m.RequestAccess(encode(asked.plan), "for the study"))
    if not isinstance(filed, m.Request):
        return polars.DataFrame()
    a.arena.owner.approve(filed.info.id)
    return a.ask(asked)


def sum_of(found: polars.DataFrame, column: str = "pay") -> Any:
    """Return a column's sum, None where it was not told."""
    return found[column].sum() if column in found.columns and found.height else None


def weights() -> np.ndarray:
    """Return how much of the week everybody works: all of it, but for the target."""
    return np.where((WARD == 3) & (BED == SOUGHT), 0.5, 1.0)


def weighed(a: Attacker, rows: Q) -> Any:
    """Have pays weighted by hours approved by ward; returns the target's ward."""
    found = released(a, rows.group_by("ward").agg(x=(pay * pl.col("fte")).sum()))
    return where(found, "ward", 3, "x")


# -- asked before the owner showed


def after_a_count(a: Attacker, who: Any, shown: Any, below: int = SIZE) -> Any:
    """Count people, have rows of some approved, and ask for the sum of those who were counted."""
    rows = offered(a)
    a.value(rows.filter(who).select(pl.len()))
    found = released(a, rows.filter(shown).select("bed", "pay"))
    known = sum_of(found.filter(polars.col("bed") < below)) if found.height else None
    return minus(total(a, rows, who), known)


@attack("approvals", FIRST, OFF, PAYS, tolerance=NEAR, own=True)
def counted_before_rows_were_approved(a: Attacker) -> Any:
    """Counts nine people and the target, has the nine's rows approved among others, and asks for the sum of the ten."""
    return after_a_count(a, NINE | ONE, SHOWN, 9)


@attack("approvals", FIRST, OFF, PAYS, tolerance=NEAR, own=True)
def ward_counted_before_all_but_one_were_approved(a: Attacker) -> Any:
    """Counts a ward, has all its rows but one approved, and asks for the sum of the ward."""
    return after_a_count(a, ward == 3, (ward == 3) & (bed != SOUGHT))


@attack("approvals", FIRST, OFF, PAYS, tolerance=NEAR, own=True)
def whole_table_after_all_but_one_were_approved(a: Attacker) -> Any:
    """Has all rows of a small table but one approved, and asks for the sum of the whole table."""
    rows = offered(a, table(pay=pays(a.world)).filter(polars.col("ward") == 3))
    known = sum_of(released(a, rows.filter(bed != SOUGHT).select("bed", "pay")))
    return minus(a.value(rows.select(pay.sum())), known)


# -- chosen or weighed within what was approved


@attack("approvals", PICKED, OFF, PAYS, tolerance=NEAR, own=True)
def all_but_one_of_a_cell_approved(a: Attacker) -> Any:
    """Has the sum of all but the last in a ward's order approved, and asks for the sum of the ward."""
    rows = offered(a, table(pay=pays(a.world), place=(BED - SOUGHT - 1) % SIZE))
    first = pay.sort_by("place").slice(0, SIZE - 1).sum()
    known = sum_of(released(a, rows.filter(ward == 3).group_by("ward").agg(x=first)), "x")
    return minus(total(a, rows, ward == 3), known)


@attack("approvals", PICKED, OFF, PAYS, tolerance=NEAR, own=True)
def weighed_sums_approved(a: Attacker) -> Any:
    """Has sums weighted by working hours approved, in which the target counts half, and asks for plain ones."""
    rows = offered(a, table(pay=pays(a.world), fte=weights()))
    shown = weighed(a, rows)
    found = minus(where(a.ask(rows.group_by("ward").agg(pay.sum())), "ward", 3, "pay"), shown)
    return None if found is None else 2 * found


@attack("approvals", PICKED, OFF, PAYS, tolerance=NEAR, own=True)
def masked_sums_approved(a: Attacker) -> Any:
    """Has sums by ward of a product approved, of which nine people's is not zero; asks for the nine and the target."""
    rows = offered(a)
    found = released(a, rows.group_by("ward").agg(x=(pay * (bed < 9)).sum()))
    return minus(total(a, rows, NINE | ONE), where(found, "ward", 5, "x"))


@attack("approvals", PICKED, OFF, PAYS, tolerance=NEAR, own=True)
def masked_sum_of_a_few_approved(a: Attacker) -> Any:
    """The same with one product over the whole table."""
    rows = offered(a)
    known = sum_of(released(a, rows.select(x=(pay * ((ward == 5) & (bed < 9))).sum())), "x")
    return minus(total(a, rows, NINE | ONE), known)


# -- approved under one name, asked under another


def by_another_name(a: Attacker, second: bool) -> Any:
    """Have a weighted sum approved, and ask for the plain one of a column that is the same for nearly all."""
    paid = np.where(WARD > 50, 5, pays(a.world))
    frame = table(pay=pays(a.world), fte=weights())
    rows = offered(a, frame if second else frame.with_columns(paid=polars.Series(paid)))
    shown = weighed(a, rows)
    rows = offered(a, table(paid=pays(a.world))) if second else rows
    plain = where(a.ask(rows.group_by("ward").agg(pl.col("paid").sum())), "ward", 3, "paid")
    found = minus(plain, shown)
    return None if found is None else 2 * found


@attack("approvals", BLURRED, OFF, PAYS, tolerance=NEAR, own=True)
def weighed_and_asked_by_another_name(a: Attacker) -> Any:
    """Has sums weighted by working hours approved, and asks for plain ones of a column that is nearly the same."""
    return by_another_name(a, second=False)


@attack("approvals", BLURRED, OFF, PAYS, tolerance=NEAR, own=True)
def weighed_and_asked_of_a_second_table(a: Attacker) -> Any:
    """The same of a column of another name in a second table of these people."""
    return by_another_name(a, second=True)


# -- drawn in the run that is shown


def drawn(a: Attacker, asked: Any) -> Any:
    """Have twenty people approved whom the plan does not name, and ask for nine of them and the target."""
    rows = offered(a)
    found = released(a, asked(rows))
    if not {"ward", "bed", "pay"} <= set(found.columns):
        return None
    nine = found.filter(polars.col("ward") != 3).head(9)
    who = ONE
    for w, b in nine.select("ward", "bed").iter_rows():
        who = who | ((ward == w) & (bed == b))
    return minus(total(a, rows, who), float(nine["pay"].sum()))


@attack("approvals", TWICE, OFF, PAYS, tolerance=NEAR, own=True)
def first_groups_approved(a: Attacker) -> Any:
    """Has the first twenty of groups of one person approved, which stand in any order."""
    return drawn(a, lambda rows: rows.group_by("id").agg(pay.sum(), bed.sum(), ward.sum()).head(20))


@attack("approvals", TWICE, OFF, PAYS, tolerance=NEAR, own=True)
def first_groups_of_traits_approved(a: Attacker) -> Any:
    """The same with groups by ward and bed besides."""
    return drawn(a, lambda rows: rows.group_by("id", "ward", "bed").agg(pay.sum()).head(20))


@attack("approvals", TWICE, OFF, PAYS, tolerance=NEAR, own=True)
def a_drawn_sample_approved(a: Attacker) -> Any:
    """Has twenty rows approved that are drawn by shuffling."""

    def sampled(rows: Q) -> Q:
        mixed = rows.with_columns(o=pl.col("id").shuffle()).sort("o")
        return mixed.select("ward", "bed", "pay").head(20)

    return drawn(a, sampled)


# -- people who are all alike


@attack("approvals", ALIKE, OFF, BIT, own=True)
def count_of_a_dozen_alike_approved(a: Attacker) -> Any:
    """Has the count of a dozen approved who are all alike, and counts these and another dozen, of whom that tells."""
    two, others = (WARD == 6) & (BED < 12), (WARD == 6) & (BED >= 12) & (BED < 24)
    has = np.random.default_rng(12).random(WARD.size) < 0.4
    has = np.where(two, a.world != 0, np.where(others, a.world == 0, has))
    rows = offered(a, table(pay=pays(a.world), ill=np.where(has, "hiv", "flu")))
    count = (ill == "hiv").sum()
    known = sum_of(released(a, rows.filter((ward == 6) & (bed < 12)).select(z=count, x=pay.skew())), "z")
    both = a.value(rows.filter((ward == 6) & (bed < 24)).select(z=count))
    # where it is withheld in one of the worlds only, that tells as well
    found = minus(both, known)
    return found is not None and abs(found - 12) < 3
