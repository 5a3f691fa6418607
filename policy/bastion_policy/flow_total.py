"""What gives something at every value: casts, calls, formats of dates, and dates that calendars have.

INVARIANT: a value of one row never decides whether a query fails. What may fail at some value is given no private columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bastion_plan.dtypes import DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal
from bastion_plan.typing import expr_dtype

from bastion_policy.flow_functions import GUESSES, JOINS_TEXT, TOTAL
from bastion_policy.flow_trees import columns_in
from bastion_policy.lineage import Frame, World

#: INVARIANT: decimals overflow with an error, in arithmetic and where two of unlike digits are brought to one type. They are
#: compared with one another, or with plain numbers, and nothing else.
_OF_DECIMALS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "eq_missing", "ne_missing", "is_between", "fill_null"})
_OF_DECIMAL = frozenset({"neg", "is_null", "is_not_null"})
#: how far a stored date may be moved: calendars end, and beyond their ends functions fail or give nothing
MOST_DAYS = 366 * 1000
#: what reads a text as a date: it gives none that calendars do not have
_DATED = frozenset({"str.to_date", "str.to_datetime", "str.strptime", "str.to_time"})
#: parts of a date that is in the calendar
_STILL_DATED = frozenset({"dt.date", "dt.time"})
#: the first and the last day of a date's month, and the most days that they lie apart from it
_OF_MONTH = {"dt.month_start": 31, "dt.month_end": 31}
#: the start of a date's period, which lies at most one of its lengths from it
_OF_PERIOD = frozenset({"dt.truncate", "dt.round"})
#: a length as it is written: of one unit, with so few digits that the engine reads them as we do (of more it keeps the last)
_EVERY = re.compile(r"([1-9][0-9]{0,18})(ns|us|ms|s|m|h|d|w|mo|q|y)")
_DAY = 86_400_000_000_000
#: at most so many nanoseconds are in a unit
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
    "d": _DAY, "w": 7 * _DAY, "mo": 31 * _DAY, "q": 92 * _DAY, "y": 366 * _DAY,
}  # fmt: skip
#: the longest period that dates are brought to, in days: a hundred years, also as months
MOST_EVERY = 100 * 12 * 31
#: functions that write dates as text, and the directives by which they do so at every date that the calendar has, from the year
#: -262143 to 262142 (tests/policy/test_dates_as_text.py tries them there).
#: INVARIANT: no other: one that a type has not, or that is not closed, fails; so a text that names none is looked for in vain.
FORMATS = frozenset({"dt.strftime", "dt.to_string"})
_NUMBERS = {"Date": "YyGgmdejqUWVuw", "Datetime": "YyGgmdejqUWVuwHIMS"}
_WORDS = {"Date": "aAbBhFD", "Datetime": "aAbBhFDTRp"}
#: characters of a format: every row's text is as long
MAX_FORMAT = 100
_TEXTS = frozenset({"String", "Categorical", "Enum"})


def converts(source: DType | None, target: DType) -> bool:
    """Whether a cast gives a value or null for every value of a type.

    INVARIANT: others the engine refuses, however lenient a cast is, where there is a row, and not where there is none.
    """
    if source is None or source == target or source.kind == "Null":
        return source is not None
    if source.is_numeric or source.kind == "Boolean":
        return target.is_numeric or target.kind in (
            "Boolean",
            "String",
        )  # numbers may be dates that calendars do not have
    if source.is_temporal:
        days = {"Date", "Datetime"}
        alike = (
            source.kind == target.kind
            or {source.kind, target.kind} <= days
            or (source.kind, target.kind) == ("Datetime", "Time")
        )
        return alike or target.is_numeric or (target.kind == "String" and source.kind != "Duration")
    if source.kind == "String":
        return target.is_numeric or target.kind in (*_TEXTS, "Binary")
    return target.kind in (_TEXTS if source.kind in _TEXTS else {"String"} if source.kind == "Binary" else ())


def writes(dtype: DType | None, pattern: object) -> bool:
    """Whether a format gives a text for every date of a type. None: the type's own."""
    if dtype is None or dtype.kind not in _NUMBERS or dtype.zone is not None:
        return False
    if pattern is None:
        return True
    one = f"%(%|[-_0]?[{_NUMBERS[dtype.kind]}]|[{_WORDS[dtype.kind]}])"
    return (
        isinstance(pattern, str)
        and len(pattern) <= MAX_FORMAT
        and re.fullmatch(f"({one}|[^%])*", pattern, re.DOTALL) is not None
    )


