"""Literals, data types and selectors in the tree that Polars serialises an expression to."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.dtypes import DType
from bastion_plan.errors import InputError

from bastion.expr.dtypes import to_dtype
from bastion.expr.literals import encode_value, literal

_UNITS = {"Milliseconds": "ms", "Microseconds": "us", "Nanoseconds": "ns"}
_SCALARS = {k: DType(k) for k in dt.SIMPLE if k.startswith(("Int", "UInt", "Float"))}


def refuse(what: str, step: str = "") -> InputError:
    """Return the error for a part of an expression that has no place in a plan."""
    msg = f"The Polars expression holds {what}, which cannot be part of a plan."
    return InputError(msg, code="input.polars-expression", next_step=step or "Write that part another way.")


def whole(value: Any) -> int:
    """Return an integer that Polars wrote as such or as 16 big-endian bytes."""
    if isinstance(value, bytes):
        return int.from_bytes(value, "big", signed=True)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise refuse("a number that is not understood")


def series_of(data: Any) -> pl.Series:
    """Return the series of Arrow IPC stream bytes."""
    if isinstance(data, list):
        data = bytes(data)
    try:
        return pl.read_ipc_stream(io.BytesIO(data)).to_series()
    except (pl.exceptions.PolarsError, TypeError, ValueError):
        raise refuse("a list that is not understood") from None


def read_literal(content: Any) -> px.Literal:
    """Return the literal of `{"Literal": content}`."""
    kind, value = _single(content)
    match kind:
        case "Dyn":
            return _dynamic(value)
        case "Scalar":
            return read_scalar(value)
        case "Series":
            series = series_of(value)
            return _values(series, dt.list_of(to_dtype(series.dtype)))
    raise refuse(f"a literal of kind {kind}")


def _dynamic(value: Any) -> px.Literal:
    kind, content = _single(value)
    match kind:
        case "Int":
            return literal(whole(content))
        case "Float":
            return px.Literal(dt.DYN_FLOAT, float(content))
        case "Str":
            return px.Literal(dt.STRING, content)
        case "List":
            return _list_of_dynamic(content)
    raise refuse(f"a literal of kind {kind}")


def _list_of_dynamic(content: Any) -> px.Literal:
    inner = [_dynamic(v).value for v in content]
    return literal(inner)


def read_scalar(content: Any) -> px.Literal:
    """Return the literal of `{"Scalar": content}`."""
    kind, value = _single(content)
    if kind in _SCALARS:
        if kind.startswith("Float"):
            return px.Literal(_SCALARS[kind], float(value))
        number = whole(value)
        return px.Literal(_SCALARS[kind], str(number) if kind == "Int128" else number)
    match kind:
        case "Null":
            return px.Literal(dt.NULL if value is None else read_dtype(value))
        case "Boolean":
            return px.Literal(dt.BOOLEAN, value)
        case "String" | "StringOwned":
            return px.Literal(dt.STRING, value)
        case "Binary" | "BinaryOwned":
            return px.Literal(dt.BINARY, bytes(value))
        case "Date":
            return px.Literal(dt.DATE, value)
        case "Time":
            return px.Literal(dt.TIME, value)
        case "Datetime" | "DatetimeOwned":
            return px.Literal(dt.datetime(_UNITS[value[1]], _zone(value[2])), value[0])
        case "Duration":
            return px.Literal(dt.duration(_UNITS[value[1]]), value[0])
        case "Decimal":
            return _decimal(*value)
        case "Categorical":
            return px.Literal(dt.CATEGORICAL, value["value"])
        case "Enum":
            categories = tuple(series_of(value["categories"]).to_list())
            return px.Literal(DType("Enum", categories=categories), categories[whole(value["value"])])
        case "List":
            series = series_of(value)
            return _values(series, dt.list_of(to_dtype(series.dtype)))
        case "Array":
            series = series_of(value[0])
            return _values(series, DType("Array", inner=to_dtype(series.dtype), width=value[1]))
        case "Struct":
            fields = [(name, read_scalar(v)) for name, v in value]
            own = DType("Struct", fields=tuple((name, v.dtype) for name, v in fields))
            return px.Literal(own, tuple(v.value for _, v in fields))
    raise refuse(f"a literal of type {kind}")


def _decimal(unscaled: Any, precision: int, scale: int) -> px.Literal:
    from decimal import Decimal

    number = Decimal(whole(unscaled)).scaleb(-scale)
    return px.Literal(DType("Decimal", precision=precision, scale=scale), f"{number:f}")


def _values(series: pl.Series, dtype: DType) -> px.Literal:
    return px.Literal(dtype, _plain(series, dtype))


def _plain(series: pl.Series, dtype: DType) -> tuple[Any, ...]:
    """Return the values of a list as a literal holds them. Times stay integers: Python's have no nanoseconds."""
    inner = dtype.inner
    if inner is None or series.is_empty():
        return ()
    if series.dtype.is_temporal():
        return tuple(series.to_physical().to_list())
    if inner.kind in ("List", "Array"):
        return tuple(None if item is None else _plain(item, inner) for item in series)
    if inner.kind == "Struct":
        fields = [_plain(series.struct.field(name), dt.list_of(kind)) for name, kind in inner.fields]
        rows = zip(*fields, strict=True)
        return tuple(row if known else None for row, known in zip(rows, series.is_not_null(), strict=True))
    plain: tuple[Any, ...] = encode_value(series.to_list(), dtype)
    return plain


