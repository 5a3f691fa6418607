"""Random frames and the way of a plan: encode, decode, bind, lower, collect, compared with Polars itself."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.canonical import decode, encode
from bastion_plan.expressions import Alias, Call, Column, Expr, Literal, Selector
from bastion_plan.functions.calls import make_call
from bastion_plan.nodes import Node, Scan
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.lower import lower

#: random frames per case
SEEDS = max(1, int(os.environ.get("BASTION_FUZZ_CASES", "12")))
SIZES = (0, 1, 2, 7, 30, 61)

T, U = Scan("t"), Scan("u")
WORDS = ["", "a", "b", "Ä", "straße", "日本", "e\u0301", "🙂", "a b", "\x00", "NULL", "x" * 40]


def c(name: str) -> Column:
    """Column."""
    return Column(name)


def lit(value: Any) -> Literal:
    """A literal as Polars' `lit` types it."""
    kinds = {bool: dt.BOOLEAN, int: dt.DYN_INT, float: dt.DYN_FLOAT, str: dt.STRING, type(None): dt.NULL}
    return Literal(kinds[type(value)], value)


def f(name: str, *args: Any, **options: Any) -> Call:
    """A call; plain values become literals."""
    return make_call(name, [a if isinstance(a, Expr) else lit(a) for a in args], options)


def named(name: str, expr: Any) -> Alias:
    """Alias."""
    return Alias(expr, name)


def sel(kind: str, *values: str | int, **more: Any) -> Selector:
    """Selector."""
    return Selector(kind, values, **more)


def random_frame(seed: int, rows: int) -> pl.DataFrame:
    """A frame of many types; nulls, NaN, infinities, unicode, extreme dates; `i`, `d` and `ts` are sorted without nulls."""
    rng = random.Random(f"{seed}/{rows}")

    def column(make: Callable[[], Any], nulls: float = 0.2) -> list[Any]:
        return [None if rng.random() < nulls else make() for _ in range(rows)]

    day = sorted(rng.choice([-(10**6), -719_162, -1, 0, 1, 18_000, 18_001, 18_002, 18_031, 10**6]) for _ in range(rows))
    tick = sorted(rng.randrange(0, 40 * 86_400_000) for _ in range(rows))
    return pl.DataFrame(
        [
            pl.Series("k", column(lambda: rng.randrange(4)), pl.Int64),
            pl.Series("g", column(lambda: rng.choice(WORDS[:5])), pl.String),
            pl.Series("i", sorted(rng.randrange(50) for _ in range(rows)), pl.Int64),
            pl.Series("i8", column(lambda: rng.randrange(-128, 128)), pl.Int8),
            pl.Series("u", column(lambda: rng.choice([0, 1, 2, 2**32 - 1])), pl.UInt32),
            # multiples of 1/4: sums are exact in any order
            pl.Series("x", column(lambda: rng.choice([math.nan, math.inf, -0.0, rng.randrange(-99, 99) / 4])), pl.Float64),
            pl.Series("y", column(lambda: rng.randrange(-99, 99) / 4), pl.Float32),
            pl.Series("s", column(lambda: rng.choice(WORDS)), pl.String),
            pl.Series("b", column(lambda: rng.random() < 0.5), pl.Boolean),
            pl.Series("d", day, pl.Int32).cast(pl.Date),
            pl.Series("ts", tick, pl.Int64).cast(pl.Datetime("ms")),
            pl.Series("du", column(lambda: rng.randrange(-(10**9), 10**9)), pl.Int64).cast(pl.Duration("us")),
            pl.Series("cat", column(lambda: rng.choice("pqr")), pl.String).cast(pl.Categorical),
            pl.Series("en", column(lambda: rng.choice("pqr")), pl.String).cast(pl.Enum(["r", "q", "p"])),
            pl.Series("l", column(lambda: [rng.choice([None, 1, 2]) for _ in range(rng.randrange(3))]), pl.List(pl.Int16)),
            pl.Series("st", column(lambda: {"p": rng.randrange(3), "q": rng.choice(WORDS)}, 0), pl.Struct({"p": pl.Int32, "q": pl.String})),
            pl.Series("n", [None] * rows, pl.Null),
        ]
    )  # fmt: skip


def facts(frame: pl.DataFrame) -> SimpleNamespace:
    """Table facts of a frame."""
    return SimpleNamespace(schema={name: from_polars(t) for name, t in frame.schema.items()}, plan=None)


def through(plan: Node, frames: Mapping[str, pl.DataFrame]) -> tuple[BoundPlan, pl.LazyFrame]:
    """Send a plan the whole way: encode, decode, bind, lower; the bound schema must be the engine's own."""
    bound = bind(decode(encode(plan)), {name: facts(frame) for name, frame in frames.items()})
    lazy = lower(bound.root, {name: frame.lazy() for name, frame in frames.items()})
    engine = {name: from_polars(t) for name, t in lazy.collect_schema().items()}
    assert list(bound.schema.items()) == list(engine.items())
    assert bound.schemas[bound.root] == bound.schema
    return bound, lazy


def rows_of(frame: pl.DataFrame, *, ordered: bool) -> list[Any]:
    """Rows as comparable text: temporal values as ticks, floats to nine digits."""
    flat = frame.with_columns(pl.col(name).to_physical() for name, t in frame.schema.items() if t.is_temporal())
    rows = [repr(tuple(_rounded(v) for v in row)) for row in flat.rows()]
    return rows if ordered else sorted(rows)


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.9g}") + 0.0
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return value


@dataclass(frozen=True)
class Case:
    """A plan and what Polars' own API makes of the same verb. ordered: Polars promises the order of rows."""

    plan: Node
    polars: Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]
    ordered: bool = True


def check(case: Case, seeds: int = SEEDS) -> None:
    """Compare plan and Polars on random frames, the empty one included; some result must say something."""
    telling = 0
    for seed in range(seeds):
        size = SIZES[seed % len(SIZES)]
        frames = {"t": random_frame(seed, size), "u": random_frame(seed + 1000, SIZES[(seed + 2) % len(SIZES)])}
        expected = case.polars(frames["t"].lazy(), frames["u"].lazy())
        _, lazy = through(case.plan, frames)
        want, got = expected.collect(), lazy.collect()
        assert got.schema == want.schema
        assert rows_of(got, ordered=case.ordered) == rows_of(want, ordered=case.ordered), (case.plan, seed)
        telling += want.height > 0 and any(want[name].null_count() < want.height for name in want.columns)
    assert telling, "no random frame gave a result with a value in it"


def run_cases(cases: Mapping[str, Case]) -> Any:
    """Parametrize a test over named cases."""
    import pytest

    return pytest.mark.parametrize("case", list(cases.values()), ids=list(cases))


def names(values: Sequence[str]) -> tuple[Column, ...]:
    """Columns."""
    return tuple(Column(v) for v in values)
