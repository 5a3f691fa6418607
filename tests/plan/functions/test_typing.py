"""Names, shapes and type errors of expressions; the types themselves are held against Polars in tests/engine."""

from __future__ import annotations

import pytest
from bastion_plan.dtypes import (
    BOOLEAN,
    DATE,
    DYN_FLOAT,
    DYN_INT,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT8,
    DType,
    list_of,
)
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, NameChange, Over, Selector, Ternary
from bastion_plan.functions.calls import make_call
from bastion_plan.functions.spec import Shape
from bastion_plan.typing import aggregated, check_dtype, describe, expr_dtype, expr_name, expr_shape

SCHEMA = {"n": INT8, "u": UINT8, "x": FLOAT32, "s": STRING, "b": BOOLEAN, "d": DATE, "l": list_of(INT64)}
N, S, B = Column("n"), Column("s"), Column("b")


def lit(value: int | float) -> Literal:
    return Literal(DYN_INT if isinstance(value, int) else DYN_FLOAT, value)


@pytest.mark.parametrize(
    ("expr", "dtype"),
    [
        (lit(1), INT32), (lit(2**40), INT64), (lit(1.5), FLOAT64),
        (Call("add", (N, lit(1))), INT8), (Call("add", (N, lit(300))), INT16), (Call("add", (N, lit(1.5))), FLOAT64),
        (Call("add", (Column("u"), lit(-1))), INT16), (Call("add", (Column("x"), lit(1.5))), FLOAT32),
        (Ternary(B, lit(1), Column("x")), FLOAT32), (Cast(N, STRING), STRING),
        (Over(Call("mean", (N,)), (S,)), FLOAT64), (Over(N, (S,), mapping="join"), list_of(INT8)),
        (Over(Call("sum", (N,)), (S,), mapping="join"), INT64),
    ],
)  # fmt: skip
def test_types(expr: Expr, dtype: DType) -> None:
    assert expr_dtype(expr, SCHEMA) == dtype


@pytest.mark.parametrize(
    ("expr", "name"),
    [
        (N, "n"), (lit(1), "literal"), (Call("add", (lit(1), N)), "literal"), (Call("add", (N, lit(1))), "n"),
        (Alias(N, "q"), "q"), (NameChange(Alias(N, "q"), "keep"), "n"), (NameChange(Alias(N, "q"), "prefix", ("p_",)), "p_q"),
        (NameChange(N, "to_uppercase"), "N"), (NameChange(N, "replace", ("n", "m")), "m"),
        (Ternary(B, S, Literal(STRING, "z")), "s"), (Call("pl.len"), "len"), (Over(S, (N,)), "s"),
    ],
)  # fmt: skip
def test_names(expr: Expr, name: str) -> None:
    assert expr_name(expr, SCHEMA) == name


@pytest.mark.parametrize(
    ("expr", "shape"),
    [
        (N, Shape.SAME), (lit(1), Shape.ONE), (Call("sum", (N,)), Shape.ONE), (Call("add", (Call("sum", (N,)), lit(1))), Shape.ONE),
        (Call("add", (Call("sum", (N,)), N)), Shape.SAME), (Call("unique", (N,)), Shape.ANY),
        (Call("add", (Call("unique", (N,)), lit(1))), Shape.ANY), (Over(Call("sum", (N,)), (S,)), Shape.SAME),
        (Call("pl.int_range", (lit(3),)), Shape.ANY),
    ],
)  # fmt: skip
def test_shapes(expr: Expr, shape: Shape) -> None:
    assert expr_shape(expr, SCHEMA) is shape


def test_several_values_in_an_aggregation_become_a_list() -> None:
    assert aggregated(Call("sum", (N,)), SCHEMA).dtype == INT64
    found = aggregated(N, SCHEMA)
    assert found.dtype == list_of(INT8) and found.shape is Shape.ONE


@pytest.mark.parametrize(
    ("expr", "code", "says"),
    [
        (Column("nn"), "plan.bind.column", "There is no column 'nn'"),
        (Call("mean", (S,)), "plan.bind.types", "mean takes numeric or boolean or temporal, not String"),
        (Call("str.len_chars", (N,)), "plan.bind.types", "takes string, not Int8"),
        (Call("add", (N, Column("d"))), "plan.bind.types", "do not go together"),
        (Call("eq", (N, S)), "plan.bind.types", "do not go together"),
        (Call("is_in", (N, N)), "plan.bind.types", "as other"),
        (Ternary(N, N, N), "plan.bind.types", "not Boolean"),
        (Ternary(B, Column("d"), B), "plan.bind.types", "do not go together"),
        (Over(N), "plan.bind.over", "needs keys"),
        (NameChange(N, "prefix"), "plan.bind.name", "not known"),
        (Selector("all"), "plan.bind.selector", "selector"),
        (Cast(N, DType("Datetime")), "plan.bind.dtype", "not a complete"),
        (make_call("shift", (N, N)), "plan.bind.shape", "one value"),
        (Call("pl.corr", (N, lit(1))), "plan.bind.shape", "one value per row"),
        (make_call("struct.field", (Call("pl.struct", (N, S)),), {"name": "t"}), "plan.bind.field", "no field 't'"),
        (Call("pl.struct", (N, N)), "plan.bind.field", "different names"),
    ],
)
def test_errors(expr: Expr, code: str, says: str) -> None:
    with pytest.raises(BindError, match=says) as refused:
        describe(expr, SCHEMA)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "dtype",
    [
        DType("Int65"),
        DType("DynInt"),
        DType("List"),
        DType("Array", inner=INT8),
        DType("Decimal", precision=2, scale=3),
        DType("Enum", categories=("a", "a")),
        DType("Struct", fields=(("a", INT8), ("a", INT8))),
        DType("Int64", unit="ms"),
        list_of(DType("Duration")),
    ],
)
def test_incomplete_types_are_refused(dtype: DType) -> None:
    with pytest.raises(BindError):
        check_dtype(dtype)


def test_complete_types_pass() -> None:
    assert check_dtype(list_of(DType("Array", inner=DATE, width=0))).kind == "List"
