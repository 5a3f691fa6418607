"""Expressions, constants and data types as Polars code.

INVARIANT: the text is made of the plan alone, and strings are written with every unprintable character escaped, so that
no name or constant of a scientist's can pose as code, break a line or turn its direction.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bastion_plan.dtypes import DType
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, NameChange, Over, Selector, Ternary
from bastion_plan.functions.calls import LEFT_OUT, parameters
from bastion_plan.functions.packing import unpack
from bastion_plan.functions.registry import get

_EPOCH = dt.datetime(1970, 1, 1)
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}

# how tightly Python binds, loosest first
_COMPARE, _OR, _XOR, _AND, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(9)
_OPERATORS: dict[str, tuple[str, int]] = {
    "eq": ("==", _COMPARE),
    "ne": ("!=", _COMPARE),
    "lt": ("<", _COMPARE),
    "le": ("<=", _COMPARE),
    "gt": (">", _COMPARE),
    "ge": (">=", _COMPARE),
    "or_": ("|", _OR),
    "xor": ("^", _XOR),
    "and_": ("&", _AND),
    "add": ("+", _SUM),
    "sub": ("-", _SUM),
    "mul": ("*", _PRODUCT),
    "truediv": ("/", _PRODUCT),
    "floordiv": ("//", _PRODUCT),
    "mod": ("%", _PRODUCT),
    "pow": ("**", _POWER),
}
#: registered under names of their own, for one method of Polars with other keywords
_SPELT = {"fill_null_strategy": "fill_null"}
_SET_OPERATORS = {"union": "|", "intersection": "&", "difference": "-", "symmetric_difference": "^"}


def text(value: str) -> str:
    """Return a string as Python writes it, in double quotes where that needs no escapes."""
    shown = repr(value)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in shown and "\\'" not in shown else shown


def word(value: str) -> str:
    """Return a name that Polars gives as it is; anything else as a quoted string, so that it cannot pose as code."""
    return value if value.isascii() and value.isidentifier() else text(value)


def flags(values: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Return keyword arguments for (value, default) pairs that differ."""
    return [f"{name}={constant(value)}" for name, (value, default) in values.items() if value != default]


# -- expressions


def expr_code(expr: Expr) -> str:
    """Return Polars code for an expression, e.g. `pl.col("Age").mean()`."""
    return _expr(expr)[0]


def _expr(expr: Expr) -> tuple[str, int]:
    """Return the code and how tightly its outermost operator binds."""
    match expr:
        case Column(name=name):
            return f"pl.col({text(name)})", _ATOM
        case Literal():
            return _literal(expr), _ATOM
        case Selector():
            return _selector(expr)
        case Call():
            return _call(expr)
        case Ternary():
            return _ternary(expr), _ATOM
        case Cast(input=inner, dtype=dtype, strict=strict, wrap_numerical=wrap):
            shown = flags({"strict": (strict, True), "wrap_numerical": (wrap, False)})
            return _method(inner, "cast", [dtype_code(dtype), *shown]), _ATOM
        case Over(input=inner, partition_by=keys, order_by=order):
            args = [into(key) for key in keys]
            if order:
                args.append(f"order_by={one_or_list([into(o) for o in order])}")
            windows = {"descending": (expr.descending, False), "nulls_last": (expr.nulls_last, False)}
            args += flags(windows | {"mapping_strategy": (expr.mapping, "group_to_rows")})
            return _method(inner, "over", args), _ATOM
        case Alias(input=inner, name=name):
            return _method(inner, "alias", [text(name)]), _ATOM
        case NameChange(input=inner, kind=kind, values=values):
            return _method(inner, f"name.{word(kind)}", [text(v) for v in values]), _ATOM
        case _:
            msg = f"no code for {type(expr).__name__}"
            raise AssertionError(msg)


def into(expr: Expr) -> str:
    """Return an expression where Polars reads a bare string as a column."""
    return text(expr.name) if isinstance(expr, Column) else expr_code(expr)


def one_or_list(parts: Sequence[str]) -> str:
    """Return one argument as it is, several as a list."""
    return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"


def many(exprs: Sequence[Expr]) -> str:
    """Return one argument made of one or several expressions."""
    return one_or_list([into(e) for e in exprs])


def _tight(expr: Expr, level: int) -> str:
    code, own = _expr(expr)
    return code if own >= level else f"({code})"


def _method(receiver: Expr, name: str, args: Iterable[str]) -> str:
    return f"{_tight(receiver, _ATOM)}.{name}({', '.join(args)})"


