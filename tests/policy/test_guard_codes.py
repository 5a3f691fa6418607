"""Rows find their cells by numbers made of their keys just as they do by the keys themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
import pytest
from bastion_policy import guard_codes
from bastion_policy.guard_cells import INDEX
from bastion_policy.guard_codes import Codes
from bastion_policy.model import Policy, Role, RoleKind
from drive import World
from query import Q

import bastion.expressions as pl

ROWS, T = 600, Q("t")
MEASURE = Role(RoleKind.MEASURE, 0.0, 100.0)
ROLES = {c: Role(RoleKind.QUASI) for c in ("a", "b", "yes", "wide", "far", "least", "most", "none", "text")} | {
    "x": MEASURE,
    "unit": "identifier",
}
#: what is asked, and whether its cells have numbers
ASKED: dict[str, tuple[Q, bool]] = {
    "one key": (T.group_by("a").agg(pl.col("x").mean()), True),
    "two keys": (T.group_by("a", "b").agg(pl.col("x").sum()), True),
    "yes or no": (T.group_by("yes", "b").agg(pl.len()), True),
    "computed": (T.group_by((pl.col("wide") // 40).alias("w")).agg(pl.len()), True),
    "behind a filter": (T.filter(pl.col("b") != 2).group_by("a").agg(pl.col("x").mean()), True),
    "of some columns": (T.select("a", "x", "b").group_by("b").agg(pl.col("x").mean()), True),
    "of a column of another step": (T.with_columns((pl.col("b") + 1).alias("c")).group_by("c").agg(pl.len()), True),
    "per person": (T.group_by("unit").agg(pl.col("a").max()).group_by("a").agg(pl.len()), True),
    "as far apart as can be": (T.group_by("far").agg(pl.len()), False),
    "the least there is, and none": (T.group_by("least").agg(pl.len()), True),
    "the largest there is, and none": (T.group_by("most", "b").agg(pl.len()), True),
    "made, the least, and none": (
        T.group_by(pl.when(pl.col("b") > 2).then(None).otherwise(-(2**63)).alias("m")).agg(pl.len()),
        True,
    ),
    "only none": (T.group_by("none").agg(pl.len()), True),
    "text": (T.group_by("text", "b").agg(pl.len()), False),
    "nobody": (T.filter(pl.col("b") > 9).group_by("a").agg(pl.len()), False),
    "all": (T.select(pl.col("x").mean()), False),
}


def table(per_unit: int) -> polars.DataFrame:
    draw = np.random.default_rng(7)
    a = draw.integers(-3, 3, ROWS)
    return polars.DataFrame(
        {
            "unit": draw.permutation(ROWS) // per_unit,
            "a": [None if gone else int(v) for v, gone in zip(a, draw.random(ROWS) < 0.2, strict=True)],
            "b": polars.Series(draw.integers(0, 5, ROWS), dtype=polars.UInt8),
            "yes": [None if gone else bool(v) for v, gone in zip(a > 0, draw.random(ROWS) < 0.3, strict=True)],
            "wide": polars.Series(draw.integers(-128, 128, ROWS), dtype=polars.Int16),
            "far": draw.choice([-(2**63), 0, 2**63 - 1], ROWS),
            "least": [None if i % 4 == 0 else -(2**63) + i % 3 for i in range(ROWS)],
            "most": [None if i % 4 == 0 else 2**63 - 1 - i % 3 for i in range(ROWS)],
            "none": polars.Series([None] * ROWS, dtype=polars.Int64),
            "text": draw.choice(["p", "q", "r"], ROWS),
            "x": draw.random(ROWS) * 100,
        }
    )


def stored(asked: Q, per_unit: int) -> list[Any]:
    """What is told, and whom the history takes it to be about."""
    w = World(remembers=True).add("t", table(per_unit), Policy.default(), ROLES, "unit")
    answer = w.ask(asked.plan)
    (past,) = w.pasts.values()
    told = {name: (c.labels.tolist(), c.parts.tolist()) for name, c in past.channels.items()}
    return [answer.verdict.outcome, None if answer.table is None else answer.table.to_dicts(), told]


@pytest.mark.parametrize("per_unit", [1, 3])
@pytest.mark.parametrize("name", ASKED)
def test_by_numbers_and_by_keys_are_the_same(name: str, per_unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, numbered = ASKED[name]
    found: list[Codes | None] = []
    of = Codes.of

    def watched(*given: Any) -> Codes | None:
        found.append(of(*given))
        return found[-1]

    monkeypatch.setattr(Codes, "of", watched)
    monkeypatch.setattr(guard_codes, "PIECE", 100)
    by_numbers = stored(asked, per_unit)
    assert any(codes is not None for codes in found) == numbered
    monkeypatch.setattr(Codes, "of", lambda *_: None)
    assert by_numbers == stored(asked, per_unit)
    assert by_numbers[2], "somebody was told something"


def test_too_many_numbers_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_codes, "MOST", 20)
    asked = T.group_by("a", "b").agg(pl.len())
    monkeypatch.setattr("bastion_policy.judge_memory.MemoryBase._coded", None)
    assert stored(asked, 1)[2], "six and a missing key times five: found by keys"


@pytest.mark.parametrize("per_unit", [1, 3])
def test_the_cells_of_a_stored_key_are_held_for_other_audiences(per_unit: int) -> None:
    def world() -> World:
        return World(remembers=True).add("t", table(per_unit), Policy.default(), ROLES, "unit")

    held, computed = ASKED["one key"][0], T.group_by((pl.col("b") + 1).alias("a")).agg(pl.col("x").mean())
    w = world()
    for plan in (computed, held, computed, T.filter(pl.col("b") != 2).group_by("a").agg(pl.len()), held):
        there, here = world().ask(plan.plan, "bob"), w.ask(plan.plan, f"carol of {len(w.pasts)}")
        assert there.table is not None and here.table is not None and there.table.equals(here.table)
    cells = w.columns.get(("t", 1, "#~cell a"))
    assert cells is not None and cells.size == ROWS and not cells.flags.writeable
    a = table(per_unit)["a"]
    # in the order of the keys, the missing one first
    assert cells.tolist() == (a.rank("dense").cast(polars.Int64).fill_null(0)).to_list()

    def read(who: str) -> bool:
        return any(m.returns == (INDEX,) for m in w.ask(held.plan, who).measures)

    assert not read("dora")
    w.columns.forget("t")
    assert read("eve")
