"""From a Python call to a plan call: arguments and options of a registered function, by position and by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan import expressions as px
from bastion_plan.errors import InputError, did_you_mean
from bastion_plan.functions.calls import make_call
from bastion_plan.functions.packing import pack
from bastion_plan.functions.spec import Arg, Function, Option

from bastion.expr.core import Expr, as_plan, duration_text
from bastion.expr.dtypes import to_dtype

_MISSING = object()

#: older spellings of parameters (Polars renamed them), accepted silently
RENAMED = {"min_periods": "min_samples", "separator_": "separator", "by_": "by"}


#: functions whose keywords are names of what they compute
_NAMES_ITS_EXPRESSIONS = frozenset({"struct.with_fields"})
#: parameters that are left out where the one before is a mapping of old to new
_SAID_BY_A_MAPPING = frozenset({("str.replace_many", "replace_with")})


@lru_cache(maxsize=1024)
def parameters(function: Function) -> tuple[Arg | Option, ...]:
    """Return what a caller may give, in the order of Polars' own signature: arguments after the expression, and options."""
    items = [*(function.args[1:] if function.method else function.args), *function.options]
    order = {name: i for i, name in enumerate(_polars_parameters(function))}
    return tuple(sorted(items, key=lambda item: order.get(item.name, len(order))))


def _polars_parameters(function: Function) -> list[str]:
    owner: Any = pl if function.namespace == "pl" or not function.method else pl.col("x")
    if function.method and function.namespace:
        owner = getattr(owner, function.namespace, None)
    method = getattr(owner, function.short_name, None)
    return list(inspect.signature(method).parameters) if method is not None else []


def signature(function: Function, *, bound: bool = True) -> inspect.Signature:
    """Return the Python signature of the builder's method; `bound` leaves `self` out."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    out = [] if bound or not function.method else [inspect.Parameter("self", kind)]
    variadic = False
    for item in parameters(function):
        if isinstance(item, Arg) and item.variadic:
            out.append(inspect.Parameter(item.name, inspect.Parameter.VAR_POSITIONAL))
            variadic = True
            continue
        required = item.required if isinstance(item, Option) else not item.optional
        default = inspect.Parameter.empty if required else (item.default if isinstance(item, Option) else None)
        if (function.name, item.name) in _SAID_BY_A_MAPPING:
            default = None
        if default is inspect.Parameter.empty and any(p.default is not inspect.Parameter.empty for p in out):
            default = None
        how = inspect.Parameter.KEYWORD_ONLY if variadic or (isinstance(item, Arg) and item.keyword) else kind
        out.append(inspect.Parameter(item.name, how, default=default))
    if function.name in _NAMES_ITS_EXPRESSIONS:
        out.append(inspect.Parameter("named_exprs", inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(sorted(out, key=lambda p: p.kind))


def build(function: Function, own: tuple[px.AnyExpr, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Expr:
    """Return the expression of a call.

    Args:
        function: the registry entry.
        own: the expression the method is called on; empty for top-level functions.
        args, kwargs: what the caller wrote after it.

    Raises:
        InputError: a missing, surplus or unknown argument, or an option outside its choices.
    """
    kwargs = dict(kwargs)
    if function.name in _NAMES_ITS_EXPRESSIONS:
        names = [name for name in kwargs if name != "exprs"]
        args = (*args, *(Expr(px.Alias(as_plan(kwargs.pop(name), string_is_column=True), name)) for name in names))
    if args and isinstance(args[0], Mapping) and any(name == function.name for name, _ in _SAID_BY_A_MAPPING):
        args = (list(args[0]), list(args[0].values()), *args[1:])
    given = _assign(function, args, kwargs)
    plan_args = [*own]
    pending: list[px.AnyExpr] = []
    for arg in (a for a in parameters(function) if isinstance(a, Arg)):
        value = given.get(arg.name, _MISSING)
        if arg.variadic:
            values = list(_flatten(value)) if value is not _MISSING else []
            if not values and not arg.optional:
                raise _missing(function, arg.name)
            plan_args += [*pending, *(_argument(v, arg) for v in values)] if values else []
            pending = [] if values else pending
        elif value is _MISSING or (value is None and arg.optional):
            if not arg.optional:
                raise _missing(function, arg.name)
            pending.append(px.Literal(dt.NULL))
        else:
            plan_args += [*pending, _argument(value, arg)]
            pending = []
    options = {}
    for option in function.options:
        value = given.get(option.name, _MISSING)
        if value is _MISSING:
            if option.required:
                raise _missing(function, option.name)
            continue
        options[option.name] = _constant(function, option, value)
    return Expr(make_call(function.name, plan_args, options))


def _assign(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    items = parameters(function)
    rest = list(args)
    for item in items:
        if isinstance(item, Arg) and item.variadic:
            if rest or item.name in kwargs:
                given[item.name] = rest + _flatten_one(kwargs.pop(item.name, []))
            rest = []
            break
        if rest and not (isinstance(item, Arg) and item.keyword):
            given[item.name] = rest.pop(0)
    if rest:
        msg = f"{function.name} takes at most {len(items)} argument{'' if len(items) == 1 else 's'}, {len(args)} were given."
        raise InputError(msg, code="input.arguments", next_step=f"Write {function.name}{signature(function)}.")
    known = {i.name for i in items}
    for written, value in kwargs.items():
        name = written if written in known else RENAMED.get(written, written)
        if name not in known:
            msg = f"{function.name} has no parameter {written!r}."
            hint = did_you_mean(written, known) or f"Write {function.name}{signature(function)}."
            raise InputError(msg, code="input.arguments", next_step=hint)
        if name in given:
            msg = f"{function.name} was given {name!r} twice."
            raise InputError(msg, code="input.arguments")
        given[name] = value
    return given


def _missing(function: Function, name: str) -> InputError:
    msg = f"{function.name} needs {name!r}."
    return InputError(msg, code="input.arguments", next_step=f"Write {function.name}{signature(function)}.")


def _flatten_one(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _flatten(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _argument(value: Any, arg: Arg) -> px.AnyExpr:
    if isinstance(value, timedelta) and "duration" not in arg.accepts and "string" in arg.accepts:
        value = duration_text(value)
    return as_plan(value, string_is_column=arg.string_is_column)


def _constant(function: Function, option: Option, value: Any) -> Any:
    """Return the option's value as plain data; the kind and the choices are checked."""
    fitting = _coerce(option, value)
    if fitting is _MISSING or (option.choices and fitting not in option.choices and fitting is not None):
        wanted = (
            f"one of {', '.join(map(repr, option.choices))}" if option.choices else _WORDS.get(option.kind, option.kind)
        )
        hint = did_you_mean(value, [c for c in option.choices if isinstance(c, str)]) if isinstance(value, str) else ""
        msg = f"{function.name}: {option.name} has to be {wanted}."
        raise InputError(msg, code="input.option", next_step=hint)
    return fitting


