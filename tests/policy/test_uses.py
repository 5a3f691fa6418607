"""What a plan does with each column."""

from __future__ import annotations

import polars
import pytest
from bastion_plan.bind import bind
from bastion_policy.uses import CONDITION, KEY, ROWS, column_uses
from drive import World
from query import Q

import bastion.expressions as pl

FRAME = polars.DataFrame({"id": [1, 2, 3], "age": [1, 2, 3], "pay": [1.0, 2.0, 3.0], "ward": ["a", "b", "a"]})
W = World().add("t", FRAME, roles={"age": "quasi", "ward": "quasi"}).add("u", FRAME)
T, U = Q("t"), Q("u")
age, pay, ward = pl.col("age"), pl.col("pay"), pl.col("ward")

CASES = {
    "group mean": (T.group_by("ward").agg(pay.mean(), pl.len()), {"t.ward": (KEY,), "t.pay": ("mean",), "t.": ("pl.len",)}),
    "two of one": (T.select(a=pay.mean(), b=pay.sum()), {"t.pay": ("mean", "sum")}),
    "filter": (T.filter(age > 2).select(pay.std()), {"t.age": (CONDITION,), "t.pay": ("std",)}),
    "inner filter": (T.select(pay.filter(age > 2).mean()), {"t.age": (CONDITION,), "t.pay": ("mean",)}),
    "a new name": (T.with_columns(p=pay * 2).select(pl.col("p").mean()), {"t.pay": ("mean",)}),
    "rows": (T.select("age", "ward").head(2), {"t.age": (ROWS,), "t.ward": (ROWS,)}),
    "filtered rows": (T.filter(age > 1).select("ward"), {"t.age": (CONDITION,), "t.ward": (ROWS,)}),
    "window": (
        T.with_columns(m=pay.mean().over("ward")).select("m", "age"),
        {"t.pay": ("mean",), "t.ward": (KEY, ROWS), "t.age": (ROWS,)},
    ),
    "join": (
        T.join(U.select("id", other=pay), on="id").group_by("ward").agg(pl.col("other").sum()),
        {"t.id": (CONDITION,), "u.id": (CONDITION,), "t.ward": (KEY,), "u.pay": ("sum",), "t.age": (CONDITION,),
         "t.pay": (CONDITION,)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_uses(case):
    plan, expected = CASES[case]
    found = column_uses(bind(plan.plan, W.facts), W.facts)
    assert {k: v for k, v in found.items() if k in expected} == expected
    assert all(label.endswith(".") for label in found.keys() - expected.keys()), found
