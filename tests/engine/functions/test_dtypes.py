"""The types the binder foretells are those Polars gives, over many types of input and random options."""

from __future__ import annotations

from random import Random

import polars as pl
import pytest
from bastion_plan.dtypes import DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import Call
from bastion_plan.functions.accepts import fits
from bastion_plan.functions.spec import Function, Shape
from bastion_plan.typing import describe
from bastion_server.engine.dtypes import from_polars, to_polars
from bastion_server.engine.expressions import lower_expr
from generators import FUNCTIONS, columns_of, random_call, random_expression
from hypothesis import given
from hypothesis import strategies as st
from polars_tree import tag_of
from random_values import COLUMNS, random_frame

#: functions to which Polars itself gives another type or length than its schema says, when the frame is empty
UNSTEADY_WHEN_EMPTY = {"rle", "rolling_rank", "rolling_rank_by", "list.set_union", "list.set_intersection", "list.set_difference", "list.set_symmetric_difference"}  # fmt: skip
#: functions to which Polars itself gives another type than its schema says, when all values are null
UNSTEADY = {"list.diff"}

#: functions that stop at values they cannot use; everything else that binds must run
STOPS_AT_VALUES = {
    "qcut": "equal quantiles", "bin_quantiles": "equal quantiles", "bin_ranks": "too few values", "replace": "repeated or too large values", "replace_strict": "values that are not listed",
    "list.get": "positions outside", "arr.get": "positions outside", "get": "positions outside", "gather": "positions outside", "list.gather": "positions outside", "bin.get": "positions outside",
    "list.item": "not one element", "item": "not one row", "sample": "too few rows", "list.to_array": "other lengths",
    "clip": "bounds outside the type", "truediv": "a Decimal divided by zero", "floordiv": "a Decimal divided by zero", "mod": "a Decimal divided by zero", "truncdiv": "a Decimal divided by zero",
    "str.head": "lengths over 63 bits", "str.tail": "lengths over 63 bits", "bin.head": "lengths over 63 bits", "bin.tail": "lengths over 63 bits", "str.slice": "lengths over 63 bits", "bin.slice": "lengths over 63 bits",
    "str.replace": "null as a replacement", "str.replace_all": "null as a replacement", "dt.replace": "days that the month does not have",
    "str.decode": "text that is not encoded so", "bin.decode": "bytes that are not encoded so", "str.json_decode": "text that is not JSON", "diff": "values over 63 bits", "dt.offset_by": "dates out of range",
    "dt.add_business_days": "days off", "dt.truncate": "dates out of range", "dt.round": "dates out of range", "dt.replace_time_zone": "hours that do not exist", "eq": "values that are no category", "ne": "values that are no category",
    "lt": "values that are no category", "le": "values that are no category", "gt": "values that are no category", "ge": "values that are no category", "is_in": "values that are no category", "is_between": "values that are no category",
    "eq_missing": "values that are no category", "ne_missing": "values that are no category", "pl.coalesce": "values that are no category", "fill_null": "values that are no category",
    "pl.date": "days that do not exist", "pl.datetime": "days that do not exist", "pl.datetime_range": "zones", "str.to_integer": "text that is no number", "repeat_by": "negative counts",
}  # fmt: skip


def collected(call: Call, frame: pl.DataFrame) -> pl.Series | BaseException:
    """Return the result, or why there is none."""
    try:
        return frame.lazy().select(lower_expr(call)).collect().to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
        return error


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_what_binds_runs_and_gives_the_type_name_and_shape_foretold(function: Function) -> None:
    """No panic and no complaint about types is left for the engine, whatever the values are."""

    @given(st.integers(0, 2**64 - 1))
    def compare(seed: int) -> None:
        call = random_call(Random(seed), function)
        told = describe(call, COLUMNS)
        schema = {name: COLUMNS[name] for name in sorted(columns_of(call))} or {"i8": COLUMNS["i8"]}
        for rows in (0, 7):
            frame = random_frame(Random(seed), schema, rows)
            ((name, dtype),) = frame.lazy().select(lower_expr(call)).collect_schema().items()
            assert from_polars(dtype) == told.dtype, call
            if columns_of(call) and function.name not in {"pl.datetime", "pl.duration"}:
                assert name == told.name, call
            found = collected(call, frame)
            if isinstance(found, BaseException):
                assert function.name in STOPS_AT_VALUES, (call, found)
                assert not isinstance(found, pl.exceptions.PanicException | TypeError), (call, found)
            elif rows or function.name not in UNSTEADY_WHEN_EMPTY:
                if function.name not in UNSTEADY:
                    assert from_polars(found.dtype) == told.dtype, call
                if told.shape is not Shape.ANY:
                    assert len(found) == (1 if told.shape is Shape.ONE else rows), call

    compare()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_the_tags_of_polars_json_are_true_and_nothing_runs_python(function: Function) -> None:
    for seed in range(12):
        lowered = lower_expr(random_call(Random(seed), function))
        assert tag_of(lowered) in function.polars_json
        written = lowered.meta.serialize(format="json")
        assert not any(word in written for word in ("AnonymousFunction", "PythonUdf", "Plugin", "FusedPlugin"))


def test_a_value_of_each_wrong_type_is_refused_by_its_class() -> None:
    """For every function and every type: the binder refuses what the register does not accept."""
    refused = 0
    for function in FUNCTIONS:
        if (
            not function.method
            or len([a for a in function.args if not a.optional]) != 1
            or any(o.required for o in function.options)
        ):
            continue
        for name, dtype in COLUMNS.items():
            if not fits(function.args[0].accepts, dtype):
                from bastion_plan.expressions import Column

                with pytest.raises(BindError):
                    describe(Call(function.name, (Column(name),)), COLUMNS)
                refused += 1
    assert refused > 2000


@given(st.integers(0, 2**64 - 1))
def test_types_of_nested_expressions(seed: int) -> None:
    rng = Random(seed)
    expr = random_expression(rng, COLUMNS)
    told = describe(expr, COLUMNS)
    schema = {name: COLUMNS[name] for name in sorted(columns_of(expr))} or {"i8": COLUMNS["i8"]}
    found = random_frame(rng, schema, 3).lazy().select(lower_expr(expr)).collect_schema()
    assert from_polars(found.dtypes()[0]) == told.dtype
    assert found.names()[0] == told.name


@pytest.mark.parametrize("dtype", [*COLUMNS.values()], ids=str)
def test_types_come_back_from_polars(dtype: DType) -> None:
    assert from_polars(to_polars(dtype)) == dtype


def test_nested_arrays_come_back() -> None:
    dtype = DType("Array", inner=DType("Array", inner=DType("Int8"), width=3), width=2)
    assert to_polars(dtype) == pl.Array(pl.Int8, (2, 3))
    assert from_polars(pl.Array(pl.Int8, (2, 3))) == dtype


@pytest.mark.parametrize("dtype", [pl.Object(), pl.Unknown()])
def test_types_that_plans_do_not_have_are_refused(dtype: pl.DataType) -> None:
    with pytest.raises(BindError):
        from_polars(dtype)
    with pytest.raises(BindError):
        to_polars(DType(str(dtype)))
