"""SQL expressions to plan expressions, with the functions the registry offers under SQL names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any, NoReturn

import bastion_plan.functions  # noqa: F401  (fills the registry)
from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import BindError, InputError, LimitError, did_you_mean
from bastion_plan.functions import registry
from bastion_plan.functions.calls import make_call
from bastion_plan.functions.spec import Function, Shape
from bastion_plan.typing import expr_dtype
from sqlglot import exp

from bastion.expr.binding import build
from bastion.expr.core import MAX_LEVELS
from bastion.expr.literals import literal
from bastion.sql_clauses import filtered, pattern
from bastion.sql_functions import NAMES, NODES, ranked
from bastion.sql_instead import NAMES as CALLED
from bastion.sql_instead import instead, window


@dataclass
class Scope:
    """The columns an expression may name.

    names: (table or "", column) -> name in the frame, in order of the tables. schema: of the frame, as far as it is known.
    """

    names: dict[tuple[str, str], str] = field(default_factory=dict)
    schema: Schema = field(default_factory=dict)
    aliases: dict[str, px.AnyExpr] = field(default_factory=dict)

    def has_table(self, name: str) -> bool:
        """Whether a table is known by this name."""
        return any(table == name for table, _ in self.names)

    def has_column(self, name: str) -> bool:
        """Whether a column is known by this name."""
        return any(column == name for _, column in self.names)

    def find(self, node: exp.Column) -> px.AnyExpr:
        """Return the plan's column of a name, with or without its table.

        Raises:
            BindError: unknown or ambiguous.
        """
        table, name = node.table, node.name
        if table:
            found = {actual for (t, c), actual in self.names.items() if t == table and c == name}
        else:
            found = {actual for (_, c), actual in self.names.items() if c == name}
            own = self.names.get(("", name))
            found = {own} if own is not None else found
        if len(found) == 1:
            return px.Column(found.pop())
        if not found:
            if not table and name in self.aliases:
                return self.aliases[name]
            known = [c for t, c in self.names if not table or t == table]
            msg = f"There is no column {f'{table}.{name}' if table else name!r}{place(node)}."
            raise BindError(msg, code="plan.bind.column", next_step=did_you_mean(name, known), details={"column": name})
        tables = sorted({t for (t, c) in self.names if c == name})
        msg = f"The column {name!r} is in several tables{place(node)}."
        raise BindError(
            msg, code="plan.bind.ambiguous", next_step=f"Write {' or '.join(f'{t}.{name}' for t in tables)}."
        )


def place(node: exp.Expression) -> str:
    """Return ` at line L, column C` of a node, as far as it is known."""
    for item in node.walk():
        if "line" in item.meta:
            column = item.meta.get("col", 0) - len(item.name or "") + 1
            return f" at line {item.meta['line']}, column {max(1, column)}"
    return ""


def refuse(node: exp.Expression, what: str, step: str = "") -> NoReturn:
    """Refuse a part of a query by name and position."""
    msg = f"{what} is not part of the SQL of this language{place(node)}."
    raise InputError(msg, code="input.sql", next_step=step or instead(node), details={"sql": node.sql()[:200]})


# ---- functions by SQL name --------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def by_sql_name() -> Mapping[str, Function]:
    """Return SQL name -> registry entry."""
    return {name: f for f in registry.all_functions() for name in f.sql}


_BINARY: dict[type[exp.Expression], str] = {
    exp.Mul: "mul", exp.Div: "truediv", exp.IntDiv: "truncdiv", exp.EQ: "eq",
    exp.NEQ: "ne", exp.LT: "lt", exp.LTE: "le", exp.GT: "gt", exp.GTE: "ge", exp.And: "and_", exp.Or: "or_", exp.Xor: "xor",
    exp.NullSafeEQ: "eq_missing", exp.NullSafeNEQ: "ne_missing", exp.Pow: "pow", exp.BitwiseAnd: "and_", exp.BitwiseOr: "or_",
}  # fmt: skip


def convert(node: exp.Expression, scope: Scope, level: int = 1) -> px.AnyExpr:
    """Return the plan expression of an SQL expression.

    Raises:
        InputError: something outside the language, by name and position. BindError: unknown columns.
    """
    if level > MAX_LEVELS:
        msg = f"The SQL expression is nested deeper than {MAX_LEVELS} levels."
        raise LimitError(
            msg, code="plan.limit.depth", next_step="Use a common table expression (WITH) for a part of it."
        )

    def go(inner: exp.Expression) -> px.AnyExpr:
        return convert(inner, scope, level + 1)

    if isinstance(node, exp.Exists):
        refuse(node, "EXISTS inside an expression", "Let it be one of the conditions that AND joins in WHERE.")
    _check_settings(node)
    name = _BINARY.get(type(node))
    handler = _HANDLERS.get(type(node))
    if name is not None:
        plan = _binary(name, go(node.this), go(node.expression))
    elif handler is not None:
        plan = handler(node, scope, go)
    elif type(node) in NODES:
        plan = NODES[type(node)](node, go)
    elif isinstance(node, exp.Func):
        plan = _function(node, go)
    else:
        refuse(node, _name_of(node))
    return px.Call("not_", (plan,)) if node.args.get("negate") else plan


#: settings of a syntax node that a handler reads, beside its operands; any other that is set is refused, never ignored
_SETTINGS: dict[type[exp.Expression], set[str]] = {
    exp.Literal: {"this", "is_string"},
    exp.Boolean: {"this"},
    exp.Column: {"this", "table", "db"},
    exp.Window: {"this", "partition_by", "order", "spec", "alias", "over"},
    exp.Trim: {"this", "expression", "position"},
    exp.Concat: {"expressions", "safe", "coalesce"},
    exp.DPipe: {"this", "expression", "safe"},
    exp.Div: {"this", "expression", "typed", "safe"},
    exp.Anonymous: {"this", "expressions"},
    exp.Greatest: {"this", "expressions", "ignore_nulls"},
    exp.Least: {"this", "expressions", "ignore_nulls"},
    exp.Count: {"this", "expressions", "big_int"},
    exp.RegexpReplace: {"this", "expression", "replacement", "modifiers"},
    exp.Cast: {"this", "to"},
    exp.TryCast: {"this", "to", "requires_string", "safe"},
    exp.Pad: {"this", "expression", "fill_pattern", "is_left"},
    exp.DateDiff: {"this", "expression", "unit", "date_part_boundary"},
    exp.RegexpExtract: {"this", "expression", "group", "null_if_pos_overflow"},
}


def _check_settings(node: exp.Expression) -> None:
    known = _SETTINGS.get(type(node), set())
    for key, value in node.args.items():
        if not value or key in known or key in {"negate", "line", "col"}:
            continue
        if type(node) in _SETTINGS or not isinstance(value, exp.Expression | list):
            if isinstance(value, str) and isinstance(node, exp.Interval | exp.Var | exp.Identifier):
                continue
            refuse(node, f"{key.rstrip('_').upper()} of {_name_of(node)}")


def _name_of(node: exp.Expression) -> str:
    if isinstance(node, exp.Anonymous):
        return f"the function {node.name}"
    name = node.key.replace("_", " ").upper()
    return CALLED.get(name, name)


def _binary(name: str, left: px.AnyExpr, right: px.AnyExpr) -> px.AnyExpr:
    if name == "sub" and isinstance(left, px.Literal) and left == literal(0):
        return px.Call("neg", (right,))
    return px.Call(name, (left, right))


def _column(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del go
    assert isinstance(node, exp.Column)
    if node.table and not scope.has_table(node.table) and scope.has_column(node.table):
        return make_call("struct.field", (scope.find(exp.column(node.table)),), {"name": node.name})
    if isinstance(node.this, exp.Star):
        refuse(node, "a star inside an expression")
    if node.args.get("db"):
        refuse(node, "a column of another database")
    return scope.find(node)


def _literal(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope, go
    if node.is_string:
        return literal(node.this)
    text = node.this
    return literal(int(text)) if re.fullmatch(r"\d+", text) else literal(float(text))


def _case(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    end: px.AnyExpr = go(node.args["default"]) if node.args.get("default") else px.Literal(dt.NULL)
    subject = node.args.get("this")
    for branch in reversed(node.args["ifs"]):
        test = go(branch.this) if subject is None else px.Call("eq", (go(subject), go(branch.this)))
        end = px.Ternary(test, go(branch.args["true"]), end)
    return end


def _if(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    otherwise = node.args.get("false")
    return px.Ternary(go(node.this), go(node.args["true"]), go(otherwise) if otherwise else px.Literal(dt.NULL))


def _in(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    if node.args.get("query"):
        refuse(node, "IN over a subquery inside an expression")
    values = [go(v) for v in node.expressions]
    subject = go(node.this)
    if all(isinstance(v, px.Literal) for v in values):
        from bastion.expr.literals import decode_value

        plain = [decode_value(v.value, v.dtype) for v in values]  # type: ignore[union-attr]
        return px.Call("is_in", (subject, literal(plain)))
    whole: px.AnyExpr = px.Call("eq", (subject, values[0]))
    for value in values[1:]:
        whole = px.Call("or_", (whole, px.Call("eq", (subject, value))))
    return whole


def _between(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    return make_call("is_between", (go(node.this), go(node.args["low"]), go(node.args["high"])))


def _like(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    return _matches(node, go)


def _escape(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    like, mark = node.this, go(node.expression)
    if not isinstance(like, exp.Like | exp.ILike):
        return refuse(node, "ESCAPE after something other than LIKE")
    if not isinstance(mark, px.Literal) or not isinstance(mark.value, str) or len(mark.value) != 1:
        return refuse(node, "ESCAPE with something other than one character")
    plan = _matches(like, go, mark.value)
    return px.Call("not_", (plan,)) if like.args.get("negate") else plan


def _matches(node: exp.Expression, go: Any, escape: str = "") -> px.AnyExpr:
    text = go(node.expression)
    if not isinstance(text, px.Literal) or not isinstance(text.value, str):
        refuse(node, "LIKE with a pattern that is no constant")
    case = "(?is)" if isinstance(node, exp.ILike) else "(?s)"
    return make_call("str.contains", (go(node.this), literal(f"{case}^{pattern(text.value, escape)}$")))


def _regexp(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    return make_call("str.contains", (go(node.this), go(node.expression)))


def _is(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    subject, right = go(node.this), node.expression
    if isinstance(right, exp.Null):
        return px.Call("is_null", (subject,))
    if isinstance(right, exp.Boolean):
        return px.Call("eq_missing", (subject, literal(bool(right.this))))
    return refuse(node, "IS with something other than NULL, TRUE or FALSE")


def _not(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    inner = node.this.unnest()
    if isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
        return px.Call("is_not_null", (go(inner.this),))
    plan = go(node.this)
    if _is_whole(plan, scope) is True:
        refuse(node, "NOT of a whole number", f"Write {inner.sql()} = 0; or ~{inner.sql()} for its bits.")
    return px.Call("not_", (plan,))


def _is_whole(plan: px.AnyExpr, scope: Scope) -> bool | None:
    """Whether an expression gives whole numbers; None where that shows when the plan is bound only."""
    try:
        return expr_dtype(plan, scope.schema).is_integer
    except BindError:
        return None


def _neg(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    inner = go(node.this)
    if isinstance(inner, px.Literal) and inner.dtype.kind in {"DynInt", "DynFloat"}:
        return px.Literal(inner.dtype, -inner.value)
    return px.Call("neg", (inner,))


def _paren(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    return go(node.this)  # type: ignore[no-any-return]


def _null(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del node, scope, go
    return px.Literal(dt.NULL)


def _boolean(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope, go
    return literal(bool(node.this))


_TYPES: dict[str, DType] = {
    "TINYINT": dt.INT8, "SMALLINT": dt.INT16, "INT": dt.INT32, "BIGINT": dt.INT64, "UTINYINT": dt.UINT8, "USMALLINT": dt.UINT16,
    "UINT": dt.UINT32, "UBIGINT": dt.UINT64, "INT128": dt.INT128, "FLOAT": dt.FLOAT32, "DOUBLE": dt.FLOAT64, "BOOLEAN": dt.BOOLEAN,
    "TEXT": dt.STRING, "VARCHAR": dt.STRING, "CHAR": dt.STRING, "NVARCHAR": dt.STRING, "BINARY": dt.BINARY,
    "VARBINARY": dt.BINARY, "DATE": dt.DATE, "TIME": dt.TIME, "TIMESTAMP": dt.datetime("us"), "DATETIME": dt.datetime("us"),
}  # fmt: skip


def _type(node: exp.DataType) -> DType:
    kind = node.this.value if hasattr(node.this, "value") else str(node.this)
    if kind == "DECIMAL":
        sizes = [int(p.name) for p in node.expressions]
        return DType("Decimal", precision=sizes[0] if sizes else 38, scale=sizes[1] if len(sizes) > 1 else 0)
    found = _TYPES.get(kind)
    if found is None:
        refuse(node, f"the data type {kind}")
    return found


def _cast(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    target = _type(node.args["to"])
    inner = go(node.this)
    if isinstance(inner, px.Literal) and isinstance(inner.value, str) and target.is_temporal:
        return _moment(node, inner.value, target)
    return px.Cast(inner, target, strict=not isinstance(node, exp.TryCast))


def _moment(node: exp.Expression, text: str, target: DType) -> px.Literal:
    """Return the constant of DATE '2020-01-31', TIMESTAMP '…' or TIME '…'."""
    kinds: dict[str, Callable[[str], Any]] = {
        "Date": date.fromisoformat, "Datetime": datetime.fromisoformat, "Time": time.fromisoformat
    }  # fmt: skip
    try:
        return literal(kinds[target.kind](text), target)
    except (ValueError, KeyError, InputError):
        refuse(node, f"the constant {text!r} as a {target}", "Write it like 2020-01-31 or 2020-01-31 12:30:00.")


def _interval(node: exp.Expression) -> str:
    """Return an INTERVAL as Polars' duration text."""
    text = f"{node.name} {node.args.get('unit') or ''}".strip().lower()
    units = {
        "year": "y", "quarter": "q", "month": "mo", "week": "w", "day": "d", "hour": "h", "minute": "m", "second": "s",
        "millisecond": "ms", "microsecond": "us",
    }  # fmt: skip
    found = re.findall(r"(-?\d+)\s*([a-z]+?)s?(?=\s|\d|$|-)", text)
    if not found or any(unit not in units for _, unit in found):
        refuse(node, f"the interval {text!r}", "Write INTERVAL '1 day'.")
    sign = "-" if found[0][0].startswith("-") else ""
    return sign + "".join(f"{number.lstrip('-')}{units[unit]}" for number, unit in found)


