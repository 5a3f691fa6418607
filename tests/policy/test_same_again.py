"""A verdict is a function of what was asked and of what was told: never of the order in which the engine gives groups."""

from __future__ import annotations

import copy

import polars
from bastion_policy.actions import Review
from bastion_policy.history.encoding import pack_past
from bastion_policy.policy import Policy
from bastion_policy.rules import Aggregation
from drive import World
from query import Q

import bastion.expressions as pl


def test_reserved_tables_are_entered_in_the_order_of_their_keys():
    towns = [f"t{i % 9}" for i in range(120)]
    frame = polars.DataFrame({"id": range(120), "town": towns, "pay": [float(i) for i in range(120)]})
    policy = Policy(Aggregation(5), Review(), reserved=(("town",),))
    world = World(remembers=True).add("t", frame, policy, {"town": "quasi", "pay": "measure"}, "id")
    pasts = set()
    for _ in range(8):
        again = copy.copy(world)
        again.pasts, again.rosters, again.draws = {}, {}, copy.deepcopy(world.draws)
        again.ask(Q("t").select(pl.col("pay").mean()).plan)
        (past,) = again.pasts.values()
        pasts.add(pack_past(past))
    assert len(pasts) == 1
