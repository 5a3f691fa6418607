"""A constant divided by Float32 is Float32: the engine's schema says otherwise, and it fails where a null of it is filled."""

from __future__ import annotations

import math
import struct
from types import SimpleNamespace

import polars as real
import pytest
from bastion_plan.bind import bind
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.lower import lower
from query import Q

import bastion.expressions as pl

VALUES = [1.5, None, 0.1, 3.4e38, 1e-40, -7.3, math.nan, math.inf, 0.0, -0.0]
FRAME = real.DataFrame({"f": real.Series(VALUES, dtype=real.Float32), "x": VALUES, "i": list(range(10))})
SCHEMA = {c: from_polars(t) for c, t in FRAME.schema.items()}
F, X = pl.col("f"), pl.col("x")
DIVIDENDS = {
    "tenth": (pl.lit(0.1), real.lit(0.1)), "large": (pl.lit(1e300), real.lit(1e300)), "named": (pl.lit(3.0).alias("z"), real.lit(3.0).alias("z")),
    "computed": (pl.lit(0.1) * 2, real.lit(0.1) * 2), "turned": (-pl.lit(0.1), -real.lit(0.1)),
    "chosen": (pl.when(pl.col("i") > 1).then(0.1).otherwise(0.2), real.when(real.col("i") > 1).then(0.1).otherwise(0.2)),
    "whole": (pl.lit(7), real.lit(7)),
}  # fmt: skip


def run(plan: Q) -> real.DataFrame:
    bound = bind(plan.plan, {"t": SimpleNamespace(schema=SCHEMA, plan=None)})
    found = lower(bound.root, {"t": FRAME.lazy()}).collect()
    assert [str(t) for t in bound.schema.values()] == [str(t) for t in found.schema.values()]
    return found


@pytest.mark.parametrize("name", DIVIDENDS)
def test_it_has_the_bits_of_the_engine(name: str) -> None:
    mine, theirs = DIVIDENDS[name]
    found, expected = run(Q("t").select(mine / F)), FRAME.lazy().select(theirs / real.col("f")).collect()
    assert found.columns == expected.columns

    def bits(frame: real.DataFrame) -> list[object]:
        return [None if v is None else "nan" if math.isnan(v) else struct.pack("<d", v) for v in frame.to_series()]

    assert bits(found) == bits(expected)


@pytest.mark.parametrize("name", DIVIDENDS)
def test_nulls_of_it_are_filled(name: str) -> None:
    mine, _ = DIVIDENDS[name]
    quotient = Q("t").select(w=mine / F)
    assert run(quotient.with_columns(w=pl.col("w").fill_null(7)))["w"].null_count() == 0
    assert run(quotient.with_columns(w=pl.coalesce("w", 0.5)))["w"].null_count() == 0
    run(Q("t").select(w=mine / X))
