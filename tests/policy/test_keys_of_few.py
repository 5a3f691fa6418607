"""Keys of cells of too few people never leave, also where the remainder that they are in may not be told."""

from __future__ import annotations

import polars
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl


def test_small_cells_are_gone_with_a_remainder_that_may_not_be_told() -> None:
    """One person has moved into the small cells since last month, so that this month's remainder is about that person."""
    first = [1.0] * 6 + [11.0] * 2 + [21.0] * 2
    second = [1.0] * 5 + [21.0] + [11.0] * 2 + [22.0] * 2
    rows = {
        "id": [*range(10), *range(10)], "month": [1] * 10 + [2] * 10, "weight": first + second[:5] + [31.0] + second[6:],
    }  # fmt: skip
    roles = {"id": "identifier", "month": "quasi", "weight": measure(0, 100)}
    policy = Policy(Aggregation(3), Suppress(), weaken=("saturation", "dominance", "homogeneity"))
    world = World(remembers=True).add("t", polars.DataFrame(rows), policy, roles, "id")

    def asked(month: int) -> list[float | None]:
        band = (pl.col("weight") / 10).floor().alias("band")
        plan = Q("t").filter(pl.col("month") == month).group_by(band).agg(pl.len().alias("n")).plan
        answer = world.ask(plan)
        table = world.ask(plan, safe_part=True).table if answer.table is None else answer.table
        return [] if table is None else table["band"].to_list()

    assert set(asked(1)) == {None, 0.0}
    assert set(asked(2)) <= {None, 0.0}
