"""Operators: arithmetic, comparison, Boolean logic, membership."""

from __future__ import annotations

from typing import Any

from bastion_plan.dtypes import BOOLEAN, DATE, FLOAT64, DType, duration
from bastion_plan.errors import BindError
from bastion_plan.functions.entries import column, elementwise, flag, value
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, mismatch, settle, supertype
from bastion_plan.functions.spec import UNKNOWN, Flow, Function, Given, Option

ARITHMETIC = "Row by row; with a constant it is an affine function that the guard can judge as its column, with another column it mixes their values."
COMPARE = "Row by row; the result is one bit of its row, so it acts like a predicate on the columns compared."
LOGIC = "Row by row; it joins predicates, so the result is as telling as all of them together. Bits of an integer are bins of its column, each to be held by enough people; of several columns they mix their values."

NUMBERS = "numeric or boolean or null"
BITS = "boolean or integer"


def _unit(*dtypes: DType) -> str:
    units = [t.unit for t in dtypes if t.unit]
    return "ms" if "ms" in units else "us" if "us" in units else "ns"


def _value(given: Given, i: int) -> object:
    return given.values[i] if i < len(given.values) else UNKNOWN


def _number(given: Given) -> DType:
    a, b = given.dtypes
    if a.kind == b.kind == "Decimal":
        return DType("Decimal", precision=38, scale=max(a.scale or 0, b.scale or 0))
    found = supertype(a, b, _value(given, 0), _value(given, 1))
    if found.kind == "Decimal" and "Null" not in (a.kind, b.kind):
        return DType("Decimal", precision=38, scale=found.scale)
    return found


def _add(given: Given) -> DType:
    a, b = given.dtypes
    if (a.kind, b.kind) == ("Boolean", "Boolean"):
        return DType("UInt32")
    if a.kind == "String" or b.kind == "String":
        return supertype(a, b)
    for one, two in ((a, b), (b, a)):
        match one.kind, two.kind:
            case "Duration", "Date":
                return DATE
            case "Duration", "Datetime":
                return DType("Datetime", unit=_unit(one, two), zone=two.zone)
            case "Duration", "Time":
                return two
    if a.kind == b.kind == "Duration":
        return duration(_unit(a, b))
    if a.is_temporal or b.is_temporal:
        raise mismatch(a, b)
    return _number(given)


def _sub(given: Given) -> DType:
    a, b = given.dtypes
    match a.kind, b.kind:
        case "Date", "Date":
            return duration("us")
        case "Time", "Time":
            return duration("ns")
        case ("Date" | "Datetime", "Date" | "Datetime"):
            if a.kind == b.kind and a.zone != b.zone:
                raise mismatch(a, b)
            return duration(_unit(a, b))
        case "Date", "Duration":
            return DATE
        case "Datetime", "Duration":
            return DType("Datetime", unit=_unit(a, b), zone=a.zone)
        case "Time", "Duration":
            return a
        case "Duration", "Duration":
            return duration(_unit(a, b))
    if a.is_temporal or b.is_temporal or (a.kind == "Boolean" and b.kind in {"Boolean", "Null"}):
        raise mismatch(a, b)
    return _number(given)


def _mul(given: Given) -> DType:
    a, b = given.dtypes
    if "Boolean" in (a.kind, b.kind) and not (a.is_numeric or b.is_numeric):
        raise mismatch(a, b)
    for one, two in ((a, b), (b, a)):
        if one.kind == "Duration" and (two.is_integer or two.is_float):
            return one
    if a.is_temporal or b.is_temporal:
        raise mismatch(a, b)
    return _number(given)


def _truediv(given: Given) -> DType:
    a, b = given.dtypes
    if a.kind == "Duration":
        if b.kind == "Duration":
            return FLOAT64
        if b.is_integer or b.is_float:
            return a
    if a.is_temporal or b.is_temporal:
        raise mismatch(a, b)
    if a.kind == "Null":
        raise mismatch(a, b)
    if b.kind == "Null" and a.kind in {"Boolean", "Decimal"}:
        return a
    if "Decimal" in (a.kind, b.kind) and "Boolean" not in (a.kind, b.kind):
        return _number(given)
    if a.is_float or b.is_float:
        return supertype(a, b, _value(given, 0), _value(given, 1))
    return FLOAT64


def _floordiv(given: Given) -> DType:
    a, b = given.dtypes
    if not (a.is_numeric or b.is_numeric):
        raise mismatch(a, b)
    return _number(given)


def _truncdiv(given: Given) -> DType:
    if given.dtypes[0].kind == given.dtypes[1].kind == "Null":
        raise mismatch(*given.dtypes)
    return _number(given)


def _pow(given: Given) -> DType:
    a, b = given.dtypes
    base = settle(a, _value(given, 0))
    if base.is_float or not b.is_float:
        return base
    return DType("Float32") if b.kind == "Float32" else FLOAT64


