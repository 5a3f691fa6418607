"""Inputs, arguments and options that make sense for a function, where its accepted types alone say too little."""

from __future__ import annotations

from typing import Any

from bastion_plan import dtypes as t
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Call, Column, Literal
from bastion_plan.functions.calls import LEFT_OUT
from bastion_plan.functions.packing import pack

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
DECAYS: list[dict[str, Any]] = [{"com": 1.0}, {"span": 3.0}, {"half_life": 2.0}, {"alpha": 0.5}]
