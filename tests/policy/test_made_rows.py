"""Rows that an unpivot makes: what is answered is of the cell's columns, or it is withheld."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

N = 400
RNG = np.random.default_rng(3)
FRAME = polars.DataFrame({"id": np.arange(N), "g": np.arange(N) % 8, "x": RNG.integers(0, 100, N), "y": RNG.integers(0, 100, N)})  # fmt: skip
ROLES: dict[str, Any] = {"id": "identifier", "g": "quasi", "x": measure(0, 100), "y": measure(0, 100)}
T = Q("t")
LONG = T.unpivot(["x", "y"], index=["id", "g"])
value, of_x, third = pl.col("value"), pl.col("variable") == "x", pl.col("g") == 3
THIRD = FRAME.filter(polars.col("g") == 3)


def world() -> World:
    return World(remembers=True).add("t", FRAME, Policy(Aggregation(10), Suppress()), ROLES, "id")


def test_columns_told_apart_by_name_hold_everybody() -> None:
    w = world()
    assert w.ask(LONG.filter(of_x).select(value.sum()).plan).released.item() == FRAME["x"].sum()
    found = dict(w.ask(LONG.group_by("variable").agg(value.mean()).plan).released.rows())
    assert found == pytest.approx({"x": FRAME["x"].mean(), "y": FRAME["y"].mean()})
    assert dict(w.ask(LONG.group_by("variable").agg(value.median(), pl.len()).select("variable", "len").plan).released.rows()) == {"x": N, "y": N}  # fmt: skip


@pytest.mark.parametrize("before", [None, T.filter(third).select(pl.len()), T.filter(third).select(pl.col("x").sum())])
def test_no_number_is_of_both_columns(before: Q | None) -> None:
    """Answered as an earlier population, all rows of its people would count."""
    for asked, true in (
        (LONG.filter(third & of_x).select(value.sum()), THIRD["x"].sum()),
        (LONG.filter(of_x, pl.col("id") != 3).select(value.sum()), FRAME.filter(polars.col("id") != 3)["x"].sum()),
    ):
        w = world()
        if before is not None:
            w.ask(before.plan)
        table = w.ask(asked.plan).table
        assert table is None or not table.height or table.item() in (None, true)


def test_groups_of_both_are_right() -> None:
    table = world().ask(LONG.group_by("variable", "g").agg(value.sum()).plan).table
    assert table is not None
    sums = {(c, g): n for c in "xy" for g, n in FRAME.group_by("g").agg(polars.col(c).sum()).rows()}
    assert {(c, g): n for c, g, n in table.rows() if n is not None}.items() <= sums.items()


def test_what_elements_of_lists_come_to_is_told_and_remembered() -> None:
    lists = [[float(i % 17), 2.0] for i in range(400)]
    frame = polars.DataFrame({"id": np.arange(400), "g": np.arange(400) // 40, "l": lists})
    roles: dict[str, Any] = {"id": "identifier", "g": "quasi", "l": "quasi"}
    w = World(remembers=True).add("t", frame, Policy(Aggregation(10), Suppress()), roles, "id")
    q = Q("t").filter(pl.col("g") == 3).explode("l").select(pl.col("l").sum())
    true = sum(map(sum, lists[120:160]))
    for _ in range(2):
        table = w.ask(q.plan).table
        assert table is not None
        assert table["l"][0] == true
