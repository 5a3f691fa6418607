"""Lowering of what is no function: columns, constants of every type, casts, windows, conditions, names, selectors."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from bastion_plan import dtypes as t
from bastion_plan.canonical import decode, encode
from bastion_plan.dtypes import DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, NameChange, Over, Selector, Ternary
from bastion_plan.functions.calls import make_call
from bastion_plan.nodes import Scan, Select
from bastion_server.engine.dtypes import to_polars
from bastion_server.engine.expressions import lower_expr
from bastion_server.engine.literals import series
from polars.testing import assert_frame_equal, assert_series_equal
from random_values import COLUMNS, array, decimal, random_value

FRAME = pl.DataFrame(
    {"a": [3, 1, None, 2], "b": ["x", "y", "x", None], "^a.*$": [1, 2, 3, 4], "*": [True, False, None, True], "Big Name": [0.5, math.nan, -0.0, math.inf]}
)  # fmt: skip


def one(literal: Literal) -> pl.Series:
    read = decode(encode(Select(Scan("t"), (literal,))))
    assert isinstance(read, Select)
    return pl.select(lower_expr(read.exprs[0])).to_series()


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (t.INT8, -128, -128), (t.UINT64, 2**64 - 1, 2**64 - 1), (t.INT128, str(2**100), 2**100), (t.FLOAT32, 0.1, 0.10000000149011612),
        (t.FLOAT64, math.inf, math.inf), (t.FLOAT64, -math.inf, -math.inf), (t.FLOAT64, -0.0, -0.0), (t.FLOAT64, 5e-324, 5e-324),
        (t.BOOLEAN, True, True), (t.STRING, "a\n'\"日", "a\n'\"日"), (t.BINARY, b"\x00\xff", b"\x00\xff"),
        (t.DATE, -719162, dt.date(1, 1, 1)), (t.DATE, 2932896, dt.date(9999, 12, 31)),
        (t.TIME, 86_399_000_000_000, dt.time(23, 59, 59)), (t.datetime("ms"), -1, dt.datetime(1969, 12, 31, 23, 59, 59, 999000)),
        (t.duration("us"), -1, dt.timedelta(microseconds=-1)), (decimal(38, 10), "-1.0000000001", Decimal("-1.0000000001")),
        (t.CATEGORICAL, "ü", "ü"), (DType("Enum", categories=("p", "q")), "q", "q"),
        (t.list_of(t.DATE), (0, None), [dt.date(1970, 1, 1), None]), (t.list_of(t.INT8), (), []),
        (array(t.DATE, 2), (0, None), [dt.date(1970, 1, 1), None]),
        (DType("Struct", fields=(("d", t.DATE), ("l", t.list_of(decimal(5, 1))))), (1, ("1.5", None)), {"d": dt.date(1970, 1, 2), "l": [Decimal("1.5"), None]}),
    ],
)  # fmt: skip
def test_constants_arrive_exactly(dtype: DType, value: Any, expected: Any) -> None:
    found = one(Literal(dtype, value))
    assert found.dtype == to_polars(dtype)
    assert repr(found.item() if found.dtype != pl.List and found.dtype != pl.Array else found.to_list()[0]) == repr(
        expected
    )


@pytest.mark.parametrize("dtype", [d for d in COLUMNS.values() if d.kind != "Null"], ids=str)
def test_null_keeps_its_type(dtype: DType) -> None:
    found = one(Literal(dtype, None))
    assert found.dtype == to_polars(dtype) and found.null_count() == 1


def test_nanoseconds_do_not_pass_through_python() -> None:
    found = one(Literal(t.datetime("ns", "Europe/Berlin"), 1_234_567_890_123_456_789))
    assert found.to_physical().item() == 1_234_567_890_123_456_789
    assert one(Literal(t.duration("ns"), 7)).to_physical().item() == 7


def test_nan_and_dynamic_numbers() -> None:
    assert math.isnan(one(Literal(t.FLOAT64, math.nan)).item())
    assert one(Literal(t.DYN_INT, 1)).dtype == pl.Int32
    assert one(Literal(t.DYN_FLOAT, 1.0)).dtype == pl.Float64
    narrow = pl.DataFrame({"a": [1]}, schema={"a": pl.Int8})
    assert narrow.select(lower_expr(Call("add", (Column("a"), Literal(t.DYN_INT, 1))))).schema["a"] == pl.Int8
    assert narrow.select(lower_expr(Call("add", (Column("a"), Literal(t.INT64, 1))))).schema["a"] == pl.Int64


def test_constants_of_all_types_survive_as_columns() -> None:
    for name, dtype in COLUMNS.items():
        rng = Random(name)
        values = [random_value(rng, dtype) for _ in range(20)] + [None]
        column = series(name, dtype, values)
        assert column.dtype == to_polars(dtype)
        for row, value in zip(column[:5], values, strict=False):
            assert repr(one(Literal(dtype, value))[0]) == repr(row)


@pytest.mark.parametrize(
    ("name", "values"), [("^a.*$", [1, 2, 3, 4]), ("*", [True, False, None, True]), ("a", [3, 1, None, 2])]
)
def test_a_column_name_is_never_a_pattern(name: str, values: list[Any]) -> None:
    found = FRAME.select(lower_expr(Alias(Column(name), "only")))
    assert found.to_dict(as_series=False) == {"only": values}


A, B = Column("a"), Column("b")


@pytest.mark.parametrize(
    ("expr", "polars"),
    [
        (Alias(A, "new"), pl.col("a").alias("new")),
        (Cast(A, t.STRING), pl.col("a").cast(pl.String)),
        (Cast(B, t.INT64, strict=False), pl.col("b").cast(pl.Int64, strict=False)),
        (Cast(Literal(t.DYN_INT, 300), t.UINT8, wrap_numerical=True), pl.lit(300).cast(pl.UInt8, wrap_numerical=True)),
        (
            Ternary(Call("gt", (A, Literal(t.DYN_INT, 1))), A, Literal(t.NULL)),
            pl.when(pl.col("a") > 1).then("a").otherwise(None),
        ),
        (Over(Call("sum", (A,)), (B,)), pl.col("a").sum().over("b")),
        (
            Over(Call("cum_sum", (A,)), (B,), (A,), descending=True),
            pl.col("a").cum_sum().over("b", order_by="a", descending=True),
        ),
        (Over(A, (B,), mapping="join"), pl.col("a").over("b", mapping_strategy="join")),
        (
            Over(Call("rank", (A,)), order_by=(B,), nulls_last=True),
            pl.col("a").rank().over(order_by="b", nulls_last=True),
        ),
        (NameChange(Alias(A, "q"), "keep"), pl.col("a").alias("q").name.keep()),
        (NameChange(A, "prefix", ("p_",)), pl.col("a").name.prefix("p_")),
        (NameChange(A, "suffix", ("_s",)), pl.col("a").name.suffix("_s")),
        (NameChange(A, "to_uppercase"), pl.col("a").name.to_uppercase()),
        (NameChange(Column("Big Name"), "to_lowercase"), pl.col("Big Name").name.to_lowercase()),
        (
            NameChange(Column("Big Name"), "replace", (" ", ".")),
            pl.col("Big Name").name.replace(" ", ".", literal=True),
        ),
        (Selector("all"), pl.all()),
        (Selector("by_name", ("b", "a")), cs.by_name("b", "a")),
        (Selector("exclude", ("a",)), pl.exclude("a")),
        (Selector("by_dtype", dtypes=(t.INT64,)), cs.by_dtype(pl.Int64)),
        (Selector("by_class", ("numeric", "string")), cs.numeric() | cs.string()),
        (Selector("regex", ("^[ab]$",)), cs.matches("^[ab]$")),
        (Selector("starts_with", ("Big",)), cs.starts_with("Big")),
        (Selector("ends_with", ("$", "e")), cs.ends_with("$", "e")),
        (Selector("contains", ("a",)), cs.contains("a")),
        (Selector("first"), cs.first()),
        (Selector("last"), cs.last()),
        (Selector("by_index", (0, -1)), cs.by_index(0, -1)),
        (Selector("union", of=(Selector("first"), Selector("last"))), cs.first() | cs.last()),
        (Selector("intersection", of=(Selector("all"), Selector("by_class", ("float",)))), cs.float()),
        (Selector("difference", of=(Selector("all"), Selector("by_class", ("float",)))), ~cs.float()),
        (Selector("symmetric_difference", of=(Selector("all"), Selector("first"))), ~cs.first()),
        (Selector("complement", of=(Selector("first"),)), ~cs.first()),
    ],
)
def test_other_kinds_are_what_polars_says(expr: Expr, polars: pl.Expr) -> None:
    assert_frame_equal(FRAME.select(lower_expr(expr)), FRAME.select(polars), check_exact=True)


def test_a_value_that_does_not_fit_stops_a_strict_cast() -> None:
    with pytest.raises(pl.exceptions.InvalidOperationError):
        FRAME.select(lower_expr(Cast(B, t.INT64)))


@pytest.mark.parametrize(
    ("expr", "code"),
    [
        (Call("map_batches", (A,)), "plan.bind.function"),
        (Call("meta.serialize", (A,)), "plan.bind.function"),
        (Call("__class__", (A,)), "plan.bind.function"),
        (Call("pl.read_csv", (Literal(t.STRING, "/etc/passwd"),)), "plan.bind.function"),
        (Call("pl.scan_parquet", (Literal(t.STRING, "x"),)), "plan.bind.function"),
        (Call("register_plugin", (A,)), "plan.bind.function"),
        (Call("str.to_plain", (A,)), "plan.bind.function"),
        (Call("mean", (A,), (("engine", "gpu"),)), "plan.bind.option"),
        (Cast(A, DType("Object")), "plan.bind.dtype"),
        (NameChange(A, "map", ("f",)), "plan.bind.name"),
        (Selector("everything"), "plan.bind.selector"),
        (Selector("by_class", ("callable",)), "plan.bind.selector"),
        (Selector("union"), "plan.bind.selector"),
    ],
)
def test_only_what_is_registered_is_ever_called(expr: Expr, code: str) -> None:
    with pytest.raises(BindError) as refused:
        lower_expr(expr)
    assert refused.value.code == code


def test_a_missing_argument_is_polars_default() -> None:
    nothing = Literal(t.NULL)
    shifted = make_call("shift", (A, nothing, Literal(t.DYN_INT, 0)))
    assert_series_equal(FRAME.select(lower_expr(shifted)).to_series(), FRAME["a"].shift(1, fill_value=0))
    clipped = make_call("clip", (A, nothing, Literal(t.DYN_INT, 2)))
    assert FRAME.select(lower_expr(clipped)).to_series().to_list() == [2, 1, None, 2]
