"""A sum that one person dominates stays withheld however it is written: nothing widens the bounds that it is seen from."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

T, pay, day = Q("t"), pl.col("pay"), pl.col("day")
#: all but one at the bound, which everybody knows: the sum is that one's value
BOUNDS = {"low": (20, 100), "high": (0, 100)}
PAYS = {"low": [20.0] * 11 + [90.0], "high": [100.0] * 11 + [10.0]}
FAR = {"low": -1000.0, "high": 1000.0}
LONG_AGO = dt.date(1900, 1, 1)


def ways(fill: float) -> dict[str, Any]:
    """The sum, or a mean that gives it, in other words."""
    filled = pay.fill_null(fill)
    each = T.group_by("id")
    return {
        "plain": T.select(pay.sum()),
        "filled": T.select(filled.sum()),
        "filled and cast": T.select(filled.cast(polars.Float64).sum()),
        "filled and cast, a mean": T.select(filled.cast(polars.Float64).mean() * 12),
        "filled and cast before": T.with_columns(z=filled.cast(polars.Float64)).select(pl.col("z").sum()),
        "filled and cast, of some": T.select(filled.cast(polars.Float64).filter(pl.col("n") >= 0).sum()),
        "filled by person": each.agg(z=filled.max()).select(pl.col("z").sum()),
        "filled mean of a person": each.agg(z=filled.mean()).select(pl.col("z").sum()),
        "filled over a person": T.with_columns(z=filled.max().over("id")).select(pl.col("z").sum()),
        "by person, then filled": each.agg(z=pay.sum()).select(pl.col("z").fill_null(fill).sum()),
        "by person": each.agg(z=pay.sum()).select(pl.col("z").sum()),
    }


def answer(q: Q, end: str, *weaken: str) -> Any:
    frame = polars.DataFrame({"id": range(12), "n": range(12), "pay": PAYS[end]})
    roles: dict[str, Any] = {"id": "identifier", "n": "quasi", "pay": measure(*BOUNDS[end])}
    policy = Policy(Aggregation(3), Suppress(), weaken=weaken)
    table = World(remembers=True).add("t", frame, policy, roles, "id").ask(q.plan).table
    return None if table is None or not table.height else table[table.columns[0]][0]


@pytest.mark.parametrize("end", BOUNDS)
@pytest.mark.parametrize("name", ways(0.0))
def test_other_words_do_not_move_the_bounds(name: str, end: str) -> None:
    q = ways(FAR[end])[name]
    assert answer(q, end) is None
    assert answer(q, end, "dominance") == pytest.approx(sum(PAYS[end]))


def mean_of_dates(filled: bool, *weaken: str) -> Any:
    """The mean of twelve days, of which one is another one, beside five people without a day."""
    days = [dt.date(2024, 1, 1)] * 11 + [dt.date(2024, 10, 27)] + [None] * 5
    frame = polars.DataFrame({"id": range(17), "day": days})
    policy = Policy(Aggregation(3), Suppress(), weaken=weaken)
    world = World(remembers=True).add("t", frame, policy, {"id": "identifier", "day": "quasi"}, "id")
    table = world.ask(T.select((day.fill_null(LONG_AGO) if filled else day).mean()).plan).table
    return None if table is None else table.item()


def test_filled_dates_do_not_hide_who_dominates() -> None:
    assert mean_of_dates(filled=True) is None
    assert mean_of_dates(filled=False) is None
    assert mean_of_dates(False, "dominance") is not None


#: sums of everybody's rows, of whom some have up to three
SUMMED = {
    "by person": T.group_by("id").agg(z=pay.sum()),
    "of two columns": T.group_by("id").agg(z=pay.sum(), rows=pl.len()).filter(pl.col("rows") > 0),
    "a multiple": T.group_by("id").agg(z=(pay * -2 + 1).sum()),
    "a multiple before": T.with_columns(y=pay * 2).group_by("id").agg(z=pl.col("y").sum()),
    "cast": T.group_by("id").agg(y=pay.sum()).select(z=pl.col("y").cast(polars.Float64)),
    "filled": T.group_by("id").agg(y=pay.sum()).select(z=pl.col("y").fill_null(-9000.0).cast(polars.Float64)),
    "summed again": T.group_by("id").agg(y=pay.sum()).group_by("id").agg(z=pl.col("y").sum()),
    "a mean of one": T.group_by("id").agg(y=pay.sum()).group_by("id").agg(z=pl.col("y").mean()),
}


def by_person(q: Q, pays: list[float], bounds: tuple[float, float] | None, *weaken: str, uneven: bool) -> Any:
    ids = [i for i in range(12) for _ in range(1 + i % 3 if uneven else 2)]
    frame = polars.DataFrame({"id": ids, "pay": [pays[i] for i in ids]})
    roles: dict[str, Any] = {"id": "identifier", "pay": "measure" if bounds is None else measure(*bounds)}
    policy = Policy(Aggregation(3), Suppress(), weaken=weaken)
    table = World(remembers=True).add("t", frame, policy, roles, "id").ask(q.select(pl.col("z").sum()).plan).table
    return None if table is None or not table.height else table.item()


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("end", ["low", "high", "undeclared"])
@pytest.mark.parametrize("name", SUMMED)
def test_nor_do_sums_person_by_person(name: str, end: str, uneven: bool) -> None:
    """Each person's rows deviate from the bounds of as many rows, not from what the most rows would come to."""
    bounds = BOUNDS.get(end)
    assert by_person(SUMMED[name], PAYS.get(end, PAYS["low"]), bounds, uneven=uneven) is None
    assert by_person(SUMMED[name], PAYS.get(end, PAYS["low"]), bounds, "dominance", uneven=uneven) is not None
    assert by_person(SUMMED[name], [30.0 + 3 * i for i in range(12)], (0, 100), uneven=uneven) is not None