def every_days(text: object, dtype: DType) -> int | None:
    """Return how many days a period has at most; None where it is too long, or none at which the engine never fails."""
    found = _EVERY.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    length = int(found[1]) * _NANOSECONDS[found[2]]
    # INVARIANT: of a length that is below the type's unit nothing is left, and dividing by it fails where there is a row
    shortest = _NANOSECONDS[dtype.unit or "us"] if dtype.kind == "Datetime" else 1
    return -(-length // _DAY) if shortest <= length <= MOST_EVERY * _DAY else None


class Total:
    """Says which casts and calls over one frame may fail at some value."""

    frame: Frame
    world: World

    def cast_fails(self, inner: Expr, source: DType | None, target: DType) -> bool:
        """Whether a cast may give what fails later, or may itself."""
        if not converts(source, target):
            return True
        if target.kind == "Decimal" or target.is_nested or target.zone is not None:
            # lists of another width, and times that a time zone does not have, fail
            return source != target
        if source is not None and source.is_temporal:
            return not target.is_numeric and not self.in_calendar(inner)
        return False

    def fails(self, expr: Call) -> bool:
        """Whether the function may fail at some values."""
        if expr.function in GUESSES and expr.option("format", None) is None:
            return True
        if expr.function in FORMATS:
            return not (
                writes(self.dtype(expr.args[0]), expr.option("format", None)) and self.in_calendar(expr.args[0])
            )
        if expr.function not in TOTAL:
            return True
        kinds = [self.dtype(a) for a in expr.args]
        out = self.dtype(expr)
        if self.members_only(expr.args, kinds) or (
            out is not None and out.zone is not None and expr.function in _DATED
        ):
            return True
        if any(d is not None and d.inner is not None and "Decimal" in str(d) for d in kinds):
            return True
        if any(d is not None and d.kind == "Decimal" for d in kinds):
            plain = [
                isinstance(a, Literal) and d is not None and d.kind != "Decimal"
                for a, d in zip(expr.args, kinds, strict=True)
            ]
            alike = len({str(d) for d, is_plain in zip(kinds, plain, strict=True) if not is_plain}) == 1
            return not (expr.function in _OF_DECIMAL or (expr.function in _OF_DECIMALS and alike))
        # INVARIANT: beyond the calendar's end functions of dates fail, or give nothing, at the value of one row
        dated = [
            a for a, d in zip(expr.args, kinds, strict=True) if d is not None and d.kind in ("Date", "Datetime", "Time")
        ]
        if expr.function in ("add", "sub"):
            return bool(dated) and out is not None and out.kind != "Duration" and not self.in_calendar(expr)
        if expr.function in _OF_PERIOD or expr.function in _OF_MONTH:
            return not self.in_calendar(expr)  # it fails itself where there is no such start
        reads = expr.function.startswith("dt.") or expr.function in JOINS_TEXT
        return reads and not all(map(self.in_calendar, dated))

    @staticmethod
    def members_only(args: Sequence[Expr], kinds: Sequence[DType | None]) -> bool:
        """Whether a column meets values of an Enum that it is not of: what is no member fails."""
        enums = {d for d in kinds if d is not None and d.kind == "Enum"}
        return bool(enums) and any(
            bool(columns_in(a)) and d is not None and d.kind != "Null" and enums != {d}
            for a, d in zip(args, kinds, strict=True)
        )

    def in_calendar(self, expr: Expr) -> bool:
        """Whether a date, time or duration is a stored one, or one near it, so that the calendar has it."""
        return self.moved(expr) is not None

    def moved(self, expr: Expr) -> int | None:
        """Return by how many days a date may lie off a stored one, at most; None where the calendar may not have it.

        INVARIANT: all that moves a date is added up, over steps too (`Value.dated`): beyond the calendar's end functions of dates
        fail or make nulls, and a chain of few roundings gets there from any day that the asker chooses.
        """
        days = self._moved(expr)
        return days if days is not None and days <= MOST_DAYS else None

    def _moved(self, expr: Expr) -> int | None:
        dtype = self.dtype(expr)
        match expr:
            case Alias(input=inner):
                return self.moved(inner)
            case Column(name=name):
                value = self.frame.columns.get(name)
                return None if value is None else 0 if value.stored else value.dated
            case Cast(input=inner, dtype=target):
                source = self.dtype(inner)
                temporal = target.is_temporal and source is not None and source.is_temporal
                return self.moved(inner) if temporal else None
            case Call(function="add" | "sub", args=(one, two)) if dtype is not None and dtype.kind != "Duration":
                by = self._shifted(one, two)
                return self._shifted(two, one) if by is None else by
            case Call(function="sub", args=(one, two)):
                first, second = self.moved(one), self.moved(two)
                return None if first is None or second is None else max(first, second)
            case Call(function=name, args=(inner, *more)) if name in _DATED:
                read = isinstance(inner, Column) and not any(columns_in(a) for a in more)
                return self.moved(inner) if read else None
            case Call(function=name, args=(inner, *more)):
                step, before = self._step(name, more, dtype), self.moved(inner)
                return None if step is None or before is None else before + step
            case _:
                return None if columns_in(expr) else 0

    @staticmethod
    def _step(function: str, more: Sequence[Expr], dtype: DType | None) -> int | None:
        """Return by how many days a function moves a date at most; None where it may fail at some of the calendar's."""
        if function in _STILL_DATED:
            return None if more else 0
        # INVARIANT: local times have gaps, and starts of periods that fall into one fail
        if dtype is None or dtype.zone not in (None, "UTC"):
            return None
        if function in _OF_MONTH:
            return None if more else _OF_MONTH[function]
        if function not in _OF_PERIOD or len(more) != 1:
            return None
        return every_days(more[0].value if isinstance(more[0], Literal) else None, dtype)

    def _shifted(self, moved: Expr, by: Expr) -> int | None:
        """Return by how many days a stored date is moved by a constant; None where it is another, or moved by something else."""
        stored = (
            isinstance(moved, Column) and (value := self.frame.columns.get(moved.name)) is not None and value.stored
        )
        dtype = by.dtype if isinstance(by, Literal) else None
        if not stored or dtype is None or dtype.kind != "Duration" or not isinstance(by, Literal):
            return None
        per_day = {"ms": 86_400_000, "us": 86_400_000_000, "ns": _DAY}.get(dtype.unit or "us", 1)
        return -(-abs(by.value) // per_day) if isinstance(by.value, int) else None

    def is_number(self, expr: Expr) -> bool:
        """Whether the type of an expression is known, and one of numbers."""
        dtype = self.dtype(expr)
        return dtype is not None and dtype.is_numeric

    def dtype(self, expr: Expr) -> DType | None:
        """Return the type of an expression, None where it has none."""
        try:
            return expr_dtype(expr, self.frame.schema)
        except BindError:
            return None
