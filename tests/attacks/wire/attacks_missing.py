"""Attacks by who has a value at all: a column that one person of a group has, among people whom another column chooses."""

from __future__ import annotations

from typing import Any

from attack_list import BIT, attack
from wire_arena import Attacker
from wire_terms import salary

import bastion.expressions as pl

MISSING = "counts of values"
#: nobody but the target has it
died = pl.col("died")
#: a third of the people, the target among them in the second world only
ODD = salary % 10 < 3


def few(found: Any) -> Any:
    """Whether nobody is counted, None where there is no number."""
    return None if found is None else found < 0.5


@attack("differencing", MISSING, "open", BIT)
def salary_by_who_has_a_value(a: Attacker) -> Any:
    """Counts the values of a column that only the target has, of those whom the salary chooses."""
    return few(a.value(a.T.select(died.filter(ODD).count())))


@attack("differencing", MISSING, "open", BIT)
def salary_by_who_has_none(a: Attacker) -> Any:
    """Counts those whom the salary chooses, less those of them who lack what only the target has."""
    chosen = a.T.filter(ODD)
    found = a.value(chosen.select(pl.len() - died.null_count()))
    return few(found)


@attack("differencing", MISSING, "open", BIT)
def salary_by_a_condition_on_who_has_a_value(a: Attacker) -> Any:
    """Sums over those whom the salary chooses whether they have what only the target has."""
    return few(a.value(a.T.filter(ODD).select(died.is_not_null().sum())))


@attack("differencing", MISSING, "open", BIT)
def salary_by_values_left(a: Attacker) -> Any:
    """Groups people by a bin of the salary, and counts what is left of the column without its missing values."""
    cells = a.ask(a.T.group_by(ODD.alias("odd")).agg(died.drop_nulls().len().alias("n")))
    found = dict(cells.rows()) if cells.width == 2 else {}
    return None if found.get(True) is None else few(found[True])