def _zone(value: Any) -> str | None:
    return value["inner"] if isinstance(value, dict) else value


def read_dtype(content: Any) -> DType:
    """Return the type of a serialised data type (`{"Literal": …}` around it or not)."""
    kind, value = _single(content)
    if kind == "Literal":
        return read_dtype(value)
    if kind in dt.SIMPLE and (value is None or kind == "Categorical"):
        return DType(kind)
    match kind:
        case "Datetime":
            return dt.datetime(_UNITS[value[0]], _zone(value[1]))
        case "Duration":
            return dt.duration(_UNITS[value])
        case "List":
            return dt.list_of(read_dtype(value))
        case "Array":
            return DType("Array", inner=read_dtype(value[0]), width=value[1])
        case "Struct":
            return DType("Struct", fields=tuple((f["name"], read_dtype(f["dtype"])) for f in value))
        case "Enum":
            return DType("Enum", categories=tuple(series_of(value["strings"]).to_list()))
        case "Decimal":
            return DType("Decimal", precision=value[0], scale=value[1])
    raise refuse(f"a data type ({kind}) that depends on the data", "Name the data type, for example pl.Float64.")


_CLASSES = {
    "Numeric": "numeric", "Integer": "integer", "SignedInteger": "signed_integer", "UnsignedInteger": "unsigned_integer",
    "Float": "float", "Temporal": "temporal", "Nested": "nested", "Struct": "struct", "Categorical": "categorical",
    "Enum": "enum", "Decimal": "decimal",
}  # fmt: skip
_SETS = {
    "Union": "union",
    "Difference": "difference",
    "ExclusiveOr": "symmetric_difference",
    "Intersect": "intersection",
}


def read_selector(content: Any) -> px.Selector:
    """Return the selector of `{"Selector": content}`."""
    kind, value = _single(content)
    if kind in _SETS:
        return _combined(_SETS[kind], value)
    match kind:
        case "Wildcard":
            return px.Selector("all")
        case "Empty":
            return px.Selector("complement", of=(px.Selector("all"),))
        case "ByName":
            names = tuple(value["names"])
            if value["strict"]:
                return px.Selector("by_name", names)
            return px.Selector("complement", of=(px.Selector("exclude", names),))
        case "ByIndex":
            indices = tuple(value["indices"])
            return {(0,): px.Selector("first"), (-1,): px.Selector("last")}.get(
                indices, px.Selector("by_index", indices)
            )
        case "Matches":
            return px.Selector("regex", (value,))
        case "ByDType":
            return _by_dtype(value)
    raise refuse(f"a selector ({kind})")


def _combined(kind: str, value: Any) -> px.Selector:
    left, right = value
    if kind == "difference" and left == "Wildcard":
        of, content = _single(right)
        if of == "ByName" and not content["strict"]:
            return px.Selector("exclude", tuple(content["names"]))
        return px.Selector("complement", of=(read_selector(right),))
    return px.Selector(kind, of=(read_selector(left), read_selector(right)))


def _by_dtype(value: Any) -> px.Selector:
    kind, content = _single(value)
    if kind in _CLASSES:
        return px.Selector("by_class", (_CLASSES[kind],))
    match kind:
        case "AnyOf":
            dtypes = tuple(read_dtype(v) for v in content)
            simple = {"Binary", "Boolean", "Date", "Time", "String"}
            if len(dtypes) == 1 and dtypes[0].kind in simple:
                return px.Selector("by_class", (dtypes[0].kind.lower(),))
            return px.Selector("by_dtype", dtypes=dtypes)
        case "Datetime":
            return _datetimes(*content)
        case "Duration":
            units = _time_units(content)
            if len(units) == 3:
                return px.Selector("by_class", ("duration",))
            return px.Selector("by_dtype", dtypes=tuple(dt.duration(u) for u in units))
        case "List" if content is None:
            return px.Selector("by_class", ("list",))
        case "Array" if content == [None, None]:
            return px.Selector("by_class", ("array",))
    raise refuse(f"a selector by data type ({kind})")


def _time_units(bits: int) -> list[str]:
    return [unit for bit, unit in ((1, "ns"), (2, "us"), (4, "ms")) if bits & bit]


def _datetimes(bits: int, zone: Any) -> px.Selector:
    units = _time_units(bits)
    kind, content = _single(zone)
    whole_class = px.Selector("by_class", ("datetime",))
    unset = px.Selector("by_dtype", dtypes=tuple(dt.datetime(u) for u in units))
    if kind == "Any" and len(units) == 3:
        return whole_class
    if kind == "Unset":
        return unset
    if kind == "UnsetOrAnyOf" or kind == "AnyOf":
        zoned = tuple(dt.datetime(u, _zone(z)) for u in units for z in content)
        plain = unset.dtypes if kind == "UnsetOrAnyOf" else ()
        return px.Selector("by_dtype", dtypes=(*plain, *zoned))
    if kind == "AnySet" and len(units) == 3:
        every = px.Selector("by_dtype", dtypes=tuple(dt.datetime(u) for u in ("ms", "us", "ns")))
        return px.Selector("difference", of=(whole_class, every))
    raise refuse(
        "a selector of datetimes by unit with any time zone",
        'Write cs.datetime() or cs.by_dtype(pl.Datetime("us", "UTC")).',
    )


def _single(content: Any) -> tuple[str, Any]:
    if isinstance(content, str):
        return content, None
    if isinstance(content, dict) and len(content) == 1:
        return next(iter(content.items()))
    raise refuse("something that is not understood")