def _call(call: Call) -> tuple[str, int]:
    name, args = call.function, call.args
    if name in _OPERATORS and len(args) == 2 and not call.options:
        sign, level = _OPERATORS[name]
        left_level = level + 1 if level in (_COMPARE, _POWER) else level
        right_level = _SIGN if level == _POWER else level + 1
        bare = bare_value(args[1])
        listed = isinstance(args[1], Literal) and args[1].dtype.kind == "List"
        right = bare if bare is not None and not listed else _tight(args[1], right_level)
        return f"{_tight(args[0], left_level)} {sign} {right}", level
    if name in ("neg", "not_") and len(args) == 1:
        return f"{'-' if name == 'neg' else '~'}{_tight(args[0], _SIGN)}", _SIGN
    function = get(name)
    positional: list[str] = []
    keywords: list[str] = []
    skipped = False
    for spec, arg in list(zip(parameters(function, len(args)), args, strict=True))[int(function.method) :]:
        if spec.optional and arg == LEFT_OUT:
            skipped = not spec.variadic
            continue
        if name.startswith("pl.rolling_"):  # these two take expressions only
            code = expr_code(arg)
        else:
            code = argument(arg, string_is_column=spec.string_is_column, list_is_column=spec.list_is_column)
        if spec.keyword or skipped:
            keywords.append(f"{spec.name}={code}")
        else:
            positional.append(code)
    for option, value in call.options:
        found = function.option(option)
        keywords.append(f"{option}={_option(value, found.kind if found else None)}")
    if name == "list.concat" and len(positional) > 1:
        positional = [f"[{', '.join(positional)}]"]
    if function.method:
        return _method(args[0], _SPELT.get(name, name), positional + keywords), _ATOM
    if name == "pl.format":
        positional = [keywords.pop().removeprefix("f_string="), *positional]
    return f"{name}({', '.join(positional + keywords)})", _ATOM


def argument(arg: Expr, *, string_is_column: bool, list_is_column: bool = False) -> str:
    """Return an argument: a plain value where Polars reads one as the same literal, else an expression.

    string_is_column, list_is_column: whether Polars reads a bare string as a column, a bare list as several values.
    """
    bare = bare_value(arg)
    if bare is None or not isinstance(arg, Literal):
        return expr_code(arg)
    if arg.dtype.kind == "List":
        return bare if list_is_column else expr_code(arg)
    return expr_code(arg) if string_is_column and arg.dtype.kind == "String" else bare


def _ternary(expr: Ternary) -> str:
    code = "pl"
    rest: Expr = expr
    while isinstance(rest, Ternary):
        code += f".when({expr_code(rest.predicate)}).then({argument(rest.truthy, string_is_column=True)})"
        rest = rest.falsy
    return f"{code}.otherwise({argument(rest, string_is_column=True)})"


def _selector(sel: Selector) -> tuple[str, int]:
    kind, of = sel.kind, sel.of
    if kind in _SET_OPERATORS and of:
        return f" {_SET_OPERATORS[kind]} ".join(_tight(part, _ATOM) for part in of), _OR
    if kind == "complement" and of:
        return f"~{_tight(of[0], _SIGN)}", _SIGN
    if kind == "exclude" and of:
        return f"pl.selectors.all() - ({' | '.join(_tight(part, _ATOM) for part in of)})", _OR
    if kind == "by_class":
        classes = [f"pl.selectors.{v}()" for v in sel.values if isinstance(v, str) and v.isidentifier()]
        return " | ".join(classes) or "pl.selectors.empty()", _ATOM if len(classes) < 2 else _OR
    if kind == "regex":
        patterns = [v for v in sel.values if isinstance(v, str)]
        joined = patterns[0] if len(patterns) == 1 else "|".join(f"(?:{p})" for p in patterns)
        return f"pl.selectors.matches({text(joined)})", _ATOM
    values = [constant(v) for v in sel.values] + [dtype_code(t) for t in sel.dtypes]
    return f"pl.selectors.{word(kind)}({', '.join(values)})", _ATOM


# -- constants


def dtype_code(dtype: DType) -> str:
    """Return Polars code for a data type, e.g. `pl.List(pl.Int64)`."""
    match dtype.kind:
        case "Datetime":
            zone = f", {text(dtype.zone)}" if dtype.zone else ""
            return f"pl.Datetime({text(dtype.unit or 'us')}{zone})"
        case "Duration":
            return f"pl.Duration({text(dtype.unit or 'us')})"
        case "List" if dtype.inner is not None:
            return f"pl.List({dtype_code(dtype.inner)})"
        case "Array" if dtype.inner is not None:
            return f"pl.Array({dtype_code(dtype.inner)}, {dtype.width})"
        case "Struct":
            return "pl.Struct({" + ", ".join(f"{text(n)}: {dtype_code(t)}" for n, t in dtype.fields) + "})"
        case "Enum":
            return f"pl.Enum({constant(dtype.categories)})"
        case "Decimal":
            return f"pl.Decimal({dtype.precision}, {dtype.scale})"
        case "DynInt":
            return "pl.Int64"
        case "DynFloat":
            return "pl.Float64"
        case kind:
            return f"pl.{word(kind)}"


