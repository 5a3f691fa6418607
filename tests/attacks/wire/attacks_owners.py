"""Attacks by an owner: of another table, who files what the attacker asks, and reads what a request tells its owners."""

from __future__ import annotations

from itertools import count
from typing import Any

import polars
from attack_list import attack
from bastion_plan.canonical import encode
from bastion_wire import messages as m
from query import Q
from wire_arena import Attacker
from wire_terms import target
from wire_worlds import LOW

import bastion.expressions as pl
from bastion.policy import Policy

_NUMBERS = count()
OWNS_ALL = "figures are for who owns all tables"
AGES = polars.DataFrame({"age": [20 + i % 80 for i in range(80 * 40)]})


def joined(a: Attacker) -> Q:
    """Join the target, if the salary is high, with a table of the second owner."""
    name = f"ages-{next(_NUMBERS)}"
    ages = Q(a.arena.second.client.polars.send_df(AGES, Policy.open(), name=name).dataset_id)
    many = ages.group_by("age").agg(n=pl.len())
    return a.T.filter(target, pl.col("salary") > LOW).join(many, on="age", how="inner").select("town")


def requested(a: Attacker, plan: Q) -> m.RequestInfo | None:
    """Have it denied and ask the owners; return the request as the second owner reads it."""
    answer = a.say(m.RequestAccess(encode(plan.plan), "for the study"))
    return a.arena.second.request(answer.info.id).info if isinstance(answer, m.Request) else None


@attack("approvals", OWNS_ALL, "open", (True, False), own=True)
def rows_of_a_request_by_an_owner(a: Attacker) -> Any:
    """Joins one row with a table of a second owner, and reads with that owner how many rows an approval would show."""
    plan = joined(a)
    if a.setting == "open":
        return a.ask(plan).height > 0
    info = requested(a, plan)
    return None if info is None or "rows" not in info.figures else info.figures["rows"] > 0
