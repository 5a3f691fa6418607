"""Dates, times and durations row by row: `dt.*`."""

from __future__ import annotations

from typing import Any

from bastion_plan.dtypes import (
    BOOLEAN,
    DATE,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    TIME,
    DType,
    datetime,
    duration,
)
from bastion_plan.functions.entries import elementwise, flag, value
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, mismatch, same
from bastion_plan.functions.spec import Arg, DTypeRule, Function, Given, Option

PART = "Row by row; a part of a date is a binning of its column, coarse for years and fine for seconds."
MOVED = "Row by row and one to one: knowing the result is knowing the value."
SHIFTED = (
    "Row by row; the move folds a few dates together (month ends, days off), all others stay as telling as they are."
)
UNITS = "Row by row; in a unit as fine as the column's it is one to one, in a coarser one a binning of its column."
FORMATTED = "Row by row; the format decides how much of the value the text tells, up to all of it."
WHOLE = (
    "Row by row; what is less than a whole unit is cut off unless fractional, so it is a binning, fine for small units."
)
OFFSET = (
    "Row by row; the zone's offset at a time tells which season or era the time lies in, so it is a coarse binning."
)
COARSER = "Row by row; neighbouring values become one, so it is a binning of its column."

_UNIT = Option("time_unit", "str", "us", choices=("ms", "us", "ns"))
_EPOCH = Option("time_unit", "str", "us", choices=("ms", "us", "ns", "s", "d"))
_ZONE = Option("time_zone", "str", required=True, doc="such as 'Europe/Berlin'")
_FRACTION = flag("fractional", doc="as a floating-point number, with the fraction")
_AMBIGUOUS = Option("ambiguous", "str", "raise", choices=("raise", "earliest", "latest", "null"))
_MISSING = Option("non_existent", "str", "raise", choices=("raise", "null"))
_EVERY = value("every", "string")
_WEEK = Option("week_mask", "bools", (True, True, True, True, True, False, False), doc="working days from Monday on")
_ROLL = Option("roll", "str", "raise", choices=("raise", "forward", "backward"))

DATED = "date or datetime"
TIMED = "datetime or time"


def _dt(name: str, accepts: str, rule: DTypeRule, reason: str, doc: str, *more: Arg, **rest: Any) -> Function:
    return elementwise(f"dt.{name}", accepts, rule, doc, *more, reason=reason, **rest)


def _fraction(whole: DType) -> DTypeRule:
    return lambda given: FLOAT64 if given.options["fractional"] else whole


def _with_unit(given: Given) -> DType:
    unit = given.options["time_unit"]
    return duration(unit) if given.first.kind == "Duration" else datetime(unit, given.first.zone)


def _zoned(given: Given) -> DType:
    return datetime(given.first.unit or "us", given.options["time_zone"])


def _since(given: Given) -> DType:
    return INT32 if given.options["time_unit"] == "d" else INT64


def _zone_only(rule: DTypeRule) -> DTypeRule:
    def of_zoned(given: Given) -> DType:
        if given.first.zone is None:
            raise mismatch(given.first, datetime(given.first.unit or "us", "UTC"))
        return rule(given)

    return of_zoned


