"""Random frames, calls and expressions, well typed, for the tests that hold the product against real Polars.

A case is drawn from one seed, so that it is cheap (a frame of all types takes a millisecond) and the same everywhere;
the number of rows is drawn by hypothesis itself, so that a failing case shrinks to few rows.

    frames()            hypothesis strategy of Polars frames with one column per type
    call_for(f, schema) strategy of calls of one registered function over the columns of a schema
    expressions(schema) strategy of nested expressions
    random_…            the same as plain functions of a `random.Random`
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import polars as pl
from bastion_plan import dtypes as t
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Over, Ternary
from bastion_plan.functions.accepts import fits
from bastion_plan.functions.calls import LEFT_OUT, make_call
from bastion_plan.functions.packing import pack
from bastion_plan.functions.registry import all_functions, get
from bastion_plan.functions.spec import Arg, Function, Option, Shape
from bastion_plan.typing import describe
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


# -- arguments and options --------------------------------------------------------------------------------------------

#: columns that make sense as the input of a function, where its accepted types alone say too little
INPUTS: dict[str, tuple[str, ...]] = {
    "str.to_date": ("day_text",), "str.to_datetime": ("at_text",), "str.to_time": ("clock_text",), "str.strptime": ("day_text", "at_text", "clock_text"),
    "str.to_integer": ("number_text",), "str.to_decimal": ("number_text",), "str.decode": ("hex_text",),
    "str.json_decode": ("json_text",), "str.json_path_match": ("json_text",),
    "dt.base_utc_offset": ("at_zone", "at_utc"), "dt.dst_offset": ("at_zone", "at_utc"),
    "list.item": ("singles",), "list.to_array": ("couples",), "list.gather": ("couples",), "list.get": ("couples", "texts", "days"),
    "dt.strftime": ("at", "at_ms", "at_zone"),
    "search_sorted": ("order", "ordered_day"), "reinterpret": ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"),
}  # fmt: skip


def _int(*values: int) -> list[Literal]:
    return [Literal(t.DYN_INT, v) for v in values]


def _text(*values: str) -> list[Literal]:
    return [Literal(t.STRING, v) for v in values]


_YEARS, _MONTHS, _DAYS = _int(1999, 2020, 2024), _int(1, 2, 12), _int(1, 15, 28)
_SMALL, _POSITIVE, _SIGNED = _int(0, 1, 2, 3), _int(1, 2, 3), _int(-2, -1, 0, 1, 2)
_PATTERNS = _text("a", "b", "[a-c]+", "(a)(b)?", "ü", ",", "^$")
_PIECES = _text("a", "ab", "", ",", "日", " ")

#: arguments by (function, name) or by name alone, where only some values mean something
ARGUMENTS: dict[str | tuple[str, str], list[Any]] = {
    ("dt.offset_by", "by"): _text("1d", "-1mo", "2h30m", "1y"), "every": _text("1d", "1mo", "6h", "1w", "1y"),
    "pattern": _PATTERNS, "prefix": _PIECES, "suffix": _PIECES, "characters": [*_text(" ", "a", "ab "), LEFT_OUT],
    ("str.split", "by"): _text(",", " ", "a"), ("str.split_exact", "by"): _text(",", " ", "a"), ("str.splitn", "by"): _text(",", " ", "a"),
    "json_path": _text("$.a", "$.b"), "value": [], "separator": _text("-", ", "),
    ("str.replace_many", "replace_with"): [Literal(t.list_of(t.STRING), ("z",))], ("dt.add_business_days", "n"): _SIGNED,
    ("list.to_array", "input"): [Column("couples")], "patterns": [Literal(t.list_of(t.STRING), v) for v in (("a", "b"), ("ü",), ("ab", "a", "日"))],
    ("bin.contains", "literal"): [Literal(t.BINARY, b"a")], ("bin.starts_with", "prefix"): [Literal(t.BINARY, b"a")], ("bin.ends_with", "suffix"): [Literal(t.BINARY, b"c")],
    "length": [*_SMALL, LEFT_OUT], "offset": _SIGNED, "index": _SMALL, "k": [*_POSITIVE, LEFT_OUT],
    ("str.zfill", "length"): _POSITIVE, ("str.pad_start", "length"): _int(1, 5), ("str.pad_end", "length"): _int(1, 5),
    ("list.gather_every", "n"): _POSITIVE, ("list.gather_every", "offset"): [*_SMALL, LEFT_OUT],
    ("shift", "n"): [*_SIGNED, LEFT_OUT], ("diff", "n"): [*_SIGNED, LEFT_OUT], ("pct_change", "n"): [*_SIGNED, LEFT_OUT],
    ("extend_constant", "n"): _SMALL, ("repeat_by", "by"): _SMALL, ("sample", "n"): _int(0, 1), ("sample", "fraction"): [LEFT_OUT],
    ("pl.repeat", "n"): _SMALL, ("arr.get", "index"): _int(0, 1, -1),
    ("gather", "indices"): [*_int(0), Literal(t.list_of(t.INT64), (0, 0)), Literal(t.list_of(t.INT64), (0,))],
    ("list.gather", "indices"): [Literal(t.list_of(t.INT64), (0, 1)), Literal(t.list_of(t.INT64), (0,))],
    ("str.to_integer", "base"): [*_int(10, 16), LEFT_OUT], ("log", "base"): [Literal(t.DYN_FLOAT, 2.0), LEFT_OUT, Literal(t.DYN_INT, 10)],
    ("pow", "exponent"): [*_SMALL, Literal(t.DYN_FLOAT, 0.5)],
    ("hist", "bins"): [LEFT_OUT, Literal(t.list_of(t.FLOAT64), (0.0, 2.0, 5.0)), Literal(t.list_of(t.INT64), (-1, 3, 10))],
    ("pl.int_range", "start"): _SMALL, ("pl.int_range", "end"): [*_int(3, 5), LEFT_OUT, Call("pl.len")],
    ("pl.int_ranges", "start"): _SMALL, ("pl.int_ranges", "end"): [*_int(3, 5)], ("pl.int_ranges", "step"): [*_int(1, 2), LEFT_OUT],
    "num_samples": _int(1, 3), ("pl.linear_space", "start"): _SMALL, ("pl.linear_space", "end"): _int(5, 9),
    "year": [*_YEARS], "month": _MONTHS, "day": _DAYS, "hour": [*_int(0, 12, 23), LEFT_OUT], "minute": [*_int(0, 59), LEFT_OUT],
    "second": [*_int(0, 59), LEFT_OUT], "microsecond": [*_int(0, 999_999), LEFT_OUT],
    ("dt.replace", "year"): [*_YEARS, LEFT_OUT], ("dt.replace", "month"): [*_MONTHS, LEFT_OUT], ("dt.replace", "day"): [*_DAYS, LEFT_OUT],
    **{("pl.duration", unit): [*_SIGNED, LEFT_OUT, Column("i64")] for unit in ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")},
    ("top_k_by", "by"): [Column("key")], ("bottom_k_by", "by"): [Column("key")],
    ("interpolate_by", "by"): [Column("order"), Column("ordered_day")], ("ewm_mean_by", "by"): [Column("ordered_day"), Column("at")], ("ewm_sum_by", "by"): [Column("ordered_day"), Column("at")],
    **{(f"rolling_{name}_by", "by"): [Column("ordered_day")] for name in ("sum", "mean", "min", "max", "median", "quantile", "std", "var", "rank")},
    ("pl.date_range", "start"): [Literal(t.DATE, 18000)], ("pl.date_range", "end"): [Literal(t.DATE, 18003)],
    ("pl.date_ranges", "start"): [Column("ordered_day")], ("pl.date_ranges", "end"): [Literal(t.DATE, 18090)],
    ("pl.datetime_range", "start"): [Literal(t.DATE, 18000), Literal(t.datetime("us"), 10**15)], ("pl.datetime_range", "end"): [Literal(t.datetime("us"), 10**15 * 2)],
    ("pl.datetime_ranges", "start"): [Column("ordered_day")], ("pl.datetime_ranges", "end"): [Literal(t.datetime("us"), 1_560_000_000 * 10**6)],
    ("pl.time_range", "start"): [Literal(t.TIME, 0)], ("pl.time_range", "end"): [Literal(t.TIME, 10**13)],
    ("pl.time_ranges", "start"): [Literal(t.TIME, 0)], ("pl.time_ranges", "end"): [Column("clock")],
    ("pl.from_epoch", "column"): [Column("order"), Column("i32")],
}  # fmt: skip
del ARGUMENTS["value"]

#: options by (function, name) or by name alone
OPTIONS: dict[str | tuple[str, str], list[Any]] = {
    "quantile": [0.0, 0.25, 0.5, 1.0], "window_size": [1, 2, 3], "min_samples": [None, 1], "half_life": ["1d", "36h"],
    **{(f"rolling_{name}_by", "window_size"): ["1d", "3d", "2w"] for name in ("sum", "mean", "min", "max", "median", "quantile", "std", "var", "rank")},
    **{(f"rolling_{name}", "min_samples"): [None, 1] for name in ("sum", "mean", "min", "max", "median", "quantile", "std", "var", "skew", "kurtosis", "rank")},
    **{(f"rolling_{name}_by", "min_samples"): [1, 2] for name in ("sum", "mean", "min", "max", "median", "quantile", "std", "var", "rank")},
    **{(f"ewm_{name}", "min_samples"): [1, 2] for name in ("mean", "sum", "std", "var")},
    ("ewm_mean_by", "half_life"): ["1d", "36h"], ("ewm_sum_by", "half_life"): ["1d", "36h"],
    "seed": [7], "limit": [None, 1], "ddof": [0, 1], "decimals": [0, 1, 2], "digits": [1, 2, 3],
    "time_zone": ["UTC", "Asia/Tokyo", "America/New_York"], ("dt.replace_time_zone", "time_zone"): [None, "UTC", "Asia/Tokyo"], ("pl.datetime", "time_zone"): [None, "UTC"],
    ("pl.datetime_range", "time_zone"): [None], ("pl.datetime_ranges", "time_zone"): [None], ("str.to_datetime", "time_zone"): [None, "UTC"],
    "interval": ["1d", "2d"], ("bin.get", "null_on_oob"): [True], ("list.gather", "null_on_oob"): [True, False], ("item", "allow_empty"): [True], ("pl.time_range", "interval"): ["1h", "30m"], ("pl.time_ranges", "interval"): ["1h", "5h"],
    ("pl.datetime_range", "interval"): ["200d", "1y"], ("pl.datetime_ranges", "interval"): ["10d"],
    "week_mask": [(True, True, True, True, True, False, False), (True, False, True, True, True, True, True)],
    "descending": [False, True], ("sort_by", "descending"): [(False,), (True,)], ("sort_by", "nulls_last"): [(False,), (True,)],
    ("pl.arg_sort_by", "descending"): [(False,), (True,)], ("pl.arg_sort_by", "nulls_last"): [(False,), (True,)],
    ("str.to_date", "format"): [None, "%Y-%m-%d"], ("str.to_datetime", "format"): [None, "%Y-%m-%d %H:%M:%S"], ("dt.add_business_days", "roll"): ["forward", "backward"], ("str.to_time", "format"): [None, "%H:%M:%S"], ("str.strptime", "format"): [None],
    "format": ["%Y", "%d.%m.%Y"], ("dt.strftime", "format"): ["%c"], ("dt.to_string", "format"): [None, "iso"],
    ("str.strptime", "dtype"): ["Date"], ("str.json_decode", "dtype"): [pack(DType("Struct", fields=(("a", t.INT64), ("b", t.STRING))))],
    "strict": [False], ("str.contains", "strict"): [True, False], ("str.find", "strict"): [True, False], ("str.split", "strict"): [True, False], ("struct.drop", "strict"): [True, False],
    "encoding": ["hex"], ("str.encode", "encoding"): ["hex", "base64"], ("bin.encode", "encoding"): ["hex", "base64"],
    "scale": [0, 2], "group_index": [0, 1], ("str.extract_groups", "pattern"): ["(a)(b)?", "(?P<first>a)(?P<rest>.*)", r"(\w)[(]?"],
    ("str.split_exact", "n"): [0, 1, 2], ("str.splitn", "n"): [1, 2, 3], ("str.replace", "n"): [1, 2], ("gather_every", "n"): [1, 2], "offset": [0, 1], ("list.diff", "n"): [1, 2],
    ("cat.slice", "offset"): [0, 1, -1], ("cat.slice", "length"): [None, 1], ("cat.starts_with", "prefix"): ["a", "ab"], ("cat.ends_with", "suffix"): ["a", "c"],
    "fill_char": [" ", "*", "é"], "delimiter": ["", "-"], "separator": ["", ", "],
    "breaks": [(0.0, 2.0), (1.5,), (-1.0, 0.5, 1e20)], ("cut", "labels"): [None], "quantiles": [(0.5,), (0.25, 0.75)], "ranks": [(0.5,), (0.25, 0.75)], ("qcut", "labels"): [None],
    ("qcut", "allow_duplicates"): [True], ("bin_intervals", "labels"): [False, ("low", "mid", "high")], ("bin_quantiles", "labels"): [False], ("bin_ranks", "labels"): [False],
    "bin_count": [None, 1, 4], ("value_counts", "name"): [None, "n"], "base": [2.718281828459045, 2.0], ("entropy", "base"): [2.718281828459045, 2.0],
    "width": [2], ("list.to_struct", "fields"): [("u", "v")], ("arr.to_struct", "fields"): [("u", "v")],
    ("struct.field", "name"): ["x", "y"], ("struct.rename_fields", "names"): [("p", "q")], ("struct.drop", "names"): [("x",), ("y",)],
    ("replace_strict", "return_dtype"): [None], ("pl.format", "f_string"): ["<{}>"], "step": [1, 2],
    "error": [0.001], ("is_close", "abs_tol"): [0.0, 0.5], ("is_close", "rel_tol"): [1e-9, 0.1],
}  # fmt: skip

#: decay options of the ewm functions: exactly one must be given
_DECAYS: list[dict[str, Any]] = [{"com": 1.0}, {"span": 3.0}, {"half_life": 2.0}, {"alpha": 0.5}]


def random_options(rng: Random, function: Function) -> dict[str, Any]:
    """Return options, each left at its default half of the time."""
    chosen: dict[str, Any] = (
        dict(rng.choice(_DECAYS)) if function.name in {"ewm_mean", "ewm_sum", "ewm_std", "ewm_var"} else {}
    )
    for option in function.options:
        if option.name in chosen or (chosen and option.name in {"com", "span", "half_life", "alpha"}):
            continue
        values = OPTIONS.get((function.name, option.name), OPTIONS.get(option.name)) or _option_values(option)
        if (
            option.required
            or option.name in {"seed", "roll", "null_on_oob"}
            or (option.name == "strict" and False in values)
            or rng.random() < 0.5
        ):
            chosen[option.name] = rng.choice(values)
    cuts = next((chosen[name] for name in ("breaks", "quantiles", "ranks") if name in chosen), None)
    if cuts is not None and function.option("labels") and rng.random() < 0.5:
        chosen["labels"] = ("low", "mid", "high", "top")[: len(cuts) + 1]
    return chosen


def _option_values(option: Option) -> list[Any]:
    if option.choices:
        return list(option.choices)
    return [True, False] if option.kind == "bool" else [option.default]


def _literal(rng: Random, dtype: DType) -> Literal:
    if dtype.kind in {"Int64", "Float64"} and rng.random() < 0.6:
        dtype = t.DYN_INT if dtype.kind == "Int64" else t.DYN_FLOAT
    return Literal(dtype, random_value(rng, dtype))


def _one_value(rng: Random, function: Function, arg: Arg, schema: Schema, first: DType | None) -> Expr:
    """An argument that is one value: a constant, or an aggregate of a column."""
    dtype = first if first is not None and fits(arg.accepts, first) else rng.choice([t.INT64, t.FLOAT64, t.STRING])
    if first is not None and first.inner is not None and arg.name == "element":
        dtype = first.inner
    if arg.optional and rng.random() < 0.4:
        return LEFT_OUT
    names = [n for n, d in schema.items() if d == dtype]
    if names and rng.random() < 0.3:
        return Call("first", (Column(rng.choice(names)),))
    return Literal(t.NULL) if dtype.kind == "Null" else _literal(rng, dtype)


def random_argument(rng: Random, function: Function, arg: Arg, schema: Schema, before: list[DType]) -> Expr:
    """Return an argument for a parameter: a column or literal that fits it, most often of the input's type."""
    listed = ARGUMENTS.get((function.name, arg.name), ARGUMENTS.get(arg.name) if arg.name != "input" else None)
    if listed:
        return rng.choice(listed)
    if function.name == "bin_intervals" and arg.name == "intervals":
        low, high = {"Date": (18200, 18500), "String": ("aa", "b")}.get(before[0].kind, (1, 5))
        return Literal(t.list_of(before[0] if before[0].kind in {"Date", "String"} else t.INT64), (low, high))
    first = before[0] if before else None
    if arg.scalar:
        return _one_value(rng, function, arg, schema, first)
    if arg.optional and rng.random() < 0.4:
        return LEFT_OUT
    if function.name in {"is_in"} and first is not None:
        return Literal(t.list_of(first), tuple(maybe(rng, first, 0.1) for _ in range(3)))
    if function.name in {"replace", "replace_strict"} and first is not None:
        return _mapping(rng, arg.name, first)
    names = [
        n
        for n, d in schema.items()
        if fits(arg.accepts, d) and (arg.name != "input" or d.kind != "Null" or rng.random() < 0.2)
    ]
    if arg.name == "input" and function.name in INPUTS:
        names = [n for n in INPUTS[function.name] if n in schema] or names
    if first is not None and rng.random() < 0.8:
        element = first.inner if arg.name in {"item", "element"} and first.inner else first
        names = [n for n in names if schema[n] == element] or names
        if rng.random() < 0.35 and fits(arg.accepts, element) and element.kind != "Null":
            return _literal(rng, element)
    if not names:
        return LEFT_OUT
    return Column(rng.choice(names))


