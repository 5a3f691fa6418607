"""SQL functions that are written with several functions of the plan, or by another name than the registry knows.

Each means what it means in DuckDB, whose SQL this is: `strpos` counts from 1 and is 0 where there is nothing, a missing part
is the empty text, `dayofweek` of a Sunday is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.functions.calls import make_call
from sqlglot import exp

from bastion.expr.literals import literal

Go = Callable[[exp.Expression], px.AnyExpr]


def _refuse(node: exp.Expression, what: str, step: str = "") -> px.AnyExpr:
    from bastion.sql_expressions import refuse

    return refuse(node, what, step)


def _constant(node: exp.Expression | None, go: Go, kind: type, what: str) -> Any:
    """Return the value of a constant argument."""
    if node is None:
        return None
    found = go(node)
    if not isinstance(found, px.Literal) or not isinstance(found.value, kind) or isinstance(found.value, bool):
        _refuse(node, f"{what} that is no constant")
    return found.value  # type: ignore[union-attr]


def _or_empty(value: px.AnyExpr, part: px.AnyExpr) -> px.AnyExpr:
    """Return a part of a text, empty where there is none; null where the text is."""
    found = make_call("pl.coalesce", (part, literal("")))
    return px.Ternary(px.Call("is_null", (value,)), px.Literal(dt.STRING), found)


def _named(name: str) -> Callable[[Any, Go], px.AnyExpr]:
    return lambda node, go: make_call(name, (go(node.this),))


def _of_all(name: str) -> Callable[[Any, Go], px.AnyExpr]:
    """A spread of everybody, not of a sample."""
    return lambda node, go: make_call(name, (go(node.this),), {"ddof": 0})


def _split(node: exp.Split, go: Go) -> px.AnyExpr:
    return make_call("str.split", (go(node.this), go(node.expression)))


def _split_part(node: exp.SplitPart, go: Go) -> px.AnyExpr:
    index = _constant(node.args.get("part_index"), go, int, "the number of a part")
    if index == 0:
        _refuse(node, "part 0", "Parts count from 1, or from the end with -1.")
    text = go(node.this)
    parts = make_call("str.split", (text, go(node.args["delimiter"])))
    place = index - 1 if index > 0 else index
    return _or_empty(text, make_call("list.get", (parts, literal(place)), {"null_on_oob": True}))


def _pad(node: exp.Pad, go: Go) -> px.AnyExpr:
    length = _constant(node.expression, go, int, "the length of a padded text")
    fill = _constant(node.args.get("fill_pattern"), go, str, "the filling of a padded text") or " "
    if len(fill) != 1 or length < 0:
        _refuse(node, "padding with other than one character, or to less than nothing")
    name = "str.pad_start" if node.args.get("is_left") else "str.pad_end"
    cut = make_call("str.slice", (go(node.this), literal(0), literal(length)))
    return make_call(name, (cut, literal(length)), {"fill_char": fill})


def _position(node: exp.StrPosition, go: Go) -> px.AnyExpr:
    text, part = go(node.this), go(node.args["substr"])
    _constant(node.args["substr"], go, str, "a text to look for")
    before = make_call("list.first", (make_call("str.split", (text, part)),))
    place = px.Call("add", (make_call("str.len_chars", (before,)), literal(1)))
    there = make_call("str.contains", (text, part), {"literal": True})
    return px.Cast(
        px.Ternary(there, place, px.Ternary(px.Call("is_null", (text,)), px.Literal(dt.NULL), literal(0))), dt.INT64
    )


def _string_agg(node: exp.GroupConcat, go: Go) -> px.AnyExpr:
    between = _constant(node.args.get("separator"), go, str, "a separator")
    return make_call("str.join", (go(node.this),), {"delimiter": "," if between is None else between})


def _formatted(node: exp.TimeToStr, go: Go) -> px.AnyExpr:
    return make_call("dt.strftime", (go(node.this),), {"format": _constant(node.args["format"], go, str, "a format")})


def _parsed(node: exp.StrToTime, go: Go) -> px.AnyExpr:
    form = _constant(node.args["format"], go, str, "a format")
    return make_call("str.to_datetime", (go(node.this),), {"format": form})


def _day_of_week(node: exp.DayOfWeek, go: Go) -> px.AnyExpr:
    return px.Cast(px.Call("mod", (make_call("dt.weekday", (go(node.this),)), literal(7))), dt.INT64)


def _date_diff(node: exp.DateDiff, go: Go) -> px.AnyExpr:
    """Return the number of ends of a day, month or year between two dates."""
    later, earlier = go(node.this), go(node.expression)
    unit = str(node.args["unit"].name).lower() if node.args.get("unit") else "day"

    def difference(name: str) -> px.AnyExpr:
        ends = (px.Cast(make_call(name, (moment,)), dt.INT64) for moment in (later, earlier))
        return px.Call("sub", tuple(ends))

    match unit.removesuffix("s"):
        case "year":
            return difference("dt.year")
        case "month":
            return px.Call("add", (px.Call("mul", (difference("dt.year"), literal(12))), difference("dt.month")))
        case "day":
            days = px.Call("sub", (px.Cast(later, dt.DATE), px.Cast(earlier, dt.DATE)))
            return make_call("dt.total_days", (days,))
    return _refuse(node, f"the difference in {unit}", "Use 'day', 'month' or 'year'.")


def _contains(node: exp.ArrayContains, go: Go) -> px.AnyExpr:
    return make_call("list.contains", (go(node.this), go(node.expression)))


def _extract(node: exp.RegexpExtract, go: Go) -> px.AnyExpr:
    if node.args.get("position") or node.args.get("occurrence") or node.args.get("parameters"):
        _refuse(node, "REGEXP_EXTRACT with a position, an occurrence or settings")
    group = _constant(node.args.get("group"), go, int, "the number of a group") or 0
    text = go(node.this)
    return _or_empty(text, make_call("str.extract", (text, go(node.expression)), {"group_index": group}))


def _date(node: exp.DateFromParts, go: Go) -> px.AnyExpr:
    return make_call("pl.date", tuple(go(node.args[part]) for part in ("year", "month", "day")))


def _epoch(node: exp.TimeToUnix, go: Go) -> px.AnyExpr:
    return px.Call("truediv", (make_call("dt.timestamp", (go(node.this),), {"time_unit": "us"}), literal(1e6)))


def _either(node: exp.BitwiseXor, go: Go) -> px.AnyExpr:
    return px.Call("xor", (go(node.this), go(node.expression)))


#: node of sqlglot -> reader
NODES: dict[type[exp.Expression], Callable[[Any, Go], px.AnyExpr]] = {
    exp.IsNan: _named("is_nan"), exp.IsInf: _named("is_infinite"), exp.Split: _split, exp.SplitPart: _split_part,
    exp.Pad: _pad, exp.StrPosition: _position, exp.GroupConcat: _string_agg, exp.TimeToStr: _formatted, exp.StrToTime: _parsed,
    exp.DayOfWeek: _day_of_week, exp.DateDiff: _date_diff, exp.ArrayContains: _contains, exp.RegexpExtract: _extract,
    exp.DateFromParts: _date, exp.TimeToUnix: _epoch, exp.Initcap: _named("str.to_titlecase"), exp.BitwiseXor: _either,
    exp.CountIf: _named("sum"), exp.StddevPop: _of_all("std"), exp.VariancePop: _of_all("var"),
    exp.Pi: lambda node, go: literal(math.pi),
}  # fmt: skip
#: functions that sqlglot knows by name only -> function of the registry
NAMES = {"isfinite": "is_finite", "product": "product"}


def ranked(node: exp.Window, go: Go) -> px.AnyExpr | None:
    """Return the plan of rank, dense_rank, row_number, lag or lead over an order; None for another window."""
    function, order = node.this, node.args.get("order")
    if order is None or node.args.get("spec") or node.args.get("alias"):
        return None
    keys = tuple(go(key) for key in node.args.get("partition_by") or ())
    by = [(go(item.this), bool(item.args.get("desc"))) for item in order.expressions]
    if isinstance(function, exp.Rank | exp.DenseRank | exp.RowNumber):
        if len(by) != 1:
            return _refuse(node, "a rank by several orders", "Rank by one.")
        method = {exp.Rank: "min", exp.DenseRank: "dense", exp.RowNumber: "ordinal"}[type(function)]
        ranks = make_call("rank", (by[0][0],), {"method": method, "descending": by[0][1]})
        return px.Over(ranks, keys) if keys else ranks
    if isinstance(function, exp.Lag | exp.Lead):
        if len({down for _, down in by}) != 1 or function.args.get("default"):
            return _refuse(node, "LAG or LEAD with a default, or by orders of different directions")
        step = _constant(function.args.get("offset"), go, int, "the number of rows")
        step = 1 if step is None else step
        shifted = make_call("shift", (go(function.this), literal(step if isinstance(function, exp.Lag) else -step)))
        # a window needs keys: everybody is one partition where none are named
        return px.Over(shifted, keys or (literal(1),), tuple(b for b, _ in by), by[0][1])
    return None
