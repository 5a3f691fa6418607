"""Result types: how Polars 2.1 combines the types of a call's arguments, as small pure rules.

A rule is a function Given -> DType. The tests hold each against real Polars over many input types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bastion_plan.dtypes import (
    BOOLEAN,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    INT128,
    NULL,
    STRING,
    UINT32,
    UINT64,
    DType,
    datetime,
    duration,
)
from bastion_plan.errors import BindError
from bastion_plan.functions.spec import DTypeRule, Given

_SIGNED = ("Int8", "Int16", "Int32", "Int64", "Int128")
_UNSIGNED = ("UInt8", "UInt16", "UInt32", "UInt64")
_BITS = {kind: int(kind.lstrip("UInt")) for kind in _SIGNED + _UNSIGNED}
#: largest number of decimal digits of each integer type
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19, 128: 38}
_UNIT_ORDER = {"ms": 0, "us": 1, "ns": 2}


def mismatch(left: DType, right: DType) -> BindError:
    """Return the error for two types that have no common type."""
    msg = f"{left} and {right} do not go together here."
    step = "Cast one of them first." + (
        " A number stands without quotes." if "String" in (left.kind, right.kind) else ""
    )
    return BindError(msg, code="plan.bind.types", next_step=step)


# -- literals ---------------------------------------------------------------------------------------------------------


def settle(dtype: DType, value: Any = None) -> DType:
    """Return the type a dynamic number takes when it meets no column: Int32 (Int64 … where it does not fit), Float64."""
    if dtype.kind == "DynFloat":
        return FLOAT64
    if dtype.kind != "DynInt":
        return dtype
    if not isinstance(value, int) or -(2**31) <= value < 2**31:
        return INT32
    if -(2**63) <= value < 2**63:
        return INT64
    return UINT64 if 0 <= value < 2**64 else INT128


def _meet_dynamic_int(other: DType, value: Any) -> DType:
    """Return the type of a column that meets an integer literal: the column's, widened until the value fits."""
    if other.kind not in _BITS:
        return other if other.is_float or other.kind == "Decimal" else settle(DType("DynInt"), value)
    if not isinstance(value, int):
        return other
    if other.kind in _UNSIGNED and value >= 0:
        for kind in _UNSIGNED:
            if _BITS[kind] >= _BITS[other.kind] and value < 2 ** _BITS[kind]:
                return DType(kind)
        return INT128
    for kind in _SIGNED:
        enough = _BITS[kind] >= _BITS[other.kind] if other.kind in _SIGNED else _BITS[kind] > _BITS[other.kind]
        if enough and -(2 ** (_BITS[kind] - 1)) <= value < 2 ** (_BITS[kind] - 1):
            return DType(kind)
    return INT128


# -- common types -----------------------------------------------------------------------------------------------------


def _numeric_supertype(a: DType, b: DType) -> DType | None:
    if a.kind == "Boolean":
        return None if b.kind == "Decimal" else b
    if b.kind == "Boolean":
        return None if a.kind == "Decimal" else a
    if a.is_float or b.is_float:
        kinds = {a.kind, b.kind}
        if "Decimal" in kinds or "Float64" in kinds:
            return FLOAT64
        other = b if a.is_float else a
        return FLOAT32 if other.kind == "Float32" or _BITS[other.kind] <= 16 else FLOAT64
    if a.kind == "Decimal" or b.kind == "Decimal":
        return _decimal_supertype(a, b)
    return _integer_supertype(a, b)


def _integer_supertype(a: DType, b: DType) -> DType:
    if (a.kind in _SIGNED) == (b.kind in _SIGNED):
        return a if _BITS[a.kind] >= _BITS[b.kind] else b
    signed, unsigned = (a, b) if a.kind in _SIGNED else (b, a)
    if _BITS[signed.kind] > _BITS[unsigned.kind]:
        return signed
    return DType(f"Int{2 * _BITS[unsigned.kind]}")


def _decimal_supertype(a: DType, b: DType) -> DType:
    if a.kind == b.kind:
        scale = max(a.scale or 0, b.scale or 0)
        whole = max((a.precision or 38) - (a.scale or 0), (b.precision or 38) - (b.scale or 0))
        return DType("Decimal", precision=min(38, whole + scale), scale=scale)
    decimal, integer = (a, b) if a.kind == "Decimal" else (b, a)
    precision, scale = decimal.precision or 38, decimal.scale or 0
    enough = _DIGITS[_BITS[integer.kind]] + scale <= precision
    return DType("Decimal", precision=precision if enough else 38, scale=scale)


def _coarser(a: DType, b: DType) -> str:
    return min(a.unit or "us", b.unit or "us", key=_UNIT_ORDER.__getitem__)


def _numberlike(dtype: DType) -> bool:
    return dtype.is_numeric or dtype.kind == "Boolean"


def supertype(a: DType, b: DType, a_value: Any = None, b_value: Any = None) -> DType:
    """Return the type that holds values of both, as Polars' when/then, coalesce and concat do.

    Raises:
        BindError: there is none.
    """
    if a == b:
        return a
    if a.kind == "Null":
        return settle(b, b_value)
    if b.kind == "Null":
        return settle(a, a_value)
    found = _dynamic_supertype(a, b, a_value, b_value) or _static_supertype(a, b)
    if found is None:
        raise mismatch(a, b)
    return found