def _mapping(rng: Random, name: str, dtype: DType) -> Expr:
    if name == "default":
        return Literal(t.STRING, "other") if dtype.kind == "String" else Literal(t.NULL)
    if name == "old":
        known = {random_value(Random(seed), dtype) for seed in range(9)}
        return Literal(t.list_of(dtype), tuple(sorted(known, key=repr))[:2])
    new = dtype if rng.random() < 0.7 else t.FLOAT64
    return Literal(t.list_of(new), (random_value(rng, new), random_value(rng, new))[: rng.randrange(1, 3)])


def random_call(rng: Random, function: Function, schema: Schema | None = None, attempts: int = 60) -> Call:
    """Return a well-typed call of a function over the columns of a schema.

    Raises:
        BindError: no attempt was well typed; the reason of the last one.
    """
    columns = COLUMNS if schema is None else schema
    last: BindError | None = None
    for _ in range(attempts):
        args: list[Expr] = []
        dtypes: list[DType] = []
        described = list(function.args)
        if described and described[-1].variadic:
            described += [described[-1]] * (1 if function.name.startswith("struct") else rng.randrange(0, 2))
        if function.name == "pl.format":
            described = described[:1]
        for arg in described:
            args.append(random_argument(rng, function, arg, columns, dtypes))
            dtypes.append(describe(args[-1], columns).dtype)
        try:
            call = make_call(function.name, args, random_options(rng, function))
            describe(call, columns)
        except BindError as error:
            last = error
        else:
            return call
    raise last or AssertionError(function.name)