_WORDS = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "number": "a number",
    "str": "a string",
    "strings": "a list of strings",
    "numbers": "a list of numbers",
    "bools": "True or False, or a list of them",
    "dtype": "a data type such as pl.Int64",
}


def _coerce(option: Option, value: Any) -> Any:
    if value is None:
        return None if option.nullable or option.default is None else _MISSING
    if isinstance(value, Expr):
        if not isinstance(value.plan, px.Literal):
            return _MISSING
        value = value.plan.value
    match option.kind:
        case "bool":
            return value if isinstance(value, bool) else _MISSING
        case "int":
            return int(value) if isinstance(value, int) and not isinstance(value, bool) else _MISSING
        case "float":
            return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _MISSING
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else _MISSING
        case "str":
            value = duration_text(value)
            return value if isinstance(value, str) else _MISSING
        case "strings":
            values = [value] if isinstance(value, str) else _sequence(value)
            return tuple(values) if values is not None and all(isinstance(v, str) for v in values) else _MISSING
        case "numbers":
            values = [value] if isinstance(value, int | float) else _sequence(value)
            good = values is not None and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
            return tuple(values) if values is not None and good else _MISSING
        case "bools":
            values = [value] if isinstance(value, bool) else _sequence(value)
            return tuple(values) if values is not None and all(isinstance(v, bool) for v in values) else _MISSING
        case "dtype":
            return pack(to_dtype(value))
        case _:
            return (
                tuple(_sequence(value) or ()) if isinstance(value, list | tuple | pl.Series) else duration_text(value)
            )


def _sequence(value: Any) -> list[Any] | None:
    if isinstance(value, pl.Series):
        return value.to_list()
    return list(value) if isinstance(value, list | tuple | range) else None
