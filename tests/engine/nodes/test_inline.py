"""The scientist's own tables: every type of constant arrives exactly."""

from __future__ import annotations

import datetime as dtm
import math
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from bastion_plan import dtypes as dt
from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from plan_strategies import c, f, named, through

TOP = 2**63 - 1
COLUMNS: dict[str, tuple[DType, tuple[Any, ...], list[Any]]] = {
    "Int8": (dt.INT8, (-128, 127, None), [-128, 127, None]),
    "Int64": (dt.INT64, (-TOP - 1, TOP, None), [-TOP - 1, TOP, None]),
    "UInt64": (dt.UINT64, (0, 2**64 - 1), [0, 2**64 - 1]),
    "Int128": (dt.INT128, (str(-(2**127)), str(2**127 - 1), None), [-(2**127), 2**127 - 1, None]),
    "Float32": (dt.FLOAT32, (0.5, -0.0, math.inf, None), [0.5, -0.0, math.inf, None]),
    "Float64": (dt.FLOAT64, (5e-324, 0.1, -math.inf), [5e-324, 0.1, -math.inf]),
    "Boolean": (dt.BOOLEAN, (True, None, False), [True, None, False]),
    "String": (dt.STRING, ("", "日本 🙂", "\x00", None), ["", "日本 🙂", "\x00", None]),
    "Binary": (dt.BINARY, (b"", b"\xff\x00"), [b"", b"\xff\x00"]),
    "Date": (dt.DATE, (0, -719_162, None), [dtm.date(1970, 1, 1), dtm.date(1, 1, 1), None]),
    "Time": (dt.TIME, (0, 3_661_000_001_000), [dtm.time(0), dtm.time(1, 1, 1, 1)]),
    "Datetime": (dt.datetime("ms"), (0, 1, None), [dtm.datetime(1970, 1, 1), dtm.datetime(1970, 1, 1, 0, 0, 0, 1000), None]),
    "Datetime with zone": (
        dt.datetime("us", "UTC"),
        (60_000_000,),
        [dtm.datetime(1970, 1, 1, 0, 1, tzinfo=dtm.UTC)],
    ),
    "Duration": (dt.duration("us"), (-1, 86_400_000_000), [dtm.timedelta(microseconds=-1), dtm.timedelta(days=1)]),
    "Decimal": (DType("Decimal", precision=10, scale=2), ("1.25", "-99999999.99", None), [Decimal("1.25"), Decimal("-99999999.99"), None]),
    "Categorical": (dt.CATEGORICAL, ("a", None, "b"), ["a", None, "b"]),
    "Enum": (DType("Enum", categories=("z", "a")), ("a", "z"), ["a", "z"]),
    "List": (dt.list_of(dt.INT32), ((1, None), (), None), [[1, None], [], None]),
    "List of dates": (dt.list_of(dt.DATE), ((0, 1),), [[dtm.date(1970, 1, 1), dtm.date(1970, 1, 2)]]),
    "Array": (DType("Array", inner=dt.INT8, width=2), ((1, 2), None), [[1, 2], None]),
    "Struct": (DType("Struct", fields=(("p", dt.INT8), ("q", dt.STRING))), ((1, "x"), (None, None)), [{"p": 1, "q": "x"}, {"p": None, "q": None}]),
    "Null": (dt.NULL, (None, None), [None, None]),
    "no rows": (dt.list_of(dt.datetime("ns")), (), []),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_values_arrive_exactly(name: str) -> None:
    dtype, written, wanted = COLUMNS[name]
    _, lazy = through(n.Inline((n.InlineColumn("c", dtype, written),)), {})
    found = lazy.collect()["c"].to_list()
    assert found == wanted
    assert [math.copysign(1, v) for v in found if isinstance(v, float)] == [
        math.copysign(1, v) for v in wanted if isinstance(v, float)
    ]


def test_dates_beyond_python_s_calendar() -> None:
    days = (2**31 - 1, -(2**31))
    _, lazy = through(n.Inline((n.InlineColumn("d", dt.DATE, days),)), {})
    assert tuple(lazy.collect()["d"].to_physical()) == days


def test_nan() -> None:
    _, lazy = through(n.Inline((n.InlineColumn("x", dt.FLOAT64, (math.nan, None)),)), {})
    assert lazy.collect()["x"].is_nan().to_list() == [True, None]


def test_joined_with_data() -> None:
    labels = n.Inline((n.InlineColumn("k", dt.INT64, (1, 2)), n.InlineColumn("label", dt.STRING, ("one", "two"))))
    plan = n.GroupBy(
        n.Join(n.Scan("t"), labels, "inner", (c("k"),), (c("k"),)), (c("label"),), (named("n", f("pl.len")),)
    )
    _, lazy = through(plan, {"t": pl.DataFrame({"k": [1, 1, 2, 3, None]})})
    assert dict(lazy.collect().iter_rows()) == {"one": 2, "two": 1}
