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
from bastion_plan import nodes as n
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.canonical import decode, encode
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, NameChange, Over, Selector, Ternary
from bastion_plan.functions.calls import make_call
from bastion_plan.nodes import Node, Scan
from bastion_plan.validate import _RANGES
from bastion_server.engine.dtypes import from_polars
from bastion_server.engine.lower import lower
from hypothesis import strategies as st

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


# -- hypothesis: any plan, meaningful or not, in valid form ------------------------------------------------------------


def constants_strategy() -> st.SearchStrategy[Literal]:
    """Literals whose value is written as their type wants."""
    whole = {
        t: st.integers(*_RANGES[t.kind]) for t in (dt.INT8, dt.INT16, dt.INT32, dt.INT64, dt.UINT8, dt.UINT64, dt.DATE, dt.TIME)
    }  # fmt: skip
    values: dict[dt.DType, st.SearchStrategy[Any]] = {
        **whole,
        dt.datetime("ns", "Europe/Berlin"): st.integers(-(2**63), 2**63 - 1),
        dt.duration("ms"): st.integers(-(2**63), 2**63 - 1),
        dt.DYN_INT: st.integers(-(2**63), 2**64 - 1),
        dt.DYN_FLOAT: st.floats(),
        dt.FLOAT64: st.floats(),
        dt.FLOAT32: st.floats(width=32),
        dt.BOOLEAN: st.booleans(),
        dt.STRING: st.text(max_size=20),
        dt.CATEGORICAL: st.text(max_size=5),
        dt.BINARY: st.binary(max_size=20),
        dt.NULL: st.none(),
        dt.list_of(dt.list_of(dt.INT16)): st.lists(st.lists(st.integers(-9, 9), max_size=3).map(tuple), max_size=3).map(tuple),
        dt.DType("Enum", categories=("p", "q")): st.sampled_from("pq"),
        dt.DType("Array", inner=dt.BOOLEAN, width=2): st.tuples(st.booleans(), st.booleans()),
        dt.DType("Struct", fields=(("a", dt.INT8), ("b", dt.STRING))): st.tuples(st.integers(0, 9), st.text(max_size=3)),
        dt.DType("Decimal", precision=6, scale=2): st.integers(-9999, 9999).map(lambda v: f"{v}.25"),
        dt.INT128: st.integers(-(2**127), 2**127 - 1).map(str),
    }  # fmt: skip
    return st.one_of(*(v.map(lambda value, t=t: Literal(t, value)) for t, v in values.items()))


_NAMES = st.sampled_from(["k", "g", "x", "s", "", "straße", "日本", "a b"]) | st.text(max_size=6)


def selectors_strategy() -> st.SearchStrategy[Selector]:
    """Selectors of all kinds."""
    simple = st.one_of(
        st.just(Selector("all")),
        st.builds(lambda v: Selector("by_name", tuple(v)), st.lists(_NAMES, min_size=1, max_size=3)),
        st.builds(lambda v: Selector("by_index", tuple(v)), st.lists(st.integers(-3, 3), max_size=3)),
        st.builds(lambda v: Selector("by_class", (v,)), st.sampled_from(["numeric", "string", "temporal"])),
        st.just(Selector("by_dtype", dtypes=(dt.INT64, dt.DType("Datetime")))),
        st.just(Selector("regex", ("^a.*$",))),
    )
    return st.recursive(
        simple,
        lambda inner: (
            st.builds(lambda a, b: Selector("union", of=(a, b)), inner, inner)
            | st.builds(lambda a: Selector("complement", of=(a,)), inner)
        ),
        max_leaves=4,
    )


def expressions_strategy() -> st.SearchStrategy[Any]:
    """Expressions of all kinds."""
    leaves = _NAMES.map(Column) | constants_strategy() | selectors_strategy() | st.just(Call("pl.len"))

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        several = st.lists(inner, min_size=1, max_size=2).map(tuple)
        return st.one_of(
            st.builds(lambda a, b, name: Call(name, (a, b)), inner, inner, st.sampled_from(["add", "eq", "and_"])),
            st.builds(lambda a, name: Call(name, (a,)), inner, st.sampled_from(["sum", "mean", "is_null"])),
            st.builds(Ternary, inner, inner, inner),
            st.builds(Cast, inner, st.sampled_from([dt.INT8, dt.STRING, dt.list_of(dt.DATE)]), st.booleans()),
            st.builds(
                Over, inner, several, descending=st.booleans(), mapping=st.sampled_from(["group_to_rows", "join"])
            ),
            st.builds(Alias, inner, _NAMES),
            st.builds(lambda e, v: NameChange(e, "prefix", (v,)), inner, _NAMES),
        )

    return st.recursive(leaves, larger, max_leaves=6)


def plans_strategy() -> st.SearchStrategy[Node]:
    """Plans of all nodes."""
    expr = expressions_strategy()
    exprs = st.lists(expr, max_size=3).map(tuple)
    some = st.lists(expr, min_size=1, max_size=2).map(tuple)
    flags = st.lists(st.booleans(), min_size=1, max_size=2).map(tuple)
    inline = constants_strategy().filter(lambda v: v.dtype.kind not in dt.DYNAMIC).map(
        lambda v: n.Inline((n.InlineColumn("v", v.dtype, (v.value, None)),))
    )  # fmt: skip
    scans = st.sampled_from(["t", "u", "日本", "#own"]).map(Scan)
    rows = st.integers(0, 2**32)

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.builds(n.Filter, inner, expr),
            st.builds(n.Select, inner, exprs),
            st.builds(n.WithColumns, inner, exprs),
            st.builds(n.GroupBy, inner, some, exprs, st.booleans()),
            st.builds(n.GroupByDynamic, inner, expr, st.just("1d"), exprs, label=st.sampled_from(["left", "right"])),
            st.builds(n.Rolling, inner, expr, st.just("2h"), exprs, closed=st.sampled_from(["right", "both"])),
            st.builds(n.Join, inner, inner, st.sampled_from(["inner", "left", "cross"]), some, some, coalesce=st.none() | st.booleans()),
            st.builds(n.JoinAsof, inner, inner, expr, expr, tolerance=st.none() | st.integers(0, 9) | st.floats() | st.just("1d")),
            st.builds(n.Sort, inner, some, flags, flags),
            st.builds(n.Slice, inner, st.integers(-(2**31), 2**31), st.none() | rows),
            st.builds(n.TopK, inner, rows, some, flags, st.booleans()),
            st.builds(n.Unique, inner, st.none() | some, st.sampled_from(["any", "first"]), st.booleans()),
            st.builds(n.DropNulls, inner, st.none() | some, st.booleans()),
            st.builds(n.FillNull, inner, st.none() | expr, st.none() | st.just("zero")),
            st.builds(n.Explode, inner, some),
            st.builds(n.Unnest, inner, some),
            st.builds(n.Unpivot, inner, st.none() | some, exprs, _NAMES, _NAMES),
            st.builds(n.Pivot, inner, _NAMES, st.lists(st.integers() .filter(lambda v: abs(v) < 2**63) | _NAMES | st.none(), max_size=3).map(tuple)),
            st.builds(n.Concat, st.lists(inner, min_size=1, max_size=3).map(tuple), st.sampled_from(["vertical", "diagonal"])),
            st.builds(n.WithRowIndex, inner, _NAMES, rows),
            st.builds(n.Sample, inner, st.none() | rows, st.none() | st.floats(0, 1), seed=st.none() | st.integers(0, 2**64 - 1)),
            st.builds(n.Reverse, inner),
        )  # fmt: skip

    return st.recursive(scans | inline, larger, max_leaves=4)