@st.composite
def call_for(draw: st.DrawFn, function: Function, schema: Schema | None = None) -> Call:
    """Well-typed calls of one registered function over the columns of a schema."""
    return random_call(Random(draw(st.integers(0, 2**64 - 1))), function, schema)


def columns_of(expr: Expr) -> set[str]:
    """Return the names of the columns an expression reads."""
    from bastion_plan.expressions import children

    own = {expr.name} if isinstance(expr, Column) else set()
    return own.union(*(columns_of(child) for child in children(expr)))


# -- nested expressions -----------------------------------------------------------------------------------------------

#: functions whose results are the same however often and in whatever order they are computed, and that rarely fail
STEADY = (
    "add",
    "sub",
    "mul",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and_",
    "or_",
    "not_",
    "neg",
    "abs",
    "sign",
    "sqrt",
    "exp",
    "floor",
    "ceil",
    "round",
    "is_null",
    "is_not_null",
    "fill_null",
    "is_in",
    "is_between",
    "clip",
    "sum",
    "mean",
    "min",
    "max",
    "count",
    "len",
    "n_unique",
    "null_count",
    "std",
    "var",
    "median",
    "cum_sum",
    "shift",
    "diff",
    "rank",
    "str.len_chars",
    "str.to_uppercase",
    "str.contains",
    "str.starts_with",
    "dt.year",
    "dt.month",
    "dt.weekday",
    "pl.coalesce",
    "pl.sum_horizontal",
    "pl.max_horizontal",
    "list.len",
    "list.sum",
)


