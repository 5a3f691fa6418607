"""Canonical calls: one form per meaning, and clear refusals of every other."""

from __future__ import annotations

import pytest
from bastion_plan.dtypes import DYN_FLOAT, DYN_INT, INT64, NULL, STRING, DType, datetime, list_of
from bastion_plan.errors import BindError
from bastion_plan.expressions import Call, Column, Literal
from bastion_plan.functions.calls import check_call, make_call
from bastion_plan.functions.packing import pack, unpack
from hypothesis import given
from hypothesis import strategies as st

A, B = Column("a"), Column("b")
NOTHING = Literal(NULL)


def test_defaults_are_dropped_and_options_sorted() -> None:
    assert make_call("std", (A,), {"ddof": 1}) == Call("std", (A,))
    assert make_call("sort", (A,), {"nulls_last": True, "descending": True}).options == (
        ("descending", True),
        ("nulls_last", True),
    )
    assert make_call("shift", (A, Literal(DYN_INT, 2), NOTHING)) == make_call("shift", (A, Literal(DYN_INT, 2)))


def test_whole_numbers_become_floats_where_floats_are_meant() -> None:
    call = make_call("quantile", (A,), {"quantile": 1})
    assert call.options == (("quantile", 1.0),) and isinstance(call.options[0][1], float)
    assert make_call("cut", (A,), {"breaks": [1, 2]}).options == (("breaks", (1.0, 2.0)),)


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        (Call("mediann", (A,)), "plan.bind.function", "Did you mean 'median'"),
        (Call("mean", ()), "plan.bind.arguments", "mean takes 1 argument"),
        (Call("mean", (A, B)), "plan.bind.arguments", "2 were given"),
        (Call("and_", (A,)), "plan.bind.arguments", "at least 2"),
        (Call("std", (A,), (("dof", 1),)), "plan.bind.option", "Did you mean 'ddof'"),
        (Call("std", (A,), (("ddof", 1),)), "plan.bind.option", "at its default"),
        (Call("std", (A,), (("ddof", 1.0),)), "plan.bind.option", "a whole number"),
        (Call("std", (A,), (("ddof", True),)), "plan.bind.option", "a whole number"),
        (Call("std", (A,), (("ddof", -1),)), "plan.bind.option", "at least 0"),
        (Call("std", (A,), (("ddof", 300),)), "plan.bind.option", "at most 255"),
        (Call("std", (A,), (("ddof", 2), ("ddof", 3))), "plan.bind.option", "repeated"),
        (Call("sort", (A,), (("nulls_last", True), ("descending", True))), "plan.bind.option", "not in order"),
        (Call("quantile", (A,)), "plan.bind.option", "needs quantile"),
        (Call("quantile", (A,), (("quantile", 1),)), "plan.bind.option", "a number"),
        (Call("quantile", (A,), (("quantile", 1.5),)), "plan.bind.option", "at most 1"),
        (Call("quantile", (A,), (("quantile", float("nan")),)), "plan.bind.option", "at least 0"),
        (Call("rank", (A,), (("method", "best"),)), "plan.bind.option", "must be one of"),
        (Call("bin_intervals", (A, B), (("labels", False),)), "plan.bind.constant", "must be a constant"),
        (Call("str.json_decode", (A,), (("dtype", "Int65"),)), "plan.bind.dtype", "cannot be understood"),
    ],
)
def test_wrong_calls_are_refused_clearly(call: Call, code: str, says: str) -> None:
    with pytest.raises(BindError, match=says) as refused:
        check_call(call)
    assert refused.value.code == code
    assert refused.value.next_step


def test_numbers_of_different_types_are_different_options() -> None:
    assert make_call("fill_null", (A, Literal(DYN_INT, 1))) != make_call("fill_null", (A, Literal(DYN_FLOAT, 1.0)))


_simple = st.sampled_from(
    [INT64, STRING, datetime("ms", "UTC"), DType("Decimal", precision=9, scale=2), DType("Enum", categories=("x", "y"))]
)
_dtypes = st.recursive(
    _simple,
    lambda inner: st.one_of(
        inner.map(list_of),
        st.tuples(inner, st.integers(0, 3)).map(lambda pair: DType("Array", inner=pair[0], width=pair[1])),
        st.lists(inner, max_size=3).map(
            lambda several: DType("Struct", fields=tuple((f"f{i}", t) for i, t in enumerate(several)))
        ),
    ),
    max_leaves=6,
)


@given(_dtypes)
def test_packed_types_come_back(dtype: DType) -> None:
    assert unpack(pack(dtype)) == dtype


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "DynInt",
        "Object",
        (),
        ("List",),
        ("List", "Int64", 1),
        ("Datetime", "s", None),
        ("Duration", None),
        ("Array", "Int64", -1),
        ("Enum", (1,)),
        ("Struct", (("a", 1),)),
        ("Decimal", 4, 9),
    ],
)
def test_other_constants_are_no_types(value: object) -> None:
    with pytest.raises(BindError):
        unpack(value)
