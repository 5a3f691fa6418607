"""What follows from the numbers that were told of one column, sums and covariances, passes the rules about values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy.model import Aggregation, Policy, Role, RoleKind, Suppress
from drive import World
from query import Q, concat

import bastion.expressions as pl

N, SIZE = 200, 40
RNG = np.random.default_rng(0)
KNOWN = [f"y{j}" for j in range(45)]
PEOPLE = polars.DataFrame(
    {
        "id": np.arange(N), "g": np.arange(N) // SIZE, "x": np.round(RNG.uniform(50, 150, N), 2),
        **{y: RNG.integers(0, 2 + j % 3, N) for j, y in enumerate(KNOWN)},
    }
)  # fmt: skip
ROLES: dict[str, Role | str] = {
    "id": "identifier",
    "x": Role(RoleKind.MEASURE, 0, 200),
    **dict.fromkeys(["g", *KNOWN], "quasi"),
}
T, x = Q("t"), pl.col("x")


def world(*weaken: str, roles: dict[str, Role | str] = ROLES, frame: polars.DataFrame = PEOPLE) -> World:
    return World(remembers=True).add("t", frame, Policy(Aggregation(10), Suppress(), weaken=weaken), roles)


@pytest.mark.parametrize(("weaken", "told"), [((), [True, False, True]), (("linear_audit", "saturation"), [True] * 3)])
def test_covariances_that_are_of_a_few_people_together_are_not_told(weaken: tuple[str, ...], told: list[bool]) -> None:
    """Weighted by the first 20 people and by the first 15 of them, they are of five; there is room for three numbers."""
    size = 400
    chosen = {"a": polars.col("id") < 20, "b": polars.col("id") < 15, "c": polars.col("id") >= 300}
    frame = polars.DataFrame({"id": np.arange(size), "x": np.round(RNG.uniform(50, 150, size), 2)})
    frame = frame.with_columns(**{name: who.cast(polars.Int64) for name, who in chosen.items()})
    roles: dict[str, Role | str] = {"id": "identifier", "x": ROLES["x"], **dict.fromkeys(chosen, "quasi")}
    w = world(*weaken, roles=roles, frame=frame)
    tables = [w.ask(T.select(pl.cov(x, pl.col(name))).plan).table for name in chosen]
    assert [t is not None and t.item() is not None for t in tables] == told


@pytest.mark.parametrize(("role", "told"), [("quasi", False), (Role(RoleKind.MEASURE, 0, 200), True)])
def test_covariances_with_what_is_known_of_another_table_are_not_told(role: Role | str, told: bool) -> None:
    w = world().add("s", PEOPLE.select("id", z="x"), Policy(Aggregation(10), Suppress()), {"z": role}, "id")
    found = w.ask(T.join(Q("s"), on="id").select(c=pl.cov(x, pl.col("z")), n=pl.len()).plan).table
    assert (found is not None and found["c"].item() is not None) is told


@pytest.mark.parametrize("ask_the_group", [True, False])
def test_one_persons_group_is_not_the_rest_of_the_total(ask_the_group: bool) -> None:
    frame = PEOPLE.with_columns(x=polars.when(polars.col("id") == 3).then(40_000.0).otherwise("x"))
    outcomes = []
    for weaken in ((), ("dominance",)):
        w = world(*weaken, roles=ROLES | {"x": "measure"}, frame=frame)
        asked = [T.filter(pl.col("g") == 0)] if ask_the_group else []
        asked += [T, *(T.filter(pl.col("g") == g) for g in range(1, 5))]
        told = [None if (t := w.ask(plan.select(x.sum()).plan).table) is None else t.item() for plan in asked]
        total, *others = told[1:] if ask_the_group else told
        outcomes.append(None if None in (total, *others) else total - sum(others))
    true = frame.filter(polars.col("g") == 0)["x"].sum()
    assert outcomes[0] is None
    assert outcomes[1] == pytest.approx(true)


def test_only_what_would_give_the_group_is_withheld() -> None:
    frame = PEOPLE.with_columns(x=polars.when(polars.col("id") == 3).then(40_000.0).otherwise("x"))
    w = world(roles=ROLES | {"x": "measure"}, frame=frame)
    plans = [T, *(T.filter(pl.col("g") == g) for g in range(1, 5))]
    first = [w.ask(plan.select(x.sum()).plan) for plan in plans]
    told = [a.table is not None and a.table.item() is not None for a in first]
    assert told[0] and not all(told)
    assert sum(told) >= 3, "the total and groups far from giving the rest"
    assert {f.rule for a, shown in zip(first, told, strict=True) if not shown for f in a.verdict.findings} == {
        "linear-audit"
    }
    again = [w.ask(plan.select(x.sum()).plan) for plan in plans]
    assert [a.table is not None and a.table.item() is not None for a in again] == told


BIG = PEOPLE.with_columns(
    x=polars.when(polars.col("id") == 3).then(40_000.0).otherwise("x"),
    f=polars.col("id") % 2,
    many=polars.col("id") // 10,
)
GROUPS = [T.filter(pl.col("g") == g) for g in range(1, 5)]
#: the sums of the other groups, asked in other words; and what is asked before
WORDS: dict[str, Any] = {
    "plain": lambda q: q.select(x.sum()),
    "renamed": lambda q: q.select("g", z=x).select(pl.col("z").sum()),
    "in a step of its own": lambda q: q.with_columns(z=x).select(pl.col("z").sum()),
    "times two": lambda q: q.select((x * 2 / 2).sum()),
    "without sign": lambda q: q.select(x.abs().sum()),
    "within wide bounds": lambda q: q.select(x.clip(0, 50_000).sum()),
    "one row per person first": lambda q: q.group_by("id").agg(x.sum()).select(x.sum()),
    "in two parts": lambda q: concat(q.filter(pl.col("f") == 0), q.filter(pl.col("f") == 1)).select(x.sum()),
    "beside another table": lambda q: q.join(Q("s"), on="id").select(x.sum()),
}
BEFORE = {
    "nothing": [],
    "covariances": [q.select(pl.cov(x, pl.col("y3"))) for q in [T, *GROUPS]],
    "a column across": [T.filter(pl.col("f") == 1).select(x.sum())],
    "many groups": [T.group_by("many").agg(x.sum())],
}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("before", BEFORE)
def test_other_words_do_not_give_the_group(words: str, before: str) -> None:
    outcomes = []
    for weaken in ((), ("dominance", "history", "linear_audit", "saturation")):
        roles = ROLES | {"x": Role(RoleKind.MEASURE, 0, 50_000), "f": "quasi", "many": "quasi"}
        w = World(remembers=True).add("t", BIG, Policy(Aggregation(10), Suppress(), weaken=weaken), roles, "id")
        w.add("s", PEOPLE.select("id"), Policy(Aggregation(10), Suppress(), weaken=weaken), {}, "id")
        for plan in BEFORE[before]:
            w.ask(plan.plan)
        asked = [T.select(x.sum()), *(WORDS[words](q) for q in GROUPS)]
        told = [None if (t := w.ask(q.plan).table) is None or not t.height else t.item() for q in asked]
        outcomes.append(None if None in told else told[0] - sum(told[1:]))
    assert outcomes[0] is None
    if before == "nothing":
        assert outcomes[1] == pytest.approx(BIG.filter(polars.col("g") == 0)["x"].sum())
