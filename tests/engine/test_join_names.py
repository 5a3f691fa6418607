"""Columns of joins whose names clash: the engine gives those that the bound schema says, whatever is read of them."""

from __future__ import annotations

import os
import random
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.dtypes import INT64
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Column, Literal
from bastion_plan.schemas import join_origins
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.lower import lower

NAMES = ["a", "b", "c", "a_right", "b_right", "a_right_right", "ax", "bx"]
CASES = int(os.environ.get("BASTION_FUZZ_CASES", "400"))


def facts(frame: pl.DataFrame) -> Any:
    return SimpleNamespace(schema={c: from_polars(t) for c, t in frame.schema.items()}, plan=None)


def drawn(draw: random.Random) -> tuple[n.Join, pl.DataFrame, pl.DataFrame]:
    """Return a join of two small tables."""
    sides = [draw.sample(NAMES, draw.randint(2, 5)) for _ in range(2)]
    tables = [
        pl.DataFrame({c: [base * 1000 + 100 * i + x for x in range(4)] for i, c in enumerate(columns)})
        for base, columns in enumerate(sides, 1)
    ]
    count = min(draw.choice([1, 1, 2]), *map(len, sides))
    keys = [draw.sample(columns, count) for columns in sides]
    for one, two in zip(*keys, strict=True):
        tables[0] = tables[0].with_columns(pl.Series(one, [draw.randrange(3) for _ in range(4)]))
        tables[1] = tables[1].with_columns(pl.Series(two, draw.sample(range(4), 4)))
    on = [tuple(map(Column, k)) for k in keys]
    how, suffix = draw.choice(["inner", "left", "full", "right"]), draw.choice(["_right", "_right", "x"])
    join = n.Join(n.Scan("l"), n.Scan("r"), how, *on, suffix=suffix, coalesce=draw.choice([None, None, True, False]))
    return join, *tables


def beside(join: n.Join, left: pl.DataFrame, right: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Return the same join under names that do not clash, renamed afterwards."""
    origins = join_origins(join, facts(left).schema, facts(right).schema)
    keys = [e.name for e in join.left_on], [e.name for e in join.right_on]  # type: ignore[union-attr]
    apart = left.rename({c: f"L{c}" for c in left.columns}).join(
        right.rename({c: f"R{c}" for c in right.columns}),
        left_on=[f"L{c}" for c in keys[0]], right_on=[f"R{c}" for c in keys[1]], how=join.how, coalesce=False,
    )  # fmt: skip
    merged = join.coalesce if join.coalesce is not None else join.how != "full"

    def column(name: str) -> pl.Expr:
        first, was = origins[name]
        found = pl.col(("L" if first else "R") + was)
        if merged and join.how == "full" and first and was in keys[0]:
            found = pl.coalesce(found, pl.col("R" + keys[1][keys[0].index(was)]))
        return found.alias(name)

    return apart.select(map(column, names))


@pytest.mark.parametrize("seed", range(4))
def test_the_engine_gives_the_columns_that_the_schema_says(seed: int) -> None:
    draw, played, refused = random.Random(seed), 0, 0
    while played + refused < CASES:
        join, left, right = drawn(draw)
        tables, sources = {"l": facts(left), "r": facts(right)}, {"l": left.lazy(), "r": right.lazy()}
        try:
            names = list(bind(join, tables).schema)
        except BindError:
            refused += 1
            continue
        played += 1
        whole = beside(join, left, right, names)
        some = draw.sample(names, draw.randint(1, len(names)))
        low = Call("lt", (Column(some[0]), Literal(INT64, 2)))
        sums = [Alias(Call("sum", (Column(c),)), f"s{c}") for c in some[1:]]
        asked = {
            "all": (join, whole),
            "some": (n.Select(join, tuple(map(Column, some))), whole.select(some)),
            "chosen": (n.Select(n.Filter(join, low), tuple(map(Column, some))), whole.filter(pl.col(some[0]) < 2).select(some)),
            "groups": (
                n.GroupBy(join, (Column(some[0]),), (Alias(Call("pl.len"), "#"), *sums)),
                whole.group_by(some[0]).agg(pl.len().alias("#"), *(pl.col(c).sum().alias(f"s{c}") for c in some[1:])),
            ),
        }  # fmt: skip
        for plan, expected in asked.values():
            found = lower(bind(plan, tables).root, sources).collect()
            assert found.columns == expected.columns
            assert sorted(map(repr, found.rows())) == sorted(map(repr, expected.rows())), (join, some)
    assert played > refused / 4
    assert refused


@pytest.mark.parametrize("how", ["inner", "left", "right"])
def test_a_key_of_the_name_that_a_column_would_get_is_refused(how: str) -> None:
    left, right = pl.DataFrame({"town": [1], "v": [2]}), pl.DataFrame({"v_right": [1], "v": [3]})
    join = n.Join(n.Scan("l"), n.Scan("r"), how, (Column("town"),), (Column("v_right"),))
    with pytest.raises(BindError, match="'v_right', which another column has") as refused:
        bind(join, {"l": facts(left), "r": facts(right)})
    assert "suffix" in str(refused.value.next_step)
