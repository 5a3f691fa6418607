"""Attacks by saved frames: a filter, a hidden or sensitive column under another name."""

from __future__ import annotations

from typing import Any

from attack_list import attack
from bastion_plan.canonical import encode
from bastion_wire import messages as m
from query import Q
from wire_arena import Attacker, minus, where
from wire_terms import OFF, RULE, mine, salary, target
from wire_worlds import AGE

import bastion.expressions as pl


def save(a: Attacker, plan: Q, suffix: str = "") -> Q | None:
    """Save a plan; return the frame, None where that is refused."""
    name = f"{a.attack.name}-{a.setting}-{a.world}-{a.turn}{suffix}"
    saved = a.say(m.Save(encode(plan.plan), name))
    return Q(saved.facts.id) if isinstance(saved, m.Dataset) else None


@attack("saved filters", "population of k", "k")
def saved_person(a: Attacker) -> Any:
    """Saves a filter to one person and sums the saved frame."""
    frame = save(a, a.T.filter(target))
    return None if frame is None else a.value(frame.select(salary.sum()))


@attack("saved filters", "row-level")
def saved_rows(a: Attacker) -> Any:
    """Saves a filter and fetches the saved frame."""
    frame = save(a, a.T.filter(target))
    return None if frame is None else where(a.ask(frame), "age", AGE, "salary")


@attack("saved filters", RULE, OFF)
def saved_filter(a: Attacker) -> Any:
    """Saves a group without the target, and subtracts its sum from the group's."""
    frame = save(a, a.T.filter(mine, ~target))
    rest = None if frame is None else a.value(frame.select(salary.sum()))
    return minus(a.value(a.T.filter(mine).select(salary.sum())), rest)


@attack("saved filters", RULE, OFF)
def two_saved_filters(a: Attacker) -> Any:
    """Saves both groups, and asks only the saved frames."""
    one, two = save(a, a.T.filter(mine), "-1"), save(a, a.T.filter(mine, ~target), "-2")
    if one is None or two is None:
        return None
    return minus(a.value(one.select(salary.sum())), a.value(two.select(salary.sum())))


@attack("saved filters", "the whole table", "k")
def saved_whole_minus_one(a: Attacker) -> Any:
    """Saves everybody but the target: the frame's own whole is not the table's."""
    frame = save(a, a.T.filter(~target))
    rest = None if frame is None else a.value(frame.select(salary.sum()))
    return minus(a.value(a.T.select(salary.sum())), rest)


@attack("saved filters", "keys beside the unit", "open")
def saved_groups_of_persons(a: Attacker) -> Any:
    """Saves a table of everybody's sums under another name, and takes its largest."""
    frame = save(a, a.T.group_by("id").agg(pay=salary.sum()))
    return None if frame is None else a.value(frame.select(pl.col("pay").max()))


@attack("saved filters", "hidden", "names", "name")
def saved_under_another_name(a: Attacker) -> Any:
    """Saves a frame whose hidden column has another name."""
    frame = save(a, a.table("named").select("age", other=pl.col("name")))
    return None if frame is None else where(a.ask(frame), "age", AGE, "other")


@attack("saved filters", "sensitive columns", "open", "hiv")
def saved_sensitive_column(a: Attacker) -> Any:
    """Saves a frame whose sensitive column has another name, and filters by it."""
    frame = save(a, a.T.select("age", flag=pl.col("hiv")))
    found = None if frame is None else a.value(frame.filter(target & pl.col("flag")).select(pl.len()))
    return None if found is None else found == 1
