"""Functions of `pl` that are not methods: over several columns of a row, and makers of values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bastion_plan.dtypes import (
    BOOLEAN,
    DATE,
    FLOAT32,
    FLOAT64,
    INT32,
    NULL,
    STRING,
    TIME,
    UINT32,
    DType,
    datetime,
    duration,
    list_of,
)
from bastion_plan.errors import BindError
from bastion_plan.functions.entries import value
from bastion_plan.functions.packing import unpack
from bastion_plan.functions.registry import register
from bastion_plan.functions.rules import always, mismatch, settle, struct_of, supertype, supertype_of_all
from bastion_plan.functions.spec import Arg, DTypeRule, Flow, Function, Given, Option, Shape

ACROSS = "Row by row over several columns: it mixes their values, so weights the asker chose can single one out."
LOGIC = "Row by row; it joins predicates, so the result is as telling as all of them together."
JOINED = "Row by row: the values of its row pass through."
BUILT = "Row by row: it puts parts together into one value."
MADE = "Makes values out of constants; arguments taken from columns pass through to the result."

#: what has a text form
TEXTUAL = "numeric or boolean or string or date or datetime or time or categorical"

_CLOSED = Option("closed", "str", "both", choices=("both", "left", "right", "none"))
_IGNORE = Option("ignore_nulls", "bool", True, choices=(False, True))
_INTERVAL = Option("interval", "str", "1d", doc="a duration such as '1d'")
_DTYPE = Option(
    "dtype", "dtype", "Int64", choices=("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
)
_UNIT = Option("time_unit", "str", "us", choices=("ms", "us", "ns"))


def _exprs(accepts: str = "any") -> Arg:
    return value("exprs", accepts, variadic=True, string_is_column=True)


def _col(name: str, accepts: str = "any", **rest: Any) -> Arg:
    return value(name, accepts, string_is_column=True, **rest)


def _pl(name: str, args: Iterable[Arg], rule: DTypeRule, flow: Flow, reason: str, doc: str, **rest: Any) -> Function:
    return Function(f"pl.{name}", tuple(args), rule, flow, reason, doc, method=False, **rest)


def _summed(given: Given) -> DType:
    found = settle(supertype_of_all(given))
    return UINT32 if found.kind == "Boolean" else found


def _averaged(given: Given) -> DType:
    """Polars adds the columns in halves, so two booleans beside each other are a count before a float meets them."""
    known = [*given.values, *[None] * len(given.dtypes)]

    def added(first: int, last: int) -> DType:
        if last - first == 1:
            return settle(given.dtypes[first], known[first])
        middle = first + (last - first) // 2
        left, right = added(first, middle), added(middle, last)
        return UINT32 if left.kind == right.kind == "Boolean" else supertype(left, right)

    found = added(0, len(given.dtypes))
    return found if found.kind in ("Float16", "Float32") else FLOAT64


def _largest(given: Given) -> DType:
    words = next((t for t in given.dtypes if t.kind == "String"), None)
    named = next((t for t in given.dtypes if t.kind in ("Enum", "Categorical")), None)
    if words is not None and named is not None:  # which order is meant, Polars asks as well
        raise mismatch(words, named)
    return settle(supertype_of_all(given))


def _listed(given: Given) -> DType:
    """Lists of the values of a row; lists among them are joined."""
    found: DType = NULL
    for i, dtype in enumerate(given.dtypes):
        element = dtype.inner or NULL if dtype.kind == "List" else dtype
        known = given.values[i] if i < len(given.values) else None
        found = supertype(found, element, None, known) if i else settle(element, known)
    return list_of(settle(found))


def _array(given: Given) -> DType:
    """Arrays of the values of a row, which must all be of one type."""
    known = [*given.values, *[None] * len(given.dtypes)]
    kinds = {settle(dtype, value) for dtype, value in zip(given.dtypes, known, strict=False)}
    if len(kinds) > 1:
        raise mismatch(*sorted(kinds, key=str)[:2])
    return DType("Array", inner=kinds.pop(), width=len(given.dtypes))


def _structured(given: Given) -> DType:
    if len(set(given.names)) != len(given.names):
        msg = "The fields of a struct must have different names."
        raise BindError(msg, code="plan.bind.field", next_step="Give one of them another name with alias().")
    known = [*given.values, *[None] * len(given.names)]
    return struct_of(*((n, settle(t, v)) for n, t, v in zip(given.names, given.dtypes, known, strict=False)))


def _angle(given: Given) -> DType:
    return FLOAT32 if given.first.kind == "Float32" else FLOAT64


register(
    [
        _pl(
            "sum_horizontal",
            [_exprs("number or boolean or duration")],
            _summed,
            Flow.ELEMENTWISE,
            ACROSS,
            "Sum over the columns of a row.",
            options=(_IGNORE,),
            nulls="nulls are skipped",
        ),
        _pl(
            "mean_horizontal",
            [_exprs("number or boolean")],
            _averaged,
            Flow.ELEMENTWISE,
            ACROSS,
            "Mean over the columns of a row.",
            options=(_IGNORE,),
            nulls="nulls are skipped",
        ),
        _pl(
            "min_horizontal",
            [_exprs("comparable")],
            _largest,
            Flow.ELEMENTWISE,
            ACROSS,
            "Smallest value over the columns of a row.",
            nulls="nulls are skipped",
            sql=("least",),
        ),
        _pl(
            "max_horizontal",
            [_exprs("comparable")],
            _largest,
            Flow.ELEMENTWISE,
            ACROSS,
            "Largest value over the columns of a row.",
            nulls="nulls are skipped",
            sql=("greatest",),
        ),
        _pl(
            "all_horizontal",
            [_exprs("boolean")],
            always(BOOLEAN),
            Flow.ELEMENTWISE,
            LOGIC,
            "Whether all columns of a row are true.",
            nulls="false wins over null, null over true",
        ),
        _pl(
            "any_horizontal",
            [_exprs("boolean")],
            always(BOOLEAN),
            Flow.ELEMENTWISE,
            LOGIC,
            "Whether any column of a row is true.",
            nulls="true wins over null, null over false",
        ),
        _pl(
            "arctan2",
            [_col("y", "number"), _col("x", "number")],
            _angle,
            Flow.ELEMENTWISE,
            ACROSS,
            "Angle in radians of the point (x, y).",
            sql=("atan2",),
        ),
        _pl(
            "concat_str",
            [_exprs(TEXTUAL)],
            always(STRING),
            Flow.ELEMENTWISE,
            JOINED,
            "The columns of a row as one text.",
            options=(Option("separator", "str", ""), Option("ignore_nulls", "bool", False, choices=(False, True))),
            nulls="null if any is null, unless ignore_nulls",
            sql=("concat",),
        ),
        _pl(
            "format",
            [value("args", TEXTUAL, variadic=True, string_is_column=True)],
            always(STRING),
            Flow.ELEMENTWISE,
            JOINED,
            "The columns of a row put into a text at its {}.",
            options=(Option("f_string", "str", required=True),),
            nulls="null if any is null",
            null_stays=True,
        ),
        _pl(
            "concat_list",
            [_exprs()],
            _listed,
            Flow.ELEMENTWISE,
            JOINED,
            "The columns of a row as one list.",
            nulls="nulls become elements",
        ),
        _pl(
            "concat_arr",
            [_exprs("numeric or boolean or string or temporal")],
            _array,
            Flow.ELEMENTWISE,
            JOINED,
            "The columns of a row as one array.",
            nulls="nulls become elements",
        ),
        _pl(
            "struct",
            [_exprs()],
            _structured,
            Flow.ELEMENTWISE,
            JOINED,
            "The columns of a row as one struct.",
            nulls="nulls become fields",
        ),
        _pl(
            "date",
            [_col("year", "integer"), _col("month", "integer"), _col("day", "integer")],
            always(DATE),
            Flow.ELEMENTWISE,
            BUILT,
            "A date of year, month and day.",
            output_name="date",
            sql=("make_date",),
        ),
        _pl(
            "datetime",
            [
                _col("year", "integer"),
                _col("month", "integer"),
                _col("day", "integer"),
                *(_col(p, "integer", optional=True) for p in ("hour", "minute", "second", "microsecond")),
            ],
            lambda g: datetime(g.options["time_unit"], g.options["time_zone"]),
            Flow.ELEMENTWISE,
            BUILT,
            "A date and time of its parts.",
            options=(
                _UNIT,
                Option("time_zone", "str", None, nullable=True),
                Option("ambiguous", "str", "raise", choices=("raise", "earliest", "latest", "null")),
            ),
        ),
        _pl(
            "time",
            [_col(p, "integer", optional=True) for p in ("hour", "minute", "second", "microsecond")],
            always(TIME),
            Flow.ELEMENTWISE,
            BUILT,
            "A time of day of its parts.",
            output_name="time",
        ),
        _pl(
            "duration",
            [
                _col(p, "integer", optional=True, keyword=True)
                for p in ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")
            ],
            lambda g: duration(g.options["time_unit"] or ("ns" if len(g.dtypes) == 8 else "us")),
            Flow.ELEMENTWISE,
            BUILT,
            "A duration of its parts.",
            options=(Option("time_unit", "str", None, nullable=True, choices=("ms", "us", "ns")),),
        ),
        _pl(
            "from_epoch",
            [_col("column", "integer")],
            lambda g: (
                DATE if g.options["time_unit"] == "d" else datetime("ns" if g.options["time_unit"] == "ns" else "us")
            ),
            Flow.ELEMENTWISE,
            "Row by row and one to one: knowing the result is knowing the value.",
            "A time of the seconds (or other units) since 1970.",
            options=(Option("time_unit", "str", "s", choices=("ns", "us", "ms", "s", "d")),),
        ),
        _pl(
            "business_day_count",
            [_col("start", "date"), _col("end", "date")],
            always(INT32),
            Flow.ELEMENTWISE,
            ACROSS,
            "Working days between two dates.",
            options=(Option("week_mask", "bools", (True, True, True, True, True, False, False)),),
        ),
        _pl(
            "int_ranges",
            [_col("start", "integer"), _col("end", "integer", optional=True), _col("step", "integer", optional=True)],
            lambda g: list_of(unpack(g.options["dtype"])),
            Flow.ELEMENTWISE,
            BUILT,
            "Whole numbers from start to end, as a list per row.",
            options=(_DTYPE,),
        ),
        _pl(
            "int_range",
            [_col("start", "integer", scalar=True), _col("end", "integer", optional=True, scalar=True)],
            lambda g: unpack(g.options["dtype"]),
            Flow.GENERATOR,
            MADE,
            "Whole numbers from start to end.",
            options=(Option("step", "int", 1), _DTYPE),
            shape=Shape.ANY,
            aliases=("pl.arange",),
            nulls="never null",
        ),
        _pl(
            "repeat",
            [value("value", scalar=True), _col("n", "integer", scalar=True)],
            lambda g: settle(g.first, g.values[0] if g.values else None),
            Flow.GENERATOR,
            MADE,
            "A value n times.",
            shape=Shape.ANY,
            nulls="null only if the value is",
        ),
        _pl(
            "linear_space",
            [
                _col(name, accepts, scalar=True)
                for name, accepts in (("start", "number"), ("end", "number"), ("num_samples", "integer"))
            ],
            _averaged,
            Flow.GENERATOR,
            MADE,
            "Numbers at equal steps.",
            options=(_CLOSED,),
            shape=Shape.ANY,
            nulls="never null",
        ),
        _pl(
            "arg_where",
            [_col("condition", "boolean")],
            always(UINT32),
            Flow.ROW,
            "Positions of single rows.",
            "Positions of rows for which a condition is true.",
            shape=Shape.ANY,
            nulls="a null condition is not true",
        ),
        _pl(
            "arg_sort_by",
            [value("exprs", "comparable", variadic=True, string_is_column=True)],
            always(UINT32),
            Flow.WINDOW,
            "Each result depends on all other values: their order gives them away step by step.",
            "Positions that would sort the rows by several columns.",
            options=(
                Option("descending", "bools", (False,)),
                Option("nulls_last", "bools", (False,)),
                Option("maintain_order", "bool", False, choices=(False, True)),
            ),
            nulls="nulls come first unless nulls_last",
        ),
    ]
)


def _stepped(
    kind: str, rule: DTypeRule, accepts: str, options: tuple[Option, ...], interval: Option
) -> Iterable[Function]:
    ends = [_col("start", accepts), _col("end", accepts)]
    yield _pl(
        f"{kind}_range",
        [replace(end, scalar=True) for end in ends],
        rule,
        Flow.GENERATOR,
        MADE,
        f"{kind.title()}s at equal steps.",
        options=(interval, _CLOSED, *options),
        shape=Shape.ANY,
        nulls="never null",
    )
    yield _pl(
        f"{kind}_ranges",
        ends,
        lambda g: list_of(rule(g)),
        Flow.ELEMENTWISE,
        BUILT,
        f"{kind.title()}s at equal steps, as a list per row.",
        options=(interval, _CLOSED, *options),
    )


def _datetimes(given: Given) -> DType:
    units = [t.unit for t in given.dtypes if t.unit]
    unit = given.options["time_unit"] or ("us" if not units else min(units, key=("ms", "us", "ns").index))
    zone = given.options["time_zone"] or next((t.zone for t in given.dtypes if t.zone), None)
    return datetime(unit, zone)


register(
    [
        *_stepped("date", always(DATE), "date", (), _INTERVAL),
        *_stepped(
            "datetime",
            _datetimes,
            "date or datetime",
            (
                Option("time_unit", "str", None, nullable=True, choices=("ms", "us", "ns")),
                Option("time_zone", "str", None, nullable=True),
            ),
            _INTERVAL,
        ),
        *_stepped("time", always(TIME), "time", (), Option("interval", "str", "1h", doc="a duration such as '1h'")),
    ]
)