def _comparable(given: Given) -> DType:
    a, b = given.dtypes[:2]
    for one, two in ((a, b), (b, a)):
        if one.kind == "String" and (two.is_numeric or two.kind in {"Date", "Datetime", "Time", "Duration", "Boolean"}):
            raise mismatch(a, b)
    if a.kind in {"Categorical", "Enum"} and b.kind in {"Categorical", "Enum"} and a != b:
        raise mismatch(a, b)
    for one, two in ((a, b), (b, a)):
        if one.kind in {"Date", "Datetime"} and two.kind == "Duration":
            raise mismatch(a, b)
    if a.kind in {"Boolean", "Decimal"} and b.kind in {"Boolean", "Decimal"} and a.kind != b.kind:
        raise mismatch(a, b)
    supertype(a, b, _value(given, 0), _value(given, 1))
    return BOOLEAN


def _ordered(given: Given) -> DType:
    for dtype in given.dtypes:
        if dtype.is_nested:
            msg = f"Values of type {dtype} have no order."
            raise BindError(msg, code="plan.bind.types", next_step="Compare a part of them.")
    return _comparable(given)


def _negated(given: Given) -> DType:
    if given.first.kind == "Int128":
        msg = "neg is not there for Int128."
        raise BindError(msg, code="plan.bind.types", next_step="Subtract the value from 0.")
    return settle(given.first, _value(given, 0))


def _turned(given: Given) -> DType:
    return settle(given.first, _value(given, 0))


def _logic(given: Given) -> DType:
    """Booleans give a Boolean; integers are computed with bit by bit. The two do not meet, as in Polars."""
    found = given.first
    for i, dtype in enumerate(given.dtypes[1:], 1):
        if {found.kind, dtype.kind} > {"Boolean"}:
            raise mismatch(found, dtype)
        found = supertype(found, dtype, _value(given, 0) if i == 1 else UNKNOWN, _value(given, i))
    return found


#: methods that take a bare string as a column; the others take it as text (so do the operators)
_STRINGS_ARE_COLUMNS = frozenset({"sub", "mul", "truediv", "floordiv", "truncdiv", "mod", "xor"})


def _binary(
    name: str, doc: str, rule: object, reason: str, accepts: str, aliases: tuple[str, ...] = (), **rest: object
) -> Function:
    args = (column(accepts), value("other", accepts, string_is_column=name in _STRINGS_ARE_COLUMNS))
    return Function(name, args, rule, Flow.ELEMENTWISE, reason, doc, aliases=aliases, **rest)  # type: ignore[arg-type]


_TIMED = NUMBERS + " or temporal"
_NO_NULL: dict[str, Any] = {"nulls": "null on either side gives null", "null_stays": True}

