"""Random plans: the judge never breaks, agrees with the static verdict, and releases what Polars computes."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import polars
import pytest
from bastion_plan.bind import bind
from bastion_plan.errors import BindError
from bastion_policy.model import Aggregation, Policy, Review, Role, RoleKind
from bastion_policy.verdict import Outcome
from bastion_server.engine.lower import lower
from drive import World
from query import Q, concat, inline

import bastion.expressions as pl

CASES = int(os.environ.get("BASTION_FUZZ_CASES", "25")) * 8
ROLES: dict[str, Any] = {
    "id": "identifier", "name": "hidden", "age": "quasi", "town": "quasi", "pay": Role(RoleKind.MEASURE, 0, 100),
    "debt": Role(RoleKind.MEASURE), "sick": "sensitive", "day": "quasi",
}  # fmt: skip


def frame(rows: int, seed: int) -> polars.DataFrame:
    rng = np.random.default_rng(seed)
    data = {
        "id": rng.integers(0, max(1, rows // 3), rows),
        "name": [f"n{i}" for i in range(rows)],
        "age": rng.integers(0, 30, rows),
        "town": rng.choice(["a", "b", "c", "d", "e"], rows, p=[0.5, 0.3, 0.1, 0.07, 0.03]),
        "pay": rng.uniform(0, 100, rows).round(2),
        "debt": np.round(rng.exponential(50, rows), 2),
        "sick": rng.random(rows) < 0.2,
        "day": (np.datetime64("2024-01-01") + rng.integers(0, 400, rows)).astype("datetime64[D]"),
    }
    made = polars.DataFrame(data)
    return made.with_columns(
        debt=polars.when(polars.Series(rng.random(rows) < 0.1))
        .then(None)
        .otherwise(polars.col("debt"))
        .cast(polars.Float64)
    )


def worlds() -> list[World]:
    found = []
    for rows, unit in ((300, None), (300, "id"), (12, None), (0, "id")):
        policy = Policy(safe_zone=Aggregation(5), unsafe_handling=Review())
        found.append(
            World().add("t", frame(rows, rows), policy, ROLES, unit).add("s", frame(80, 1), policy, ROLES, unit)
        )
    return found


WORLDS = worlds()


class Maker:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def pick(self, *options: Any) -> Any:
        chosen = self.rng.choice(options)
        return chosen() if callable(chosen) else chosen

    def column(self) -> Any:
        return pl.col(self.rng.choice(["age", "pay", "debt", "pay", "age", "town", "sick", "day", "id", "name"]))

    def number(self) -> Any:
        x = pl.col(self.rng.choice(["age", "pay", "debt"]))
        return self.pick(
            lambda: x, lambda: x, lambda: x * 2 + 1, lambda: x.abs(), lambda: x.log1p(), lambda: x + pl.col("pay"),
            lambda: x * pl.col("pay"), lambda: (x / 10).floor(), lambda: x - x.mean(), lambda: x.fill_null(0),
            lambda: pl.when(self.condition()).then(x).otherwise(None), lambda: x.clip(0, 100), lambda: x.round(0),
            lambda: pl.when(self.condition()).then(1).otherwise(0), lambda: x.filter(self.condition()),
            lambda: x.cast(pl.Int64), lambda: pl.col("day").dt.month(), lambda: x.shift(1).over("id"),
            lambda: x.mean().over("town"), lambda: x ** 2, lambda: pl.col("name").str.len_chars(),
        )  # fmt: skip

    def condition(self) -> Any:
        return self.pick(
            lambda: pl.col("age") > self.rng.randint(0, 30), lambda: pl.col("pay") < self.rng.uniform(0, 100),
            lambda: pl.col("town") == self.rng.choice("abcdez"), lambda: pl.col("debt").is_null(),
            lambda: ~(pl.col("age") == 3), lambda: (pl.col("age") > 2) & (pl.col("pay") > 50),
            lambda: pl.col("town").is_in(["a", "b"]), lambda: pl.col("debt") > pl.col("debt").mean(),
            lambda: pl.col("sick"), lambda: pl.col("id") == 1,
        )  # fmt: skip

    def aggregate(self, i: int) -> Any:
        made = self.pick(
            lambda: self.number().sum(), lambda: self.number().mean(), lambda: self.number().std(),
            lambda: self.number().median(), lambda: self.number().min(), lambda: self.number().max(),
            lambda: self.number().quantile(0.9), lambda: self.number().count(), pl.len, lambda: self.condition().mean(),
            lambda: pl.corr("pay", "debt"), lambda: pl.col("town").min(), lambda: pl.col("id").n_unique(),
            lambda: self.number().sum() / pl.len(), lambda: self.column().null_count(), lambda: pl.col("day").max(),
            lambda: self.column().first(), lambda: pl.col("pay").sum() - pl.col("debt").sum(),
        )  # fmt: skip
        return made.alias(f"a{i}")

    def key(self) -> Any:
        return self.pick(
            "town", "town", "age", "id", "sick", "name", lambda: (pl.col("pay") / 25).floor().alias("k"),
            lambda: pl.col("day").dt.month().alias("k"), lambda: pl.when(pl.col("age") > 9).then(pl.lit("o")).otherwise(
                pl.col("town")).alias("k"), lambda: (pl.col("age") > 28).alias("k"),
        )  # fmt: skip

    def private(self) -> Q:
        q = Q("t")
        for _ in range(self.rng.randint(0, 2)):
            q = self.step(q)
        return q

    def step(self, q: Q) -> Q:
        labels, some = inline({"town": ["a", "b"], "w": [1, 2]}), inline({"age": [1, 2, 3]})
        made: Q = self.pick(
            lambda: q.filter(self.condition()), lambda: q.with_columns(z=self.number()), lambda: q.drop_nulls("debt"),
            lambda: q.sort("age"), lambda: q.join(labels, on="town", how="left"), lambda: q.filter(self.condition()),
            lambda: concat(q, q.filter(self.condition())), lambda: q.head(7), lambda: q.join(some, on="age", how="semi"),
            lambda: q.join(Q("s").select("id", other=pl.col("pay")), on="id"),
        )  # fmt: skip
        return made

    def plan(self) -> Q:
        q = self.private()
        aggs = [self.aggregate(i) for i in range(self.rng.randint(1, 4))]
        shape = self.rng.randrange(8)
        if shape == 0:
            return q
        if shape == 1:
            per_unit = q.group_by("id").agg(s=pl.col("pay").sum(), m=pl.col("debt").max(), c=pl.len())
            return per_unit.select(pl.col("s").mean(), pl.col("m").mean(), n=pl.col("c").sum())
        q = q.select(aggs) if shape in (2, 3) else q.group_by(self.key()).agg(aggs)
        return q.head(3) if shape == 4 else q


@pytest.mark.parametrize("part", range(8))
def test_random_plans(part: int) -> None:
    released = asked = 0
    for seed in range(part * CASES // 8, (part + 1) * CASES // 8):
        plan = Maker(seed).plan().plan
        for world in WORLDS:
            try:
                bound = bind(plan, world.facts)
            except BindError:
                continue
            asked += 1
            static = world.static(plan)
            answer = world.ask(plan)
            if static.outcome is not Outcome.RELEASE:
                assert answer.verdict.outcome is static.outcome, seed
                continue
            assert answer.verdict.outcome in (Outcome.RELEASE, Outcome.REVIEW), seed
            if answer.verdict.outcome is Outcome.RELEASE:
                released += 1
                assert answer.released.schema == _direct(world, bound).schema, seed
    assert asked
    assert released


def _direct(world: World, bound: Any) -> polars.DataFrame:
    return lower(bound.root, {k: f.lazy() for k, f in world.frames.items()}).collect()
