"""Values that the type of an operation does not have are null: what may be so makes no condition, whatever the types and constants."""

from __future__ import annotations

import datetime as dt
import math
import warnings
from typing import Any

import polars
import pytest
from bastion_plan.errors import BindError
from bastion_policy.model import Aggregation, Policy, Review
from bastion_policy.verdict import Outcome
from drive import World
from query import Q

import bastion.expressions as pl

T, x = Q("t"), pl.col("x")


def whole(values: list[int], dtype: Any) -> polars.Series:
    return polars.Series(values, dtype=polars.Int64).cast(dtype)


DATES = [dt.date(1, 1, 1), dt.date(1600, 1, 1), dt.date(1970, 1, 2), dt.date(2300, 1, 1), dt.date(9999, 12, 31)]
TIMES = [dt.datetime(1, 1, 1), dt.datetime(1600, 1, 1), dt.datetime(1970, 1, 2), dt.datetime(9999, 12, 31)]
LENGTHS = [-(2**62), -1, 0, 1, 2**62]
STORED = {
    "date": polars.Series(DATES),
    "ms": polars.Series(TIMES).cast(polars.Datetime("ms")),
    "us": polars.Series(TIMES),
    "ns": polars.Series([dt.datetime(1700, 1, 1), dt.datetime(2261, 1, 1)]).cast(polars.Datetime("ns")),
    "duration us": whole(LENGTHS, polars.Duration("us")),
    "duration ms": whole(LENGTHS, polars.Duration("ms")),
    "duration ns": whole(LENGTHS, polars.Duration("ns")),
    "i8": whole([-128, -1, 0, 127], polars.Int8),
    "u8": whole([0, 200, 255], polars.UInt8),
    "u32": whole([0, 2**32 - 1], polars.UInt32),
    "u64": polars.Series([0, 2**63, 2**64 - 1], dtype=polars.UInt64),
    "i64": polars.Series([-(2**63), 0, 2**63 - 1]),
    "f32": polars.Series([1e38, -1e38, 0.5]).cast(polars.Float32),
    "f64": polars.Series([1e300, -1e300, 0.5, -0.5, math.inf]),
    "bool": polars.Series([True, False]),
}
CONSTANTS = {
    "date": pl.lit(dt.date(2000, 1, 1)),
    "end": pl.lit(dt.date(9999, 12, 31)),
    "us": pl.lit(dt.datetime(2000, 1, 1)),
    "ns": pl.lit(dt.datetime(2000, 1, 1)).cast(pl.Datetime("ns")),
    "days": pl.lit(dt.timedelta(days=300_000)),
    "long": pl.lit(2**60, dtype=pl.Int64).cast(pl.Duration("ms")),
    "short": pl.lit(2**60, dtype=pl.Int64).cast(pl.Duration("ns")),
    "-1": pl.lit(-1),
    "1": pl.lit(1),
    "2.5": pl.lit(2.5),
    "0": pl.lit(0),
    "2^63": pl.lit(2**63),
    "i64": pl.lit(-1, dtype=pl.Int64),
    "i8": pl.lit(-1, dtype=pl.Int8),
    "u64": pl.lit(2**64 - 1, dtype=pl.UInt64),
    "1e300": pl.lit(1e300),
}
CALLS: dict[str, Any] = {
    "<": lambda a, b: a < b, "==": lambda a, b: a == b, "+": lambda a, b: a + b, "-": lambda a, b: a - b,
    "from": lambda a, b: b - a, "*": lambda a, b: a * b, "/": lambda a, b: a / b, "through": lambda a, b: b / a,
    "xor": lambda a, b: a ^ b, "and": lambda a, b: a & b, "between": lambda a, b: a.is_between(b, b), "clip": lambda a, b: a.clip(b, b),
    "fill": lambda a, b: a.fill_null(b), "first": lambda a, b: pl.coalesce(a, b), "when": lambda a, b: pl.when(a == a).then(a).otherwise(b),
    "close": lambda a, b: a.is_close(b),
}  # fmt: skip
ALONE: dict[str, Any] = {
    "bins": lambda a: a.cut([0.0]), "bins of roots": lambda a: a.sqrt().cut([0.5]), "bins of logarithms": lambda a: (a + 1).log().cut([0.5]),
    "bins of what is none": lambda a: (a * 1e308 * 10 * 0.0).cut([0.0]), "halves": lambda a: a.round(2), "floor": lambda a: a.floor(),
}  # fmt: skip


def world(kind: str) -> World:
    column = STORED[kind]
    rows = polars.concat([column] * 12).alias("x")
    frame = polars.DataFrame({"id": range(len(rows)), "x": rows})
    return World().add("t", frame, Policy(Aggregation(2), Review()), {"id": "identifier", "x": "measure"}, "id")


def made(w: World, expr: Any) -> bool:
    """Whether some values become null, and others not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = w._run(T.select(expr.alias("y")).plan, {}, {})["y"]
    return 0 < found.null_count() < found.len()


def conditions(expr: Any) -> list[Any]:
    return [(expr == expr).sum(), (expr == expr).mean()]


def told(w: World, expr: Any) -> list[str]:
    """Return which conditions on an expression are counted."""
    return [str(c) for c in conditions(expr) if w.static(T.select(c).plan).outcome is Outcome.RELEASE]


@pytest.mark.parametrize("kind", STORED)
def test_what_some_values_lose_is_no_condition(kind):
    w, wrong, lost = world(kind), [], 0
    asked = [(f"{c} {o}", lambda c=c, o=o: CALLS[o](x, CONSTANTS[c])) for c in CONSTANTS for o in CALLS]
    asked += [(o, lambda o=o: ALONE[o](x)) for o in ALONE]
    for name, make in asked:
        try:
            expr = make()
            some = made(w, expr)
            some = some and [*told(w, expr), ""]
        except (BindError, polars.exceptions.PolarsError, OverflowError, TypeError, ValueError):
            continue  # it fails whatever the values are
        if some:
            lost += 1
            wrong += [name] if some[0] else []
    assert not wrong
    assert lost or kind in ("ns", "i8", "u8", "u32", "i64", "bool", "ms", "us"), "nothing was tried"


@pytest.mark.parametrize(
    ("kind", "expr"),
    [
        ("u64", x + 1 > 5),
        ("u64", (x / 2) > 5),
        ("i64", x - 1 > -5),
        ("f64", x.cut([0.0], labels=["a", "b"]) == "a"),
        ("f64", (x / 10 + 1).cut([0.0], labels=["a", "b"]) == "a"),
        ("f64", x.round(1).cut([0.0], labels=["a", "b"]) == "a"),
        ("i64", (x * 0.5).cut([0.0], labels=["a", "b"]) == "a"),
        ("date", x < dt.date(2000, 1, 1)),
        ("date", x < dt.datetime(2000, 1, 1)),
        ("us", x < dt.date(2000, 1, 1)),
        ("duration us", x * 2 > dt.timedelta(days=3)),
    ],
)
def test_what_all_values_have_is(kind, expr):
    w = world(kind)
    assert not made(w, expr)
    assert w.static(T.select(expr.sum()).plan).outcome is Outcome.RELEASE
