"""Rows of one person are as good as each other where a column stays the same: populations are compared by people.

Every attack is two or three questions about people with several rows; it gives one person's value where histories are off.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.history.roster import agreement, steady_plans
from bastion_policy.history.sets import Sets, packs
from bastion_policy.model import Aggregation, Policy, Suppress, measure
from bastion_server.engine.lower import lower
from drive import World
from hypothesis import given, settings
from hypothesis import strategies as st
from query import Q

import bastion.expressions as pl

PEOPLE, DAYS, TARGET = 300, 3, 12
RNG = np.random.default_rng(7)
T, S = Q("t"), Q("s")
x, day, x_of = pl.col("x"), pl.col("day"), pl.col("x")
THIRD = pl.col("g") == 3
OTHERS = ~(pl.col("a") == TARGET)
_WHO = np.repeat(np.arange(PEOPLE), DAYS)
FRAME = polars.DataFrame(
    {
        "id": _WHO, "a": _WHO % 100 + 2 * (_WHO // 100), "g": np.where(_WHO < 40, 3, _WHO % 3), "day": np.tile(np.arange(DAYS), PEOPLE),
        "x": np.round(RNG.uniform(0, 100, PEOPLE * DAYS), 2), "pay": np.repeat(np.round(RNG.uniform(1000, 9000, PEOPLE), 2), DAYS),
    }
)  # fmt: skip
#: a raise for everybody on the last day
RAISED = FRAME.with_columns(pay=polars.when(polars.col("day") == 2).then(polars.col("pay") + 100).otherwise("pay"))
ROLES: dict[str, Any] = {
    "id": "quasi", "a": "quasi", "g": "quasi", "day": "quasi", "x": measure(0, 100), "pay": measure(0, 10_000),
}  # fmt: skip


def world(*weaken: str, profile: str = "default", frame: polars.DataFrame = RAISED) -> World:
    policy = Policy.strict("id") if profile == "strict" else Policy(Aggregation(10), Suppress(), weaken=weaken)
    return World(remembers=True).add("t", frame, policy, ROLES, "id")


def told(w: World, *questions: Q) -> list[Any]:
    """Return the only number of each answer, None where it is withheld."""
    found = []
    for q in questions:
        table = w.ask(q.plan).table
        found.append(None if table is None or not table.height else table[table.columns[0]][0])
    return found


def _one(frame: polars.DataFrame, column: str) -> float:
    return float(frame.filter((polars.col("id") == TARGET) & (polars.col("day") == 0))[column][0])


WITH = T.with_columns(z=x.sum().over("id"))
BEFORE = T.with_columns(z=x.shift(1).over("id"))
MINE = RAISED.filter(polars.col("id") == TARGET)
ATTACKS: dict[str, tuple[Q, Q, float]] = {
    "the pay of another day": (
        T.filter(THIRD, day == 0).select(pl.col("pay").sum()),
        T.filter(THIRD, day == 1, OTHERS).select(pl.col("pay").sum()),
        _one(RAISED, "pay"),
    ),
    "twice the pay of another day": (
        T.filter(THIRD, day == 0).select(pl.col("pay").sum()),
        T.with_columns(z=pl.col("pay") * 2 + 1).filter(THIRD, day == 1, OTHERS).select((pl.col("z") - 1).sum() / 2),
        _one(RAISED, "pay"),
    ),
    "a window over the person": (
        WITH.filter(THIRD, day == 0).select(pl.col("z").sum()),
        WITH.filter(THIRD, day == 1, OTHERS).select(pl.col("z").sum()),
        float(MINE["x"].sum()),
    ),
    "the row before": (
        T.filter(THIRD, day == 0).select(x.sum()),
        BEFORE.filter(THIRD, day == 1, OTHERS).select(pl.col("z").sum()),
        _one(RAISED, "x"),
    ),
    "the first of fewer rows": (
        T.filter(THIRD).group_by("id").agg(z=x.first()).select(pl.col("z").sum()),
        T.filter(THIRD, day != 2, OTHERS).group_by("id").agg(z=x.first()).select(pl.col("z").sum()),
        _one(RAISED, "x"),
    ),
}


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize("name", ATTACKS)
def test_values_of_one_person_are_not_left_over(name: str, profile: str) -> None:
    first, second, true = ATTACKS[name]
    one, two = told(world(profile=profile), first, second)
    assert None in (one, two) or abs(one - two - true) > 0.05 * true


@pytest.mark.parametrize("name", ATTACKS)
def test_they_are_where_histories_are_off(name: str) -> None:
    first, second, true = ATTACKS[name]
    stated = "pay" in name
    w = (
        world("history", "linear_audit", "saturation")
        if stated
        else World().add("t", RAISED, Policy.open(), ROLES, "id")
    )
    one, two = told(w, first, second)
    assert one - two == pytest.approx(true)


def test_how_often_people_are_in_a_sum_is_audited() -> None:
    """Two groups on one day, then both on the next with one person's rows of all days: one by one they are far apart."""
    other = pl.col("g") == 1
    mine = pl.col("a") == TARGET
    questions = [
        T.filter(THIRD, day == 0).select(pl.col("pay").sum()),
        T.filter(other, day == 0).select(pl.col("pay").sum()),
        T.filter((THIRD | other) & ((day == 1) | mine)).select(pl.col("pay").sum()),
    ]
    frame = FRAME.with_columns(a="id")
    for weaken, obtained in (((), False), (("history", "linear_audit", "saturation"), True)):
        one, two, three = told(world(*weaken, frame=frame), *questions)
        assert (three is not None and abs((three - one - two) / 2 - _one(frame, "pay")) < 1) is obtained