def _plus_minus(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    right = node.expression
    if isinstance(right, exp.Interval):
        by = _interval(right)
        if isinstance(node, exp.Sub):
            by = by.removeprefix("-") if by.startswith("-") else f"-{by}"
        return make_call("dt.offset_by", (go(node.this), literal(by)))
    return _binary("add" if isinstance(node, exp.Add) else "sub", go(node.this), go(right))


def _remainder(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    """Return SQL's remainder, which has the sign of the dividend (Polars' own has that of the divisor)."""
    del scope
    left, right = go(node.this), go(node.expression)
    return px.Call("sub", (left, px.Call("mul", (px.Call("truncdiv", (left, right)), right))))


def _count(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    what = node.this
    if what is None or isinstance(what, exp.Star):
        return px.Call("pl.len")
    if isinstance(what, exp.Distinct):
        if len(what.expressions) != 1:
            refuse(node, "COUNT(DISTINCT …) over several columns")
        inner = go(what.expressions[0])
        return px.Call("n_unique", (px.Call("drop_nulls", (inner,)),))
    inner = go(what)
    return (
        px.Call("pl.len") if isinstance(inner, px.Literal) and inner.value is not None else px.Call("count", (inner,))
    )


def _aggregate_of_distinct(node: exp.Expression, go: Any) -> px.AnyExpr:
    inner = node.this
    if isinstance(inner, exp.Distinct):
        refuse(node, f"{node.key.upper()}(DISTINCT …)", "Take the distinct rows first, in a subquery.")
    return go(inner)  # type: ignore[no-any-return]


def _concat(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    if isinstance(node, exp.DPipe):
        return px.Call("add", (_text(go(node.this)), _text(go(node.expression))))
    return make_call("pl.concat_str", [go(e) for e in node.expressions], {"ignore_nulls": True})


def _text(plan: px.AnyExpr) -> px.AnyExpr:
    return px.Cast(plan, dt.STRING) if isinstance(plan, px.Literal) and plan.dtype.kind != "String" else plan


_PARTS = {
    "year": "year", "month": "month", "day": "day", "hour": "hour", "minute": "minute", "second": "second", "week": "week",
    "quarter": "quarter", "doy": "ordinal_day", "dayofyear": "ordinal_day", "isodow": "weekday", "isoyear": "iso_year",
    "decade": None, "century": "century", "millennium": "millennium", "millisecond": "millisecond", "microsecond": "microsecond",
}  # fmt: skip


def _part(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    name = node.this.name.lower() if node.this.name else str(node.this).lower()
    return _date_part(node, name, go(node.expression))


def _date_part(node: exp.Expression, name: str, plan: px.AnyExpr) -> px.AnyExpr:
    method = _PARTS.get(name)
    if method is None:
        refuse(node, f"the part {name!r} of a date", did_you_mean(name, [p for p, m in _PARTS.items() if m]))
    return px.Call(f"dt.{method}", (plan,))


def _trunc(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    unit = str(node.args["unit"].name or node.args["unit"]).lower()
    every = {
        "year": "1y", "quarter": "1q", "month": "1mo", "week": "1w", "day": "1d", "hour": "1h", "minute": "1m", "second": "1s"
    }.get(unit)  # fmt: skip
    if every is None:
        refuse(node, f"truncating to {unit!r}")
    return make_call("dt.truncate", (go(node.this), literal(every)))


def _substring(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    start = go(node.args["start"]) if node.args.get("start") else literal(1)
    length = node.args.get("length")
    if not isinstance(start, px.Literal) or not isinstance(start.value, int) or start.value < 1:
        refuse(node, "SUBSTR with a start that is no positive constant")
    args = [go(node.this), literal(start.value - 1)]
    if length is not None:
        args.append(go(length))
    return make_call("str.slice", args)


def _nullif(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    value = go(node.this)
    return px.Ternary(px.Call("eq", (value, go(node.expression))), px.Literal(dt.NULL), value)


def _bits_turned(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    """`~v`: all bits turned."""
    plan = go(node.this)
    if _is_whole(plan, scope) is False:
        refuse(node, "~ of something other than a whole number", "Write NOT.")
    return px.Call("not_", (plan,))


def _coalesce(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    return make_call("pl.coalesce", [go(node.this), *(go(e) for e in node.expressions)])


def _extremes(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    name = "pl.max_horizontal" if isinstance(node, exp.Greatest) else "pl.min_horizontal"
    return make_call(name, [go(node.this), *(go(e) for e in node.expressions)])


def _window(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    if (found := ranked(node, go)) is not None:
        return found
    if node.args.get("order") or node.args.get("spec") or node.args.get("alias"):
        refuse(node, "a window with an order or a frame", window(node))
    keys = tuple(go(k) for k in node.args.get("partition_by") or ())
    inner = go(node.this)
    if not is_aggregate(inner):
        refuse(node.this, "a window of something that is no aggregate")
    return px.Over(inner, keys) if keys else inner


def _replace(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    args = [go(node.this), go(node.expression), go(node.args["replacement"])]
    return make_call("str.replace_all", args, {"literal": True} if isinstance(node, exp.Replace) else {})


def _trim(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    side = str(node.args.get("position") or "").upper()
    name = {"LEADING": "str.strip_chars_start", "TRAILING": "str.strip_chars_end"}.get(side, "str.strip_chars")
    chars = node.args.get("expression")
    return make_call(name, [go(node.this), *([go(chars)] if chars else [])])


def _log(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    if isinstance(node, exp.Log) and node.args.get("expression"):
        return make_call("log", (go(node.expression), go(node.this)))
    return make_call("log", (go(node.this),))


def _quantile(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    share = go(node.args["quantile"] if node.args.get("quantile") else node.expression)
    if not isinstance(share, px.Literal) or not isinstance(share.value, int | float):
        refuse(node, "a quantile that is no constant")
    return make_call("quantile", (go(node.this),), {"quantile": float(share.value), "interpolation": "linear"})


def _filter(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    found = filtered(go(node.this), go(node.expression.this))
    return found if found is not None else refuse(node, "FILTER of something that is no aggregate")


def _within_group(node: exp.Expression, scope: Scope, go: Any) -> px.AnyExpr:
    del scope
    order = node.expression.expressions
    if not isinstance(node.this, exp.PercentileCont) or len(order) != 1 or order[0].args.get("desc"):
        refuse(
            node, "WITHIN GROUP other than of PERCENTILE_CONT by one ascending order", "Write quantile_cont(x, 0.5)."
        )
    return _quantile(exp.PercentileCont(this=order[0].this, expression=node.this.this), Scope(), go)


_HANDLERS: dict[type[exp.Expression], Callable[[Any, Scope, Any], px.AnyExpr]] = {
    exp.Column: _column, exp.Literal: _literal, exp.Case: _case, exp.If: _if, exp.In: _in, exp.Between: _between,
    exp.Like: _like, exp.ILike: _like, exp.RegexpLike: _regexp, exp.Is: _is, exp.Not: _not, exp.Neg: _neg, exp.BitwiseNot: _bits_turned,
    exp.Paren: _paren,
    exp.Null: _null, exp.Boolean: _boolean, exp.Cast: _cast, exp.TryCast: _cast, exp.Add: _plus_minus, exp.Sub: _plus_minus,
    exp.Count: _count, exp.Mod: _remainder, exp.Concat: _concat, exp.DPipe: _concat, exp.Extract: _part, exp.TimestampTrunc: _trunc,
    exp.DateTrunc: _trunc, exp.Substring: _substring, exp.Nullif: _nullif, exp.Coalesce: _coalesce, exp.Greatest: _extremes,
    exp.Least: _extremes, exp.Window: _window, exp.Replace: _replace, exp.RegexpReplace: _replace, exp.Trim: _trim,
    exp.Filter: _filter, exp.WithinGroup: _within_group, exp.Escape: _escape, exp.Log: _log, exp.Ln: _log, exp.Quantile: _quantile, exp.PercentileCont: _quantile,
}  # fmt: skip


def _function(node: exp.Func, go: Any) -> px.AnyExpr:
    """Return the call of a function that the registry knows by one of its SQL names."""
    if isinstance(node, exp.Anonymous):
        names = [node.name.lower()]
        given = list(node.expressions)
        if names[0] == "date_part" and len(given) == 2:
            return _date_part(node, given[0].name.lower(), go(given[1]))
    else:
        names = [*(n.lower() for n in node.sql_names()), node.key]
        given = _arguments(node)
    table = by_sql_name()
    function = next((table[n] for n in names if n in table), None) or registry.find(NAMES.get(names[0], ""))
    if function is None:
        hint = did_you_mean(names[0], table)
        refuse(node, f"the function {names[0]}", hint)
    if given and isinstance(given[0], exp.Distinct):
        _aggregate_of_distinct(node, go)
    args = [go(g) for g in given]
    if not function.method:
        return build(function, (), tuple(args), {}).plan
    if not args:
        refuse(node, f"the function {names[0]} without an argument")
    rest = tuple(
        a.value if isinstance(a, px.Literal) and not _wants_expression(function, i) else a
        for i, a in enumerate(args[1:])
    )
    return build(function, (args[0],), rest, {}).plan


def _wants_expression(function: Function, index: int) -> bool:
    from bastion_plan.functions.spec import Arg

    from bastion.expr.binding import parameters

    items = parameters(function)
    return index < len(items) and isinstance(items[index], Arg)


def _arguments(node: exp.Func) -> list[exp.Expression]:
    out: list[exp.Expression] = []
    for key in node.arg_types:
        value = node.args.get(key)
        if isinstance(value, exp.Expression):
            out.append(value)
        elif isinstance(value, list):
            out.extend(value)
    return out


# ---- aggregates ------------------------------------------------------------------------------------------------------


def is_aggregate(plan: px.Expr) -> bool:
    """Whether an expression holds an aggregate that is not inside a window."""
    stack: list[px.Expr] = [plan]
    while stack:
        item = stack.pop()
        if isinstance(item, px.Call) and registry.get(item.function).shape is Shape.ONE:
            return True
        if not isinstance(item, px.Over):
            stack.extend(px.children(item))
    return False
