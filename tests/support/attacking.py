"""What the attack suites share: asking for all that may be had, and telling whether an attack got its value."""

from __future__ import annotations

import math
from typing import Any

import polars
from drive import World
from query import Q


def same(one: Any, two: Any) -> bool:
    """Whether an attack's finding is the value."""
    if isinstance(one, float | int) and isinstance(two, float | int) and not isinstance(two, bool):
        return math.isclose(one, two, rel_tol=1e-6)
    return one is not None and type(one) is type(two) and bool(one == two)


def ask_part(world: World, plan: Q) -> polars.DataFrame:
    """Return the answer, else its safe part, else an empty table."""
    answer = world.ask(plan.plan)
    if answer.table is None and answer.verdict.safe_part is not None:
        answer = world.ask(plan.plan, safe_part=True)
    return answer.table if answer.table is not None else polars.DataFrame()
