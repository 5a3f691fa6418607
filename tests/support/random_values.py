"""Random values and frames, one column per type.

A frame is drawn from one seed, so that it is cheap (all types take a millisecond) and the same everywhere; the number of rows
is drawn by hypothesis itself, so that a failing case shrinks to few rows.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import polars as pl
from bastion_plan import dtypes as t
from bastion_plan.dtypes import DType, Schema
from bastion_server.engine.literals import series
from hypothesis import strategies as st

BERLIN = t.datetime("ns", "Europe/Berlin")
COLOURS = DType("Enum", categories=("red", "green", "blue"))
POINT = DType("Struct", fields=(("x", t.INT64), ("y", t.STRING)))


def array(inner: DType, width: int) -> DType:
    """Return the type of arrays of a length."""
    return DType("Array", inner=inner, width=width)


def decimal(precision: int, scale: int) -> DType:
    """Return a Decimal type."""
    return DType("Decimal", precision=precision, scale=scale)


#: one column per type, and text columns that can be parsed
COLUMNS: Schema = {
    "i8": t.INT8, "i16": t.INT16, "i32": t.INT32, "i64": t.INT64, "i128": t.INT128,
    "u8": t.UINT8, "u16": t.UINT16, "u32": t.UINT32, "u64": t.UINT64,
    "f32": t.FLOAT32, "f64": t.FLOAT64, "money": decimal(12, 2), "flag": t.BOOLEAN,
    "text": t.STRING, "bytes": t.BINARY, "day": t.DATE, "clock": t.TIME,
    "at_ms": t.datetime("ms"), "at": t.datetime("us"), "at_zone": BERLIN, "at_utc": t.datetime("us", "UTC"),
    "span": t.duration("us"), "span_ms": t.duration("ms"), "kind": t.CATEGORICAL, "colour": COLOURS,
    "ints": t.list_of(t.INT64), "smalls": t.list_of(t.INT8), "reals": t.list_of(t.FLOAT64), "texts": t.list_of(t.STRING),
    "flags": t.list_of(t.BOOLEAN), "days": t.list_of(t.DATE), "pair": array(t.INT64, 2), "trio": array(t.FLOAT64, 3),
    "words": array(t.STRING, 2), "bits": array(t.BOOLEAN, 2), "point": POINT, "nothing": t.NULL,
    "order": t.INT64, "ordered_day": t.DATE, "key": t.INT64, "singles": t.list_of(t.INT64), "couples": t.list_of(t.INT64),
    "day_text": t.STRING, "at_text": t.STRING, "clock_text": t.STRING, "number_text": t.STRING, "hex_text": t.STRING,
    "json_text": t.STRING,
}  # fmt: skip


#: columns whose values follow a pattern of their own
PATTERNED = (
    "order",
    "ordered_day",
    "key",
    "singles",
    "couples",
    "day_text",
    "at_text",
    "clock_text",
    "number_text",
    "hex_text",
    "json_text",
)
_WORDS = [
    "",
    "a",
    "b",
    "abc",
    "aaa",
    "A-b",
    "ünïcode",
    "日本語",
    "x,y,z",
    "a b",
    " pad ",
    "12",
    "-7",
    "Straße",
    "emoji 🎈",
    "a'b\"c\n",
]
_PARSED = {
    "day_text": ["2020-02-29", "1999-12-31", "2024-07-01", "nonsense"],
    "at_text": ["2020-02-29 12:34:56", "1999-12-31 23:59:59", "2024-07-01 00:00:00"],
    "clock_text": ["12:34:56", "00:00:00", "23:59:59"],
    "number_text": ["12", "7", "101", "-3"],
    "hex_text": ["00ff", "deadbeef", "61"],
    "json_text": ['{"a": 1}', '{"a": 2, "b": "q"}', "{}"],
}


# -- values and frames ------------------------------------------------------------------------------------------------
_EXTREME = 0.04


def random_value(rng: Random, dtype: DType) -> Any:
    """Return a value of a dtype as `Literal.value` holds it (never null)."""
    kind = dtype.kind
    extreme = rng.random() < _EXTREME
    match kind:
        case "Float32" | "Float64" | "DynFloat":
            return (
                rng.choice([math.inf, -math.inf, math.nan, -0.0, 1e30])
                if extreme
                else rng.choice([0.0, 0.5, 1.0, 1.5, 2.0, -1.5, 3.25, 10.0, 0.1])
            )
        case "Boolean":
            return rng.random() < 0.5
        case "String":
            return rng.choice(_WORDS)
        case "Binary":
            return rng.choice([b"", b"a", b"abc", b"\x00\xff", "é".encode()])
        case "Date":
            return rng.choice([-719162, 2932896, -1]) if extreme else rng.randrange(18000, 18800)
        case "Time":
            return (
                rng.choice([0, 86_399_999_999_999])
                if extreme
                else rng.randrange(0, 86_400) * 10**9 + rng.randrange(1000) * 10**6
            )
        case "Datetime" | "Duration":
            per = {"ms": 10**3, "us": 10**6, "ns": 10**9}[dtype.unit or "us"]
            if kind == "Duration":
                return rng.randrange(-(10**6), 10**7) * per + (0 if rng.random() < 0.5 else rng.randrange(per))
            return -per * 10**9 if extreme else rng.randrange(1_500_000_000, 1_650_000_000) * per + rng.randrange(per)
        case "Decimal":
            whole = str(rng.randrange(-500, 500))
            return f"{whole}.{rng.randrange(100):02d}"[: len(whole) + 1 + (dtype.scale or 0)] if dtype.scale else whole
        case "Categorical":
            return rng.choice(["a", "b", "abc", "ü"])
        case "Enum":
            return rng.choice(dtype.categories)
        case "List" if dtype.inner:
            return tuple(maybe(rng, dtype.inner) for _ in range(rng.randrange(0, 4)))
        case "Array" if dtype.inner:
            return tuple(maybe(rng, dtype.inner) for _ in range(dtype.width or 0))
        case "Struct":
            return tuple(maybe(rng, inner) for _, inner in dtype.fields)
        case "Null":
            return None
    return _integer(rng, kind, extreme)


def _integer(rng: Random, kind: str, extreme: bool) -> Any:
    if kind == "DynInt":
        return rng.choice([0, 1, 2, 3, 5, -1, 300]) if not extreme else 2**40
    bits = int(kind.lstrip("UInt"))
    unsigned = kind.startswith("U")
    if extreme and bits <= 64:
        found = rng.choice([2**bits - 1, 0] if unsigned else [2 ** (bits - 1) - 1, -(2 ** (bits - 1))])
    else:
        found = rng.randrange(0, 12) if unsigned or rng.random() < 0.8 else rng.randrange(-9, 0)
    return str(found) if kind == "Int128" else found


def maybe(rng: Random, dtype: DType, share: float = 0.15) -> Any:
    """Return a value or, at times, None."""
    return None if rng.random() < share else random_value(rng, dtype)


def random_column(rng: Random, name: str, dtype: DType, rows: int) -> pl.Series:
    """Return a column: mostly mixed with nulls, at times without nulls, constant or all null."""
    if name in PATTERNED:
        return _patterned(rng, name, dtype, rows)
    style = rng.random()
    if style < 0.05:
        values = [None] * rows
    elif style < 0.12:
        values = [random_value(rng, dtype)] * rows
    elif style < 0.45:
        values = [random_value(rng, dtype) for _ in range(rows)]
    else:
        values = [maybe(rng, dtype) for _ in range(rows)]
    return series(name, dtype, values)


def _patterned(rng: Random, name: str, dtype: DType, rows: int) -> pl.Series:
    match name:
        case "order":
            values: list[Any] = sorted(rng.randrange(0, 30) for _ in range(rows))
        case "ordered_day":
            values = sorted(rng.randrange(18000, 18060) for _ in range(rows))
        case "key":
            values = rng.sample(range(-20, 80), rows)
        case "singles" | "couples":
            width = 1 if name == "singles" else 2
            values = [tuple(rng.randrange(0, 9) for _ in range(width)) for _ in range(rows)]
        case _:
            values = [None if rng.random() < 0.1 else rng.choice(_PARSED[name]) for _ in range(rows)]
            if rng.random() < 0.8:
                values = [None if v == "nonsense" else v for v in values]
    return series(name, dtype, values)


def random_frame(rng: Random, schema: Schema | None = None, rows: int | None = None) -> pl.DataFrame:
    """Return a frame over a schema (all of `COLUMNS` if None)."""
    count = rng.choice([0, 1, 2, 3, 5, 8, 13]) if rows is None else rows
    return pl.DataFrame([random_column(rng, name, dtype, count) for name, dtype in (schema or COLUMNS).items()])


@st.composite
def frames(draw: st.DrawFn, schema: Schema | None = None, max_rows: int = 15) -> pl.DataFrame:
    """Frames with nulls, NaN, infinities, unicode, extreme dates, all-null columns, zero rows."""
    rows = draw(st.integers(0, max_rows))
    return random_frame(Random(draw(st.integers(0, 2**64 - 1))), schema, rows)
