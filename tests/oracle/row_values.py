"""What elementwise functions do to single Python values, with Polars' nulls; written from Polars' documentation."""

from __future__ import annotations

import datetime as dt
import functools
import math
import operator
from collections.abc import Callable
from typing import Any

from bastion_plan.dtypes import DType

EPOCH = dt.date(1970, 1, 1)


class Unknown(Exception):
    """The oracle has no definition of its own for this."""


def literal(dtype: DType, value: Any) -> Any:
    """The Python value of a literal."""
    if value is None:
        return None
    if dtype.kind == "Date":
        return EPOCH + dt.timedelta(days=value)
    if dtype.kind in ("List", "Array") and dtype.inner is not None:
        return [literal(dtype.inner, v) for v in value]
    if dtype.is_temporal or dtype.kind in ("Decimal", "Int128", "Struct"):
        raise Unknown(str(dtype))
    return value


def divide(a: Any, b: Any) -> float:
    if b == 0:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)
    return float(a / b)


def floor_divide(a: Any, b: Any) -> Any:
    if b == 0:
        return None if isinstance(a, int) and isinstance(b, int) else divide(a, b)
    return a // b


def modulo(a: Any, b: Any) -> Any:
    if b == 0:
        return None if isinstance(a, int) and isinstance(b, int) else math.nan
    return a % b


def power(a: Any, b: Any) -> Any:
    try:
        return a**b
    except ZeroDivisionError:
        return math.inf


def root(a: Any) -> float:
    return math.sqrt(a) if a >= 0 else math.nan


def log1p(a: Any) -> float:
    return math.log1p(a) if a > -1 else (-math.inf if a == -1 else math.nan)


def rounded(a: Any, decimals: int = 0, mode: str = "half_to_even") -> Any:
    if mode != "half_to_even":
        raise Unknown(mode)
    return a if isinstance(a, int) else round(a, decimals) if decimals else float(round(a))


def clipped(a: Any, low: Any = None, high: Any = None) -> Any:
    if low is not None and high is not None and low > high:
        raise Unknown("clip between bounds in the wrong order")
    if low is not None and a < low:
        a = type(a)(low)
    return type(a)(high) if high is not None and a > high else a


def bits(combine: Callable[[Any, Any], Any], values: tuple[Any, ...]) -> int | None:
    """Of whole numbers, bit by bit."""
    return None if any(v is None for v in values) else functools.reduce(combine, values)


def whole(values: tuple[Any, ...]) -> bool:
    return any(isinstance(v, int) and not isinstance(v, bool) for v in values)


def both(*values: Any) -> Any:
    if whole(values):
        return bits(operator.and_, values)
    return False if any(v is False for v in values) else None if any(v is None for v in values) else True


def either(*values: Any) -> Any:
    if whole(values):
        return bits(operator.or_, values)
    return True if any(v is True for v in values) else None if any(v is None for v in values) else False


def member(a: Any, among: Any) -> bool | None:
    return None if a is None or among is None else a in among


def between(a: Any, low: Any, high: Any, closed: str = "both") -> bool | None:
    return both(
        None if a is None or low is None else a >= low if closed in ("both", "left") else a > low,
        None if a is None or high is None else a <= high if closed in ("both", "right") else a < high,
    )


def months(day: dt.date) -> int:
    return (day.month - 1) // 3 + 1


#: functions of which a null makes a null
STRICT: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "truediv": divide,
    "floordiv": floor_divide, "mod": modulo, "pow": power, "neg": lambda a: -a, "abs": abs, "sqrt": root, "log1p": log1p,
    "floor": lambda a: a if isinstance(a, int) else float(math.floor(a)),
    "ceil": lambda a: a if isinstance(a, int) else float(math.ceil(a)),
    "round": rounded, "sign": lambda a: type(a)((a > 0) - (a < 0)),
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "not_": lambda a: not a, "xor": operator.xor,
    "is_nan": math.isnan, "is_finite": math.isfinite,
    "str.len_chars": len, "str.len_bytes": lambda a: len(a.encode()), "str.to_uppercase": str.upper,
    "str.to_lowercase": str.lower, "str.starts_with": str.startswith, "str.ends_with": str.endswith,
    "dt.year": lambda d: d.year, "dt.month": lambda d: d.month, "dt.day": lambda d: d.day, "dt.quarter": months,
    "dt.weekday": lambda d: d.isoweekday(), "dt.ordinal_day": lambda d: d.timetuple().tm_yday,
}  # fmt: skip
#: functions that see nulls
SEEING: dict[str, Callable[..., Any]] = {
    "and_": both, "or_": either, "is_null": lambda a: a is None, "is_not_null": lambda a: a is not None,
    "is_in": member, "is_between": between, "fill_null": lambda a, b: b if a is None else a,
    "clip": lambda a, low=None, high=None: None if a is None else clipped(a, low, high),
}  # fmt: skip


def apply(name: str, args: list[Any], options: dict[str, Any]) -> Any:
    """One value of a function; raises Unknown where the oracle has no definition."""
    if name in SEEING:
        return SEEING[name](*args, **options)
    if name not in STRICT:
        raise Unknown(name)
    if any(a is None for a in args):
        return None
    return STRICT[name](*args, **options)


def cast(value: Any, dtype: DType) -> Any:
    """One value in another type."""
    if value is None:
        return None
    if dtype.is_float and isinstance(value, int | float):
        return float(value)
    if dtype.kind in ("Int64", "Int32") and isinstance(value, int | float) and math.isfinite(value):
        return int(value)
    if dtype.kind == "Boolean" and isinstance(value, int | float):
        return bool(value)
    if dtype.kind == "String" and isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise Unknown(f"cast to {dtype}")


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same number, up to the order of summing."""
    if a is None or b is None:
        return a is None and b is None
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float | int) and isinstance(b, float | int):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-7)
    return bool(a == b)