def test_days_of_other_values_are_other_populations() -> None:
    w = world()
    for column in (x.sum(), x.mean()):
        table = w.ask(T.group_by("day").agg(pl.len(), column).plan).table
        assert table is not None
        assert table["day"].null_count() == 0
        assert table["x"].null_count() == 0
    assert None not in told(
        world(), *(T.filter(day == d).group_by("id").agg(z=x.sum()).select(pl.col("z").mean()) for d in range(3))
    )


def test_rows_repeated_by_a_join_count_as_often_as_they_are_in() -> None:
    people = polars.DataFrame(
        {"id": range(100), "g": [i // 20 for i in range(100)], "secret": RNG.integers(1000, 9000, 100).astype(float)}
    )
    visits = polars.DataFrame({"id": np.repeat(np.arange(100), 12), "month": np.tile(np.arange(12), 100)})
    true = float(people["secret"][70])
    month, g = pl.col("month"), pl.col("g")
    joined = T.join(S, on="id")
    questions = [
        joined.filter(g == 3, month == 0).select(pl.col("secret").sum()),
        joined.filter(g == 4, month == 0).select(pl.col("secret").sum()),
        joined.filter((g.is_in([3, 4]) & (month == 1)) | ((pl.col("id") == 70) & month.is_in([2, 3, 4, 5]))).select(
            pl.col("secret").sum()
        ),
    ]
    for weaken, obtained in (((), False), (("history", "linear_audit", "saturation"), True)):
        w = World(remembers=True).add(
            "t",
            visits,
            Policy(Aggregation(10), Suppress(), weaken=weaken),
            dict.fromkeys(visits.columns, "quasi"),
            "id",
        )
        roles = {"id": "quasi", "g": "quasi", "secret": measure(0, 10_000)}
        w.add("s", people, Policy(Aggregation(10), Suppress(), weaken=weaken), roles, "id")
        one, two, three = told(w, *questions)
        assert (None not in (one, two, three) and abs((three - one - two) / 4 - true) < 1) is obtained


# -- the arithmetic, against definitions

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=100)
@given(PAIRS)
def test_packs_share_nothing(rows: list) -> None:
    pairs = sorted(set(rows))
    sets = Sets.of(4, [c for c, _ in pairs], [u for _, u in pairs])
    found = packs(sets, np.ones(4, bool))
    there = {c for c, _ in pairs}
    assert {int(c) for flags, _ in found for c in np.flatnonzero(flags)} >= there
    for flags, cells in found:
        assert cells.disjoint
        for c in np.flatnonzero(flags):
            assert cells.members(int(c)).tolist() == sets.members(int(c)).tolist()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=2, max_size=12))
def test_agreement_is_that_of_pairs_of_rows(people: list) -> None:
    frame = polars.DataFrame(
        {"id": [i for i, rows in enumerate(people) for _ in rows], "v": [v for rows in people for v in rows]}
    )
    w = World(remembers=True).add("t", frame, Policy.default(), {"id": "quasi", "v": "measure"}, "id")
    within, among = (
        lower(plan, {"t": frame.lazy()}).collect().to_series().to_numpy() for plan in steady_plans(w.facts["t"], "v")
    )
    pairs = [[a == b for a, b in permutations(rows, 2)] for rows in people if len(rows) > 1]
    every = [a == b for a, b in permutations([v for rows in people for v in rows], 2)]
    if not pairs:
        assert agreement(within, among) == 0
        return
    one, other = float(np.mean([np.mean(found) for found in pairs])), float(np.mean(every))
    assert agreement(within, among) == pytest.approx(1.0 if other == 1 else (one - other) / (1 - other))
