"""Values as text, bounded: what `print`, `str` and f-strings show. No value's own formatting code is reached by format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from bastion_plan.errors import LanguageError

from bastion.language.callables import Member, Module, SafeFunction, kind_name
from bastion.language.limits import Meter

_SPEC = re.compile(
    r"(?:(?P<fill>.)?(?P<align>[<>=^]))?(?P<sign>[-+ ])?#?0?(?P<width>\d{1,6})?(?P<group>[,_])?(?:\.(?P<precision>\d{1,6}))?"
    r"(?P<type>[bcdeEfFgGnosxX%])?\Z",
    re.DOTALL,
)
_DATE_SPEC = re.compile(r"(?:%[aAbBdHIjmMpSUwWxXyYfzZ%]|[^%])*\Z")
PLAIN = (bool, int, float, str, bytes, date, datetime, time, timedelta, Decimal)


def text_of(value: Any, meter: Meter) -> str:
    """Return `str(value)` for plain values and our own objects' own texts; never runs code of other types."""
    if isinstance(value, str):
        return value
    return _repr(value, meter)


def repr_of(value: Any, meter: Meter) -> str:
    """Return `repr(value)`, bounded."""
    return _repr(value, meter)


def _repr(value: Any, meter: Meter) -> str:
    meter.value(value)
    text = _shown(value, meter)
    meter.characters(len(text))
    return text


def _shown(value: Any, meter: Meter) -> str:
    if isinstance(value, str | bytes | bool | int | float) or value is None:
        return repr(value)
    if isinstance(value, datetime | date | time | timedelta | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_shown(k, meter)}: {_shown(v, meter)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(v, meter) for v in value) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(v, meter) for v in value) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(_shown(v, meter) for v in value) + "}" if value else "set()"
    if isinstance(value, range):
        return repr(value)
    if isinstance(value, pl.DataFrame | pl.Series | pl.DataType | SafeFunction | Member | Module):
        return repr(value)
    if isinstance(value, type) and issubclass(value, pl.DataType):
        return value.__name__
    from bastion.language.members import is_own

    return repr(value) if is_own(value) else f"<{kind_name(value)}>"


def formatted(value: Any, spec: str, conversion: int, meter: Meter) -> str:
    """Return what `{value!conversion:spec}` of an f-string gives, for plain values only.

    Raises:
        LanguageError: a value that is not public, or a format that is not understood.
    """
    if conversion in (ord("r"), ord("a")):
        value = repr_of(value, meter)
    elif conversion == ord("s"):
        value = text_of(value, meter)
    if not (value is None or isinstance(value, (*PLAIN, list, tuple, dict, set, range, type, pl.DataType))):
        msg = f"An f-string cannot hold a {kind_name(value)}, because its values are on the server."
        raise LanguageError(msg, code="language.fstring", next_step="Fetch the result first, and show a value of it.")
    if not spec:
        return text_of(value, meter)
    if isinstance(value, datetime | date | time):
        if len(spec) <= 100 and _DATE_SPEC.match(spec):
            return value.strftime(spec)
        raise _bad_spec()
    found = _SPEC.match(spec)
    if found is None or not isinstance(value, str | bool | int | float | Decimal):
        raise _bad_spec()
    for part in ("width", "precision"):
        if int(found[part] or 0) > meter.limits.format_width:
            raise _bad_spec()
    try:
        return format(value, spec)
    except (ValueError, OverflowError):
        raise _bad_spec() from None


def _bad_spec() -> LanguageError:
    msg = "The format in the f-string is not understood."
    return LanguageError(
        msg, code="language.fstring", next_step="Write for example {x:.2f}, {x:>10} or {day:%Y-%m-%d}."
    )
