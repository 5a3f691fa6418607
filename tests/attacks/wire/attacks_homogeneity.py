"""Attacks on what holds for all of a group: shares of nought or one, sums like counts, single values."""

from __future__ import annotations

from typing import Any

from attack_list import attack
from wire_arena import Attacker, minus, values, where

import bastion.expressions as pl


@attack("one person", "homogeneity", "homogeneity", "clinic")
def everybody_of_a_clinic(a: Attacker) -> Any:
    """Reads a share of nought or one in a group: it holds for each of its members."""
    found = where(a.ask(a.T.group_by("clinic").agg(pl.col("hiv").mean())), "clinic", 3, "hiv")
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "homogeneity", "clinic")
def everybody_of_a_clinic_by_sums(a: Attacker) -> Any:
    """Compares the sum of a group with its count."""
    found = a.ask(a.T.filter(pl.col("clinic") == 3).select(s=pl.col("hiv").sum(), n=pl.col("hiv").count()))
    one, count = (values(found, c)[0] if values(found, c) else None for c in ("s", "n"))
    return None if one is None or one not in (0, count) else one == count


@attack("one person", "homogeneity", "homogeneity", "clinic")
def nobody_else_of_a_clinic(a: Attacker) -> Any:
    """Reads the share of the opposite in a group."""
    found = where(a.ask(a.T.group_by("clinic").agg(x=(~pl.col("hiv")).mean())), "clinic", 3, "x")
    return found == 0.0 if found in (0.0, 1.0) else None


def in_the_clinic(a: Attacker, expr: Any, rows: Any = None) -> Any:
    """Return a statistic of the clinic, from a table by clinic or from the clinic alone."""
    if rows is None:
        return where(a.ask(a.T.group_by("clinic").agg(x=expr)), "clinic", 3, "x")
    return a.value(rows.select(x=expr))


hiv, grade = pl.col("hiv"), pl.col("grade")
clinic = pl.col("clinic") == 3


@attack("one person", "homogeneity", "open", "clinic")
def all_of_a_clinic(a: Attacker) -> Any:
    """Asks whether all of a group have it."""
    found, some = in_the_clinic(a, hiv.all()), in_the_clinic(a, hiv.any())
    return found if found is not None and found == some else None


@attack("one person", "homogeneity", "homogeneity", "clinic")
def bits_of_a_clinic_as_numbers(a: Attacker) -> Any:
    """Casts the Boolean to a number before its mean."""
    found = in_the_clinic(a, hiv.cast(pl.Int64).mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "open", "clinic")
def bits_of_a_clinic_moved(a: Attacker) -> Any:
    """Moves and scales the Boolean before its mean."""
    found = in_the_clinic(a, (hiv.cast(pl.Float64) * 3 - 7).mean())
    return None if found is None or round(found, 9) not in (-7, -4) else round(found, 9) == -4


@attack(
    "one person",
    "homogeneity",
    "homogeneity",
    "clinic",
)
def clinic_less_the_others(a: Attacker) -> Any:
    """Subtracts the other clinics' counts from everybody's."""
    total = a.value(a.T.select(hiv.sum()))
    rest = a.value(a.T.filter(~clinic).select(hiv.sum()))
    found = minus(total, rest)
    return None if found not in (0, 15) else found == 15


@attack("one person", "homogeneity", "homogeneity", "clinic")
def clinic_less_the_cells_that_are_shown(a: Attacker) -> Any:
    """Subtracts the clinics that are shown from everybody's count."""
    total, found = a.value(a.T.select(hiv.sum())), a.ask(a.T.group_by("clinic").agg(hiv.sum()))
    if "clinic" not in found.columns:
        return None
    mine = where(found, "clinic", 3, "hiv")
    shown = [v for c, v in zip(found["clinic"], found["hiv"], strict=True) if c not in (None, 3)]
    left = mine if mine is not None else minus(total, *shown)
    return None if left not in (0, 15) else left == 15


@attack("one person", "homogeneity", "homogeneity", "clinic")
def share_of_a_grade(a: Attacker) -> Any:
    """Takes the share of one value of a sensitive text in a group."""
    found = in_the_clinic(a, (grade == "hi").mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "homogeneity", "clinic")
def share_of_grades_but_one(a: Attacker) -> Any:
    """Takes the share of all other values."""
    found = in_the_clinic(a, (grade != "lo").mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack("one person", "homogeneity", "open", "clinic")
def share_of_listed_grades(a: Attacker) -> Any:
    """Takes the share of values in a list."""
    found = in_the_clinic(a, grade.is_in(["hi", "mid"]).mean())
    return bool(found) if found in (0.0, 1.0) else None


@attack(
    "one person",
    "homogeneity",
    "homogeneity",
    "clinic",
)
def commonest_grade(a: Attacker) -> Any:
    """Compares the smallest with the largest text of a group."""
    low, high = in_the_clinic(a, grade.min()), in_the_clinic(a, grade.max())
    return low == "hi" if low is not None and low == high else None


@attack("one person", "homogeneity", "open", "clinic")
def grades_counted(a: Attacker) -> Any:
    """Counts the values of a sensitive text in a group."""
    found = values(a.ask(a.T.filter(clinic).select(grade.value_counts())), "grade")
    return found[0]["grade"] == "hi" if len(found) == 1 else None


@attack("one person", "homogeneity", "open", "clinic")
def distinct_grades(a: Attacker) -> Any:
    """Lists the distinct values of a group."""
    found = values(a.ask(a.T.filter(clinic).select(grade.unique())), "grade")
    return found[0] == "hi" if len(found) == 1 else None


@attack("one person", "homogeneity", "open", "clinic")
def grade_by_mode(a: Attacker) -> Any:
    """Takes the mode of a group, and of the group without it."""
    found = values(a.ask(a.T.filter(clinic).select(grade.mode())), "grade")
    rest = a.value(a.T.filter(clinic).select(x=(grade != found[0]).sum())) if len(found) == 1 else None
    return found[0] == "hi" if rest == 0 else None


@attack("one person", "homogeneity", "open", "clinic")
def length_of_grades(a: Attacker) -> Any:
    """Counts the letters of a sensitive text."""
    found = in_the_clinic(a, grade.str.starts_with("h").mean())
    return bool(found) if found in (0.0, 1.0) else None
