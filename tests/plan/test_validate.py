"""Constants and types must be written exactly as their type wants: a plan has one way to say a thing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from bastion_plan import dtypes as dt
from bastion_plan import nodes as n
from bastion_plan.canonical import decode, encode
from bastion_plan.dtypes import DType
from bastion_plan.errors import DecodeError, LimitError, PlanError
from bastion_plan.expressions import Cast, Column, Literal, Selector
from bastion_plan.validate import check_constant
from hypothesis import given, settings
from plan_strategies import T, c, constants_strategy

ENUM = DType("Enum", categories=("p", "q"))
MONEY = DType("Decimal", precision=5, scale=2)
WRONG: list[tuple[DType, Any]] = [
    (dt.INT8, 128), (dt.INT8, -129), (dt.INT64, 2**63), (dt.UINT8, -1), (dt.UINT64, 2**64 - 1 + 0.0), (dt.INT64, True),
    (dt.INT64, 1.0), (dt.INT64, "1"), (dt.FLOAT64, 1), (dt.FLOAT64, True), (dt.FLOAT32, 1e300), (dt.BOOLEAN, 1),
    (dt.BOOLEAN, 0.0), (dt.STRING, b"x"), (dt.STRING, 1), (dt.BINARY, "x"), (dt.DATE, 2**31), (dt.DATE, "2020-01-01"),
    (dt.TIME, -1), (dt.TIME, 86_400 * 10**9), (dt.datetime(), 1.5), (dt.duration(), True), (dt.NULL, 0),
    (dt.INT128, 1), (dt.INT128, "01"), (dt.INT128, "-0"), (dt.INT128, "+1"), (dt.INT128, str(2**127)), (dt.INT128, "١"),
    (dt.INT128, " 1"), (MONEY, "1.234"), (MONEY, "1234"), (MONEY, "1e2"), (MONEY, "."), (MONEY, 1.0), (ENUM, "r"), (ENUM, 0),
    (dt.list_of(dt.INT8), 1), (dt.list_of(dt.INT8), (1, 300)), (dt.list_of(dt.INT8), (True,)),
    (DType("Array", inner=dt.INT8, width=2), (1,)), (DType("Struct", fields=(("a", dt.INT8),)), (1, 2)),
    (dt.DYN_INT, None), (dt.DYN_INT, 1.0), (dt.DYN_INT, True), (dt.DYN_FLOAT, 1), (DType("DynInt", unit="us"), 1),
]  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(constants_strategy())
def test_constants_written_as_their_type_wants(literal: Literal) -> None:
    check_constant(literal.dtype, literal.value, dynamic=True)


@pytest.mark.parametrize(("dtype", "value"), WRONG)
def test_constants_of_another_type(dtype: DType, value: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(encode(n.Filter(T, Literal(dtype, value))))
    assert caught.value.code in {"plan.decode.literal", "plan.decode.dtype"}


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 1j, object(), {"a": 1}, {1}])
def test_what_no_plan_can_hold(value: Any) -> None:
    with pytest.raises(PlanError) as caught:
        Literal(dt.DYN_INT, value)
    assert caught.value.code == "plan.literal"


@pytest.mark.parametrize(
    "dtype",
    [
        DType("Object"), DType("Unknown"), DType(""), DType("int64"), DType("Int64", unit="us"), DType("Datetime"),
        DType("Datetime", unit="s"), DType("Datetime", unit="us", zone=""), DType("Datetime", unit="us", zone="a b"),
        DType("Datetime", unit="us", zone="../../etc/passwd"), DType("Duration"), DType("Duration", unit="us", zone="UTC"),
        DType("List"), DType("List", inner=dt.INT8, width=2), DType("Array", inner=dt.INT8), DType("Array", inner=dt.INT8, width=-1),
        DType("Struct", fields=(("a", dt.INT8), ("a", dt.INT8))), DType("Enum", categories=("a", "a")), DType("Decimal"),
        DType("Decimal", precision=39, scale=0), DType("Decimal", precision=2, scale=3), dt.DYN_INT, dt.list_of(dt.DYN_FLOAT),
        dt.list_of(DType("Int8", unit="ms")),
    ],
)  # fmt: skip
def test_types_that_are_none(dtype: DType) -> None:
    for plan in (
        n.Select(T, (Cast(Column("k"), dtype),)),
        n.Inline((n.InlineColumn("v", dtype, (None,)),)),
        n.Filter(T, Literal(dtype)),
    ):
        with pytest.raises(DecodeError) as caught:
            decode(encode(plan))
        assert caught.value.code in {"plan.decode.dtype", "plan.decode.literal"}


def test_types_nested_too_deeply() -> None:
    dtype = dt.INT8
    for _ in range(20):
        dtype = dt.list_of(dtype)
    with pytest.raises(LimitError):
        decode(encode(n.Select(T, (Cast(c("k"), dtype),))))


def test_columns_of_an_inline_table_have_one_length() -> None:
    plan = n.Inline((n.InlineColumn("a", dt.INT8, (1,)), n.InlineColumn("b", dt.INT8, (1, 2))))
    with pytest.raises(DecodeError) as caught:
        decode(encode(plan))
    assert caught.value.code == "plan.decode.table"


def test_selectors_take_partial_types_but_no_booleans() -> None:
    whole = n.Select(T, (Selector("by_dtype", dtypes=(DType("Datetime"), DType("List"), dt.INT8)),))
    assert decode(encode(whole)) == whole
    with pytest.raises(DecodeError):
        decode(encode(n.Select(T, (Selector("by_index", (True,)),))))
    with pytest.raises(DecodeError):
        decode(encode(n.Select(T, (Selector("by_dtype", dtypes=(DType("Int8", unit="us"),)),))))


def test_negative_zero_and_nan_stay_what_they_are() -> None:
    for value in (-0.0, 0.0, math.nan, math.inf):
        plan = decode(encode(n.Filter(T, Literal(dt.FLOAT64, value))))
        assert isinstance(plan, n.Filter)
        assert isinstance(plan.predicate, Literal)
        assert math.copysign(1, plan.predicate.value) == math.copysign(1, value)
        assert math.isnan(plan.predicate.value) == math.isnan(value)