register(
    [
        *(
            _dt(name, accepts, always(dtype), PART, doc, sql=sql)
            for name, accepts, dtype, doc, sql in (
                ("millennium", DATED, INT32, "Millennium.", ()),
                ("century", DATED, INT32, "Century.", ()),
                ("year", DATED, INT32, "Year.", ("year",)),
                ("iso_year", DATED, INT32, "Year of the ISO week.", ("isoyear",)),
                ("quarter", DATED, INT8, "Quarter, 1 to 4.", ("quarter",)),
                ("month", DATED, INT8, "Month, 1 to 12.", ("month",)),
                ("week", DATED, INT8, "ISO week, 1 to 53.", ("week",)),
                ("weekday", DATED, INT8, "Day of the week, Monday is 1.", ("isodow",)),
                ("day", DATED, INT8, "Day of the month.", ("day",)),
                ("ordinal_day", DATED, INT16, "Day of the year.", ("doy",)),
                ("days_in_month", DATED, INT8, "Number of days of the month.", ()),
                ("hour", TIMED, INT8, "Hour, 0 to 23.", ("hour",)),
                ("minute", TIMED, INT8, "Minute, 0 to 59.", ("minute",)),
                ("millisecond", TIMED, INT32, "Milliseconds of the second.", ()),
                ("microsecond", TIMED, INT32, "Microseconds of the second.", ()),
                ("nanosecond", TIMED, INT32, "Nanoseconds of the second.", ()),
            )
        ),
        _dt(
            "second",
            TIMED,
            _fraction(INT8),
            PART,
            "Second, 0 to 59.",
            options=(_FRACTION,),
            sql=("second",),
        ),
        _dt("is_leap_year", DATED, always(BOOLEAN), PART, "Whether the year has 366 days."),
        _dt(
            "is_business_day",
            DATED,
            always(BOOLEAN),
            PART,
            "Whether it is a working day.",
            options=(_WEEK,),
        ),
        _dt("date", DATED, always(DATE), PART, "The date, without time.", sql=("date",)),
        _dt("time", TIMED, always(TIME), PART, "The time of day."),
        _dt(
            "truncate",
            DATED,
            same,
            COARSER,
            "Start of the period of a given length.",
            _EVERY,
            sql=("date_trunc",),
        ),
        _dt(
            "round",
            DATED,
            same,
            COARSER,
            "Nearest start of a period of a given length.",
            _EVERY,
        ),
        _dt("month_start", DATED, same, COARSER, "First day of the month."),
        _dt("month_end", DATED, same, COARSER, "Last day of the month.", sql=("last_day",)),
        _dt(
            "offset_by",
            DATED,
            same,
            SHIFTED,
            "Moved by a duration such as '1mo2d'.",
            value("by", "string"),
        ),
        _dt(
            "add_business_days",
            DATED,
            same,
            SHIFTED,
            "Moved by working days.",
            value("n", "integer", string_is_column=True),
            options=(_WEEK, _ROLL),
        ),
        _dt(
            "combine",
            DATED,
            lambda g: datetime(g.options["time_unit"], g.first.zone),
            "Row by row; the date passes through, the time of day is that of the argument.",
            "The date with another time of day.",
            value("time", "time"),
            options=(_UNIT,),
        ),
        _dt(
            "replace",
            DATED,
            same,
            "Row by row; the parts that stay pass through.",
            "With some parts replaced.",
            *(
                value(part, "integer", optional=True, keyword=True, string_is_column=True)
                for part in ("year", "month", "day", "hour", "minute", "second", "microsecond")
            ),
            options=(_AMBIGUOUS,),
        ),
        _dt(
            "convert_time_zone",
            "datetime",
            _zoned,
            MOVED,
            "The same instant in another time zone.",
            options=(_ZONE,),
        ),
        _dt(
            "replace_time_zone",
            "datetime",
            _zoned,
            "Row by row; clock times that the zone skips or repeats fall together or are null, all others pass through.",
            "The same clock time in another time zone.",
            options=(Option("time_zone", "str", required=True, nullable=True), _AMBIGUOUS, _MISSING),
        ),
        _dt(
            "base_utc_offset",
            "datetime",
            _zone_only(always(duration("ms"))),
            OFFSET,
            "Offset from UTC, without summer time.",
        ),
        _dt(
            "dst_offset",
            "datetime",
            _zone_only(always(duration("ms"))),
            OFFSET,
            "Offset that summer time adds.",
        ),
        _dt(
            "cast_time_unit",
            "datetime or duration",
            _with_unit,
            UNITS,
            "The same time in another unit.",
            options=(Option("time_unit", "str", required=True, choices=("ms", "us", "ns")),),
        ),
        _dt("timestamp", DATED, always(INT64), UNITS, "Time since 1970.", options=(_UNIT,)),
        _dt(
            "epoch",
            DATED,
            _since,
            UNITS,
            "Time since 1970, also in seconds or days.",
            options=(_EPOCH,),
            sql=("epoch",),
        ),
        _dt(
            "strftime",
            "date or datetime or time",
            always(STRING),
            FORMATTED,
            "As text in a format.",
            options=(Option("format", "str", required=True),),
            sql=("strftime",),
        ),
        _dt(
            "to_string",
            "temporal",
            always(STRING),
            FORMATTED,
            "As text.",
            options=(Option("format", "str", None, nullable=True),),
            sql=("to_char",),
        ),
        *(
            _dt(
                f"total_{unit}",
                "duration",
                _fraction(INT64),
                WHOLE,
                f"Length in whole {unit}.",
                options=(_FRACTION,),
            )
            for unit in ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")
        ),
    ]
)
