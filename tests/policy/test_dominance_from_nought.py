"""Dominance seen from 0: a sum is that of the few who add something, wherever the bounds are."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Policy, Role, RoleKind, measure
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

T = Q("t")
gain = pl.col("gain")
IN_X = pl.col("g") == "x"
SIZE = 40
BOUNDED, UNBOUNDED = measure(-1000, 1000), measure()
STATISTICS = {"sum": gain.sum(), "mean": gain.mean(), "var": gain.var(), "in other words": (gain * -2 + 300).sum()}


def table(here: list[float], rows: int = 1) -> polars.DataFrame:
    """A group x, the first of which gained what is given and the others nothing, beside a group y in which all gained or lost."""
    others = np.random.default_rng(1).normal(0, 300, SIZE).clip(-1000, 1000)
    gains = np.concatenate([here, np.zeros(SIZE - len(here)), others])
    half = [i % SIZE < SIZE // 2 for i in range(2 * SIZE)]
    frame = polars.DataFrame({"id": range(2 * SIZE), "g": ["x"] * SIZE + ["y"] * SIZE, "half": half, "gain": gains})
    return polars.concat([frame.with_columns(month=polars.lit(i)) for i in range(rows)])


def world(frame: polars.DataFrame, role: Role = BOUNDED, policy: Policy | None = None, **options: Any) -> World:
    roles = {"id": "identifier", "g": "quasi", "half": "quasi", "month": "quasi", "gain": role}
    return World(**options).add("t", frame, policy or Policy.default(), roles, "id")


def rules(found: Any) -> set[str]:
    return {f.rule for f in found.verdict.findings}


@pytest.mark.parametrize("role", [BOUNDED, UNBOUNDED, Role(RoleKind.QUASI)], ids=["bounds", "no bounds", "quasi"])
@pytest.mark.parametrize("asked", STATISTICS.values(), ids=STATISTICS)
@pytest.mark.parametrize("here", [[700.0], [-700.0], [700.0, -30.0]], ids=["a gain", "a loss", "two"])
def test_what_few_add_is_withheld(here: list[float], asked: Any, role: Role) -> None:
    some = world(table(here), role)
    for q in (T.group_by("g").agg(z=asked), T.filter(IN_X).select(z=asked)):
        found = some.ask(q.plan)
        assert found.verdict.outcome is Outcome.REVIEW
        assert rules(found) == {"dominance"}


@pytest.mark.parametrize("role", [BOUNDED, UNBOUNDED], ids=["bounds", "no bounds"])
def test_what_many_add_is_told(role: Role) -> None:
    """Most have nothing, and none of those who have something makes up most of it: with and without cancelling."""
    for here in ([100.0 * (-1) ** i for i in range(12)], [100.0 + i for i in range(10)], []):
        found = world(table(here), role).ask(T.group_by("g").agg(z=gain.sum()).plan).released
        assert found.filter(polars.col("g") == "x")["z"][0] == pytest.approx(sum(here))


def test_values_around_nought_are_proven_where_few_could_not_add_as_much() -> None:
    found = world(table([80.0] * SIZE)).ask(T.filter(IN_X).select(z=gain.sum()).plan)
    assert found.released["z"][0] == 80.0 * SIZE
    assert not [m for m in found.measures if ".m" in m.keep], "sums prove it"


def test_rows_of_one_person_that_cancel_hide_nobody() -> None:
    """Eleven others have as much in one month as they lack in the other; the twelfth has something."""
    frame = table([], rows=2).with_columns(
        gain=polars.when(polars.col("id") < 11)
        .then(polars.when(polars.col("month") == 0).then(900.0).otherwise(-900.0))
        .when(polars.col("id") == 11)
        .then(300.0)
        .otherwise(polars.col("gain"))
    )
    role = Role(RoleKind.MEASURE, -1000.0, 1000.0, varies=True)
    for q in (
        T.filter(IN_X).select(z=gain.sum()),
        T.filter(IN_X).group_by("id").agg(each=gain.sum()).select(z=pl.col("each").sum()),
    ):
        found = world(frame, role).ask(q.plan)
        assert rules(found) == {"dominance"}, found.table
    one_month = T.filter(IN_X & (pl.col("month") == 0)).select(z=gain.sum())
    assert world(frame, role).ask(one_month.plan).released["z"][0] == 11 * 900 + 300


def test_losses_alone_are_seen_from_nought() -> None:
    """Of those who lose the largest value of the column is 0, which is no declared bound."""
    frame = table([-700.0]).with_columns(gain=-polars.col("gain").abs())
    assert rules(world(frame, UNBOUNDED).ask(T.filter(IN_X).select(z=gain.sum()).plan)) == {"dominance"}


def test_what_lies_between_two_populations_is_seen_from_nought() -> None:
    """Half of a group has nothing but for one person; both the group and its other half were asked for."""
    here = [*np.random.default_rng(2).normal(0, 300, SIZE // 2), 700.0]
    some = world(table(here), remembers=True)
    assert some.ask(T.filter(IN_X).select(z=gain.sum()).plan).released["z"][0] == pytest.approx(sum(here))
    first = T.filter(IN_X & pl.col("half")).select(z=gain.sum())
    assert rules(some.ask(first.plan)) == {"dominance"}
    assert world(table(here)).ask(first.plan).verdict.outcome is Outcome.RELEASE


@pytest.mark.parametrize("statistic", ["sum", "mean"])
def test_the_strict_profile_withholds_it_too(statistic: str) -> None:
    asked = T.group_by("g").agg(z=getattr(gain, statistic)())
    for here, told in (([700.0], False), ([*[100.0] * 10, *[-90.0] * 10], True)):
        found = world(table(here), policy=Policy.strict(unit="id")).ask(asked.plan).table
        assert found is not None
        assert (found.filter(polars.col("g") == "x")["z"].to_list() != [None]) is told


def test_a_column_from_nought_up_is_judged_as_before() -> None:
    """Three people have as much as each other: neither of them is most of it."""
    frame = table([700.0] * 3).with_columns(gain=polars.col("gain").abs())
    assert world(frame, measure(0, 1000)).ask(T.filter(IN_X).select(z=gain.sum()).plan).released["z"][0] == 2100.0
