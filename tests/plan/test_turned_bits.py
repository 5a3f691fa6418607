"""`~` of whole numbers is Polars' bitwise not; a bound plan has the subtraction that it is, with Polars' names and types."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as real
import pytest
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.errors import BindError
from bastion_plan.expressions import Call, Expr, Literal, children
from bastion_server.engine.lower import lower
from query import Q

import bastion.expressions as pl
from bastion.expr.dtypes import to_dtype
from bastion.expr.translate import translate

WHOLE = [
    real.Int8, real.Int16, real.Int32, real.Int64, real.Int128, real.UInt8, real.UInt16, real.UInt32, real.UInt64,
]  # fmt: skip
EXPRESSIONS = [
    "~X.col('a')",
    "~~X.col('a')",
    "X.col('a').not_()",
    "(~X.col('a')).max()",
    "~X.col('a').max()",
    "(~X.col('a')).name.suffix('z')",
    "(~X.col('a')).alias('q') // 2",
    "~X.col('a') == ~X.col('a').min()",
    "~X.col('a', 'b')",
    "~X.all()",
    "X.col('a', 'b') & 3",
    "~X.when(X.col('b')).then(1).otherwise(2)",
    "(~X.col('a')).filter(~X.col('b'))",
    "(~X.col('a')).cum_max().over('b')",
    "~X.lit(5)",
    "~X.lit(2**40)",
    "~X.lit(2**40).alias('far')",
    "~X.lit(True)",
]


def frame(dtype: Any) -> real.DataFrame:
    ends = [real.select(end).item() for end in (dtype.min(), dtype.max())]
    values = real.Series("a", [0, 1, 7, None, *ends], dtype=dtype)
    return real.DataFrame([values, real.Series("b", [True, False, None, True, False, True])])


def bound(table: real.DataFrame, expr: Any) -> BoundPlan:
    facts = SimpleNamespace(plan=None, schema={name: to_dtype(dtype) for name, dtype in table.schema.items()})
    return bind(Q("t").select(expr).plan, {"t": facts})


def calls(expr: Expr) -> list[Call]:
    return [*([expr] if isinstance(expr, Call) else []), *(c for child in children(expr) for c in calls(child))]


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_as_in_polars(text: str, dtype: Any) -> None:
    table = frame(dtype)
    if text == "X.col('a', 'b') & 3":
        table = table.with_columns(real.col("b").cast(dtype))
    theirs = eval(text, {"X": real})
    plan = bound(table, eval(text, {"X": pl}))
    ours = lower(plan.root, {"t": table.lazy()}).collect()
    want = table.select(theirs)
    assert ours.equals(want) and ours.schema == want.schema
    assert plan.schema == {name: to_dtype(dtype) for name, dtype in want.schema.items()}
    assert translate(theirs) is not None and lower(bound(table, theirs).root, {"t": table.lazy()}).collect().equals(
        want
    )


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_what_judges_and_runs_a_plan_meets_a_subtraction(dtype: Any) -> None:
    made = calls(bound(frame(dtype), ~pl.col("a")).root.exprs[0])
    assert [c.function for c in made] == ["sub"]
    ones = made[0].args[0]
    most = real.select(dtype.max()).item() if dtype.is_unsigned_integer() else -1
    assert isinstance(ones, Literal) and ones.value == most
    assert [c.function for c in calls(bound(frame(dtype), ~pl.col("b")).root.exprs[0])] == ["not_"]


@pytest.mark.parametrize("dtype", [real.Float64, real.String, real.Date, real.Decimal(9, 2), real.Null, real.List(real.Int8)], ids=str)  # fmt: skip
def test_of_nothing_else(dtype: Any) -> None:
    table = real.DataFrame({"a": real.Series([None], dtype=dtype)})
    with pytest.raises(BindError, match="boolean or integer"):
        bound(table, ~pl.col("a"))
    with pytest.raises(real.exceptions.InvalidOperationError):
        table.select(~real.col("a"))