register(
    [
        _binary(
            "add",
            "Sum of two values; joins strings.",
            _add,
            ARITHMETIC,
            _TIMED + " or string",
            ("__add__",),
            **_NO_NULL,
            sql=("+",),
        ),
        _binary(
            "sub",
            "Difference of two values.",
            _sub,
            ARITHMETIC,
            _TIMED,
            ("__sub__",),
            **_NO_NULL,
            sql=("-",),
        ),
        _binary(
            "mul",
            "Product of two values.",
            _mul,
            ARITHMETIC,
            _TIMED,
            ("__mul__",),
            **_NO_NULL,
            sql=("*",),
        ),
        _binary(
            "truediv",
            "Quotient, as a floating-point number.",
            _truediv,
            ARITHMETIC,
            _TIMED,
            ("__truediv__", "div"),
            **_NO_NULL,
            sql=("/",),
        ),
        _binary(
            "floordiv",
            "Quotient rounded down; integers divided by zero give null.",
            _floordiv,
            ARITHMETIC,
            NUMBERS,
            ("__floordiv__",),
            **_NO_NULL,
            sql=("//", "div"),
        ),
        _binary(
            "truncdiv",
            "Quotient cut off towards zero; integers divided by zero give null.",
            _truncdiv,
            ARITHMETIC,
            "number or null",
            **_NO_NULL,
        ),
        _binary(
            "mod",
            "Remainder of the division rounded down.",
            _floordiv,
            ARITHMETIC,
            NUMBERS,
            ("__mod__",),
            **_NO_NULL,
            sql=("%", "mod"),
        ),
        Function(
            "pow",
            (column("number"), value("exponent", "number", string_is_column=True)),
            _pow,
            Flow.ELEMENTWISE,
            "Row by row, but large powers pack many values into one number, so a sum of powers can spell out a table.",
            "Value raised to a power.",
            **_NO_NULL,
            aliases=("__pow__",),
            sql=("pow", "power"),
        ),
        *(
            _binary(
                name,
                doc,
                _comparable if name in {"eq", "ne"} else _ordered,
                COMPARE,
                "any",
                aliases,
                **_NO_NULL,
                sql=(sql,),
            )
            for name, doc, aliases, sql in (
                ("eq", "Whether two values are equal.", ("__eq__",), "="),
                ("ne", "Whether two values differ.", ("__ne__",), "<>"),
                ("lt", "Whether the left value is smaller.", ("__lt__",), "<"),
                ("le", "Whether the left value is smaller or equal.", ("__le__",), "<="),
                ("gt", "Whether the left value is larger.", ("__gt__",), ">"),
                ("ge", "Whether the left value is larger or equal.", ("__ge__",), ">="),
            )
        ),
        _binary(
            "eq_missing",
            "Whether two values are equal, null being equal to null.",
            _comparable,
            COMPARE,
            "any",
            nulls="null equals null, never gives null",
            sql=("is not distinct from",),
        ),
        _binary(
            "ne_missing",
            "Whether two values differ, null being equal to null.",
            _comparable,
            COMPARE,
            "any",
            nulls="null equals null, never gives null",
            sql=("is distinct from",),
        ),
        Function(
            "and_",
            (column(BITS), value("others", BITS, variadic=True, string_is_column=True)),
            _logic,
            Flow.ELEMENTWISE,
            LOGIC,
            "Whether all are true; of integers, the bits that all have.",
            nulls="false wins over null, null over true; of integers null on either side gives null",
            aliases=("__and__",),
            sql=("and",),
        ),
        Function(
            "or_",
            (column(BITS), value("others", BITS, variadic=True, string_is_column=True)),
            _logic,
            Flow.ELEMENTWISE,
            LOGIC,
            "Whether any is true; of integers, the bits that any has.",
            nulls="true wins over null, null over false; of integers null on either side gives null",
            aliases=("__or__",),
            sql=("or",),
        ),
        _binary(
            "xor",
            "Whether exactly one is true; of integers, the bits that only one has.",
            _logic,
            LOGIC,
            BITS,
            ("__xor__",),
            **_NO_NULL,
            sql=("xor",),
        ),
        elementwise(
            "not_",
            BITS,
            _turned,
            "Whether the value is false; of integers, all bits turned: -x - 1, or in unsigned types their largest value less x.",
            reason="Row by row; the other side of a predicate is as telling as the predicate. Of integers it is the subtraction, and judged as that.",
            aliases=("__invert__",),
            sql=("not",),
        ),
        elementwise(
            "neg",
            "signed integer or float or decimal or duration",
            _negated,
            "Value with the opposite sign.",
            reason="Row by row and affine: judged as its column.",
            aliases=("__neg__",),
        ),
    ]
)


def _may_hold(element: DType, value_type: DType) -> bool:
    """Whether Polars looks for values of a type among such elements: without losing digits."""
    if "Null" in (element.kind, value_type.kind):
        return True
    if element.is_float or value_type.is_float:
        return element.is_float and value_type.is_float
    if element.is_numeric or value_type.is_numeric:
        return element.is_numeric and value_type.is_numeric
    kinds = {element.kind, value_type.kind}
    if "String" in kinds:
        return kinds <= {"String", "Categorical", "Enum"}
    if element.kind in {"Datetime", "Duration"}:
        return element.kind == value_type.kind and element.zone == value_type.zone
    return element == value_type


def _is_in(given: Given) -> DType:
    value_type, among = given.dtypes
    if among.inner is None:
        msg = f"is_in needs a list of values, not {among}."
        raise BindError(msg, code="plan.bind.types", next_step="Write is_in([…]) or join with semi for a column.")
    if not _may_hold(among.inner, value_type):
        raise mismatch(value_type, among)
    return BOOLEAN


register(
    [
        Function(
            "is_in",
            (column("any"), value("other", "list or array", string_is_column=True)),
            _is_in,
            Flow.ELEMENTWISE,
            "Row by row when the list is a constant or of the same row: a predicate that can name any single value.",
            "Whether the value is in the list.",
            options=(flag("nulls_equal", doc="null counts as a value"),),
            nulls="null gives null unless nulls_equal",
            sql=("in",),
        ),
        Function(
            "is_between",
            (column("any"), value("lower_bound", string_is_column=True), value("upper_bound", string_is_column=True)),
            lambda g: (
                _ordered(Given(g.dtypes[:2], values=g.values[:2])),
                _ordered(Given((g.dtypes[0], g.dtypes[2]), values=(UNKNOWN, *g.values[2:]))),
            )[0],
            Flow.ELEMENTWISE,
            COMPARE,
            "Whether the value lies between two bounds.",
            options=(Option("closed", "str", "both", choices=("both", "left", "right", "none")),),
            sql=("between",),
        ),
        Function(
            "is_close",
            (column("number"), value("other", "number", string_is_column=True)),
            always(BOOLEAN),
            Flow.ELEMENTWISE,
            COMPARE,
            "Whether two numbers are almost equal.",
            options=(
                Option("abs_tol", "float", 0.0, minimum=0),
                Option("rel_tol", "float", 1e-09, minimum=0),
                flag("nans_equal"),
            ),
        ),
    ]
)