def constant(value: Any) -> str:
    """Return a constant without a type of its own."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(constant, value)) + "]"
    return repr(value)


def _option(value: Any, kind: str | None) -> str:
    if kind == "dtype" and value is not None:
        return dtype_code(unpack(value))
    if kind == "bools" and isinstance(value, tuple) and len(value) == 1:
        return constant(value[0])
    return constant(value)


def bare_value(expr: Expr) -> str | None:
    """Return a literal as a plain Python value where Polars reads that back as the same literal, else None."""
    if not isinstance(expr, Literal):
        return None
    if expr.dtype.kind == "List" and expr.dtype.inner is not None and expr.value is not None:
        return _bare_list(expr.dtype.inner, expr.value)
    return scalar(expr.dtype, expr.value)


def _bare_list(inner: DType, values: Sequence[Any]) -> str | None:
    plain = {"Int64": "DynInt", "Float64": "DynFloat"}.get(inner.kind)
    dtype = DType(plain) if plain else inner
    parts = [scalar(dtype, v) if v is not None else "None" for v in values]
    known = [p for p in parts if p is not None]
    if len(known) < len(parts) or all(v is None for v in values):
        return None
    return f"[{', '.join(known)}]"


def scalar(dtype: DType, value: Any) -> str | None:
    """Return a constant as a plain Python value where Polars gives that the same type, else None."""
    match dtype.kind:
        case "Null":
            return "None"
        case _ if value is None:
            return None
        case "DynInt" | "DynFloat" | "Boolean" | "String":
            return constant(value)
        case "Date":
            moment = _moment(value * 86_400, 1)
            return f"date({moment.year}, {moment.month}, {moment.day})" if moment else None
        case "Datetime" if dtype.unit == "us" and dtype.zone is None:
            moment = _moment(value, 10**6)
            return _datetime(moment) if moment else None
        case "Duration" if dtype.unit == "us":
            return _timedelta(value)
        case _:
            return None


def _moment(value: int, per_second: int) -> dt.datetime | None:
    seconds, rest = divmod(value, per_second)
    try:
        return _EPOCH + dt.timedelta(seconds=seconds, microseconds=rest * 10**6 // per_second)
    except OverflowError:
        return None


def _datetime(moment: dt.datetime) -> str:
    parts = [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond]
    while len(parts) > 3 and not parts[-1]:
        parts.pop()
    return f"datetime({', '.join(map(str, parts))})"


def _timedelta(micros: int) -> str | None:
    try:
        whole = dt.timedelta(microseconds=micros)
    except OverflowError:
        return None
    fields = (("days", whole.days), ("seconds", whole.seconds), ("microseconds", whole.microseconds))
    return f"timedelta({', '.join(f'{name}={v}' for name, v in fields if v)})"


def _literal(lit: Literal) -> str:
    bare = bare_value(lit)
    if bare is not None:
        return f"pl.lit({bare})"
    dtype = lit.dtype
    code = dtype_code(dtype)
    if lit.value is None:
        return f"pl.lit(None, dtype={code})"
    match dtype.kind:
        case "Int128":
            return f"pl.lit({int(lit.value)}, dtype={code})"
        case "Datetime" if dtype.zone is not None:
            local = DType("Datetime", unit=dtype.unit)
            stored = f"pl.lit({constant(lit.value)}).cast({dtype_code(local)})"
            return f'{stored}.dt.replace_time_zone("UTC").dt.convert_time_zone({text(dtype.zone)})'
        case "Datetime" | "Duration" | "Date" | "Time" | "Decimal" | "Categorical" | "Enum":
            return f"pl.lit({constant(lit.value)}).cast({code})"
        case "Struct":
            fields = zip(dtype.fields, lit.value, strict=False)
            parts = ", ".join(f"{_literal(Literal(t, v))}.alias({text(n)})" for (n, t), v in fields)
            return f'pl.struct({parts}).alias("literal")'
        case "List" | "Array" if dtype.inner is not None and any(scalar(dtype.inner, v) is None for v in lit.value):
            if dtype.inner.kind == "Int128":
                return f"pl.lit({constant(tuple(v if v is None else int(v) for v in lit.value))}, dtype={code})"
            if dtype.inner.is_numeric or dtype.inner.kind == "Binary":
                return f"pl.lit({constant(lit.value)}, dtype={code})"
            return f"pl.lit({constant(lit.value)}).cast({code})"
        case _:
            return f"pl.lit({constant(lit.value)}, dtype={code})"
