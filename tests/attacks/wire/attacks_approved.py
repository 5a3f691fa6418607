"""Attacks beside what an owner approved, and by numbers that give people without an answer one.

An owner lets some rows, or cells of a few people, be read. Who asks for these people and one more has that one's value. And where
a dozen who are all alike are asked for beside others of whom nothing is known, these may not count as people who differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from attack_list import BIT, attack
from attacks_versions import BED, NEAR, OFF, PAYS, SOUGHT, WARD, again, bed, given, hiv, pay, pays, table, total, ward
from bastion_plan.canonical import encode
from bastion_policy.model import Review
from bastion_wire import messages as m
from query import Q
from wire_arena import Attacker, minus, where

import bastion.expressions as pl

KNOWN = "what was approved is known"
ONE = (ward == 3) & (bed == SOUGHT)
SHOWN = (ward == 5) & (bed < 20)
#: ten people who have nothing
NOTHING = (ward == 3) & (bed >= 20) & (bed < 30)


def people(world: int) -> polars.DataFrame:
    """Return everybody's pay; ten of the third ward have none."""
    return table(pay=np.where((WARD == 3) & (BED >= 20) & (BED < 30), 0, pays(world)))


def offered(a: Attacker, **changes: Any) -> tuple[Q, str]:
    """The owner uploads the table, and decides case by case what is beyond the policy, unless nothing is ever (private)."""
    if a.setting != "private":
        changes["unsafe_handling"] = Review()
    return given(a, people(a.world), **changes)


def rows_of(rows: Q) -> Q:
    """Return what is asked for: the rows of twenty people."""
    return rows.filter(SHOWN).select("bed", "pay")


