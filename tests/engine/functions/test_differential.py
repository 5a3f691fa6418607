"""Every registered function: through the plan's bytes and the lowering, and straight in Polars, gives the same.

Values, types, names and failures must agree; a function whose results were all null did not pass.
"""

from __future__ import annotations

from random import Random

import polars as pl
import pytest
from bastion_plan.canonical import decode, encode
from bastion_plan.expressions import Call, Expr
from bastion_plan.functions.spec import Function
from bastion_plan.nodes import Scan, Select
from bastion_server.engine.expressions import lower_expr
from direct import direct
from generators import FUNCTIONS, columns_of, random_call, random_expression
from hypothesis import given
from hypothesis import strategies as st
from random_values import COLUMNS, random_frame

#: results whose order Polars leaves open, unless maintain_order is set
UNORDERED = {"unique", "mode", "value_counts", "top_k", "bottom_k", "top_k_by", "bottom_k_by"}
#: results whose elements come in an order that Polars leaves open
UNORDERED_ELEMENTS = {"list.unique", "arr.unique", "list.set_union", "list.set_intersection", "list.set_difference", "list.set_symmetric_difference"}  # fmt: skip


def through_bytes(expr: Expr) -> Expr:
    """Return the expression as the server reads it."""
    plan = decode(encode(Select(Scan("t"), (expr,))))
    assert isinstance(plan, Select)
    return plan.exprs[0]


def outcome(frame: pl.DataFrame, expr: pl.Expr) -> pl.Series | type[BaseException]:
    """Return the column, or the class of the failure."""
    try:
        return frame.lazy().select(expr).collect().to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
        return type(error)


def readable(call: Call, result: pl.Series) -> object:
    """Return the values in a form in which NaN equals NaN and open orders do not matter."""
    result = result.to_physical()  # extreme times have no Python value
    values = [repr(v) for v in result.to_list()]
    keeps_order = dict(call.options).get("maintain_order", False)
    if call.function in UNORDERED and not keeps_order:
        return sorted(values)
    if call.function in UNORDERED_ELEMENTS and not keeps_order:
        return [None if v is None else sorted(map(repr, v)) for v in result.to_list()]
    return values


def assert_same(call: Call, frame: pl.DataFrame) -> bool:
    """Compare both ways; return whether something other than null was seen."""
    ours, theirs = outcome(frame, lower_expr(through_bytes(call))), outcome(frame, direct(call))
    if isinstance(ours, type) or isinstance(theirs, type):
        assert ours == theirs, f"{call}: {ours} and {theirs}"
        return False
    assert ours.name == theirs.name, call
    assert ours.dtype == theirs.dtype, call
    assert readable(call, ours) == readable(call, theirs), call
    return ours.null_count() < len(ours)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_the_plan_gives_what_polars_gives(function: Function) -> None:
    seen = 0

    @given(st.integers(0, 2**64 - 1), st.integers(0, 12))
    def compare(seed: int, rows: int) -> None:
        nonlocal seen
        rng = Random(seed)
        call = random_call(rng, function)
        frame = random_frame(rng, {n: COLUMNS[n] for n in sorted(columns_of(call))} or {"i8": COLUMNS["i8"]}, rows)
        seen += assert_same(call, frame)

    compare()
    rng = Random(0)
    for _ in range(300):
        if seen:
            break
        call = random_call(rng, function)
        frame = random_frame(
            rng, {n: COLUMNS[n] for n in sorted(columns_of(call))} or {"i8": COLUMNS["i8"]}, rng.choice([1, 2, 5, 9])
        )
        seen += assert_same(call, frame)
    assert seen, f"no result of {function.name} was anything but null"


@given(st.integers(0, 2**64 - 1))
def test_nested_expressions_survive_the_bytes(seed: int) -> None:
    expr = random_expression(Random(seed), COLUMNS)
    assert through_bytes(expr) == expr
    assert str(lower_expr(through_bytes(expr))) == str(lower_expr(expr))