def random_expression(rng: Random, schema: Schema, depth: int = 3) -> Expr:
    """Return a well-typed nested expression that gives one value per row, or one in all."""
    for _ in range(80):
        try:
            expr = _expression(rng, schema, depth)
            if describe(expr, schema).shape is not Shape.ANY:
                return expr
        except BindError:
            continue
    return Column(rng.choice(list(schema)))


def _expression(rng: Random, schema: Schema, depth: int) -> Expr:
    if depth == 0 or rng.random() < 0.15:
        return (
            Column(rng.choice(list(schema)))
            if rng.random() < 0.8
            else _literal(rng, rng.choice([t.INT64, t.FLOAT64, t.STRING, t.DATE]))
        )
    style = rng.random()
    if style < 0.08:
        return Alias(_expression(rng, schema, depth - 1), rng.choice(["renamed", "ü", "a b"]))
    if style < 0.16:
        return Cast(_expression(rng, schema, depth - 1), rng.choice([t.FLOAT64, t.INT64, t.STRING]), strict=False)
    if style < 0.26:
        return Ternary(
            _expression(rng, schema, depth - 1),
            _expression(rng, schema, depth - 1),
            _expression(rng, schema, depth - 1),
        )
    if style < 0.32:
        return Over(_expression(rng, schema, depth - 1), (Column(rng.choice(list(schema))),))
    function = get(rng.choice(STEADY))
    args = []
    for arg in (
        function.args if not (function.args and function.args[-1].variadic) else (*function.args, function.args[-1])
    ):
        for _ in range(12):
            candidate = _expression(rng, schema, depth - 1)
            if fits(arg.accepts, describe(candidate, schema).dtype):
                break
        listed = ARGUMENTS.get((function.name, arg.name)) if arg.name != "input" else None
        args.append(rng.choice(listed) if listed else candidate)
    return make_call(function.name, args)


@st.composite
def expressions(draw: st.DrawFn, schema: Schema | None = None, depth: int = 3) -> Expr:
    """Well-typed nested expressions over a schema."""
    return random_expression(Random(draw(st.integers(0, 2**64 - 1))), COLUMNS if schema is None else schema, depth)


FUNCTIONS = tuple(all_functions())