def _dynamic_supertype(a: DType, b: DType, a_value: Any, b_value: Any) -> DType | None:
    kinds = {a.kind, b.kind}
    if kinds == {"DynInt", "DynFloat"}:
        return DType("DynFloat")
    for dynamic, other, value in ((a, b, a_value), (b, a, b_value)):
        if dynamic.kind == "DynInt" and _numberlike(other):
            return _meet_dynamic_int(other, value)
        if dynamic.kind == "DynFloat" and _numberlike(other):
            return other if other.is_float else FLOAT64
    return None


def _static_supertype(a: DType, b: DType) -> DType | None:
    if _numberlike(a) and _numberlike(b) and "Dyn" not in a.kind + b.kind:
        return _numeric_supertype(a, b)
    for one, two in ((a, b), (b, a)):
        match one.kind, two.kind:
            case "String", "Categorical" | "Enum":
                return STRING
            case "Date", "Datetime":
                return two
    if a.kind == b.kind == "Datetime" and a.zone == b.zone:
        return DType("Datetime", unit=_coarser(a, b), zone=a.zone)
    if a.kind == b.kind == "Duration":
        return duration(_coarser(a, b))
    if a.kind == b.kind == "List" and a.inner and b.inner:
        return DType("List", inner=supertype(a.inner, b.inner))
    if a.kind == b.kind == "Array" and a.inner and b.inner and a.width == b.width:
        return DType("Array", inner=supertype(a.inner, b.inner), width=a.width)
    return None


def supertype_of_all(given: Given) -> DType:
    """Return the common type of all arguments."""
    found, value = given.dtypes[0], _value(given, 0)
    for i, dtype in enumerate(given.dtypes[1:], 1):
        found, value = supertype(found, dtype, value, _value(given, i)), None
    return found


def _value(given: Given, i: int) -> Any:
    return given.values[i] if i < len(given.values) else None


# -- rule makers ------------------------------------------------------------------------------------------------------


def always(dtype: DType) -> DTypeRule:
    """Return the rule for a fixed result type."""
    return lambda given: dtype


def same(given: Given) -> DType:
    """Return the type of the input."""
    return given.first


def inner(given: Given) -> DType:
    """Return the element type of the input list or array."""
    return given.first.inner or NULL


def listed(given: Given) -> DType:
    """Return lists of the input's type."""
    return DType("List", inner=settle(given.first, _value(given, 0)))


def float_of(given: Given) -> DType:
    """Return Float32 for Float32 and Float64 for every other number."""
    return FLOAT32 if given.first.kind == "Float32" else FLOAT64


def float_of_both(given: Given) -> DType:
    """Return the floating-point type in which two columns of numbers are combined."""
    common = supertype(settle(given.dtypes[0]), settle(given.dtypes[1]))
    return FLOAT32 if common.kind == "Float32" else FLOAT64


def by_kind(otherwise: DTypeRule, **kinds: DType | DTypeRule) -> DTypeRule:
    """Return a rule that looks the input's kind up in `kinds`."""

    def rule(given: Given) -> DType:
        found = kinds.get(given.first.kind)
        if found is None:
            return otherwise(given)
        return found if isinstance(found, DType) else found(given)

    return rule


def on_elements(rule: DTypeRule) -> DTypeRule:
    """Return the rule applied to the elements of a list or array, as one value per row."""

    def of_elements(given: Given) -> DType:
        return rule(Given((inner(given), *given.dtypes[1:]), given.names, given.values, given.options))

    return of_elements


def each_element(rule: Callable[[Given], DType]) -> DTypeRule:
    """Return the rule applied to the elements of a list or array, as a list or array again."""

    def of_list(given: Given) -> DType:
        element = on_elements(rule)(given)
        return DType(given.first.kind, inner=element, width=given.first.width)

    return of_list


comparison = always(BOOLEAN)


def summed(given: Given) -> DType:
    """Return the type of a sum: Int64 for small integers, UInt32 for Boolean, the widest Decimal."""
    t = given.first
    if t.kind in {"Int8", "Int16", "UInt8", "UInt16"}:
        return INT64
    if t.kind == "Decimal":
        return DType("Decimal", precision=38, scale=t.scale)
    return UINT32 if t.kind == "Boolean" else settle(t)


def averaged(given: Given) -> DType:
    """Return the type of a mean or median: a date becomes a Datetime, times and durations stay, numbers become floats."""
    if given.first.kind == "Date":
        return datetime("us")
    return given.first if given.first.is_temporal else float_of(given)


def difference(given: Given) -> DType:
    """Return the type of a value minus an earlier one: unsigned integers become the next signed type."""
    t = given.first
    match t.kind:
        case "UInt8":
            return DType("Int16")
        case "UInt16":
            return INT32
        case "UInt32" | "UInt64":
            return INT64
        case "Date":
            return duration("us")
        case "Time":
            return duration("ns")
        case "Datetime":
            return duration(t.unit or "us")
        case "Decimal":
            return DType("Decimal", precision=38, scale=t.scale)
    return t


def struct_of(*fields: tuple[str, DType]) -> DType:
    """Return a struct type."""
    return DType("Struct", fields=fields)