def cells_of(rows: Q, size: int) -> Q:
    """Return what is asked for: sums of a few people each, next to what needs approval."""
    return rows.filter(SHOWN).group_by((bed // size).alias("cell")).agg(pay.sum(), x=pay.first())


def known(a: Attacker, asked: Q, key: str = "bed", below: int = 20, of: str = "a") -> Any:
    """Have something approved for an identity; returns what those below a key come to, None where it is not told."""
    found = polars.DataFrame()
    filed = a.say(m.RequestAccess(encode(asked.plan), "for the study"), who=of)
    if isinstance(filed, m.Request):
        a.arena.owner.approve(filed.info.id)
        found = a.ask(asked, who=of)
    return found.filter(polars.col(key) < below)["pay"].sum() if {key, "pay"} <= set(found.columns) else None


def beside(a: Attacker, rows: Q, shown: Any, below: int) -> Any:
    """Ask for those below a bed, whose pays are known, and one more."""
    return minus(total(a, rows, (SHOWN & (bed < below)) | ONE), shown)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_approved_rows(a: Attacker) -> Any:
    """Has twenty people's rows approved, and asks for the sum of nine of them and the target."""
    rows, _ = offered(a)
    return beside(a, rows, known(a, rows_of(rows), below=9), 9)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_all_approved_rows(a: Attacker) -> Any:
    """The same of all twenty and the target."""
    rows, _ = offered(a)
    return beside(a, rows, known(a, rows_of(rows)), 20)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_rows_of_a_window(a: Attacker) -> Any:
    """The same of rows with the sum of their ward beside each."""
    rows, _ = offered(a)
    asked = rows.filter(SHOWN).with_columns(x=pay.sum().over("ward")).select("bed", "pay", "x")
    return beside(a, rows, known(a, asked, below=9), 9)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_rows_of_two_approvals(a: Attacker) -> Any:
    """Has ten people's rows approved, then ten others', and asks for five and four of them and the target."""
    rows, _ = offered(a)
    five = known(a, rows.filter(SHOWN & (bed < 10)).select("bed", "pay"), below=5)
    four = known(a, rows.filter(SHOWN & (bed >= 10)).select("bed", "pay"), below=14)
    nine = SHOWN & ((bed < 5) | bed.is_between(10, 13))
    return None if None in (five, four) else minus(total(a, rows, nine | ONE), five + four)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_approved_cells(a: Attacker) -> Any:
    """Has cells of five people approved, and asks for four of them and the target."""
    rows, _ = offered(a)
    return beside(a, rows, known(a, cells_of(rows, 5), "cell", 4), 20)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_two_approved_cells(a: Attacker) -> Any:
    """The same with two of the cells."""
    rows, _ = offered(a)
    return beside(a, rows, known(a, cells_of(rows, 5), "cell", 2), 10)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_approved_cells_of_one(a: Attacker) -> Any:
    """The same with cells of one person each."""
    rows, _ = offered(a)
    return beside(a, rows, known(a, cells_of(rows, 1), "cell", 9), 9)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_approved_means(a: Attacker) -> Any:
    """Has the means of five people each approved, and asks for the sum of all of them and the target."""
    rows, _ = offered(a)
    asked = rows.filter(SHOWN).group_by((bed // 5).alias("cell")).agg(pay.mean(), x=pay.first())
    means = known(a, asked, "cell", 4)
    return None if means is None else beside(a, rows, means * 5, 20)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def mean_of_one_beside_approved_rows(a: Attacker) -> Any:
    """Has twenty people's rows approved, and asks for the mean of nine of them and the target."""
    rows, _ = offered(a)
    shown = known(a, rows_of(rows), below=9)
    found = a.value(rows.filter((SHOWN & (bed < 9)) | ONE).select(pay.mean()))
    return minus(None if found is None else found * 10, shown)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_approved_rows_and_nothing(a: Attacker) -> Any:
    """Asks for approved rows, the target, and ten people who have nothing."""
    rows, _ = offered(a)
    shown = known(a, rows_of(rows))
    return minus(total(a, rows, SHOWN | ONE | NOTHING), shown)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def one_beside_approved_rows_person_by_person(a: Attacker) -> Any:
    """Asks for nine people of approved rows and the target as a sum of sums per person."""
    rows, _ = offered(a)
    shown = known(a, rows_of(rows), below=9)
    each = rows.filter((SHOWN & (bed < 9)) | ONE).group_by("id").agg(z=pay.sum())
    return minus(a.value(each.select(pl.col("z").sum())), shown)


def between_two(a: Attacker, approved_first: bool, asked: Any, key: str, below: int) -> Any:
    """Ask for the ward and what is approved, and for the ward without the target; the approval is before or in between."""
    rows, _ = offered(a)
    shown = known(a, asked(rows), key, below) if approved_first else None
    both = total(a, rows, SHOWN | (ward == 3))
    if not approved_first:
        shown = known(a, asked(rows), key, below)
    return minus(both, shown, total(a, rows, (ward == 3) & (bed != SOUGHT)))


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def rows_approved_before_two_questions(a: Attacker) -> Any:
    """Has rows approved, asks for them and a ward, and for the ward without the target."""
    return between_two(a, True, rows_of, "bed", 20)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def rows_approved_between_two_questions(a: Attacker) -> Any:
    """The same, the approval after the first question."""
    return between_two(a, False, rows_of, "bed", 20)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def cells_approved_before_two_questions(a: Attacker) -> Any:
    """The same with cells of five people, approved first."""
    return between_two(a, True, lambda rows: cells_of(rows, 5), "cell", 4)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def cells_approved_between_two_questions(a: Attacker) -> Any:
    """The same with cells of five people, approved after the first question."""
    return between_two(a, False, lambda rows: cells_of(rows, 5), "cell", 4)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def rows_approved_for_another_of_one_audience(a: Attacker) -> Any:
    """One of an audience has rows approved, the other asks for nine of them and the target."""
    rows, _ = offered(a, audiences={"lab": (a.identity("a").name, a.identity("b").name)})
    return beside(a, rows, known(a, rows_of(rows), below=9, of="b"), 9)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def rows_approved_of_an_earlier_version(a: Attacker) -> Any:
    """Has rows approved, and asks when every row has changed in another column."""
    rows, name = offered(a)
    shown = known(a, rows_of(rows), below=9)
    again(a, name, people(a.world).with_columns(seen=polars.lit(1)))
    return beside(a, rows, shown, 9)


@attack("approvals", KNOWN, OFF, PAYS, tolerance=NEAR, own=True)
def rows_approved_of_a_second_table(a: Attacker) -> Any:
    """Has rows of a table approved, and asks another one of the same people for nine of them and the target."""
    rows, other = offered(a)[0], offered(a)[0]
    return beside(a, other, known(a, rows_of(rows), below=9), 9)


# -- people without an answer

MISSING = "missing values"
#: twelve who have an answer, and twelve who have none
ASKED = (ward == 6) & (bed < 2 * SOUGHT)
ill = pl.col("ill")


def answers(a: Attacker) -> Q:
    """The owner has answers, as yes or no and in words, that a dozen in a ward do not give; in one world a dozen others say yes."""
    here = (WARD == 6) & (BED < SOUGHT)
    none = (WARD == 6) & (BED >= SOUGHT) & (BED < 2 * SOUGHT)
    yes = np.where(here, (BED % 2 == 0) | (a.world == 0), np.random.default_rng(12).random(WARD.size) < 0.4)
    told = [None if out else bool(v) for v, out in zip(yes, none, strict=True)]
    words = [None if v is None else "hiv" if v else "flu" for v in told]
    return given(a, table(hiv=told, ill=words, none=none))[0]


def twelve(found: Any) -> bool | None:
    """Return whether all of the dozen have it, by how many of those asked for do."""
    return None if found is None else abs(found - SOUGHT) < 0.5


def counted(a: Attacker, number: Any) -> bool | None:
    """Return whether all of the dozen have it, by a number of those asked for."""
    return twelve(a.value(answers(a).filter(ASKED).select(z=number)))


@attack("one person", MISSING, "homogeneity", BIT)
def missing_as_no(a: Attacker) -> Any:
    """Counts those who say yes, with those who say nothing as no."""
    return counted(a, hiv.fill_null(False).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def missing_as_yes(a: Attacker) -> Any:
    """Takes the mean of yes and no, with those who say nothing as yes."""
    found = a.value(answers(a).filter(ASKED).select(z=hiv.fill_null(True).mean()))
    return None if found is None else twelve(found * 2 * SOUGHT - SOUGHT)


@attack("one person", MISSING, "homogeneity", BIT)
def equal_or_missing(a: Attacker) -> Any:
    """Compares in a way in which a missing answer is another one."""
    return counted(a, hiv.eq_missing(pl.lit(True)).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def word_equal_or_missing(a: Attacker) -> Any:
    """The same of words."""
    return counted(a, ill.eq_missing(pl.lit("hiv")).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def another_word_or_missing(a: Attacker) -> Any:
    """Counts whose word is another one, those who say nothing among them."""
    found = a.value(answers(a).filter(ASKED).select(z=ill.ne_missing(pl.lit("hiv")).sum()))
    return None if found is None else twelve(2 * SOUGHT - found)


@attack("one person", MISSING, "homogeneity", BIT)
def condition_filled(a: Attacker) -> Any:
    """Counts a word, with what is not known of it as no."""
    return counted(a, (ill == "hiv").fill_null(False).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def word_filled(a: Attacker) -> Any:
    """Counts a word when missing ones are a word of their own."""
    return counted(a, (ill.fill_null("none") == "hiv").sum())


@attack("one person", MISSING, "homogeneity", BIT)
def word_in_a_list(a: Attacker) -> Any:
    """Looks for a word in a list in which a missing one is a word."""
    return counted(a, ill.is_in(["hiv"], nulls_equal=True).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def answers_by_when(a: Attacker) -> Any:
    """Counts yes as one and all else as nothing."""
    return counted(a, pl.when(hiv).then(1).otherwise(0).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def answers_that_are_there(a: Attacker) -> Any:
    """Counts those who say something and yes."""
    return counted(a, (hiv & hiv.is_not_null()).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def answers_as_text(a: Attacker) -> Any:
    """Counts yes as a text, when missing ones are another text."""
    return counted(a, (hiv.cast(str).fill_null("none") == "true").sum())


@attack("one person", MISSING, "homogeneity", BIT)
def answers_coalesced(a: Attacker) -> Any:
    """Takes no where there is no answer."""
    return counted(a, pl.coalesce(hiv, pl.lit(False)).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def parts_of_a_word(a: Attacker) -> Any:
    """Counts words with a letter, with missing ones as without."""
    return counted(a, ill.str.contains("h").fill_null(False).sum())


@attack("one person", MISSING, "homogeneity", BIT)
def missing_filled_in_a_step(a: Attacker) -> Any:
    """Gives those who say nothing a no in a step of its own."""
    filled = answers(a).filter(ASKED).with_columns(z=hiv.fill_null(False))
    return twelve(a.value(filled.select(pl.col("z").sum())))


@attack("one person", MISSING, "homogeneity", BIT)
def missing_filled_in_groups(a: Attacker) -> Any:
    """The same in a group for each ward, of half of it."""
    filled = answers(a).filter(bed < 2 * SOUGHT).with_columns(z=hiv.fill_null(False))
    return twelve(where(a.ask(filled.group_by("ward").agg(pl.col("z").sum())), "ward", 6, "z"))


@attack("one person", MISSING, "open", BIT)
def missing_filled_person_by_person(a: Attacker) -> Any:
    """Adds up each person's rows, which come to no where there is no answer."""
    each = answers(a).filter(ASKED).group_by("id").agg(z=hiv.sum())
    return twelve(a.value(each.select(pl.col("z").sum())))


@attack("one person", MISSING, "homogeneity", BIT)
def missing_as_no_in_the_largest(a: Attacker) -> Any:
    """Asks for the largest answer with a missing one as no: it is yes where at least ten of the dozen say yes."""
    found = a.ask(answers(a).filter(ASKED).select(z=hiv.fill_null(False).max()))
    return None if not found.height else found["z"][0] is True


@attack("one person", MISSING, "open", BIT)
def missing_as_no_in_two_nested_groups(a: Attacker) -> Any:
    """Counts a ward, and the ward without a dozen who may be alike and three who say nothing."""
    rows = answers(a)
    some = (ward == 6) & ((bed < SOUGHT + 3) | (bed >= 2 * SOUGHT))
    counts = [
        a.value(rows.filter(who).select(z=hiv.fill_null(False).sum())) for who in (some, some & (bed >= 2 * SOUGHT))
    ]
    return twelve(minus(*counts))
