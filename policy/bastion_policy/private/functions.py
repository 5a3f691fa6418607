"""Which functions may be taken of a person's rows before noise, and within which bounds their values lie.

A function of one row is 1-stable, whatever it computes: a person's rows change, nobody else's do. What matters besides
is that it gives a value for every row and never an error, for whether a query fails is an answer without noise. So the
list names functions that are total (an impossible conversion is null, see guard_plans.lenient) and give the same bits for
a row wherever it stands in the table.

Nor may one person's row decide how long a query takes, or whether it runs out of memory: both tell of that row. So texts are not
put together (doubled thirty times, a word is larger than any memory), those that are written down are short, and what is searched
for in a text is written down.

INVARIANT: a function that is not in TOTAL is refused before noise. tests/private/test_numbers.py feeds each of them
with extreme values and lists those of the register that are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bastion_plan.dtypes import DType
from bastion_plan.expressions import Alias, Call, Cast, Expr, Literal, Ternary
from bastion_plan.expressions import Column as ColumnExpr

from bastion_policy.flow_functions import CALENDAR
from bastion_policy.flow_total import converts
from bastion_policy.flow_trees import number, written_down

#: bounds of values: (lowest, highest), both finite
Interval = tuple[float, float]

_WORDS = """
add sub mul truediv floordiv mod neg abs sign sqrt cbrt exp log1p sin cos tan arctan tanh sinh cosh degrees radians
floor ceil round clip eq ne lt le gt ge eq_missing ne_missing and_ or_ xor not_ is_in is_between is_null is_not_null
is_nan is_not_nan is_finite is_infinite fill_nan fill_null pl.coalesce
pl.sum_horizontal pl.min_horizontal pl.max_horizontal pl.all_horizontal pl.any_horizontal pl.mean_horizontal
str.starts_with str.ends_with str.len_bytes str.len_chars str.to_lowercase str.to_uppercase str.strip_chars
str.strip_chars_start str.strip_chars_end str.strip_prefix str.strip_suffix str.head str.tail str.slice
dt.year dt.iso_year dt.quarter dt.month dt.week dt.weekday dt.day dt.ordinal_day dt.hour dt.minute dt.second
dt.millisecond dt.microsecond dt.nanosecond dt.is_leap_year dt.date dt.century dt.millennium
dt.total_days dt.total_hours dt.total_minutes dt.total_seconds dt.total_milliseconds dt.total_microseconds
cat.len_bytes cat.len_chars
"""
#: functions of one row that may stand before noise; each has stability 1
TOTAL: frozenset[str] = frozenset(_WORDS.split())
#: types whose arithmetic cannot fail
_PLAIN = frozenset("Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64 Boolean String Date".split())
_MEETING = (_PLAIN - {"Date"}) | {"DynInt", "DynFloat", "Null", "Categorical", "Enum"}
_NUMBERS = {"Boolean", "DynInt", "DynFloat", "Null"}
CASTS = _PLAIN | {"Datetime", "Duration", "Time"}

_BITS = frozenset(
    "eq ne lt le gt ge eq_missing ne_missing not_ is_in is_between is_null is_not_null is_nan is_not_nan "
    "is_finite is_infinite pl.all_horizontal pl.any_horizontal str.starts_with str.ends_with dt.is_leap_year".split()
)
_LITERAL_ONLY = {"str.slice", "str.head", "str.tail"}
_PATTERNS = frozenset(
    "str.starts_with str.ends_with str.strip_chars str.strip_chars_start str.strip_chars_end str.strip_prefix "
    "str.strip_suffix".split()
)
#: characters of a text that an asker writes down
MAX_TEXT = 256


def problem_of(expr: Call) -> str:
    """Return why a call may not stand before noise, in words; empty if it may."""
    name = expr.function
    if name not in TOTAL:
        return f"{name.removeprefix('pl.')}() may fail, or sees other rows than one"
    if name in _LITERAL_ONLY and not all(isinstance(a, Literal) or number(a) is not None for a in expr.args[1:]):
        return f"{name}() takes numbers here, not columns"
    if name == "clip" and not all(map(written_down, expr.args[1:])):
        return "clip() takes bounds that are written down, not columns, for what is beyond its type fails"
    if name in _PATTERNS and not all(isinstance(a, Literal) for a in expr.args[1:]):
        return f"{name}() takes a text that is written down, not a column"
    return ""


def too_long(value: Any) -> bool:
    """Whether something that an asker wrote down has a text that is longer than rows may have.

    INVARIANT: a function of a row and of what is written down takes as good as no time, whatever the row is.
    """
    if isinstance(value, tuple | list):
        return any(map(too_long, value))
    return isinstance(value, str | bytes) and len(value) > MAX_TEXT


def put_together(expr: Call, dtypes: Sequence[DType]) -> str:
    """Return why a call may not make longer texts of texts, in words; empty if it does not.

    INVARIANT: a row's size is bounded by what is stored of it and what is written down, whatever is done to it.
    """
    if expr.function == "add" and not all(d.is_numeric or d.is_temporal or d.kind in _NUMBERS for d in dtypes):
        return "texts are not put together"
    return ""


def castable(source: DType, target: DType) -> bool:
    """Whether a cast gives a value or null for every row of people; others fail to be written as text, or give what is not known here."""
    known = target.kind in CASTS and (source.kind in CASTS or source.kind in ("Decimal", "Categorical", "Enum"))
    if not (known and converts(source, target)):
        return False
    days = {"Date", "Datetime"}
    return not source.is_temporal or target.kind in (source.kind, "Int64") or {source.kind, target.kind} <= days


def unlike(args: Sequence[tuple[Expr, DType]]) -> str:
    """Return why values of these types may not meet in one function, in words; empty if they may.

    Numbers are widened without loss of a row. A date beyond the year 294,000 does not fit into a datetime, and a text
    that is no member not into an Enum: the engine fails where it has to bring such types together.
    """
    for _, dtype in args:
        if dtype.kind == "List" and any(isinstance(a, Literal) for a, d in args if d == dtype):
            continue  # is_in takes its values as a list
        if not (dtype.kind in _MEETING or dtype.is_temporal):
            return f"values of type {dtype} are not computed with; cast them first"
    narrow = {d for a, d in args if d.is_temporal or (d.kind in ("Categorical", "Enum"))}
    texts = {d for a, d in args if d.kind == "String" and not isinstance(a, Literal)}
    if len(narrow) > 1 or (narrow and texts):
        return f"values of types {' and '.join(sorted(map(str, narrow | texts)))} do not meet; cast them to one type"
    return ""


def interval(expr: Expr, columns: Mapping[str, Interval | None]) -> Interval | None:
    """Return bounds of an expression by interval arithmetic from the owner's bounds, None where there are none.

    Bounds only decide how much noise there is and what is clipped: every contribution is clipped to them afterwards, so
    a rounding error in them is no matter of privacy.
    """
    match expr:
        case ColumnExpr(name=name):
            return columns.get(name)
        case Alias(input=inner):
            return interval(inner, columns)
        case Cast(input=inner, dtype=dtype):
            found = interval(inner, columns)
            if dtype.kind == "Boolean":
                return (0.0, 1.0)
            return found if dtype.is_numeric else None
        case Literal(value=value):
            fine = isinstance(value, bool | int | float) and math.isfinite(float(value))
            return (float(value), float(value)) if fine else None
        case Ternary(truthy=first, falsy=second):
            return _union(interval(first, columns), interval(second, columns))
        case Call():
            found = _call(expr, columns)
            return found if found is not None and all(map(math.isfinite, found)) else None
    return None


def _union(*several: Interval | None) -> Interval | None:
    known = [s for s in several if s is not None]
    return (min(a for a, _ in known), max(b for _, b in known)) if len(known) == len(several) and known else None


def _call(expr: Call, columns: Mapping[str, Interval | None]) -> Interval | None:
    name, parts = expr.function, [interval(a, columns) for a in expr.args]
    if name in _BITS:
        return (0.0, 1.0)
    if name in CALENDAR:
        low, high = CALENDAR[name]
        return (float(low), float(high))
    if name == "clip":
        return _clip(expr, parts)
    if not parts or any(p is None for p in parts):
        return None
    known: list[Interval] = [p for p in parts if p is not None]
    try:
        return _arithmetic(name, known)
    except OverflowError:
        return None


def _clip(expr: Call, parts: list[Interval | None]) -> Interval | None:
    """Bounds that the asker writes down are as good as the owner's: they say nothing of the data."""
    low, high = parts[0] or (-math.inf, math.inf)
    if len(parts) > 1 and isinstance(expr.args[1], Literal | Call | Cast) and parts[1] is not None:
        low = max(low, parts[1][0])
        high = max(high, parts[1][1])
    if len(parts) > 2 and isinstance(expr.args[2], Literal | Call | Cast) and parts[2] is not None:
        high = min(high, parts[2][1])
        low = min(low, parts[2][0])
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _arithmetic(name: str, parts: list[Interval]) -> Interval | None:
    (a, b), (c, d) = parts[0], parts[1] if len(parts) > 1 else (0.0, 0.0)
    match name:
        case "add" if len(parts) == 2:
            return a + c, b + d
        case "pl.sum_horizontal":
            return sum(min(p[0], 0.0) for p in parts), sum(max(p[1], 0.0) for p in parts)
        case "sub":
            return a - d, b - c
        case "mul":
            products = (a * c, a * d, b * c, b * d)
            return min(products), max(products)
        case "truediv" if c > 0 or d < 0:
            quotients = (a / c, a / d, b / c, b / d)
            return min(quotients), max(quotients)
        case "neg":
            return -b, -a
        case "abs":
            return (0.0 if a <= 0 <= b else min(abs(a), abs(b))), max(abs(a), abs(b))
        case "sqrt" if a >= 0:
            return math.sqrt(a), math.sqrt(b)
        case "log1p" if a > -1:
            return math.log1p(a), math.log1p(b)
        case "exp":
            return math.exp(a), math.exp(b)
        # bits of Booleans, which lie between 0 and 1, and of integers
        case "and_" if all(low >= 0 for low, _ in parts):
            return 0.0, min(high for _, high in parts)
        case "or_" | "xor" if all(low >= 0 for low, _ in parts):
            return 0.0, float(2 ** max(math.ceil(high).bit_length() for _, high in parts) - 1)
        case "floor" | "ceil" | "round":
            return math.floor(a), math.ceil(b)
        case (
            "fill_null" | "fill_nan" | "pl.coalesce" | "pl.min_horizontal" | "pl.max_horizontal" | "pl.mean_horizontal"
        ):
            return _union(*parts)
    return None
