"""What is told instead of a population is compared, and watched, as whom it is about: not as whom was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, Suppress, measure
from drive import World
from query import Q

import bastion.expressions as pl

T, debt = Q("t"), pl.col("debt")
ROLES: dict[str, Role | str] = {
    "id": "identifier", "debt": measure(0, 2000), "group": "quasi", "some": "quasi", "part": "quasi",
}  # fmt: skip
DEFAULT, STRICT = Policy(Aggregation(5), Suppress()), Policy.strict(unit="id")


def people(nulls: bool) -> polars.DataFrame:
    """One person owes most of what group a owes; b are 67, of whom `some` are 60; without the other seven a fails no rule.

    nulls: five of the seven have no value. A third group is everybody once more.
    """
    rng = np.random.default_rng(1)
    owes: list[float | None] = [1000.0, *np.linspace(1, 2, 11), *rng.uniform(100, 300, 60), 900.0, 800.0]
    owes += [None if nulls else 5.0] * 5
    frame = polars.DataFrame(
        {"debt": owes, "group": ["a"] * 12 + ["b"] * 67, "some": [12 <= i < 72 for i in range(79)], "part": [True] * 79}
    )
    again = frame.with_columns(polars.lit("c").alias("group"), part=polars.lit(value=False))
    return polars.concat([frame, again]).with_row_index("id")


def told(w: World, q: Q) -> float | None:
    answer = w.ask(q.plan)
    table = answer.table
    if table is None and answer.verdict.safe_part is not None:
        table = w.ask(q.plan, safe_part=True).table
    value: Any = table.item() if table is not None and table.height else None
    return value


A, B = pl.col("group") == "a", pl.col("group") == "b"
HALF, AGAIN = T.filter(pl.col("part")), T.filter(pl.col("part") & (pl.col("group") != "c"))
#: how the sum of b may be asked for once it is stored; whether some have no value
WAYS = {
    "a few people fewer have a value": (HALF.filter(B).select(debt.std()), HALF.filter(pl.col("some")).select(debt.sum()), True),
    "the same people in other words": (
        HALF.filter(B).select(pl.len()), HALF.filter(pl.col("group").is_in(["b"])).select(debt.sum()), False,
    ),
    "a condition inside": (HALF.filter(B).select(pl.len()), HALF.select(debt.filter(B).sum()), False),
    "a condition inside what is asked again": (None, AGAIN.select(debt.filter(B).sum()), False),
}  # fmt: skip


@pytest.mark.parametrize("policy", [DEFAULT, STRICT], ids=["default", "strict"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_left_of_a_total_passes(way: str, policy: Policy) -> None:
    """The group of whom one owes most is the total less the others, however the others are asked for."""
    before, asked, nulls = WAYS[way]
    frame = people(nulls)
    w = World(remembers=True).add("t", frame, policy, ROLES, "id")
    assert told(w, HALF.select(debt.sum())) is not None
    assert told(w, HALF.filter(A).select(debt.sum())) is None
    if before is not None:
        told(w, before)
    others = frame.filter(polars.col("group") == "b")["debt"].sum()
    found = told(w, asked)
    assert found is None or abs(found - others) > 50


CHOSEN: dict[str, set[int]] = {
    "first": set(range(40)),
    # the first less one person, and ten who have no value
    "other": set(range(1, 50)),
    # four more are away: five have a value here or there
    "near": set(range(5, 50)),
}


NEAR = pl.col("near")
ASKED = {
    "a condition inside": T.select(debt.filter(NEAR).sum()),
    "a filter": T.filter(NEAR).select(debt.sum()),
    "a condition inside a group": T.group_by("everybody").agg(debt.filter(NEAR).sum()).select("debt"),
}


@pytest.mark.parametrize("way", ASKED)
def test_those_of_a_stored_population_who_have_a_value_are_compared(way: str) -> None:
    """What stands for a condition may differ in one value from what was told, though the condition does not."""
    values = np.round(np.random.default_rng(2).uniform(50, 150, 200), 2).tolist()
    frame = polars.DataFrame({"id": range(200), "everybody": 0, "debt": values[:40] + [None] * 10 + values[50:]})
    frame = frame.with_columns(polars.col("id").is_in(list(who)).alias(name) for name, who in CHOSEN.items())
    roles: dict[str, Role | str] = {**ROLES, "everybody": "quasi", **dict.fromkeys(CHOSEN, "quasi")}
    w = World(remembers=True).add("t", frame, DEFAULT, roles, "id")
    first = told(w, T.filter(pl.col("first")).select(debt.sum()))
    assert first == pytest.approx(sum(values[:40]))
    assert told(w, T.filter(pl.col("other")).select(pl.len())) == len(CHOSEN["other"])
    assert told(w, ASKED[way]) in (None, pytest.approx(first)), "else the difference is one person's value"


def test_a_table_of_people_joins_one_of_their_visits() -> None:
    """What is one value per person in many rows is compared by people: in the other table each has one row."""
    visits = polars.DataFrame({"id": np.repeat(np.arange(100), 3), "age": np.repeat(np.arange(100) % 7, 3)})
    people = polars.DataFrame({"id": range(100), "town": ["ab"[i % 2] for i in range(100)]})
    roles: dict[str, Role | str] = dict.fromkeys(["age", "town"], "quasi")
    w = World(remembers=True)
    for name, frame in (("t", visits), ("s", people)):
        w.add(name, frame, DEFAULT, roles, "id")
    found = w.ask(T.join(Q("s"), on="id").group_by("town").agg(pl.col("age").sum()).plan).released
    assert found["age"].null_count() == 0
    assert found["age"].sum() == visits["age"].sum()


@pytest.mark.parametrize("few", [5, 40])
def test_what_one_table_of_a_join_may_not_tell_is_not_stored_in_the_other(few: int) -> None:
    """With five people between, the wards' sum less the join would be theirs: the join is refused, and nobody hears of it."""
    ids = np.arange(200)
    town = polars.DataFrame({"id": ids, "z": ids < 100 - few, "less": ids < 97 - few})
    wards = polars.DataFrame({"id": ids, "x": ids < 50, "y": (ids >= 50) & (ids < 100), "z": ids < 100 - few})
    roles: dict[str, Role | str] = dict.fromkeys(["x", "y", "z", "less"], "quasi")
    policy = Policy(Aggregation(10), Suppress(), weaken=("saturation",))
    w = World(remembers=True).add("t", town, policy, roles, "id").add("s", wards, policy, roles, "id")
    for ward in ("x", "y"):
        assert told(w, Q("s").filter(pl.col(ward)).select(pl.len())) == 50
    joined = told(w, T.filter(pl.col("z")).join(Q("s"), on="id").select(pl.len()))
    # three people fewer: the same if it was told, themselves if not
    found = told(w, T.filter(pl.col("less")).select(pl.len()))
    if few == 5:
        assert (joined, found) == (None, 92)
    else:
        assert (joined, found) == (60, 60)
        near = told(w, Q("s").filter(pl.col("z") & (pl.col("id") != 0)).select(pl.len()))
        assert near in (None, 60), "the other table knows of it, too"
